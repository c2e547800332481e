//! The far end: buffered rustls on a blocking socket, written to be obvious and not to be fast. It shares the TLS
//! library with the daemon and none of the daemon's code; other libraries are met in `tests/interop`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use crate::pki::Identity;
use crate::wait::LIMIT;

/// Both versions that there are.
pub const BOTH_VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];
/// TLS 1.2 only.
pub const ONLY_TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
/// TLS 1.3 only.
pub const ONLY_TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// How a peer's stream ended, as this end saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side sent close_notify (RFC 8446 section 6.1).
    CloseNotify,
    /// FIN without it.
    Truncated,
    /// RST.
    Reset,
    /// A fatal alert came.
    Alert(AlertDescription),
}

/// One TLS endpoint in the test's process. Each of its waits fails after the rig's time limit.
#[derive(Debug)]
pub struct Peer {
    /// The TLS state, for what the methods here do not do.
    pub tls: Connection,
    /// The socket, for what goes below TLS.
    pub socket: TcpStream,
}

/// A connected pair of TCP sockets on the loopback interface, as (connecting, accepting).
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let ours = TcpStream::connect(listener.local_addr().expect("it listens")).expect("it listens");
    let (theirs, from) = listener.accept().expect("somebody connects");
    assert_eq!(ours.local_addr().expect("it is connected"), from, "somebody else connected");
    (ours, theirs)
}

/// A server's configuration with one identity; set `alpn_protocols` and others on it as needed.
pub fn server_config(identity: &Identity, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("the versions are known")
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.key())
        .expect("our own identity is good")
}

/// A client's configuration that trusts these roots; with an identity, it shows it when asked.
pub fn client_config(
    roots: RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&Identity>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("the versions are known")
        .with_root_certificates(roots);
    match identity {
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain(), identity.key()).expect("our own identity is good")
        }
        None => builder.with_no_client_auth(),
    }
}

impl Peer {
    /// A TLS server on a connected socket. Nothing is sent or received yet.
    pub fn server(socket: TcpStream, config: impl Into<Arc<ServerConfig>>) -> Self {
        let tls = ServerConnection::new(config.into()).expect("a configuration of this rig is good");
        Self::new(tls.into(), socket)
    }

    /// A TLS client on a connected socket that wants to reach `name`. Nothing is sent or received yet.
    pub fn client(socket: TcpStream, config: impl Into<Arc<ClientConfig>>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).expect("a name or address");
        let tls = ClientConnection::new(config.into(), name).expect("a configuration of this rig is good");
        Self::new(tls.into(), socket)
    }

    fn new(tls: Connection, socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
        socket.set_write_timeout(Some(LIMIT)).expect("a limit that is not zero");
        Self { tls, socket }
    }

    /// The handshake, up to the point where data may flow.
    ///
    /// # Errors
    /// Rustls' reason inside an [`io::Error`] (the alert for the other side is sent), or the socket's.
    pub fn handshake(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.step()?;
        }
        // A server's tickets, a client's Finished.
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The socket's.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream(|stream| {
            stream.write_all(bytes)?;
            stream.flush()
        })
    }

    /// Receives something, or nothing at the end with close_notify.
    ///
    /// # Errors
    /// `UnexpectedEof` for an end without close_notify, rustls' reason, or the socket's.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream(|stream| stream.read(into))
    }

    /// Receives exactly so many bytes.
    ///
    /// # Errors
    /// As [`Peer::read`], and `UnexpectedEof` when there are fewer.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream(|stream| stream.read_exact(&mut bytes))?;
        Ok(bytes)
    }

    /// Receives to the end, and says which end it was.
    ///
    /// # Errors
    /// The socket's, a time limit among them, and rustls' reason for what is no end.
    pub fn read_to_end(&mut self) -> io::Result<(Vec<u8>, End)> {
        let mut bytes = Vec::new();
        let mut some = [0; 16 * 1024];
        loop {
            match self.read(&mut some) {
                Ok(0) => return Ok((bytes, End::CloseNotify)),
                Ok(count) => bytes.extend_from_slice(&some[..count]),
                Err(error) => return end(&error).map(|end| (bytes, end)).ok_or(error),
            }
        }
    }

    /// Sends `bytes` and receives `count` bytes at the same time, so that both directions can be full at once.
    ///
    /// # Errors
    /// The socket's, `TimedOut` when nothing moves for the rig's time limit, rustls' reason.
    pub fn both_ways(&mut self, mut bytes: &[u8], count: usize) -> io::Result<Vec<u8>> {
        let mut got = Vec::with_capacity(count);
        self.socket.set_nonblocking(true)?;
        while !bytes.is_empty() || self.tls.wants_write() || got.len() < count {
            let mut moved = self.tls.writer().write(bytes)?;
            bytes = &bytes[moved..];
            if self.tls.wants_write() {
                moved += ready(self.tls.write_tls(&mut self.socket))?.unwrap_or(0);
            }
            if got.len() < count {
                match ready(self.tls.read_tls(&mut self.socket))? {
                    Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Some(_) => {
                        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
                        let from = got.len();
                        got.resize(from + state.plaintext_bytes_to_read(), 0);
                        self.tls.reader().read_exact(&mut got[from..])?;
                        moved += 1;
                    }
                    None => {}
                }
            }
            if moved == 0 {
                self.await_socket(got.len() < count)?;
            }
        }
        self.socket.set_nonblocking(false)?;
        Ok(got)
    }

    /// Sends close_notify; the other direction stays open (RFC 8446 section 6.1).
    ///
    /// # Errors
    /// The socket's.
    pub fn close_notify(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Half-close: close_notify and FIN, and the other direction stays open.
    ///
    /// # Errors
    /// The socket's.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.close_notify()?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// FIN without close_notify: what an attacker can do to any stream.
    ///
    /// # Errors
    /// The socket's.
    pub fn truncate(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// RST: what a crash or a middle box does.
    pub fn reset(self) {
        reset(self.socket);
    }

    /// Goes quiet: TLS is forgotten and the socket stays open for as long as the result is kept.
    pub fn stall(self) -> TcpStream {
        self.socket
    }

    /// The version that was agreed on.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.tls.protocol_version()
    }

    /// The application protocol that was agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// One exchange with the socket. When TLS fails, the alert is sent before the reason is told.
    fn step(&mut self) -> io::Result<()> {
        match self.tls.complete_io(&mut self.socket) {
            Ok(_) => Ok(()),
            Err(error) => {
                let _ = self.tls.write_tls(&mut self.socket);
                Err(error)
            }
        }
    }

    fn stream<T>(&mut self, work: impl FnOnce(&mut dyn ReadWrite) -> io::Result<T>) -> io::Result<T> {
        match &mut self.tls {
            Connection::Client(tls) => work(&mut rustls::Stream::new(tls, &mut self.socket)),
            Connection::Server(tls) => work(&mut rustls::Stream::new(tls, &mut self.socket)),
        }
    }

    fn await_socket(&self, read: bool) -> io::Result<()> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, read);
        events.set(PollFlags::POLLOUT, self.tls.wants_write());
        let limit = PollTimeout::try_from(LIMIT).expect("a limit of seconds fits");
        match poll(&mut [PollFd::new(self.socket.as_fd(), events)], limit)? {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing moves in either direction")),
            _ => Ok(()),
        }
    }
}

