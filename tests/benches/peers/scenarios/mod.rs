//! What the sites are asked to do, and what that costs them.
//!
//! ```text
//!  group of scenarios that want the same TLS ── every site is started ──┐
//!  round 1: scenario A: site 1, site 2, … │ scenario B: site 1, …       ├──▶ medians over rounds ──▶ a table each
//!  round 2: the same again …                                            ┘
//! ```
//!
//! A machine that slows down for a while slows all sites of a round down. Memory is measured on sites that were just
//! started (`idle.rs`): one that has given memory back before would look cheaper. What it does not do: it judges
//! nothing; the claims are in `bars.rs`.

mod handover;
mod idle;
mod work;

use std::collections::BTreeMap;

use tlsifyd_tests::figures::scenario::{Part, Scenario, SiteRow};
use tlsifyd_tests::figures::table::median;

use crate::sites::{self, Group, Kind, Site, SiteOptions, Tls};
pub(crate) use work::settled;
use work::{Warm, Work};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    /// Each site has its turn so many times in each scenario.
    pub(crate) rounds: usize,
    /// The core of the sites; none on a machine with one.
    pub(crate) core: Option<usize>,
}

/// Which of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// All, if it is empty.
    pub(crate) scenarios: Vec<String>,
    /// All, if it is empty.
    pub(crate) sites: Vec<String>,
}

impl Chosen {
    fn scenario(&self, name: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|chosen| chosen == name)
    }

    fn sites(&self) -> impl Iterator<Item = &'static str> + '_ {
        let chosen = |name: &&str| self.sites.is_empty() || self.sites.iter().any(|site| site == name);
        sites::NAMES.into_iter().filter(chosen)
    }
}

/// One scenario, and what it is made of.
struct Plan {
    name: &'static str,
    what: &'static str,
    tls: Agreed,
    work: Work,
}

/// What the clients of a scenario agree to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Agreed {
    tls12: bool,
    hybrid: bool,
    tickets: bool,
}

const USUAL: Agreed = Agreed { tls12: false, hybrid: false, tickets: false };

/// In the order of the report.
const PLANS: [Plan; 8] = [
    Plan {
        name: "handshake_full_1_3",
        what: "full handshake, one small request, close_notify both ways; TLS 1.3, X25519",
        tls: USUAL,
        work: Work::Handshakes,
    },
    Plan {
        name: "handshake_full_1_3_hybrid",
        what: "full handshake, one small request, close_notify both ways; TLS 1.3, X25519MLKEM768",
        tls: Agreed { hybrid: true, ..USUAL },
        work: Work::Handshakes,
    },
    Plan {
        name: "handshake_full_1_2",
        what: "full handshake, one small request, close_notify both ways; TLS 1.2, X25519",
        tls: Agreed { tls12: true, ..USUAL },
        work: Work::Handshakes,
    },
    Plan {
        name: "handshake_resumed_1_3",
        what: "resumed handshake with X25519, one small request, close_notify both ways; each ticket once",
        tls: Agreed { tickets: true, ..USUAL },
        work: Work::Resumed,
    },
    Plan {
        name: "download_64_mib",
        what: "64 MiB to the client on an open session",
        tls: USUAL,
        work: Work::Download,
    },
    Plan {
        name: "upload_64_mib",
        what: "64 MiB from the client on an open session",
        tls: USUAL,
        work: Work::Upload,
    },
    Plan {
        name: "request_keepalive",
        what: "small requests on 16 open sessions, one at a time on each",
        tls: USUAL,
        work: Work::Requests,
    },
    Plan {
        name: "requests_in_a_flood",
        what: "small requests on 20 open sessions, one at a time on each, while 200 clients do nothing but handshakes",
        tls: USUAL,
        work: Work::Flood,
    },
];

/// All names that can be chosen.
pub(crate) fn names() -> Vec<&'static str> {
    let plans = PLANS.iter().map(|plan| plan.name);
    plans.chain(idle::NAMES).chain([handover::NAME]).collect()
}

