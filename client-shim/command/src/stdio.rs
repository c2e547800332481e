//! What standard input and output are, and which of them the daemon gets.
//!
//! | 0 and 1 are | the daemon gets |
//! | --- | --- |
//! | one socket | that socket, as `plain` |
//! | anything else, also different things | each by itself, as `outbound` and `inbound` |
//! | closed | `/dev/null` for that direction |
//! | 0 is a terminal | a pair of ours, which [`crate::terminal`] fills: who reads a terminal must be of its foreground |

use rustix::fd::{AsFd, BorrowedFd, IntoRawFd};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::fcntl_dupfd_cloexec;

use crate::options::Net;
use crate::say::{self, Why};
use crate::status::{self, Stop};
use crate::sys;

/// The plaintext's two sides.
#[derive(Clone, Copy)]
pub(crate) enum Data {
    /// One socket for both directions.
    Socket(BorrowedFd<'static>),
    /// A descriptor for each.
    Split { input: BorrowedFd<'static>, output: BorrowedFd<'static> },
}

impl Data {
    /// Whether a side of it is the network socket, under whatever number.
    pub(crate) fn has(&self, net: Net) -> bool {
        let Net::Given(number) = net else { return false };
        let Some(net) = sys::inherited(number) else { return false };
        match *self {
            Self::Socket(both) => is_one_socket(both, net),
            Self::Split { input, output } => is_one_socket(input, net) || is_one_socket(output, net),
        }
    }

    /// Standard input, if it is a terminal.
    pub(crate) fn terminal(&self) -> Option<BorrowedFd<'static>> {
        match *self {
            Self::Socket(_) => None,
            Self::Split { input, .. } => Some(input).filter(|fd| rustix::termios::isatty(fd)),
        }
    }
}

/// Standard input and output, with `/dev/null` where they, or standard error, were closed. To be asked before anything
/// else is opened: that would get the numbers of those that are closed, and a message be written into it.
pub(crate) fn look() -> Result<Data, Stop> {
    loop {
        if let [Some(input), Some(output), Some(_)] = [0, 1, 2].map(sys::inherited) {
            return Ok(if is_one_socket(input, output) {
                Data::Socket(output)
            } else {
                Data::Split { input, output }
            });
        }
        // The least number that is free, which is one of the three.
        match rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty()) {
            // Kept for as long as the process lives.
            Ok(null) => core::mem::forget(null),
            Err(error) => {
                say::line(format_args!("cannot open /dev/null in place of what is closed: {}", Why(error)));
                return Err(Stop(status::SYSTEM));
            }
        }
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
