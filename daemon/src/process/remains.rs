//! What is left of a worker that died: the connections of its callers, and which sessions they had.
//!
//! The supervisor keeps a copy of each connection that stays, and looks at none: no byte of a caller is read here. It
//! speaks once, when nobody else can any more.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use tlsify_protocol::{Answer, Blame, Code, Ended, Failed, How, Items, MAX_PACKET, Socket, Words};

use crate::engine::Noted;
use crate::io::between::{Channel, ChannelError};
use crate::io::{ControlSocket, Registry, Row};

/// Copies at most. A worker that was taken over could send descriptors for as long as it lives; so many callers at the
/// same time are those of a hundred users who all have as many connections as one may.
pub(super) const MOST: usize = 16 * 1024;

/// The remains of one worker, while it still lives.
#[derive(Debug)]
pub(super) struct Remains {
    registry: Registry,
    channel: Channel,
    connections: HashMap<u32, OwnedFd>,
    most: usize,
}

/// What the worker gets of it.
#[derive(Debug)]
pub(super) struct Shares {
    /// For [`Registry::map`].
    pub(super) memory: OwnedFd,
    /// For [`Noted`].
    pub(super) channel: OwnedFd,
}

impl Remains {
    /// For a worker with so many cores, and so many sessions on each at most; `most` connections are kept.
    ///
    /// # Errors
    /// The system's: out of descriptors or memory.
    pub(super) fn new(cores: usize, sessions: u32, most: usize) -> io::Result<(Self, Shares)> {
        let memory = Registry::memory(cores, sessions)?;
        let registry = Registry::map(&memory, cores)?;
        let (channel, theirs) = Channel::pair()?;
        let remains = Self { registry, channel, connections: HashMap::new(), most };
        Ok((remains, Shares { memory, channel: theirs }))
    }

    /// Takes note of what the worker tells, until it is gone. Dropping the future loses nothing.
    pub(super) async fn listen(&mut self) {
        loop {
            match self.channel.next().await {
                Ok((noted, fds)) => self.note(noted, fds),
                Err(ChannelError::Gone) => return,
                Err(error) => {
                    // It goes on without: its callers learn less, should it die.
                    tracing::error!(%error, "the worker's connections are not known any more");
                    return std::future::pending().await;
                }
            }
        }
    }

    fn note(&mut self, noted: Noted, fds: Vec<OwnedFd>) {
        match noted {
            Noted::Came(numbers) => {
                let room = self.most.saturating_sub(self.connections.len());
                self.connections.extend(numbers.into_iter().zip(fds).take(room));
            }
            Noted::Left(numbers) => {
                for number in numbers {
                    self.connections.remove(&number);
                }
            }
        }
    }

    /// The worker is dead: says so to each caller about each of its sessions, and closes. How many sessions were told of.
    pub(super) fn tell(mut self) -> usize {
        while let Ok((noted, fds)) = self.channel.receive() {
            self.note(noted, fds);
        }
        let open = |fd| ControlSocket::new(fd).ok();
        let callers: HashMap<u32, ControlSocket> =
            self.connections.drain().filter_map(|(number, fd)| Some((number, open(fd)?))).collect();
        let mut packet = vec![0; MAX_PACKET];
        let told = self.registry.sessions().filter(|row| {
            let Some(caller) = callers.get(&row.connection) else { return false };
            let length = last_word(row).write(&mut packet);
            length.is_ok_and(|length| caller.send(&[IoSlice::new(&packet[..length])], &[]).is_ok())
        });
        told.count()
    }
}

/// The same words as the worker would have had for a fault of its own.
fn last_word(row: &Row) -> Answer<'static> {
    if row.open {
        return Answer::Ended(Ended {
            id: row.id,
            how: How::Error,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
            alert: None,
            code: Some(Code::Internal),
            blame: Some(Blame::Daemon),
            text: Some("the process that served the session has died"),
        });
    }
    Answer::Failed(Failed {
        id: row.id,
        code: Code::Internal,
        blame: Blame::Daemon,
        socket: Socket::Closed,
        alert: None,
        spki_sha256: None,
        certificate_sha256: None,
        ech_retry: None,
        fds: Words::default(),
        text: "the process that served the handshake has died",
        would: None,
        notes: Items::default(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::io::Token;

    fn pair() -> (ControlSocket, OwnedFd) {
        let (caller, worker) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("pair");
        (ControlSocket::new(caller).expect("socket"), worker)
    }

    #[tokio::test]
    async fn each_caller_hears_of_its_own_sessions_once_and_is_closed() {
        let (mut remains, Shares { memory, channel }) = Remains::new(1, 10, MOST).expect("remains");
        let worker = (Registry::map(&memory, 1).expect("map"), Channel::new(channel).expect("channel"));
        let ((one, ones), (other, others)) = (pair(), pair());
        worker.1.send(&Noted::Came(vec![1, 2]), &[ones.as_fd(), others.as_fd()]).expect("room");
        worker.1.send(&Noted::Left(vec![2]), &[]).expect("room");
        let token = |slot| Token { slot, life: 1 };
        for (slot, connection, id) in [(0, 1, 5), (1, 1, 6), (2, 2, 5)] {
            worker.0.enter(0, token(slot), connection, id);
        }
        worker.0.opened(0, token(0));
        worker.0.moved(0, token(0), (3, 4));
        drop((worker, ones));
        remains.listen().await;
        drop(others);
        assert!(other.receive(MAX_PACKET).is_err(), "its copy was closed when it left");
        assert_eq!(remains.tell(), 2);
        let text = |socket: &ControlSocket| {
            String::from_utf8(socket.receive(MAX_PACKET).expect("packet").bytes).expect("text")
        };
        let (ended, failed) = (text(&one), text(&one));
        assert!(ended.starts_with("tlsify/1 ended\nid=5\nhow=error\n"), "{ended}");
        assert!(
            ended.contains("in=3") && ended.contains("out=4") && ended.contains("blame=daemon"),
            "{ended}"
        );
        assert!(failed.starts_with("tlsify/1 failed\nid=6\n"), "{failed}");
        assert!(one.receive(MAX_PACKET).is_err(), "closed behind the last word");
    }
}
