//! A thread for a descriptor that can only block: a terminal, a regular file, a device.
//!
//! ```text
//!  terminal or file ── blocking read ──▶ pump ──▶ socket pair ──▶ relay        (outbound)
//!  relay ──▶ socket pair ──▶ pump ── blocking write ──▶ terminal or file       (inbound)
//! ```
//!
//! The loop of a core may not wait for a disk, a FUSE file system or somebody's Ctrl-S; a thread of
//! its own may. It ends with its session: each wait also watches the pair.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown, socketpair,
};

use super::end::End;

/// Bytes moved per step.
const CHUNK: usize = 32 * 1024;
/// A pump needs little stack: its buffer is on the heap.
const STACK: usize = 64 * 1024;
/// The last byte of a pump that wrote everything; any value would do.
const DELIVERED: u8 = 1;
/// Threads of this kind at once in the process. They serve shells and scripts, two per session;
/// a server with more sessions than this hands over sockets. Without a bound, one caller could
/// have the process run out of threads.
const MAX_PUMPS: usize = 2048;

static PUMPS: AtomicUsize = AtomicUsize::new(0);

/// Moves what can be read from `source` into the session. The returned end is the relay's.
///
/// # Errors
/// Too many pumps, or the system's limits.
pub(super) fn pump_outbound(source: OwnedFd) -> io::Result<End> {
    start("pump-out", source, |source, pair| {
        let mut buffer = vec![0; CHUNK];
        loop {
            wait_readable(&source, &pair)?;
            let count = match rustix::io::read(&source, &mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                // EIO: the terminal hung up.
                Err(Errno::IO) => break,
                Err(e) => return Err(e),
            };
            send_all(&pair, &buffer[..count])?;
        }
        shutdown(&pair, Shutdown::Write)
    })
}

/// Moves what the session has for the program into `sink`. The returned end is the relay's. When `sink`
/// has everything, the pump says so with one byte and closes the other end; when `sink` takes no more
/// (a full disk, a terminal that hung up), it closes it without: what it had taken is lost.
///
/// # Errors
/// Too many pumps, or the system's limits.
pub(super) fn pump_inbound(sink: OwnedFd) -> io::Result<End> {
    start("pump-in", sink, |sink, pair| {
        let mut buffer = vec![0; CHUNK];
        loop {
            match recv(&pair, &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return send_all(&pair, &[DELIVERED]),
                Ok((count, _)) => write_all(&sink, &buffer[..count])?,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    })
}

fn start(
    name: &str,
    fd: OwnedFd,
    work: impl FnOnce(OwnedFd, OwnedFd) -> Result<(), Errno> + Send + 'static,
) -> io::Result<End> {
    let place = Place::take()?;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
        let _place = place;
        // An error ends the pump, and the closed pair tells the relay.
        let _ = work(fd, theirs);
    })?;
    Ok(End::pumped(ours))
}

/// One of [`MAX_PUMPS`] places, given back when dropped.
struct Place;

impl Place {
    fn take() -> io::Result<Self> {
        let taken = PUMPS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < MAX_PUMPS).then_some(count + 1)
        });
        match taken {
            Ok(_) => Ok(Self),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!(
                    "{MAX_PUMPS} terminals and files are being moved already; hand over sockets or pipes"
                ),
            )),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        PUMPS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until `source` can be read, or fails when the session is gone.
fn wait_readable(source: &OwnedFd, pair: &OwnedFd) -> Result<(), Errno> {
    loop {
        // No request on the pair: POLLHUP and POLLERR are reported all the same.
        let mut fds = [PollFd::new(source, PollFlags::IN), PollFd::new(pair, PollFlags::empty())];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
            Ok(_) if fds[1].revents().intersects(PollFlags::HUP | PollFlags::ERR) => return Err(Errno::PIPE),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
            Ok(_) => {}
        }
    }
}

fn send_all(pair: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match send(&pair, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn write_all(sink: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(sink, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // The caller's own O_NONBLOCK is on it: wait until it takes more.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(sink, PollFlags::OUT)];
                poll(&mut fds, None)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn a_file_is_read_to_its_end() {
        let mut file = tempfile();
        file.write_all(b"from a file").expect("write");
        file.rewind().expect("rewind");
        let end = pump_outbound(file.into()).expect("pump");
        assert_eq!(read_all(&end), b"from a file");
    }

    #[test]
    fn a_file_has_everything_before_the_pump_closes() {
        let mut file = tempfile();
        let end = pump_inbound(file.try_clone().expect("dup").into()).expect("pump");
        assert_eq!(end.write(b"to a file"), Ok(9));
        shutdown(end.as_fd(), Shutdown::Write).expect("shutdown");
        assert_eq!(read_all(&end), [DELIVERED]);
        file.rewind().expect("rewind");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "to a file");
    }

    #[test]
    fn a_pump_whose_disk_is_full_does_not_say_that_it_delivered() {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("every Linux has it");
        let end = pump_inbound(full.into()).expect("pump");
        assert_eq!(end.write(b"too much"), Ok(8));
        shutdown(end.as_fd(), Shutdown::Write).expect("shutdown");
        assert_eq!(read_all(&end), b"");
    }

    fn tempfile() -> std::fs::File {
        let fd = rustix::fs::memfd_create("pump-test", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd");
        fd.into()
    }

    fn read_all(end: &End) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 100];
        loop {
            match recv(end.as_fd(), &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return all,
                Ok((count, _)) => all.extend_from_slice(&buffer[..count]),
                Err(Errno::INTR) => {}
                Err(e) => panic!("recv: {e}"),
            }
        }
    }
}
