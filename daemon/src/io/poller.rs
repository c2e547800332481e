//! One epoll instance per worker: every session's descriptors, registered once, edge-triggered.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

/// Events taken per call. More would let one call's work grow; fewer cost more calls.
const EVENTS: usize = 256;

/// Which descriptor of a session an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The network socket.
    Net,
    /// The program's socket, or the descriptor that goes to the program.
    Inbound,
    /// The descriptor that comes from the program, where it is one of its own.
    Outbound,
}

/// A session's place in its worker's table, and which life of that place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Index in the table.
    pub slot: u32,
    /// Counts the sessions of this slot, so that a late event or command finds nobody else.
    pub life: u32,
}

impl Token {
    /// 32 bits of slot, 30 of life, 2 of which.
    fn pack(self, which: Which) -> u64 {
        (u64::from(self.slot) << 32) | (u64::from(self.life & LIFE_MASK) << 2) | which as u64
    }

    fn unpack(data: u64) -> (Self, Which) {
        let which = match data & 3 {
            0 => Which::Net,
            1 => Which::Inbound,
            _ => Which::Outbound,
        };
        let slot = u32::try_from(data >> 32).unwrap_or(u32::MAX);
        let life = u32::try_from(data >> 2 & u64::from(LIFE_MASK)).unwrap_or(0);
        (Self { slot, life }, which)
    }
}

/// Lives are compared in this many bits.
pub(crate) const LIFE_MASK: u32 = (1 << 30) - 1;

/// What an event says of one descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Reading would not block.
    pub readable: bool,
    /// Writing would not block.
    pub writable: bool,
    /// No more will come, or an error waits to be read: keep reading until it shows.
    pub ended: bool,
    /// Both directions are gone (EPOLLHUP, EPOLLERR).
    pub hung_up: bool,
}

/// The epoll instance.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// # Errors
    /// The system's: out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Registers `fd`, once, for reading and for its end. The first event says how it stands now.
    ///
    /// # Errors
    /// `EPERM` for what cannot be polled, and the system's limits.
    pub fn add(&self, fd: impl AsFd, token: Token, which: Which) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.pack(which));
        Ok(epoll::add(&self.epoll, fd, data, flags(false))?)
    }

    /// Says whether room to write is waited for. A Unix socket tells of room whenever the program reads: left on,
    /// each read of a program would wake this core for nothing. Room that is there already is told of at once.
    ///
    /// # Errors
    /// `ENOENT` for what is not registered.
    pub fn await_room(&self, fd: impl AsFd, token: Token, which: Which, wanted: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.pack(which));
        Ok(epoll::modify(&self.epoll, fd, data, flags(wanted))?)
    }

    /// Forgets `fd`. Must come before closing it: epoll keeps a registration while any copy of the
    /// description lives, and the caller may hold one.
    pub fn remove(&self, fd: impl AsFd) {
        // ENOENT is what a descriptor says that was never registered: nothing to forget.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Hands each event that waits now to `each`, at most 256. Returns whether there may be more.
    ///
    /// # Errors
    /// The system's; an interrupted call counts as no event.
    pub fn poll(
        &self,
        buffer: &mut Vec<epoll::Event>,
        mut each: impl FnMut(Token, Which, Readiness),
    ) -> io::Result<bool> {
        buffer.clear();
        buffer.reserve(EVENTS);
        let none = Timespec::try_from(Duration::ZERO).ok();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(buffer), none.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        for event in buffer.iter() {
            let (token, which) = Token::unpack(event.data.u64());
            let flags = event.flags;
            let hung_up = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            each(
                token,
                which,
                Readiness {
                    readable: flags.contains(epoll::EventFlags::IN) || hung_up,
                    writable: flags.contains(epoll::EventFlags::OUT) || hung_up,
                    ended: flags.contains(epoll::EventFlags::RDHUP) || hung_up,
                    hung_up,
                },
            );
        }
        Ok(buffer.len() >= EVENTS)
    }
}

/// Reading, both ends, errors, and `room` to write; told once for each change.
fn flags(room: bool) -> epoll::EventFlags {
    let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
    if room { flags | epoll::EventFlags::OUT } else { flags }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        for which in [Which::Net, Which::Inbound, Which::Outbound] {
            let token = Token { slot: 19_999, life: LIFE_MASK };
            assert_eq!(Token::unpack(token.pack(which)), (token, which));
        }
    }

    #[test]
    fn a_program_that_reads_wakes_us_only_while_its_room_is_waited_for() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let (poller, token) = (Poller::new().expect("epoll"), Token { slot: 1, life: 1 });
        poller.add(&ours, token, Which::Inbound).expect("add");
        let seen = || {
            let mut seen = Vec::new();
            poller.poll(&mut Vec::new(), |_, _, readiness| seen.push(readiness.writable)).expect("poll");
            seen
        };
        let read = || assert_eq!(rustix::io::read(&theirs, &mut [0; 1]), Ok(1));
        rustix::io::write(&ours, b"ab").expect("room");
        read();
        assert_eq!(seen(), [false; 0]);
        poller.await_room(&ours, token, Which::Inbound, true).expect("registered");
        assert_eq!(seen(), [true], "room that was there already");
        read();
        assert_eq!(seen(), [true]);
        poller.await_room(&ours, token, Which::Inbound, false).expect("registered");
        rustix::io::write(&ours, b"c").expect("room");
        read();
        assert_eq!(seen(), [false; 0]);
    }

    #[test]
    fn a_removed_descriptor_is_silent_while_a_copy_lives() {
        let poller = Poller::new().expect("epoll");
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let copy = reader.try_clone().expect("dup");
        poller.add(&reader, Token { slot: 1, life: 1 }, Which::Net).expect("add");
        poller.remove(&reader);
        drop(reader);
        rustix::io::write(&writer, b"x").expect("write");
        let mut events = Vec::new();
        poller.poll(&mut events, |token, _, _| panic!("event for {token:?}")).expect("poll");
        drop(copy);
    }
}
