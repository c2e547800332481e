//! The web server, in a process of its own: it accepts, hands over, and serves plaintext. No line here knows TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tlsify_client::{Accept, Client, Error};

use super::PROFILE;
use super::website::{News, Visit};
use crate::process::reason;

/// Visitors served at once; more of them wait in the listening socket's queue.
const THREADS: usize = 16;

/// A visitor who says nothing for so long makes room for others.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than any browser sends for a page without cookies.
const LARGEST_REQUEST: usize = 16 * 1024;

/// How often a free port of IPv4 is looked for that is free for IPv6 too.
const ATTEMPTS: usize = 20;

/// Why the web server ended.
#[derive(Debug)]
pub struct ServerError(String);

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "demo's web server: {}", self.0)
    }
}

impl std::error::Error for ServerError {}

/// Serves on this port of localhost until standard input ends, and says on `out`, line by line, what happens. The
/// daemon is the one that `TLSIFY_SOCK` names.
///
/// # Errors
/// It cannot listen or the daemon does not answer; `out` has been told.
pub fn serve(port: u16, out: impl Write + Send + 'static) -> Result<(), ServerError> {
    let out = Reporter(Arc::new(Mutex::new(Box::new(out))));
    let (listeners, client) = match prepare(port) {
        Ok(ready) => ready,
        Err((in_use, why)) => {
            out.tell(&News::Broken { in_use, why: why.clone() });
            return Err(ServerError(why));
        }
    };
    let (visitors, queue) = sync_channel(0);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..THREADS {
        let (client, queue, out) = (client.clone(), Arc::clone(&queue), out.clone());
        thread::spawn(move || {
            while let Some(net) = next(&queue) {
                visit(&client, net, &out)
            }
        });
    }
    let port = listeners.first().and_then(|first| first.local_addr().ok()).map_or(port, |at| at.port());
    for listener in listeners {
        let visitors = visitors.clone();
        thread::spawn(move || accept(&listener, &visitors));
    }
    out.tell(&News::Ready { port });
    // Whoever started us holds the other end, so it closes with them, whatever happens to them.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    Ok(())
}

/// The listening sockets and the daemon, or whether the port was the reason, and the reason.
fn prepare(port: u16) -> Result<(Vec<TcpListener>, Client), (bool, String)> {
    let listeners = listen(port).map_err(|error| {
        (error.kind() == io::ErrorKind::AddrInUse, format!("cannot listen: {}", reason(&error)))
    })?;
    let client = Client::connect().map_err(|error| (false, error.to_string()))?;
    Ok((listeners, client))
}

/// Both addresses of localhost, on one port; IPv4 alone where the machine has no IPv6.
fn listen(port: u16) -> io::Result<Vec<TcpListener>> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let chosen = first.local_addr()?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, chosen)) {
            Ok(second) => return Ok(vec![first, second]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && (port != 0 || attempts == ATTEMPTS) => {
                return Err(error);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(_) => return Ok(vec![first]),
        }
    }
}

fn accept(listener: &TcpListener, visitors: &SyncSender<TcpStream>) {
    loop {
        match listener.accept() {
            Ok((net, _)) => {
                if visitors.send(net).is_err() {
                    return;
                }
            }
            // The visitor left, or there are no descriptors: either passes.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn next(queue: &Mutex<Receiver<TcpStream>>) -> Option<TcpStream> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// One visitor, from the accepted socket to the last word.
fn visit(client: &Client, net: TcpStream, out: &Reporter) {
    let (peer, open) = {
        let peer = net.peer_addr().ok();
        // The request owns our copy of the socket, and is dropped with this block.
        (peer, client.accept(&Accept::new(net).profile(PROFILE)))
    };
    let peer = peer.map_or_else(|| "somebody".to_owned(), |peer| display(&peer));
    let mut open = match open {
        Ok(open) => open,
        Err(error) => return out.tell(&News::Failed { peer, why: error.to_string() }),
    };
    let (protocol, cipher) = (open.facts.protocol.clone(), open.facts.cipher.clone());
    if let Some(plain) = open.plain.take() {
        // A visitor who leaves early is told by the end of the session.
        let _ = answer(UnixStream::from(plain), &page(&protocol, &cipher, &peer));
    }
    out.tell(&match open.session.ended() {
        Ok(ended) => News::Ended(Visit {
            peer,
            protocol,
            cipher,
            how: ended.how.as_str().to_owned(),
            bytes_in: ended.bytes_in,
            bytes_out: ended.bytes_out,
        }),
        Err(error @ Error::Gone) => News::Broken { in_use: false, why: error.to_string() },
        Err(error) => News::Failed { peer, why: error.to_string() },
    });
}

/// Reads a request and answers it over an ordinary stream.
fn answer(mut plain: UnixStream, page: &str) -> io::Result<()> {
    plain.set_read_timeout(Some(PATIENCE))?;
    plain.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut piece = [0; 2048];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") && request.len() < LARGEST_REQUEST {
        match plain.read(&mut piece)? {
            0 => break,
            count => request.extend_from_slice(&piece[..count]),
        }
    }
    let (status, body) = match request.split(|byte| *byte == b' ').next() {
        Some(b"GET") => ("200 OK", page),
        Some(b"HEAD") => ("200 OK", ""),
        _ => ("405 Method Not Allowed", "only GET and HEAD\n"),
    };
    let length = if body.is_empty() { page.len() } else { body.len() };
    write!(
        plain,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )?;
    // Our end of the conversation; the visitor's end is then waited for, so that both have said goodbye.
    plain.shutdown(Shutdown::Write)?;
    io::copy(&mut plain.take(LARGEST_REQUEST as u64), &mut io::sink())?;
    Ok(())
}

/// The page says what carried it.
pub(super) fn page(protocol: &str, cipher: &str, peer: &str) -> String {
    format!(
        "Hello from a web server that has no private key and speaks no TLS.\n\
         It handed the socket from {peer} to tlsifyd, which opened {protocol} with {cipher} on it,\n\
         and it writes this page to the plaintext descriptor that came back.\n"
    )
}

/// As in the daemon's own words: an IPv4 address is one, also where it came in as IPv6.
fn display(at: &SocketAddr) -> String {
    match at.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::from((ip, at.port())).to_string(),
            None => at.to_string(),
        },
        IpAddr::V4(_) => at.to_string(),
    }
}

/// Standard output, one whole line at a time.
#[derive(Clone)]
struct Reporter(Arc<Mutex<Box<dyn Write + Send>>>);

impl Reporter {
    fn tell(&self, news: &News) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody listens any more: standard input ends at the same time, and with it all this.
        let _ = writeln!(out, "{}", news.line()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &str) -> String {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let served = thread::spawn(move || answer(theirs, "the page\n"));
        ours.write_all(request.as_bytes()).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        ours.read_to_string(&mut said).unwrap();
        served.join().unwrap().unwrap();
        said
    }

    #[test]
    fn pages_are_got_and_nothing_else() {
        let said = asked("GET / HTTP/1.1\r\n\r\n");
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\nthe page\n"), "{said}");
        let said = asked("HEAD / HTTP/1.1\r\n\r\n");
        assert!(said.contains("Content-Length: 9\r\n") && said.ends_with("\r\n\r\n"), "{said}");
        assert!(asked("POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(asked("").starts_with("HTTP/1.1 405 "));
    }

    #[test]
    fn a_port_that_is_taken_is_said_to_be() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let error = listen(taken.local_addr().unwrap().port()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let all = listen(0).unwrap();
        let ports: Vec<u16> = all.iter().map(|one| one.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
    }
}
