//! What TLS costs a server when it is handed off, beside the library inside the server, servers that do TLS themselves and
//! proxies in front: the same back end, certificate, group and suite, and the same load, in one run.
//!
//! ```text
//! cargo bench -p tlsifyd-tests --bench peers               figures; give it a quiet machine with two cores
//! cargo bench -p tlsifyd-tests --bench peers -- --quick    does it work; its figures mean nothing
//!     --counts          system calls and instructions of each operation instead of times; the machine need not be quiet
//!     --scenario NAME   only this one, and others named so
//!     --site NAME       only this one, and others named so
//!     --rounds N        how often each site has its turn in each scenario (7)
//!     --out DIR         where peers.json and peers-SCENARIO.svg go (the target folder)
//! ```
//!
//! The load has the first core, every process of a site the second. How to read the tables is in README.md beside this
//! file.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tlsifyd_tests::figures::allow_descriptors;
use tlsifyd_tests::figures::chart::draw;
use tlsifyd_tests::figures::scenario::Scenario;

#[path = "peers/bars.rs"]
mod bars;
#[path = "peers/counts/mod.rs"]
mod counts;
#[path = "peers/load/mod.rs"]
mod load;
#[path = "peers/scenarios/mod.rs"]
mod scenarios;
#[path = "peers/servers/mod.rs"]
mod servers;
#[path = "peers/sites/mod.rs"]
mod sites;

use bars::BARS;
use scenarios::{Chosen, Scale};

/// For 8,000 sessions of the load, and as many of each site, twice.
const DESCRIPTORS: u64 = 20_000;
/// Of a server: valgrind keeps some of them from the program that it runs.
const SERVED: u64 = DESCRIPTORS - 100;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if let Some((first, words)) = words.split_first()
        && first == "--serve"
    {
        allow_descriptors(SERVED);
        servers::serve(words);
    }
    let asked = Asked::read(words.into_iter());
    allow_descriptors(DESCRIPTORS);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let core = (cores > 1).then_some(1);
    if core.is_some() {
        pin(std::process::id(), 0);
    } else {
        print("one core: the load and the sites share it, and the figures are of no use\n");
    }
    let scale =
        Scale { quick: asked.quick, rounds: asked.rounds.unwrap_or(if asked.quick { 1 } else { 7 }), core };
    let mut say = |line: &str| {
        // Not part of the report.
        let _ = writeln!(io::stderr(), "{line}");
    };
    let out = asked.out.unwrap_or_else(target);
    fs::create_dir_all(&out).expect("the folder can be made");
    let file = out.join("peers.json");
    if asked.counts {
        let rows = counts::run(scale, &asked.chosen.sites, &mut say);
        let title = title(cores, "system calls and instructions", scale.quick);
        print(&format!("{title}\n\n{}", counts::text(&rows)));
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, with_counts(&before, &title, &rows)).expect("the folder can be written");
        print(&format!("written: {}\n", file.display()));
        return;
    }
    let measured = scenarios::run(scale, &asked.chosen, &mut say);
    let title = title(cores, &format!("medians of {} rounds", scale.rounds), scale.quick);
    print(&text(&title, &measured));
    fs::write(&file, json(&title, &measured)).expect("the folder can be written");
    for scenario in &measured {
        let chart = out.join(format!("peers-{}.svg", scenario.name));
        fs::write(chart, draw(&scenario.bars())).expect("the folder can be written");
    }
    print(&format!("written: {}/peers.json and peers-*.svg\n", out.display()));
}

/// The command line.
#[derive(Default)]
struct Asked {
    quick: bool,
    counts: bool,
    chosen: Chosen,
    rounds: Option<usize>,
    out: Option<PathBuf>,
}

impl Asked {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut asked = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} wants a value"));
            match word.as_str() {
                "--quick" => asked.quick = true,
                "--counts" => asked.counts = true,
                "--scenario" => asked.chosen.scenarios.push(known(value(), &scenarios::names())),
                "--site" => asked.chosen.sites.push(known(value(), &sites::NAMES)),
                "--rounds" => asked.rounds = Some(value().parse().expect("--rounds wants a number")),
                "--out" => asked.out = Some(value().into()),
                // cargo's own.
                "--bench" => {}
                other => {
                    panic!(
                        "there is no option {other}, but --quick, --counts, --scenario, --site, --rounds and --out"
                    )
                }
            }
        }
        asked
    }
}

fn known(name: String, names: &[&str]) -> String {
    assert!(names.contains(&name.as_str()), "there is no {name}, but: {}", names.join(", "));
    name
}

/// Puts every thread of a process on this core; threads that it makes later follow the one that makes them.
pub(crate) fn pin(pid: u32, core: usize) {
    let mut set = CpuSet::new();
    set.set(core).expect("a core that exists");
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten() {
        let id = task.file_name().to_string_lossy().parse().expect("threads have numbers");
        sched_setaffinity(Pid::from_raw(id), &set).expect("our own processes can be moved");
    }
}

fn text(title: &str, measured: &[Scenario]) -> String {
    let mut text = format!("{title}\n\n");
    for scenario in measured {
        text.push_str(&scenario.text());
        text.push('\n');
    }
    for bar in BARS {
        text.push_str(&bar.text(measured));
        text.push('\n');
    }
    text
}

/// `{"title", "scenarios": […], "bars": […]}`, as `figures::scenario` has them.
fn json(title: &str, measured: &[Scenario]) -> String {
    let scenarios: Vec<String> = measured.iter().map(Scenario::json).collect();
    let bars: Vec<String> = BARS.iter().map(|bar| bar.json(measured)).collect();
    format!(
        "{{\n  \"title\": \"{title}\",\n  \"scenarios\": [\n    {}\n  ],\n  \"bars\": [\n    {}\n  ]\n}}\n",
        scenarios.join(",\n    "),
        bars.join(",\n    ")
    )
}

/// What [`json`] gave, with `"counts": {"title", "rows": […]}` behind the rest and instead of older ones. A file that is
/// not ours is begun anew.
fn with_counts(before: &str, title: &str, rows: &[counts::Row]) -> String {
    const COUNTS: &str = ",\n  \"counts\": ";
    let new = json(title, &[]);
    let before = if before.starts_with("{\n  \"title\": ") { before } else { &new };
    let rest = before.find(COUNTS).or_else(|| before.rfind("\n}")).unwrap_or(before.len());
    let rows: Vec<String> = rows.iter().map(counts::Row::json).collect();
    format!(
        "{}{COUNTS}{{\"title\": \"{title}\", \"rows\": [\n    {}\n  ]}}\n}}\n",
        &before[..rest],
        rows.join(",\n    ")
    )
}

fn title(cores: usize, what: &str, quick: bool) -> String {
    format!(
        "{}, {cores} cores, Linux {}; {what}{}",
        first_line("date", "+%F"),
        // The rest of it is whoever built it.
        first_line("uname", "-r").split('.').take(2).collect::<Vec<_>>().join("."),
        if quick { ", quick: its figures mean nothing" } else { "" }
    )
}

fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
}

fn print(text: &str) {
    write!(io::stdout(), "{text}").expect("standard output takes lines");
}

/// The target folder.
fn target() -> PathBuf {
    let bench = env::current_exe().expect("a process knows its program");
    bench.ancestors().nth(3).expect("benches lie in a target folder").to_owned()
}