/// Closes with RST instead of FIN.
pub fn reset(socket: TcpStream) {
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&socket, sockopt::Linger, &at_once).expect("a TCP socket has this option");
    drop(socket);
}

/// Both halves of a stream.
trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A stream's error as the end that it is, if it is one.
fn end(error: &io::Error) -> Option<End> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => return Some(End::Truncated),
        io::ErrorKind::ConnectionReset => return Some(End::Reset),
        _ => {}
    }
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(End::Alert(*alert)),
        _ => None,
    }
}

/// What a socket that does not wait has now.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{KeyKind, SERVER_NAME, pki};
    use crate::wait::running;

    fn pair(versions: &'static [&'static SupportedProtocolVersion], kind: KeyKind) -> (Peer, Peer) {
        let (near, far) = tcp_pair();
        let server = running("server", move || {
            let mut server = Peer::server(far, server_config(pki().server(kind), versions));
            server.handshake().unwrap();
            server
        });
        let mut client = Peer::client(near, client_config(pki().ca.roots(), versions, None), SERVER_NAME);
        client.handshake().unwrap();
        (client, server.join())
    }

    #[test]
    fn each_end_is_told_apart() {
        let (mut client, mut server) = pair(ONLY_TLS13, KeyKind::EcdsaP256);
        server.write_all(b"all of it").unwrap();
        server.half_close().unwrap();
        assert_eq!(client.read_to_end().unwrap(), (b"all of it".to_vec(), End::CloseNotify));

        let (mut client, mut server) = pair(ONLY_TLS12, KeyKind::EcdsaP256);
        server.write_all(b"some").unwrap();
        server.truncate().unwrap();
        assert_eq!(client.read_to_end().unwrap(), (b"some".to_vec(), End::Truncated));

        let (mut client, server) = pair(ONLY_TLS13, KeyKind::EcdsaP256);
        server.reset();
        assert_eq!(client.read_to_end().unwrap().1, End::Reset);
    }

    #[test]
    fn each_kind_of_key_works_with_each_version() {
        for kind in KeyKind::ALL {
            for versions in [ONLY_TLS12, ONLY_TLS13] {
                let (mut client, mut server) = pair(versions, kind);
                client.write_all(b"hello").unwrap();
                assert_eq!(server.read_exact(5).unwrap(), b"hello", "{kind:?} {versions:?}");
            }
        }
    }

    #[test]
    fn both_directions_can_be_full_at_once() {
        const COUNT: usize = 4 << 20;
        let (mut client, mut server) = pair(ONLY_TLS13, KeyKind::EcdsaP256);
        let echo = running("server", move || server.both_ways(&vec![b's'; COUNT], COUNT).unwrap());
        let got = client.both_ways(&vec![b'c'; COUNT], COUNT).unwrap();
        assert!(got.len() == COUNT && got.iter().all(|byte| *byte == b's'));
        assert!(echo.join().iter().all(|byte| *byte == b'c'));
    }

    #[test]
    fn the_bad_certificates_are_bad() {
        let bad = [&pki().wrong_name, &pki().expired, &pki().not_yet_valid, &pki().wrong_ca];
        for identity in bad {
            let (near, far) = tcp_pair();
            let server = running("server", move || {
                Peer::server(far, server_config(identity, BOTH_VERSIONS)).handshake().unwrap_err()
            });
            let mut client =
                Peer::client(near, client_config(pki().ca.roots(), BOTH_VERSIONS, None), SERVER_NAME);
            assert!(client.handshake().is_err(), "{}", identity.certificate_file.display());
            drop(client);
            server.join();
        }
    }
}
