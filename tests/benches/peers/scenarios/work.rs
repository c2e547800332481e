//! One site that is there, and one turn of a scenario on it: the load from this side, the CPU time from the other.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;

use super::{Agreed, Scale};
use crate::load::config::{Tickets, client_config};
use crate::load::{Ask, Load, Plan, Sample};
use crate::sites::Site;

/// Handshakes at the same time: enough that no server sleeps between two of them.
const AT_ONCE: usize = 16;
/// Sessions for requests: the same.
const SESSIONS: usize = 16;
/// Sessions with requests in a flood, and clients that make it.
const CALM: usize = 20;
const FLOOD: usize = 200;
const BULK: u64 = 64 * 1024 * 1024;

/// What a scenario does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Handshakes,
    Resumed,
    Requests,
    Download,
    Upload,
    Flood,
}

impl Work {
    /// The figures, and which of them sites are compared by.
    pub(super) fn columns(self) -> (&'static [&'static str], usize) {
        match self {
            Self::Handshakes | Self::Resumed | Self::Requests => {
                (&["per s", "p50 µs", "p99 µs", "CPU µs"], 3)
            }
            Self::Download | Self::Upload => (&["MiB/s", "p50 ms", "p99 ms", "CPU ms"], 3),
            Self::Flood => (&["requests/s", "p50 µs", "p99 µs", "handshakes/s", "CPU µs"], 2),
        }
    }
}

/// A site that has answered, with the clients that go to it.
pub(super) struct Warm {
    pub(super) site: Site,
    pub(super) load: Load,
    tickets: Option<Arc<Tickets>>,
}

impl Warm {
    /// The first sessions of a site pay for what is made once.
    ///
    /// # Errors
    /// It does not answer as it should.
    pub(super) fn new(site: Site, tls: Agreed) -> Result<Self, String> {
        let tickets = tls.tickets.then(Arc::<Tickets>::default);
        let mut load = Load::new(site.address(), client_config(tls.tls12, tls.hybrid, tickets.clone()));
        match &tickets {
            None => {
                drop(load.fresh(2 * AT_ONCE, AT_ONCE, Plan::Once, HandshakeKind::Full)?);
                without_tickets(&site, tls)?;
            }
            // All at once, or the second would resume; each of these gives one ticket or two.
            Some(_) => drop(load.fresh(2 * AT_ONCE, 2 * AT_ONCE, Plan::Once, HandshakeKind::Full)?),
        }
        match &tickets {
            Some(tickets) if tickets.count() < AT_ONCE => {
                Err(format!("{} tickets from {} sessions", tickets.count(), 2 * AT_ONCE))
            }
            _ => Ok(Self { site, load, tickets }),
        }
    }

    /// One turn. After a failure the clients of before are gone.
    pub(super) fn measure(&mut self, work: Work, scale: Scale) -> Result<Vec<f64>, String> {
        let measured = self.turn(work, scale);
        if measured.is_err() {
            self.load.forget();
        }
        measured
    }

    fn turn(&mut self, work: Work, scale: Scale) -> Result<Vec<f64>, String> {
        let many = |count: usize| if scale.quick { count / 20 } else { count };
        match work {
            Work::Handshakes => self.handshakes(many(2000)),
            Work::Resumed => {
                let left = self.tickets.as_ref().map_or(0, |tickets| tickets.count());
                if left < AT_ONCE {
                    return Err(format!("only {left} tickets are left"));
                }
                let load =
                    |load: &mut Load| load.fresh(many(2000), AT_ONCE, Plan::Once, HandshakeKind::Resumed);
                self.cost(load).map(small)
            }
            Work::Requests => self.on_open(SESSIONS, |load| load.ask(Ask::Small, many(20_000))).map(small),
            Work::Download => {
                self.on_open(1, |load| load.ask(Ask::Download(BULK), many(60).div_ceil(20))).map(bulk)
            }
            Work::Upload => {
                self.on_open(1, |load| load.ask(Ask::Upload(BULK), many(60).div_ceil(20))).map(bulk)
            }
            Work::Flood => self.flood(Duration::from_millis(if scale.quick { 100 } else { 1000 })),
        }
    }

    /// Full handshakes, each with a request.
    pub(super) fn handshakes(&mut self, count: usize) -> Result<Vec<f64>, String> {
        self.cost(|load| load.fresh(count, AT_ONCE, Plan::Once, HandshakeKind::Full)).map(small)
    }

    fn on_open(
        &mut self,
        sessions: usize,
        work: impl FnOnce(&mut Load) -> Result<Sample, String>,
    ) -> Result<(Sample, Duration), String> {
        self.load.open(sessions)?;
        let cost = self.cost(work)?;
        self.load.close()?;
        Ok(cost)
    }

    fn flood(&mut self, time: Duration) -> Result<Vec<f64>, String> {
        self.load.open(CALM)?;
        let mut handshakes = 0;
        let (requests, cpu) = self.cost(|load| {
            let (requests, flood) = load.flood(FLOOD, time)?;
            handshakes = flood.each.len();
            Ok(requests)
        })?;
        self.load.close()?;
        let mut figures = small((requests.clone(), cpu));
        figures.insert(3, handshakes as f64 / requests.wall.as_secs_f64());
        Ok(figures)
    }

    /// What came of the load, and the CPU time of the site for all of it, ends of sessions included.
    fn cost(
        &mut self,
        work: impl FnOnce(&mut Load) -> Result<Sample, String>,
    ) -> Result<(Sample, Duration), String> {
        let before = settled(&self.site);
        let sample = work(&mut self.load)?;
        Ok((sample, settled(&self.site).saturating_sub(before)))
    }
}

/// The CPU time of a site that has come to rest.
pub(crate) fn settled(site: &Site) -> Duration {
    /// Less is a timer, and no session.
    const REST: Duration = Duration::from_micros(20);
    const PAUSE: Duration = Duration::from_millis(5);
    // One that never rests is measured all the same, with what it does beside.
    let deadline = Instant::now() + Duration::from_secs(2);
    let (mut last, mut quiet) = (site.cpu(), 0);
    while quiet < 3 && Instant::now() < deadline {
        thread::sleep(PAUSE);
        let now = site.cpu();
        quiet = if now.saturating_sub(last) < REST { quiet + 1 } else { 0 };
        last = now;
    }
    last
}

/// A site makes no tickets where none are asked for: programs have more than one switch for them, and the others would not
/// pay for what this one does. With TLS 1.2 the load does not ask for any.
fn without_tickets(site: &Site, tls: Agreed) -> Result<(), String> {
    let came = Arc::<Tickets>::default();
    let config = client_config(tls.tls12, tls.hybrid, Some(Arc::clone(&came)));
    Load::new(site.address(), config).fresh(1, 1, Plan::Once, HandshakeKind::Full)?;
    match came.count() {
        0 => Ok(()),
        count => Err(format!("{count} tickets came with a session, though they are off")),
    }
}

/// Rate, latencies and CPU time of small things, in microseconds.
fn small((sample, cpu): (Sample, Duration)) -> Vec<f64> {
    let count = sample.each.len() as f64;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let latencies = [500, 990].map(|permille| micros(sample.permille(permille)));
    vec![count / sample.wall.as_secs_f64(), latencies[0], latencies[1], micros(cpu) / count]
}

/// The same of large ones, in MiB/s and milliseconds.
fn bulk(cost: (Sample, Duration)) -> Vec<f64> {
    let figures = small(cost);
    vec![figures[0] * (BULK / (1024 * 1024)) as f64, figures[1] / 1e3, figures[2] / 1e3, figures[3] / 1e3]
}
