//! What it costs to start: a session by the `tlsify` command, by a private daemon, by a control connection that is there
//! already, and by `openssl s_client`, beside programs that do nothing.
//!
//! ```text
//! cargo bench -p tlsifyd-tests --bench spawn_rate               figures; give it a quiet machine
//! cargo bench -p tlsifyd-tests --bench spawn_rate -- --quick    does it work
//!     --out DIR       where spawn_rate.json and spawn_rate.svg go (the target folder)
//!     --tlsify FILE   a command that was built elsewhere
//! ```
//!
//! Each figure is the median of rounds in which every row has its turn, so that a machine that slows down slows all rows
//! down. How to read the table is in README.md beside this file.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

use tlsifyd_tests::figures::chart::svg;
use tlsifyd_tests::figures::table::{Bar, Cost, Row, Table, median};
use tlsifyd_tests::{Options, TestDaemon};

#[path = "spawn_rate/meter.rs"]
mod meter;
#[path = "spawn_rate/peer.rs"]
mod peer;
#[path = "spawn_rate/programs.rs"]
mod programs;
#[path = "spawn_rate/rows.rs"]
mod rows;
#[path = "spawn_rate/stub.rs"]
mod stub;

use meter::Meter;
use peer::Server;
use programs::Programs;
use rows::{Case, Ends, Handshakes, Scene};
use stub::Stub;

/// What has to hold, as the project promises it. Said under the table; a bench does not fail.
const BARS: [Bar; 3] = [
    Bar { row: "b", than: "a", at_most: 1.6 },
    Bar { row: "b", than: "f", at_most: 1.0 / 6.0 },
    Bar { row: "c", than: "e", at_most: 1.0 / 5.0 },
];

fn main() {
    let asked = Asked::read(env::args().skip(1));
    let (rounds, pieces) = if asked.quick { (3, 5) } else { (15, 60) };
    let programs = Programs::make(asked.tlsify);
    let daemon =
        TestDaemon::with(Options { args: vec!["--workers".into(), "1".into()], ..Options::default() });
    let (server, stub) = (Server::start(), Stub::start());
    let ends = Ends::default();
    let scene = Scene { programs: &programs, server: &server, daemon: &daemon, stub: &stub };
    let mut measured: Vec<Measured> = scene.cases(&ends).into_iter().map(Measured::new).collect();
    let meter = Meter::new(&daemon);
    let mut settle = || {
        ends.drop_all();
        server.settle();
    };
    // The first piece of each is the one that finds out, and that fetches tickets.
    for row in &mut measured {
        ends.prepare(1);
        row.round(&meter, &server, 1, &mut settle, false);
    }
    for _ in 0..rounds {
        for row in &mut measured {
            ends.prepare(pieces);
            row.round(&meter, &server, pieces, &mut settle, true);
        }
    }
    let rows = measured.into_iter().map(Measured::row).collect();
    let table = Table { title: title(rounds, pieces), rows, bars: BARS.to_vec() };
    write!(io::stdout(), "{}", table.text()).expect("standard output takes lines");
    let out = asked.out.unwrap_or_else(target);
    fs::create_dir_all(&out).expect("the folder can be made");
    for (name, text) in [("spawn_rate.json", table.json()), ("spawn_rate.svg", svg(&table))] {
        fs::write(out.join(name), text).expect("the folder can be written");
    }
    writeln!(io::stdout(), "written: {}/spawn_rate.{{json,svg}}", out.display()).expect("it still does");
}

/// The command line.
#[derive(Default)]
struct Asked {
    quick: bool,
    out: Option<PathBuf>,
    tlsify: Option<PathBuf>,
}

impl Asked {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut asked = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => asked.quick = true,
                "--out" => asked.out = words.next().map(PathBuf::from),
                "--tlsify" => asked.tlsify = words.next().map(PathBuf::from),
                // cargo's own.
                "--bench" => {}
                other => panic!("there is no option {other}, but --quick, --out DIR and --tlsify FILE"),
            }
        }
        asked
    }
}

/// A row on its way.
struct Measured {
    case: Case,
    costs: Vec<Cost>,
    failed: Option<String>,
}

impl Measured {
    fn new(mut case: Case) -> Self {
        let failed = case.work.as_mut().err().map(std::mem::take);
        Self { case, costs: Vec::new(), failed }
    }

    /// One turn, if nothing went wrong before.
    fn round(&mut self, meter: &Meter, server: &Server, pieces: u32, settle: &mut dyn FnMut(), counts: bool) {
        let Ok(work) = &mut self.case.work else { return };
        if self.failed.is_some() {
            return;
        }
        let before = server.handshakes();
        match meter.measure(pieces, work, settle) {
            Err(why) => self.failed = Some(why),
            Ok(_) if !counts => {}
            Ok(cost) => {
                self.costs.push(cost);
                let after = server.handshakes();
                let seen = (after.0 - before.0, after.1 - before.1);
                let wanted = match self.case.handshakes {
                    Handshakes::None => (0, 0),
                    Handshakes::Full => (pieces.into(), 0),
                    Handshakes::Resumed => (0, pieces.into()),
                };
                if seen != wanted {
                    self.failed = Some(format!("{} full and {} resumed handshakes", seen.0, seen.1));
                }
            }
        }
    }

    fn row(self) -> Row {
        let of = |part: fn(&Cost) -> f64| median(self.costs.iter().map(part).collect());
        let cost = match (self.failed, of(|cost| cost.wall), of(|cost| cost.cpu)) {
            (None, Some(wall), Some(cpu)) => Ok(Cost { wall, cpu }),
            (Some(why), ..) => Err(why),
            _ => Err("not measured".to_owned()),
        };
        Row { key: self.case.key, what: self.case.what.to_owned(), cost }
    }
}

/// When and where.
fn title(rounds: u32, pieces: u32) -> String {
    let first_line = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{}, {} cores, Linux {}, {}; median of {rounds} rounds of {pieces}",
        first_line("date", "+%F"),
        cores,
        // The rest of it is whoever built it.
        first_line("uname", "-r").split('.').take(2).collect::<Vec<_>>().join("."),
        first_line("openssl", "version").split(" (").next().unwrap_or_default(),
    )
}

/// The target folder.
fn target() -> PathBuf {
    let bench = env::current_exe().expect("a process knows its program");
    bench.ancestors().nth(3).expect("benches lie in a target folder").to_owned()
}
