//! What a session costs the daemon, beside rustls itself in the same run.
//!
//! ```text
//! cargo bench -p tlsifyd-tests --bench session            figures; give it a quiet machine
//! cargo bench -p tlsifyd-tests --bench session -- --quick does it work
//! ```
//!
//! TLS 1.3, X25519, ECDSA P-256, AES-128-GCM. Costs are CPU time of the daemon's process, from the
//! scheduler's own account (/proc/PID/task/*/schedstat), so that a busy machine does not count; the
//! baseline is a rustls server in a thread of this process, with blocking sockets. What the program
//! behind the daemon costs is in neither. Compare the ratios, not the figures of two runs.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ServerConfig, version::TLS13};
use tlsify_client::{Accept, Client, Profile, Session};
use tlsifyd_tests::{KeyKind, Options, Peer, TestDaemon, pki, running, tcp_pair};

const MEBIBYTE: usize = 1024 * 1024;

struct Scale {
    handshakes: u64,
    requests: u64,
    bulk: usize,
    idle: u64,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let scale = if quick {
        Scale { handshakes: 20, requests: 100, bulk: 4 * MEBIBYTE, idle: 50 }
    } else {
        Scale { handshakes: 2000, requests: 20_000, bulk: 64 * MEBIBYTE, idle: 2000 }
    };
    let bench = Bench::new();
    bench.head();
    bench.row("handshake_full_server_1_3", "µs", per_handshake(&bench, scale.handshakes));
    bench.row("download_server_1_3", "ms per 64 MiB", per_bulk(&bench, scale.bulk, Way::ToPeer));
    bench.row("upload_server_1_3", "ms per 64 MiB", per_bulk(&bench, scale.bulk, Way::FromPeer));
    bench.row("request_keepalive_1_3", "µs", per_request(&bench, scale.requests));
    bench.say(&format!(
        "{:<28} {:>9.2} KiB private memory of the daemon",
        "idle_session",
        idle(&bench, scale.idle)
    ));
}

struct Bench {
    daemon: TestDaemon,
    client: Client,
    theirs: Arc<ClientConfig>,
    baseline: Arc<ServerConfig>,
}

impl Bench {
    fn new() -> Self {
        let args = ["--workers", "1"].map(str::to_owned).to_vec();
        let daemon = TestDaemon::with(Options { args, ..Options::default() });
        let client = daemon.client();
        let identity = pki().server(KeyKind::EcdsaP256);
        let profile = Profile::server("bench")
            .certificate(identity.certificate_fd())
            .key(identity.key_fd())
            .groups(["X25519"])
            .ciphers(["TLS_AES_128_GCM_SHA256"])
            .min_version(tlsify_client::Version::Tls13);
        client.define(&profile).expect("the profile is right");
        Self { daemon, client, theirs: Arc::new(client_config()), baseline: Arc::new(server_config()) }
    }

    /// A session through the daemon: the peer's end, and the program's.
    fn open(&self) -> (Peer, UnixStream, Session) {
        let (far, near) = tcp_pair();
        let pending = self.client.start_accept(&Accept::new(near).profile("bench")).expect("a request");
        let theirs = Arc::clone(&self.theirs);
        let mut peer = Peer::client(far, theirs, "localhost");
        peer.handshake().expect("a handshake");
        let established = pending.wait().expect("a session");
        (peer, established.plain.expect("the daemon's pair").into(), established.session)
    }

    /// CPU time of the daemon during `work`, in nanoseconds.
    fn cost<T>(&self, work: impl FnOnce() -> T) -> (f64, T) {
        let before = self.cpu();
        let done = work();
        (self.cpu() - before, done)
    }

