//! The far end: a TLS server in threads of this process, which counts full and resumed handshakes. It is the same for
//! everybody, and its time is in no row but as a wait.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustls::{HandshakeKind, ServerConfig};
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, Peer, pki};

/// Sessions that end beside those that begin: a server that does one after the other would make the next one wait.
const THREADS: usize = 4;

/// A server that is there until the process ends.
pub(crate) struct Server {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    full: AtomicU64,
    resumed: AtomicU64,
    /// Sessions that are over, however they ended.
    over: AtomicU64,
    begun: AtomicU64,
}

impl Server {
    /// Starts it, with a P-256 certificate, both versions, and tickets that can be used again.
    pub(crate) fn start() -> Self {
        let mut config: ServerConfig = server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS);
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().expect("a ticket key can be made");
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let counts = Arc::new(Counts::default());
        for _ in 0..THREADS {
            let listener = listener.try_clone().expect("a descriptor is free");
            let (config, counts) = (Arc::clone(&config), Arc::clone(&counts));
            thread::spawn(move || {
                for socket in listener.incoming().flatten() {
                    counts.begun.fetch_add(1, Ordering::SeqCst);
                    serve(socket, &config, &counts);
                    counts.over.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self { port, counts }
    }

    /// Full and resumed handshakes so far.
    pub(crate) fn handshakes(&self) -> (u64, u64) {
        (self.counts.full.load(Ordering::SeqCst), self.counts.resumed.load(Ordering::SeqCst))
    }

    /// Waits until every session that began is over.
    ///
    /// # Panics
    /// When one is not in time.
    pub(crate) fn settle(&self) {
        let (begun, over) = (&self.counts.begun, &self.counts.over);
        let settled =
            until(LIMIT, || (begun.load(Ordering::SeqCst) == over.load(Ordering::SeqCst)).then_some(()));
        settled.expect("sessions end");
    }
}

/// One session: the peer's data to its end, and ours.
fn serve(socket: TcpStream, config: &Arc<ServerConfig>, counts: &Counts) {
    let _ = socket.set_nodelay(true);
    let mut peer = Peer::server(socket, Arc::clone(config));
    if peer.handshake().is_err() {
        return;
    }
    let count = match peer.tls.handshake_kind() {
        Some(HandshakeKind::Resumed) => &counts.resumed,
        _ => &counts.full,
    };
    count.fetch_add(1, Ordering::SeqCst);
    // Who leaves early has had its session.
    let _ = peer.close_notify();
    let _ = peer.read_to_end();
}
