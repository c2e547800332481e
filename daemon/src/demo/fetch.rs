//! The client: connects, hands its socket over with the question who the peer must be, and reads a page.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tlsify_client::{Client, Connect, Ended, Facts, How, Matched, Trust, pem_fd};

use super::error::DemoError;
use super::website::Visit;
use super::{NAME, server};

/// Everything is on this machine; longer than this, nobody watches.
const PATIENCE: Duration = Duration::from_secs(10);

/// The page of this demonstration is a few hundred bytes.
const LARGEST_PAGE: u64 = 64 * 1024;

/// What the client saw.
pub(super) struct Fetched {
    pub(super) address: SocketAddr,
    /// Where the client's own end is: who the server sees.
    pub(super) local: SocketAddr,
    pub(super) facts: Facts,
    /// From the hand-over to `established`.
    pub(super) handshake: Duration,
    /// From the connect to `ended`.
    pub(super) whole: Duration,
    /// Headers and body.
    pub(super) answer: String,
    pub(super) ended: Ended,
}

/// Fetches the page as a client that trusts this CA only.
pub(super) fn fetch(socket: &Path, ca: &str, port: u16) -> Result<Fetched, DemoError> {
    let client = Client::connect_to(socket)?;
    let began = Instant::now();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let net = TcpStream::connect_timeout(&address, PATIENCE)
        .map_err(DemoError::system("connect to the web server"))?;
    let local = net.local_addr().map_err(DemoError::system("look at the client's socket"))?;
    let ca = pem_fd(ca).map_err(DemoError::system("make a descriptor of the CA's certificate"))?;
    let request = Connect::new(net).name(NAME).trust(Trust::ca(ca)).alpn(["http/1.1"]);
    let handed_over = Instant::now();
    let open = client.connect_tls(&request)?;
    let handshake = handed_over.elapsed();
    // Our copies of the socket and the CA: the daemon has its own.
    drop(request);
    let plain = open.plain.ok_or_else(|| DemoError::Wrong("no plaintext descriptor came".to_owned()))?;
    let answer = talk(UnixStream::from(plain)).map_err(DemoError::system("talk to the web server"))?;
    let ended = open
        .session
        .ended_within(PATIENCE)?
        .ok_or_else(|| DemoError::Wrong(format!("the session has not ended after {PATIENCE:?}")))?;
    Ok(Fetched { address, local, facts: open.facts, handshake, whole: began.elapsed(), answer, ended })
}

/// An ordinary conversation over an ordinary stream: nothing here knows about TLS.
fn talk(mut plain: UnixStream) -> std::io::Result<String> {
    plain.set_read_timeout(Some(PATIENCE))?;
    plain.set_write_timeout(Some(PATIENCE))?;
    write!(plain, "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    plain.take(LARGEST_PAGE).read_to_string(&mut answer)?;
    Ok(answer)
}

impl Fetched {
    /// The page without its headers.
    pub(super) fn body(&self) -> &str {
        self.answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// Looks whether both sides say the same, and that it was what was asked for.
    pub(super) fn check(&self, server: &Visit) -> Result<(), DemoError> {
        let facts = &self.facts;
        let page = server::page(&server.protocol, &server.cipher, &server.peer);
        let whole = |how: &str| how == How::CloseNotify.as_str();
        let claims = [
            (facts.matched.contains(&Matched::Name(NAME.to_owned())), "the certificate's name did not match"),
            (facts.protocol == server.protocol, "the two sides name different versions"),
            (facts.cipher == server.cipher, "the two sides name different cipher suites"),
            (self.answer.starts_with("HTTP/1.1 200 OK\r\n"), "the answer is not 200"),
            (self.body() == page, "the page is not the one that was served"),
            (self.ended.bytes_in == self.answer.len() as u64, "bytes were lost on the way to the client"),
            (self.ended.bytes_in == server.bytes_out, "bytes were lost on the way from the server"),
            (self.ended.bytes_out == server.bytes_in, "bytes were lost on the way to the server"),
            (whole(self.ended.how.as_str()), "the client's stream did not end cleanly"),
            (whole(&server.how), "the server's stream did not end cleanly"),
        ];
        match claims.into_iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, wrong)) => Err(DemoError::Wrong(wrong.to_owned())),
        }
    }
}