/// Measures what was chosen. `say` is told how it goes on.
pub(crate) fn run(scale: Scale, chosen: &Chosen, say: &mut dyn FnMut(&str)) -> Vec<Scenario> {
    let mut done = Vec::new();
    let mut groups: Vec<Agreed> = PLANS.iter().map(|plan| plan.tls).collect();
    groups.dedup();
    let mut measured = Vec::new();
    for tls in groups {
        let plans: Vec<&Plan> = PLANS
            .iter()
            .filter(|plan| plan.tls == tls && chosen.scenario(plan.name))
            .filter(|plan| !measured.contains(&plan.name))
            .collect();
        if !plans.is_empty() {
            measured.extend(plans.iter().map(|plan| plan.name));
            done.extend(group(tls, &plans, scale, chosen, say));
        }
    }
    done.sort_by_key(|scenario| PLANS.iter().position(|plan| plan.name == scenario.name));
    if idle::NAMES.iter().any(|name| chosen.scenario(name)) {
        let idle = idle::run(scale, chosen, say);
        done.extend(idle.into_iter().filter(|scenario| chosen.scenario(scenario.name)));
    }
    if chosen.scenario(handover::NAME) && chosen.sites().any(|site| site == sites::NAMES[0]) {
        say(handover::NAME);
        done.push(handover::run(scale));
    }
    done
}

/// The scenarios that want the same TLS, on sites that are all there at once: those that wait take no time.
fn group(
    tls: Agreed,
    plans: &[&Plan],
    scale: Scale,
    chosen: &Chosen,
    say: &mut dyn FnMut(&str),
) -> Vec<Scenario> {
    let mut sites: Vec<(&str, Result<Warm, String>)> = Vec::new();
    for name in chosen.sites() {
        let site = start(name, tls, scale);
        sites.push((name, site.and_then(|site| Warm::new(site, tls))));
    }
    let mut figures: BTreeMap<(usize, usize), Column> = BTreeMap::new();
    for round in 0..scale.rounds {
        for (row, plan) in plans.iter().enumerate() {
            say(&format!("{}, round {} of {}", plan.name, round + 1, scale.rounds));
            for (column, (_, site)) in sites.iter_mut().enumerate() {
                if let Ok(site) = site {
                    let measured = figures.entry((row, column)).or_default();
                    if measured.failed.is_none() {
                        measured.add(site.measure(plan.work, scale));
                    }
                }
            }
        }
    }
    let scenario = |(row, plan): (usize, &&Plan)| {
        let rows = sites.iter().enumerate().map(|(column, (name, site))| SiteRow {
            site: (*name).to_owned(),
            part: site.as_ref().map_or(Part::Itself, |site| part(&site.site)),
            figures: match site {
                Ok(_) => figures.remove(&(row, column)).unwrap_or_default().medians(),
                Err(why) => Err(why.clone()),
            },
        });
        let rows = rows.collect();
        let (columns, judged) = plan.work.columns();
        Scenario { name: plan.name, what: plan.what, columns, judged, rows }
    };
    plans.iter().enumerate().map(scenario).collect()
}

/// What the rounds came to, for one site in one scenario.
#[derive(Clone, Debug, Default)]
struct Column {
    rounds: Vec<Vec<f64>>,
    /// A row with a failure is no row.
    failed: Option<String>,
}

impl Column {
    fn add(&mut self, round: Result<Vec<f64>, String>) {
        match round {
            Ok(figures) => self.rounds.push(figures),
            Err(why) => self.failed = Some(why),
        }
    }

    fn medians(self) -> Result<Vec<f64>, String> {
        if let Some(why) = self.failed {
            return Err(why);
        }
        let count = self.rounds.first().map_or(0, Vec::len);
        let medians =
            (0..count).filter_map(|index| median(self.rounds.iter().map(|figures| figures[index]).collect()));
        let medians: Vec<f64> = medians.collect();
        if medians.is_empty() { Err("not measured".to_owned()) } else { Ok(medians) }
    }
}

fn start(name: &str, tls: Agreed, scale: Scale) -> Result<Site, String> {
    let options = SiteOptions {
        version: if tls.tls12 { Tls::V12 } else { Tls::V13 },
        group: if tls.hybrid { Group::Hybrid } else { Group::X25519 },
        tickets: tls.tickets,
        core: scale.core,
        under: Vec::new(),
    };
    sites::start(name, &options)
}

fn part(site: &Site) -> Part {
    match site.kind() {
        Kind::Ours => Part::Ours,
        Kind::OneProcess => Part::OneProcess,
        Kind::InProcess => Part::Library,
        Kind::Itself => Part::Itself,
        Kind::Proxy => Part::Proxy,
    }
}
