//! The client: connect to a daemon, hand over sockets, ask what there is. `session` is what follows a request.

mod session;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tlsify_protocol::{Role, Scope, StatusQuery, Version};

use crate::answer::{Defined, First, Hello, Learned, Status};
use crate::encode;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::request::{Accept, Connect, Inventory, Profile};
pub use session::{Established, Pending, Session};
use session::{Request, no_answer_to};

/// How long a daemon may take to greet. It does so at once, so a daemon that needs longer is not usable; without a
/// limit a program would hang at its start.
const GREETING_LIMIT: Duration = Duration::from_secs(10);

/// A control connection to a daemon. Clones share it, and many threads may use it at once: each waits for its own
/// answers. It closes when the last clone and the last [`Pending`] and [`Session`] are gone; profiles go with it.
#[derive(Clone)]
pub struct Client {
    exchange: Arc<Exchange>,
    hello: Arc<Hello>,
}

impl Client {
    /// Connects to this user's or this host's daemon: `$TLSIFY_SOCK`, else `$XDG_RUNTIME_DIR/tlsifyd.sock` when it
    /// exists, else `/run/tlsifyd/tlsifyd.sock`.
    ///
    /// # Errors
    /// [`Error::NoDaemon`] when nobody answers there, [`Error::Refused`] when the daemon takes no more callers,
    /// [`Error::Protocol`] when it speaks no version that we speak.
    pub fn connect() -> Result<Self, Error> {
        Self::connect_to(socket_path(|name| std::env::var_os(name)))
    }

    /// Connects to the daemon that listens at this path.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_to(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let no_daemon = |source: io::Error| Error::NoDaemon { path: path.to_owned(), source };
        let address = SocketAddrUnix::new(path).map_err(|error| no_daemon(error.into()))?;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| Error::Io(error.into()))?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))
            .map_err(|error| no_daemon(error.into()))?;
        Self::from_socket(socket).map_err(|error| match error {
            Error::Io(source) => no_daemon(source),
            Error::Gone => no_daemon(io::ErrorKind::ConnectionReset.into()),
            other => other,
        })
    }

    /// Speaks over a connected socket: our end of the `SOCK_SEQPACKET` socketpair of a private daemon.
    ///
    /// # Errors
    /// [`Error::Gone`] when the other end is closed, [`Error::Io`] with `TimedOut` when it does not greet, and as
    /// [`Client::connect`].
    pub fn from_socket(socket: OwnedFd) -> Result<Self, Error> {
        let exchange = Exchange::new(socket);
        let hello = exchange.hello(GREETING_LIMIT)?;
        if !hello.versions.contains(&1) {
            return Err(Error::Protocol(format!("{} does not speak version 1", hello.daemon)));
        }
        Ok(Self { exchange: Arc::new(exchange), hello: Arc::new(hello) })
    }

    /// What the daemon said about itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The lowest TLS version that the host allows.
    #[must_use]
    pub fn floor(&self) -> Version {
        self.hello.floor
    }

    /// Defines a profile, or replaces the one of that name: open sessions keep what they have.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason, and the connection's own.
    pub fn define(&self, profile: &Profile) -> Result<Defined, Error> {
        let request = self.start(|id| encode::define(id, profile))?;
        match request.first(None)? {
            Some(First::Defined(defined)) => Ok(defined),
            other => Err(no_answer_to(other)),
        }
    }

    /// Opens TLS as the server, and waits until it is open.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Failed`] with the reason, and the connection's own.
    pub fn accept(&self, accept: &Accept) -> Result<Established, Error> {
        self.start_accept(accept)?.wait()
    }

    /// Opens TLS as the client, and waits until it is open and the peer is who it should be.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Failed`] with the reason, and the connection's own.
    pub fn connect_tls(&self, connect: &Connect) -> Result<Established, Error> {
        self.start_connect_tls(connect)?.wait()
    }

    /// First contact: goes as far as the peer's certificate and its proof of the key, tells what could be pinned and what
    /// [`Client::connect_tls`] would have come to, and opens nothing. Who answers for the first time can be somebody in
    /// between: the hash is to be compared with the peer's owner by another way before it is pinned. Nothing of a request
    /// makes a session of this; one with data descriptors, a store, exports or Encrypted Client
    /// Hello is refused.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Failed`] when nothing was learned (`key-unproven`: a certificate without a proof of its
    /// key), and the connection's own.
    pub fn learn(&self, connect: &Connect) -> Result<Learned, Error> {
        let request = self.start(|id| encode::learn(id, connect))?;
        match request.first(None)? {
            Some(First::Learned(learned)) => Ok(*learned),
            other => Err(no_answer_to(other)),
        }
    }

    /// Sends the request of [`Client::accept`] and does not wait for its answer.
    ///
    /// # Errors
    /// [`Error::Unwritable`], and the connection's own.
    pub fn start_accept(&self, accept: &Accept) -> Result<Pending, Error> {
        let ask = accept.ask.as_ref().map(|ask| Arc::clone(&ask.handler));
        Ok(Pending { request: self.start(|id| encode::accept(id, accept))?, ask, chosen: false })
    }

    /// Sends the request of [`Client::connect_tls`] and does not wait for its answer.
    ///
    /// # Errors
    /// [`Error::Unwritable`], and the connection's own.
    pub fn start_connect_tls(&self, connect: &Connect) -> Result<Pending, Error> {
        Ok(Pending { request: self.start(|id| encode::connect(id, connect))?, ask: None, chosen: false })
    }

    /// An inventory: of this user's own, or of everybody's for root and the operator. With `sessions` the answer has
    /// one line for each of them.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is not permitted, and the connection's own.
    pub fn status(&self, scope: Scope, sessions: bool) -> Result<Status, Error> {
        self.ask_status(|id| StatusQuery { id, scope, sessions, stores: false, callers: false })
    }

    /// An inventory with any of the lists: [`Inventory`] says which, and of whom.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is not permitted, or the daemon does not know a list yet (`unknown-key`); and the
    /// connection's own.
    pub fn inventory(&self, what: Inventory) -> Result<Status, Error> {
        let Inventory { scope, sessions, stores, callers } = what;
        self.ask_status(|id| StatusQuery { id, scope, sessions, stores, callers })
    }

    /// A line of text for each store of tickets or ticket keys, with counts: of this user's own, or of everybody's for
    /// root and the operator.
    ///
    /// # Errors
    /// As [`Client::status`], and [`Error::Io`] when the list cannot be read.
    pub fn stores(&self, scope: Scope) -> Result<String, Error> {
        let status =
            self.ask_status(|id| StatusQuery { id, scope, sessions: false, stores: true, callers: false })?;
        status.stores_text().map_err(Error::Io)
    }

    /// Empties this user's store of this name: one role's, or both. How many there were.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for what is no name, and the connection's own.
    pub fn forget(&self, store: &str, role: Option<Role>) -> Result<u64, Error> {
        forgotten(&self.start(|id| encode::forget(id, store, role))?)
    }

    /// The same for the store that is this file or directory of the user's, as in
    /// [`Connect::resume_file`](crate::Connect::resume_file) and [`Accept::resume_file`](crate::Accept::resume_file). A
    /// file with a server's keys has to be open for reading and writing: it gets a new key, and the old ones are wiped.
    /// The daemon gets a copy of the descriptor.
    ///
    /// # Errors
    /// [`Error::Refused`] when the file is another's, open to others, damaged, or cannot be written; and the
    /// connection's own.
    pub fn forget_file(&self, store: impl AsFd, role: Option<Role>) -> Result<u64, Error> {
        let store = store.as_fd();
        forgotten(&self.start(|id| encode::forget_file(id, store, role))?)
    }

    fn ask_status(&self, query: impl FnOnce(u64) -> StatusQuery) -> Result<Status, Error> {
        let request = self.start(|id| encode::status(query(id)))?;
        match request.first(None)? {
            Some(First::Status(status)) => Ok(status),
            other => Err(no_answer_to(other)),
        }
    }

    /// Takes an id, sends the packet made with it, and gives the id back when that fails.
    fn start<'a>(
        &self,
        packet: impl FnOnce(u64) -> Result<encode::Packet<'a>, Error>,
    ) -> Result<Request, Error> {
        let request = Request { id: self.exchange.open(), exchange: Arc::clone(&self.exchange) };
        let packet = packet(request.id)?;
        self.exchange.send(&packet.text, &packet.fds)?;
        Ok(request)
    }
}

