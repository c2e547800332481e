//! What is said to a person, on standard error: one line at a time, written whole.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::sys;

/// Bytes of a line at most. The daemon's sentences are cut at a thousand characters.
const LONGEST: usize = 4096;

/// A text on the stack: what does not fit is left out.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], used: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.used..).unwrap_or_default();
        let fits = text.len().min(room.len());
        let (Some(to), Some(from)) = (room.get_mut(..fits), text.as_bytes().get(..fits)) else {
            return Err(fmt::Error);
        };
        to.copy_from_slice(from);
        self.used += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Whether nothing is said (`--quiet`).
static QUIET: AtomicBool = AtomicBool::new(false);

/// Says nothing from now on, or everything.
pub(crate) fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// `tlsify: …`
pub(crate) fn line(what: fmt::Arguments<'_>) {
    write(format_args!("tlsify: {what}"));
}

/// `hint: …`, what to try.
pub(crate) fn hint(what: fmt::Arguments<'_>) {
    write(format_args!("hint: {what}"));
}

// Not inlined: a caller would touch the pages of a whole line, which most runs never write.
#[inline(never)]
fn write(what: fmt::Arguments<'_>) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    let mut text = Text::<LONGEST>::new();
    // What is too long is cut, with the end of its line.
    if writeln!(text, "{what}").is_err()
        && let Some(last) = text.bytes.last_mut()
    {
        *last = b'\n';
    }
    // Nobody to tell when standard error is closed.
    if let Some(to) = sys::inherited(2) {
        let _ = write_all(to, text.as_bytes());
    }
}

/// Writes everything, however often that takes.
pub(crate) fn write_all(to: impl rustix::fd::AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Somebody made our standard error or control descriptor non-blocking: it is waited for.
            Err(Errno::AGAIN) => {
                let mut fds = [rustix::event::PollFd::new(&to, rustix::event::PollFlags::OUT)];
                let _ = rustix::event::poll(&mut fds, None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes that came from outside, for a person: what is not printable is shown as `?`.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                f.write_char(if character.is_control() { '?' } else { character })?;
            }
            if !chunk.invalid().is_empty() {
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}

/// What the kernel said, in the words that people know from other programs. Without a C library there is no
/// strerror; these are the errors that the calls of this program return.
pub(crate) struct Why(pub(crate) Errno);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Errno::PERM => "operation not permitted",
            Errno::NOENT => "no such file or directory",
            Errno::IO => "input/output error",
            Errno::NXIO => "no such device or address",
            Errno::TOOBIG => "argument list too long",
            Errno::NOEXEC => "not a program",
            Errno::BADF => "not an open descriptor",
            Errno::AGAIN => "out of processes",
            Errno::NOMEM => "out of memory",
            Errno::ACCESS => "permission denied",
            Errno::NOTDIR => "not a directory",
            Errno::ISDIR => "is a directory",
            Errno::INVAL => "invalid argument",
            Errno::NFILE => "too many open files in the system",
            Errno::MFILE => "too many open files",
            Errno::TXTBSY => "the file is being written",
            Errno::NOSPC => "no space left on device",
            Errno::PIPE => "broken pipe",
            Errno::NAMETOOLONG => "name too long",
            Errno::LOOP => "too many symbolic links",
            Errno::NOTSOCK => "not a socket",
            Errno::PROTOTYPE => "a socket of another type",
            Errno::AFNOSUPPORT => "address family not supported",
            Errno::CONNREFUSED => "connection refused",
            Errno::CONNRESET => "connection reset",
            Errno::TIMEDOUT => "timed out",
            Errno::TOOMANYREFS => "too many descriptors in flight",
            other => return write!(f, "error {}", other.raw_os_error()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn what_a_peer_or_a_person_wrote_cannot_play_tricks_on_a_terminal() {
        assert_eq!(Shown(b"a\x1b[2Jb\xffc\n").to_string(), "a?[2Jb?c?");
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_and_says_so() {
        let mut text = Text::<8>::new();
        assert!(write!(text, "seven77").is_ok());
        assert!(write!(text, "more").is_err());
        assert_eq!(text.as_bytes(), b"seven77m");
    }
}
