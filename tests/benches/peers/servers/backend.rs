//! The back end: a small HTTP server in one thread with one epoll, as lean as an honest server is. Nothing is copied or
//! allocated for a request that comes whole, and a connection is told of room only while it waits for it.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags, listen, recv, send};

use super::announce;
use super::door::{Door, accept};
use super::http::{MAX_HEAD, Request, What, download_head, end};

/// Written at once. Larger made no difference.
const PIECE: usize = 128 * 1024;
/// Read at once.
const READ: usize = 256 * 1024;
const EVENTS: usize = 256;
/// As many as a flood opens at once, and more.
const BACKLOG: i32 = 4096;

const LISTENER: u64 = u64::MAX;
const DOOR: u64 = u64::MAX - 1;

/// Serves for ever.
pub(super) fn serve(mut door: impl Door) -> ! {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listen(&listener, BACKLOG).expect("it listens already");
    ioctl_fionbio(&listener, true).expect("a socket has this flag");
    let mut backend = Backend::new();
    backend.watch(&listener, LISTENER);
    if let Some(fd) = door.watched() {
        backend.watch(fd, DOOR);
    }
    announce(listener.local_addr().expect("it is bound"));
    let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&backend.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll: {error}"),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => {
                    while let Some(socket) = accept(&listener) {
                        if let Some(socket) = door.accepted(socket) {
                            backend.enter(Connection::new(socket));
                        }
                    }
                }
                DOOR => door.ready(&mut |socket| backend.begin(socket)),
                index => backend.turn(usize::try_from(index).expect("it was a position")),
            }
        }
    }
}

struct Backend {
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Read into by whoever has its turn.
    buffer: Vec<u8>,
    /// Downloads are made of this.
    body: Vec<u8>,
}

struct Connection {
    socket: OwnedFd,
    state: State,
    /// The kernel tells of room.
    wants_room: bool,
}

enum State {
    /// What has come of the next head.
    Head(Vec<u8>),
    /// So many bytes of an upload are still to come.
    Upload(Request, u64),
    /// What is left of the head, and of the body.
    Download { head: Vec<u8>, left: u64, last: bool },
}

/// What is next for a connection.
enum Next {
    Wait { room: bool },
    Close,
}

impl Backend {
    fn new() -> Self {
        Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is free"),
            connections: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; READ],
            body: vec![7; PIECE],
        }
    }

    fn watch(&self, fd: impl AsFd, data: u64) {
        epoll::add(&self.epoll, fd, EventData::new_u64(data), EventFlags::IN).expect("it can be watched");
    }

    /// A connection whose request has often come already: it is watched only if it has to wait for something.
    fn begin(&mut self, socket: OwnedFd) {
        let mut connection = Connection::new(socket);
        if let Next::Wait { room } = connection.turn(&mut self.buffer, &self.body) {
            connection.wants_room = room;
            self.enter(connection);
        }
    }

    fn enter(&mut self, connection: Connection) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let data = EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &connection.socket, data, interest(connection.wants_room))
            .expect("it can be watched");
        self.connections[index] = Some(connection);
    }

    fn turn(&mut self, index: usize) {
        // It was closed by an event of the same batch.
        let Some(connection) = &mut self.connections[index] else { return };
        match connection.turn(&mut self.buffer, &self.body) {
            Next::Wait { room } if room == connection.wants_room => {}
            Next::Wait { room } => {
                let data = EventData::new_u64(index as u64);
                epoll::modify(&self.epoll, &connection.socket, data, interest(room)).expect("it is watched");
                connection.wants_room = room;
            }
            Next::Close => {
                self.connections[index] = None;
                self.free.push(index);
            }
        }
    }
}

fn interest(room: bool) -> EventFlags {
    if room { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, state: State::Head(Vec::new()), wants_room: false }
    }

    fn turn(&mut self, buffer: &mut [u8], body: &[u8]) -> Next {
        if let State::Download { .. } = self.state {
            return self.download(body);
        }
        match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Next::Close,
            Ok((count, _)) => self.heard(&buffer[..count], body),
            Err(Errno::AGAIN | Errno::INTR) => Next::Wait { room: false },
            Err(_) => Next::Close,
        }
    }

    /// The load sends one request and waits for its response: nothing comes behind one.
    fn heard(&mut self, bytes: &[u8], body: &[u8]) -> Next {
        match &mut self.state {
            State::Upload(request, left) => {
                let request = *request;
                *left = left.saturating_sub(bytes.len() as u64);
                if *left == 0 { self.answer(request) } else { Next::Wait { room: false } }
            }
            State::Head(begun) if begun.is_empty() => match end(bytes) {
                Some(at) => self.begin(&bytes[..at], bytes.len() - at, body),
                None => self.keep(bytes),
            },
            State::Head(begun) => {
                let mut head = std::mem::take(begun);
                head.extend_from_slice(bytes);
                match end(&head) {
                    Some(at) => self.begin(&head[..at], head.len() - at, body),
                    None => self.keep(&head),
                }
            }
            State::Download { .. } => Next::Wait { room: true },
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Next {
        if bytes.len() > MAX_HEAD {
            return Next::Close;
        }
        self.state = State::Head(bytes.to_vec());
        Next::Wait { room: false }
    }

    fn begin(&mut self, head: &[u8], behind: usize, body: &[u8]) -> Next {
        let Some(request) = Request::read(head) else { return Next::Close };
        match request.what {
            What::Upload(count) if count > behind as u64 => {
                self.state = State::Upload(request, count - behind as u64);
                Next::Wait { room: false }
            }
            What::Small | What::Upload(_) => self.answer(request),
            What::Download(count) => {
                let head = download_head(count, request.last).into_bytes();
                self.state = State::Download { head, left: count, last: request.last };
                self.download(body)
            }
        }
    }

    /// A response that any socket takes whole.
    fn answer(&mut self, request: Request) -> Next {
        self.state = State::Head(Vec::new());
        match self.send(request.answer()) {
            Ok(_) if !request.last => Next::Wait { room: false },
            // Closing says the end, to the peer or to tlsifyd.
            _ => Next::Close,
        }
    }

    fn download(&mut self, body: &[u8]) -> Next {
        loop {
            let State::Download { head, left, last } = &self.state else { return Next::Wait { room: false } };
            let piece = match (head.as_slice(), *left) {
                ([], 0) if *last => return Next::Close,
                ([], 0) => {
                    self.state = State::Head(Vec::new());
                    return Next::Wait { room: false };
                }
                ([], left) => &body[..body.len().min(usize::try_from(left).unwrap_or(usize::MAX))],
                (head, _) => head,
            };
            let sent = match self.send(piece) {
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => return Next::Wait { room: true },
                Err(_) => return Next::Close,
            };
            if let State::Download { head, left, .. } = &mut self.state {
                if head.is_empty() {
                    *left -= sent as u64;
                } else {
                    head.drain(..sent);
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
    }
}