/// The control connection, for an event loop: when it can be read, [`Pending::wait_within`] and
/// [`Session::ended_within`] with no time may have news. Read nothing from it.
impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exchange.socket().as_fd()
    }
}

/// How many stores were emptied.
fn forgotten(request: &Request) -> Result<u64, Error> {
    match request.first(None)? {
        Some(First::Forgotten(stores)) => Ok(stores),
        other => Err(no_answer_to(other)),
    }
}

/// The daemon's socket by the rules that every caller follows.
fn socket_path(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    if let Some(path) = variable("TLSIFY_SOCK").filter(|path| !path.is_empty()) {
        return path.into();
    }
    if let Some(folder) = variable("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        let personal = Path::new(&folder).join("tlsifyd.sock");
        if personal.exists() {
            return personal;
        }
    }
    "/run/tlsifyd/tlsifyd.sock".into()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("daemon", &self.hello.daemon).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_over_the_personal_socket_and_that_over_the_hosts() {
        let folder = std::env::temp_dir().join(format!("tlsify-client-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let named = |variable: &str| match variable {
            "TLSIFY_SOCK" => Some("/named.sock".into()),
            _ => Some(folder.clone().into_os_string()),
        };
        let personal =
            |variable: &str| (variable == "XDG_RUNTIME_DIR").then(|| folder.clone().into_os_string());
        assert_eq!(socket_path(named), Path::new("/named.sock"));
        assert_eq!(socket_path(personal), Path::new("/run/tlsifyd/tlsifyd.sock"), "it does not exist yet");
        std::fs::write(folder.join("tlsifyd.sock"), "").unwrap();
        assert_eq!(socket_path(personal), folder.join("tlsifyd.sock"));
        assert_eq!(socket_path(|_| None), Path::new("/run/tlsifyd/tlsifyd.sock"));
        assert_eq!(socket_path(|_| Some("".into())), Path::new("/run/tlsifyd/tlsifyd.sock"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_daemon_that_is_not_there_is_an_immediate_and_distinct_error() {
        let error = Client::connect_to("/nonexistent/tlsifyd.sock").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot reach tlsifyd at /nonexistent/tlsifyd.sock: no such file or directory"
        );
        assert!(error.hint().is_some());
    }
}
