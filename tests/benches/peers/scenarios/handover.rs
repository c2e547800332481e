//! From the moment a caller hands a socket over to the moment it has `established`: only `tlsifyd` has that. The peer's
//! ClientHello is in the socket already, so nobody waits for the network.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tlsifyd_tests::figures::scenario::{Part, Scenario, SiteRow};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{KeyKind, Options, RawAnswer, RawCaller, TestDaemon, pki, tcp_pair};

use super::{Column, Scale};
use crate::load::Sample;
use crate::load::config::client_config;
use crate::load::tls::{Out, Step, Tls};
use crate::pin;

pub(super) const NAME: &str = "handover_to_established";

/// Sessions of a round: all are held until their CPU time has been read, so that their ends do not count.
const SESSIONS: usize = 500;
/// More than a server's whole flight.
const FLIGHT: usize = 64 * 1024;

pub(super) fn run(scale: Scale) -> Scenario {
    let bench = Handover::new(scale);
    let mut column = Column::default();
    let count = if scale.quick { 20 } else { SESSIONS };
    // The first round is the one that finds out.
    for round in 0..=scale.rounds {
        match bench.round(count) {
            Ok(_) if round == 0 => {}
            measured => column.add(measured),
        }
    }
    Scenario {
        name: NAME,
        what: "one after the other, the peer's ClientHello waits already; times without the peer's own work",
        columns: &["p50 µs", "p99 µs", "CPU µs"],
        judged: 2,
        rows: vec![SiteRow { site: "tlsifyd".to_owned(), part: Part::Ours, figures: column.medians() }],
    }
}

struct Handover {
    daemon: TestDaemon,
    caller: RawCaller,
    config: Arc<ClientConfig>,
}

impl Handover {
    fn new(scale: Scale) -> Self {
        let args = ["--workers", "1"].map(str::to_owned).to_vec();
        let daemon = TestDaemon::with(Options { args, ..Options::default() });
        if let Some(core) = scale.core {
            daemon.pids().into_iter().for_each(|pid| pin(pid, core));
        }
        let caller = RawCaller::connect(daemon.socket());
        let identity = pki().server(KeyKind::EcdsaP256);
        let define = "tlsify/1 define\nid=0\nfds=certificate key\nprofile=bench\nrole=server\n\
                      groups=X25519\nciphers=TLS_AES_128_GCM_SHA256\n";
        let defined = caller.ask(define, &[&identity.certificate_fd(), &identity.key_fd()]);
        assert_eq!(defined.verb(), "defined", "{}", defined.text);
        Self { daemon, caller, config: client_config(false, false, None) }
    }

    fn round(&self, count: usize) -> Result<Vec<f64>, String> {
        let mut held = Vec::with_capacity(count);
        let mut sample = Sample::default();
        let before = self.daemon.cpu();
        for id in 1..=count {
            let (took, session) = self.session(id)?;
            sample.each.push(took);
            held.push(session);
        }
        let spent = self.daemon.cpu() - before;
        drop(held);
        for _ in 0..count {
            let ended = self.caller.answer();
            if ended.verb() != "ended" {
                return Err(format!("the daemon said {}", ended.verb()));
            }
        }
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let latencies = [500, 990].map(|permille| micros(sample.permille(permille)));
        Ok(vec![latencies[0], latencies[1], micros(spent) / count as f64])
    }

    /// Opens one: how long the daemon took for it, and what holds it.
    fn session(&self, id: usize) -> Result<(Duration, (TcpStream, RawAnswer)), String> {
        let (mut peer, net) = tcp_pair();
        peer.set_nodelay(true).map_err(said)?;
        peer.set_read_timeout(Some(LIMIT)).map_err(said)?;
        let mut tls = Tls::new(&self.config)?;
        let mut out = Out::default();
        let mut silent = |plain: &[u8]| Err(format!("{} bytes that nobody asked for", plain.len()));
        tls.process(&mut [], &mut out, &mut silent)?;
        peer.write_all(out.bytes()).map_err(said)?;
        out.clear();
        let handed = Instant::now();
        self.caller.send(format!("tlsify/1 accept\nid={id}\nfds=net\nprofile=bench\n"), &[&net]);
        drop(net);
        let (mut flight, mut filled) = (vec![0; FLIGHT], 0);
        let mut took = Duration::ZERO;
        loop {
            let count = peer.read(&mut flight[filled..]).map_err(said)?;
            took = if took.is_zero() { handed.elapsed() } else { took };
            if count == 0 {
                return Err("the daemon closed the connection".to_owned());
            }
            filled += count;
            let (used, step) = tls.process(&mut flight[..filled], &mut out, &mut silent)?;
            flight.copy_within(used..filled, 0);
            filled -= used;
            if step == Step::Open {
                break;
            }
        }
        let finished = Instant::now();
        peer.write_all(out.bytes()).map_err(said)?;
        let answer = self.caller.answer();
        took += finished.elapsed();
        if answer.verb() != "established" {
            return Err(format!("the daemon said {}", answer.verb()));
        }
        Ok((took, (peer, answer)))
    }
}

fn said(error: std::io::Error) -> String {
    format!("the peer's socket: {error}")
}
