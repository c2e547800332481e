//! A connection to an agent, made without waiting.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use crate::io::agent::wire::Opened;
use crate::io::connect_path;

/// Tries once. A socket whose queue is full, as that of an agent that was stopped, must not keep the supervisor: who wants
/// the connection asks again.
pub(super) fn once(path: &Path) -> (Opened, Option<OwnedFd>) {
    match connect_path(path) {
        Ok(socket) => (Opened::Here, Some(socket)),
        // On AF_UNIX: nobody accepts, and the queue is full.
        Err(Errno::AGAIN) => (Opened::Busy, None),
        Err(errno) => {
            let why = crate::process::reason(&errno.into());
            (Opened::Away(format!("cannot connect to {}: {why}", path.display())), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::process::test_folder::Folder;

    #[test]
    fn a_full_queue_is_busy_and_nobody_is_away() {
        let folder = Folder::new();
        let path = folder.path("agent.sock");
        let nobody = once(&path);
        assert!(
            matches!(&nobody, (Opened::Away(why), None) if why.contains("no such file")),
            "{nobody:?} at {}",
            path.display()
        );
        let listener = UnixListener::bind(&path).unwrap();
        let mut queued = Vec::new();
        loop {
            match once(&path) {
                (Opened::Here, Some(socket)) => queued.push(socket),
                (Opened::Busy, None) => break,
                other => panic!("{other:?}"),
            }
            assert!(queued.len() < 100_000, "the queue has no end");
        }
        let accepted = listener.accept().unwrap();
        assert!(matches!(once(&path), (Opened::Here, Some(_))));
        drop((accepted, listener));
        assert!(matches!(once(&path), (Opened::Away(why), None) if why.contains("connection refused")));
    }

    #[test]
    fn what_is_no_stream_socket_is_away() {
        let folder = Folder::new();
        let path = folder.path("datagrams.sock");
        let _socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(matches!(once(&path), (Opened::Away(_), None)));
        let file = folder.path("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(once(&file), (Opened::Away(_), None)));
    }
}