    fn cpu(&self) -> f64 {
        let tasks = |pid| fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon runs");
        let all = self.daemon.pids().into_iter().flat_map(tasks);
        all.filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    fn head(&self) {
        self.say(&format!("{:<28} {:>9} {:>9} {:>7}", "scenario", "tlsifyd", "rustls", "ratio"));
    }

    fn row(&self, name: &str, unit: &str, (ours, library): (f64, f64)) {
        self.say(&format!("{name:<28} {ours:>9.2} {library:>9.2} {:>7.2}  {unit}", ours / library));
    }

    fn say(&self, line: &str) {
        writeln!(io::stdout(), "{line}").expect("standard output takes lines");
    }
}

fn per_handshake(bench: &Bench, count: u64) -> (f64, f64) {
    let (ours, ()) = bench.cost(|| {
        for _ in 0..count {
            drop(bench.open());
        }
    });
    let library = in_process(
        bench,
        move |accept| {
            for _ in 0..count {
                accept().handshake().expect("a handshake");
            }
        },
        |connect| {
            for _ in 0..count {
                connect().handshake().expect("a handshake");
            }
        },
    );
    (ours / 1e3 / count as f64, library / 1e3 / count as f64)
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    ToPeer,
    FromPeer,
}

fn per_bulk(bench: &Bench, bytes: usize, way: Way) -> (f64, f64) {
    let (mut peer, mut plain, _session) = bench.open();
    let (ours, ()) = bench.cost(|| {
        let program = running("program", move || match way {
            Way::ToPeer => send(|chunk| plain.write_all(chunk), bytes),
            Way::FromPeer => receive(|chunk| plain.read(chunk), bytes),
        });
        match way {
            Way::ToPeer => receive(|chunk| peer.read(chunk), bytes),
            Way::FromPeer => send(|chunk| peer.write_all(chunk), bytes),
        }
        program.join();
    });
    let library = in_process(
        bench,
        move |accept| {
            let mut server = accept();
            server.handshake().expect("a handshake");
            match way {
                Way::ToPeer => send(|chunk| server.write_all(chunk), bytes),
                Way::FromPeer => receive(|chunk| server.read(chunk), bytes),
            }
        },
        move |connect| {
            let mut client = connect();
            client.handshake().expect("a handshake");
            match way {
                Way::ToPeer => receive(|chunk| client.read(chunk), bytes),
                Way::FromPeer => send(|chunk| client.write_all(chunk), bytes),
            }
        },
    );
    let scale = 64.0 * MEBIBYTE as f64 / bytes as f64 / 1e6;
    (ours * scale, library * scale)
}

fn per_request(bench: &Bench, count: u64) -> (f64, f64) {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let ask = move |peer: &mut Peer| {
        for _ in 0..count {
            peer.write_all(REQUEST).expect("a request");
            peer.read_exact(RESPONSE.len()).expect("a response");
        }
    };
    let (mut peer, mut plain, _session) = bench.open();
    let (ours, ()) = bench.cost(|| {
        let program = running("program", move || {
            let mut request = [0; REQUEST.len()];
            for _ in 0..count {
                plain.read_exact(&mut request).expect("a request");
                plain.write_all(RESPONSE).expect("a response");
            }
        });
        ask(&mut peer);
        program.join();
    });
    let library = in_process(
        bench,
        move |accept| {
            let mut server = accept();
            server.handshake().expect("a handshake");
            for _ in 0..count {
                server.read_exact(REQUEST.len()).expect("a request");
                server.write_all(RESPONSE).expect("a response");
            }
        },
        move |connect| ask(&mut connect()),
    );
    (ours / 1e3 / count as f64, library / 1e3 / count as f64)
}

/// Private memory of the daemon per session at rest, in KiB.
fn idle(bench: &Bench, count: u64) -> f64 {
    let private = || bench.daemon.private_kib() as f64;
    drop(bench.open());
    let before = private();
    let held: Vec<_> = (0..count).map(|_| bench.open()).collect();
    let after = private();
    drop(held);
    (after - before) / count as f64
}

/// Runs a rustls server in a thread, and says what CPU time that thread took, in nanoseconds.
fn in_process(
    bench: &Bench,
    server: impl FnOnce(&mut dyn FnMut() -> Peer) + Send + 'static,
    client: impl FnOnce(&mut dyn FnMut() -> Peer),
) -> f64 {
    let (sockets, incoming) = std::sync::mpsc::channel::<TcpStream>();
    let config = Arc::clone(&bench.baseline);
    let thread = running("rustls server", move || {
        let before = thread_cpu();
        server(&mut || Peer::server(incoming.recv().expect("a socket"), Arc::clone(&config)));
        thread_cpu() - before
    });
    client(&mut || {
        let (far, near) = tcp_pair();
        sockets.send(near).expect("the server takes sockets");
        Peer::client(far, Arc::clone(&bench.theirs), "localhost")
    });
    thread.join()
}

fn thread_cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the scheduler's account");
    text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number")
}

/// Writes this much, however `write` does it.
fn send(mut write: impl FnMut(&[u8]) -> io::Result<()>, bytes: usize) {
    let chunk = vec![7; 128 * 1024];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(chunk.len());
        write(&chunk[..count]).expect("a writer that takes bytes");
        left -= count;
    }
}

/// Reads this much, however `read` does it.
fn receive(mut read: impl FnMut(&mut [u8]) -> io::Result<usize>, bytes: usize) {
    let mut chunk = vec![0; 128 * 1024];
    let mut left = bytes;
    while left > 0 {
        let count = read(&mut chunk).expect("a reader that gives bytes");
        assert!(count > 0, "the stream ended {left} bytes early");
        left -= count;
    }
}

/// X25519 and AES-128-GCM alone, without tickets, as the daemon's profile has it.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    })
}

fn client_config() -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("a suite for the version")
        .with_root_certificates(pki().ca.roots())
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config
}

fn server_config() -> ServerConfig {
    let identity = pki().server(KeyKind::EcdsaP256);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("a suite for the version")
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.key())
        .expect("a usable identity");
    config.send_tls13_tickets = 0;
    config
}
