//! A daemon of our own, when there is no other: `tlsifyd --private 3` on one end of a socketpair. It serves nobody else,
//! and ends when we have left and its sessions are over.

use core::ffi::CStr;
use core::fmt::Write;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tlsify_protocol::text::TextPacket;

use crate::packet;
use crate::reading::decimal;
use crate::say::{self, Text, Why};
use crate::status::{self, Stop};
use crate::sys::{self, Call};

/// Where the daemon finds its end.
const NUMBER: i32 = 3;
/// The verb of a child that did not become the daemon: between the two of us only.
pub(crate) const UNSTARTED: &str = "unstarted";
/// Bytes of a path (PATH_MAX).
const PATH: usize = 4096;

/// What becomes of us while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// We stay until its session is over.
    Stays,
    /// We leave before: who waits for the end of our messages must not wait for the session's.
    Leaves,
    /// We become another program, which is not to find a child that it never started.
    BecomesAnother,
}

/// Starts it.
pub(crate) fn start(call: &Call, parent: Parent) -> Result<OwnedFd, Stop> {
    let failed = |error| {
        say::line(format_args!("cannot start tlsifyd: {}", Why(error)));
        Stop(status::SYSTEM)
    };
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(failed)?;
    match sys::fork().map_err(failed)? {
        None => {
            drop(ours);
            child(call, &theirs, parent)
        }
        Some(child) if parent == Parent::BecomesAnother => {
            // It has a child of its own by then, and nothing else to do.
            let _ = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
        }
        Some(_) => {}
    }
    Ok(ours)
}

/// In the child: becomes the daemon.
fn child(call: &Call, control: &OwnedFd, parent: Parent) -> ! {
    // Ctrl-C and a terminal that is closed are for us. Our own end is what ends the daemon's sessions.
    let _ = rustix::process::setsid();
    if parent == Parent::BecomesAnother {
        match sys::fork() {
            Ok(Some(_)) => sys::exit(status::CLEAN),
            Ok(None) => {}
            Err(error) => refuse(control, error),
        }
    }
    if let Err(error) = settle(control, parent) {
        refuse(control, error);
    }
    refuse(control, execute(call))
}

/// In the child: tells whoever waits for the daemon that there will be none. The child may have no standard error any more.
fn refuse(control: &OwnedFd, error: Errno) -> ! {
    let mut text = Text::<64>::new();
    let _ = write!(text, "tlsify/1 {UNSTARTED}\nerrno={}\n", error.raw_os_error());
    let _ = packet::send(control, text.as_bytes(), &[]);
    sys::exit(status::REFUSED)
}

/// What our own child said in the daemon's place.
pub(crate) fn unstarted(said: &TextPacket<'_>) -> Stop {
    let number = said.get("errno").and_then(|number| decimal(number.as_bytes()));
    let error =
        number.and_then(|number| i32::try_from(number).ok()).map_or(Errno::IO, Errno::from_raw_os_error);
    say::line(format_args!("cannot start tlsifyd: {}", Why(error)));
    if error == Errno::NOENT {
        say::hint(format_args!(
            "it is looked for beside tlsify and in PATH; TLSIFY_SOCK names a running one"
        ));
    }
    Stop(status::REFUSED)
}

/// The descriptors of a daemon: its end of the pair, our standard error for its log unless we leave before it does, and
/// nothing of ours. A copy of a pipe that it does not know of would keep that pipe open.
fn settle(control: &OwnedFd, parent: Parent) -> Result<(), Errno> {
    sys::place(control.as_fd(), NUMBER)?;
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::place(null.as_fd(), 0)?;
    sys::place(null.as_fd(), 1)?;
    if parent == Parent::Leaves {
        sys::place(null.as_fd(), 2)?;
    }
    if !sys::close_on_exec_from(4) {
        close_on_exec_one_by_one();
    }
    Ok(())
}

/// For kernels before Linux 5.11. Without /proc, those stay open that were not ours: ours are close-on-exec anyway.
fn close_on_exec_one_by_one() {
    let Ok(folder) = rustix::fs::open(c"/proc/self/fd", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    else {
        return;
    };
    let mut buffer = [core::mem::MaybeUninit::uninit(); 2048];
    let mut entries = rustix::fs::RawDir::new(folder, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let number = decimal(entry.file_name().to_bytes()).and_then(|number| i32::try_from(number).ok());
        if let Some(fd) = number.filter(|&number| number > NUMBER).and_then(sys::inherited) {
            let _ = rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
}

/// Becomes the `tlsifyd` beside this program, else the first in PATH.
fn execute(call: &Call) -> Errno {
    let mut best = Errno::NOENT;
    let mut attempt = |folder: &str| {
        let mut path = Text::<PATH>::new();
        if write!(path, "{folder}/tlsifyd\0").is_ok()
            && let Ok(path) = CStr::from_bytes_with_nul(path.as_bytes())
        {
            let error = sys::execute(path, [c"tlsifyd", c"--private", c"3"], call.environment);
            // One that is there and cannot be started says more than one that is not.
            if !matches!(error, Errno::NOENT | Errno::NOTDIR) {
                best = error;
            }
        }
    };
    let mut buffer = [core::mem::MaybeUninit::uninit(); PATH];
    if let Ok((own, _)) = rustix::fs::readlinkat_raw(rustix::fs::CWD, c"/proc/self/exe", &mut buffer)
        && let Ok(own) = core::str::from_utf8(own)
        && let Some((folder, _)) = own.rsplit_once('/')
    {
        attempt(folder);
    }
    let path = call.environment.variable(c"PATH").and_then(|path| path.to_str().ok());
    for folder in path.unwrap_or("/usr/local/bin:/usr/bin:/bin").split(':') {
        // An empty one would be the current folder: no place to take a daemon from.
        if !folder.is_empty() {
            attempt(folder);
        }
    }
    best
}
