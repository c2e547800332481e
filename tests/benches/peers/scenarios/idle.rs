//! Sessions at rest: what each costs in memory, and whether a handshake costs more because they are there. Each round is
//! on a site that has just been started.

use tlsifyd_tests::figures::scenario::{Part, Scenario, SiteRow};

use super::work::{Warm, settled};
use super::{Chosen, Column, Scale, USUAL, part, start};
use crate::sites::kernel_kib;

/// In the order of [`SCENARIOS`].
pub(super) const NAMES: [&str; 4] =
    ["idle_1000", "idle_8000", "handshake_beside_0_idle", "handshake_beside_8000_idle"];

const MEMORY: &[&str] = &["KiB each", "kernel KiB"];
const CPU: &[&str] = &["per s", "p50 µs", "p99 µs", "CPU µs"];
const SCENARIOS: [(&str, &[&str], usize); 4] = [
    (
        "private memory of the process that does TLS, for each of 1,000 open sessions that had one request",
        MEMORY,
        0,
    ),
    (
        "private memory of the process that does TLS, for each of 8,000 open sessions that had one request",
        MEMORY,
        0,
    ),
    ("full handshake and request, when the 8,000 are gone", CPU, 3),
    ("full handshake and request, beside 8,000 open sessions", CPU, 3),
];

/// All four: they need the same sessions.
pub(super) fn run(scale: Scale, chosen: &Chosen, say: &mut dyn FnMut(&str)) -> Vec<Scenario> {
    let names: Vec<&str> = chosen.sites().collect();
    let mut parts = vec![Part::Itself; names.len()];
    let mut columns = vec![[const { None::<Column> }; 4].map(Option::unwrap_or_default); names.len()];
    // Memory hardly varies, and opening takes long.
    for round in 0..scale.rounds.div_ceil(2) {
        for (index, name) in names.iter().enumerate() {
            if columns[index].iter().any(|column| column.failed.is_some()) {
                continue;
            }
            say(&format!("idle sessions at {name}, round {}", round + 1));
            let measured = start(name, USUAL, scale).and_then(|site| {
                parts[index] = part(&site);
                sessions(Warm::new(site, USUAL)?, scale)
            });
            match measured {
                Ok(figures) => {
                    for (column, figures) in columns[index].iter_mut().zip(figures) {
                        column.add(Ok(figures));
                    }
                }
                Err(why) => columns[index].iter_mut().for_each(|column| column.add(Err(why.clone()))),
            }
        }
    }
    let scenario =
        |(number, (what, titles, judged)): (usize, (&'static str, &'static [&'static str], usize))| {
            let rows = names.iter().zip(&parts).zip(&columns).map(|((name, part), columns)| SiteRow {
                site: (*name).to_owned(),
                part: *part,
                figures: columns[number].clone().medians(),
            });
            Scenario { name: NAMES[number], what, columns: titles, judged, rows: rows.collect() }
        };
    SCENARIOS.into_iter().enumerate().map(scenario).collect()
}

/// Figures in the order of [`NAMES`].
fn sessions(mut warm: Warm, scale: Scale) -> Result<[Vec<f64>; 4], String> {
    // Names stay as they are: a quick run is for working, not for figures.
    let (few, many, handshakes) = if scale.quick { (50, 200, 100) } else { (1000, 8000, 2000) };
    let memory = |warm: &Warm| {
        settled(&warm.site);
        (warm.site.tls_private_kib() as f64, kernel_kib() as f64)
    };
    let before = memory(&warm);
    let each = |now: (f64, f64), count: usize| {
        vec![(now.0 - before.0) / count as f64, (now.1 - before.1) / count as f64]
    };
    warm.load.open(few)?;
    let with_few = each(memory(&warm), few);
    warm.load.open(many - few)?;
    let with_many = each(memory(&warm), many);
    let beside_many = warm.handshakes(handshakes)?;
    warm.load.close()?;
    settled(&warm.site);
    let beside_none = warm.handshakes(handshakes)?;
    Ok([with_few, with_many, beside_none, beside_many])
}
