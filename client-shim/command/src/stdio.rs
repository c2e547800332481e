//! What standard input and output are, and which of them the daemon gets.
//!
//! | 0 and 1 are | the daemon gets |
//! | --- | --- |
//! | one socket | that socket, as `plain` |
//! | anything else, also different things | each by itself, as `outbound` and `inbound` |
//! | closed | nothing for that direction |
//! | 0 is a terminal | a pair of ours, which [`crate::terminal`] fills: who reads a terminal must be of its foreground |

use rustix::fd::{AsFd, BorrowedFd, IntoRawFd};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::fcntl_dupfd_cloexec;

use crate::options::Net;
use crate::sys;

/// The plaintext's two sides.
#[derive(Clone, Copy)]
pub(crate) enum Data {
    /// One socket for both directions.
    Socket(BorrowedFd<'static>),
    /// A descriptor for each; what is not there carries nothing.
    Split { input: Option<BorrowedFd<'static>>, output: Option<BorrowedFd<'static>> },
}

impl Data {
    /// Standard input, if it is a terminal.
    pub(crate) fn terminal(&self) -> Option<BorrowedFd<'static>> {
        match *self {
            Self::Socket(_) => None,
            Self::Split { input, .. } => input.filter(|fd| rustix::termios::isatty(fd)),
        }
    }
}

/// Standard input and output as they are now. To be asked before anything is opened: what is opened first in a process
/// without them gets their numbers.
pub(crate) fn look() -> Data {
    let (input, output) = (sys::inherited(0), sys::inherited(1));
    if let (Some(input), Some(output)) = (input, output)
        && is_one_socket(input, output)
    {
        return Data::Socket(output);
    }
    Data::Split { input, output }
}

/// Occupies the numbers of closed standard descriptors, so that nothing else gets them: a message would be written into
/// whatever is opened as the second descriptor.
pub(crate) fn occupy() {
    if (0..=2).all(|number| sys::inherited(number).is_some()) {
        return;
    }
    while let Ok(fd) = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty()) {
        if rustix::fd::AsRawFd::as_raw_fd(&fd) > 2 {
            return;
        }
        // Kept for as long as the process lives.
        core::mem::forget(fd);
    }
}

/// Where the network socket is once standard error is something else. A server of inetd has it at 0, 1 and 2; what is
/// written there goes to the peer in the clear, and between the records of TLS.
pub(crate) fn part_from_messages(net: Net) -> Net {
    let Net::Given(number) = net else { return net };
    let (Some(socket), Some(messages)) = (sys::inherited(number), sys::inherited(2)) else { return net };
    if !is_one_socket(socket, messages) {
        return net;
    }
    // Before its number is another's. Nobody owns it, so that it stays open as long as what we were given.
    let net = match fcntl_dupfd_cloexec(socket, 3) {
        Ok(copy) if number == 2 => Net::Given(copy.into_raw_fd()),
        _ => net,
    };
    silence(2);
    net
}

/// Makes `/dev/null` of a standard descriptor, or closes it where there is none.
pub(crate) fn silence(number: i32) {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    if null.and_then(|null| sys::place(null.as_fd(), number)).is_err() {
        sys::close_inherited(number);
    }
}

pub(crate) fn is_one_socket(one: impl AsFd, other: impl AsFd) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => {
            FileType::from_raw_mode(one.st_mode) == FileType::Socket
                && (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
        }
        _ => false,
    }
}
