//! A request to be the TLS client.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use super::{Start, Tls};

/// A request to be the TLS client on a connected socket, or on one that the daemon connects.
#[derive(Debug)]
#[must_use]
pub struct Connect {
    pub(crate) start: Start,
    pub(crate) names: Vec<String>,
    pub(crate) server_name: Option<Option<String>>,
    pub(crate) ech_config: Option<Vec<u8>>,
    pub(crate) ech_grease: bool,
    pub(crate) to: Option<String>,
    pub(crate) fast_open: bool,
    pub(crate) tls: Tls,
}

impl Connect {
    /// Hands over this connected stream socket. Keep no other copy of it: the session's traffic is the daemon's.
    pub fn new(net: impl Into<OwnedFd>) -> Self {
        Self::on(vec![net.into()], None)
    }

    /// Has the daemon look up and connect: `HOST:PORT`, or `[ADDRESS]:PORT` for IPv6. The sockets are made here, one of
    /// each address family that this host has, so they are of this process's network namespace and this user's; nothing
    /// of the network is waited for. Which names the certificate may have is for [`Self::name`] to say, as always.
    ///
    /// # Errors
    /// The system's, when it has no socket of either family.
    pub fn to(target: impl Into<String>) -> io::Result<Self> {
        let socket =
            |family| socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP));
        let sockets = match (socket(AddressFamily::INET6), socket(AddressFamily::INET)) {
            (Err(_), Err(error)) => return Err(error.into()),
            (six, four) => six.into_iter().chain(four),
        };
        Ok(Self::to_with(target, sockets))
    }

    /// The same with sockets of the caller's: TCP, neither connected nor listening, at most 8. What was set on them (a
    /// bound address, a mark, a device, a namespace) stays. One of each family lets both be tried at once; more of a
    /// family let its addresses race. Those that are not used are put back and closed by the daemon.
    pub fn to_with<S: Into<OwnedFd>>(
        target: impl Into<String>,
        sockets: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::on(sockets.into_iter().map(Into::into).collect(), Some(target.into()))
    }

    fn on(nets: Vec<OwnedFd>, to: Option<String>) -> Self {
        let (names, server_name, ech_config, ech_grease, fast_open, tls) = Default::default();
        Self { start: Start::new(nets), names, server_name, ech_config, ech_grease, to, fast_open, tls }
    }

    /// Lets the first bytes travel with the SYN (TCP Fast Open, RFC 7413), where kernel and peer know each other from
    /// an earlier connection: a round trip less. Only with [`Self::to`] or [`Self::to_with`].
    pub fn fast_open(mut self) -> Self {
        self.fast_open = true;
        self
    }

    /// Resumes from this store of tickets, which all processes of this user that name it share, and keeps new ones in
    /// it. The name has 1 to 64 of `A-Z a-z 0-9 . _ -`. Without it nothing is remembered.
    pub fn resume(mut self, store: impl Into<String>) -> Self {
        self.start.resume = Some(store.into());
        self
    }

    /// The same with a store that is known by this file or directory instead of a name: of this user's, which only this
    /// user may open (mode 0600, 0700). Nothing is read from it or written to it: tickets stay in the daemon's memory.
    pub fn resume_file(mut self, store: impl Into<OwnedFd>) -> Self {
        self.start.tickets = Some(store.into());
        self
    }

    /// Adds a reference identifier (RFC 9525): a DNS name in its ASCII form, an IP address, a service of a domain
    /// (`srv:_imaps.mail.example`) or a scheme and a host (`uri:sip:voice.example`). The peer's certificate must be valid
    /// for at least one of them.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Sends this server name (RFC 6066 section 3) instead of the first DNS name, or the domain of another first name.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(Some(name.into()));
        self
    }

    /// Encrypts the ClientHello (RFC 9849), and with it the server name, to this ECHConfigList: what the DNS has in the
    /// `ech` parameter of the server's HTTPS record, or what a server that rejected an older one gave
    /// ([`Failed::ech_retry`](crate::Failed::ech_retry)). TLS 1.3 only. It is public data, 8,192 bytes at most.
    pub fn ech_config(mut self, list: impl Into<Vec<u8>>) -> Self {
        self.ech_config = Some(list.into());
        self
    }

    /// Sends something that looks like an encrypted ClientHello and says nothing (RFC 9849 section 6.2), so that the real
    /// ones do not stand out. The server name is in the clear. TLS 1.3 only.
    pub fn ech_grease(mut self) -> Self {
        self.ech_grease = true;
        self
    }

    /// Sends no server name.
    pub fn no_server_name(mut self) -> Self {
        self.server_name = Some(None);
        self
    }
}
