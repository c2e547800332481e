//! What does not vary with the load of the machine: the system calls and the instructions of one operation.
//!
//! ```text
//!  N₁ operations ── counted ──┐
//!                             ├── (second - first) / (N₂ - N₁) ──▶ of one: whatever comes once is in both
//!  N₂ operations ── counted ──┘
//! ```
//!
//! System calls are counted by strace at processes that run already; instructions by callgrind in a site that was started
//! under it, and by the counters of the processor where it has them. One client does one operation after the other: with
//! more, how many events a server takes from the kernel at once depends on who is faster. What it does not do: it measures
//! no time, and its programs run many times slower than they do.

mod attached;
mod callgrind;
mod report;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustls::HandshakeKind;

use crate::load::config::client_config;
use crate::load::{Ask, Load, Plan};
use crate::scenarios::{Scale, settled};
use crate::sites::{self, Group, Site, SiteOptions, Tls};
use attached::{Attached, Tool};
pub(crate) use report::{Row, text};

/// Whose counts the issue is about; others are counted when they are named.
const SITES: [&str; 2] = ["tlsifyd", "inside"];
const MIB: u64 = 1024 * 1024;

/// By name: of system calls, or `user` and `kernel` of instructions.
type Counts = BTreeMap<String, f64>;

/// What is counted.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Handshake,
    Request,
    Download,
    Upload,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Handshake, Self::Request, Self::Download, Self::Upload];

    fn name(self) -> &'static str {
        match self {
            Self::Handshake => "full handshake, request, close",
            Self::Request => "request on an open session",
            Self::Download => "MiB downloaded",
            Self::Upload => "MiB uploaded",
        }
    }

    /// How many, in the first place and in the second.
    fn numbers(self, quick: bool) -> [usize; 2] {
        let [first, second] = match self {
            Self::Handshake => [20, 120],
            Self::Request => [50, 550],
            Self::Download | Self::Upload => [4, 36],
        };
        [first, if quick { first * 2 } else { second }]
    }
}

/// A site that has answered, and its one client.
struct Running {
    site: Site,
    load: Load,
}

impl Running {
    /// # Errors
    /// The site does not start, or does not answer.
    fn start(name: &str, scale: Scale, under: Vec<String>) -> Result<Self, String> {
        let options =
            SiteOptions { version: Tls::V13, group: Group::X25519, tickets: false, core: scale.core, under };
        // The rig panics when a daemon does not start, as one might not under a tool that does not know the processor.
        let site = catch_unwind(AssertUnwindSafe(|| sites::start(name, &options)));
        let site = site.map_err(|_| format!("{name} did not start"))??;
        let mut load = Load::new(site.address(), client_config(false, false, None));
        load.fresh(10, 1, Plan::Once, HandshakeKind::Full)?;
        Ok(Self { site, load })
    }

    /// `count` operations, with `before` called when the session is open that they are on, and `after` when the site has
    /// come to rest but the session has not ended.
    fn work<A, B>(
        &mut self,
        operation: Operation,
        count: usize,
        before: impl FnOnce(&Site) -> Result<A, String>,
        after: impl FnOnce(A) -> Result<B, String>,
    ) -> Result<B, String> {
        let open = !matches!(operation, Operation::Handshake);
        if open {
            self.load.open(1)?;
        }
        settled(&self.site);
        let begun = before(&self.site)?;
        let bytes = MIB * count as u64;
        match operation {
            Operation::Handshake => self.load.fresh(count, 1, Plan::Once, HandshakeKind::Full)?,
            Operation::Request => self.load.ask(Ask::Small, count)?,
            Operation::Download => self.load.ask(Ask::Download(bytes), 1)?,
            Operation::Upload => self.load.ask(Ask::Upload(bytes), 1)?,
        };
        settled(&self.site);
        let ended = after(begun)?;
        if open {
            self.load.close()?;
            settled(&self.site);
        }
        Ok(ended)
    }

    /// What this tool counts at each side of the site.
    fn attached(&mut self, tool: Tool, operation: Operation, count: usize) -> Result<Vec<Counts>, String> {
        let attach = |site: &Site| -> Result<Vec<Attached>, String> {
            site.sides().iter().map(|(_, pids)| Attached::start(tool, pids)).collect()
        };
        let stop = |tools: Vec<Attached>| tools.into_iter().map(Attached::stop).collect();
        self.work(operation, count, attach, stop)
    }
}

/// Counts every operation at these sites, or at those of [`SITES`]. `say` is told how it goes on.
pub(crate) fn run(scale: Scale, chosen: &[String], say: &mut dyn FnMut(&str)) -> Vec<Row> {
    let usual = SITES.map(str::to_owned);
    let chosen = if chosen.is_empty() { &usual } else { chosen };
    chosen.iter().flat_map(|site| of_site(site, scale, say)).collect()
}

fn of_site(name: &str, scale: Scale, say: &mut dyn FnMut(&str)) -> Vec<Row> {
    let mut rows = Vec::new();
    // One failure of it is enough: each may take as long as a daemon has to start.
    let mut refused: Option<String> = None;
    let mut running = Running::start(name, scale, Vec::new());
    let sides: Vec<&str> = match &running {
        Ok(running) => running.site.sides().into_iter().map(|(side, _)| side).collect(),
        Err(_) => vec!["TLS"],
    };
    for operation in Operation::ALL {
        say(&format!("{name}, {}", operation.name()));
        let numbers = operation.numbers(scale.quick);
        let mut attached = |tool: Tool| {
            let counted = difference(numbers, |count| {
                running.as_mut().map_err(|why| why.clone())?.attached(tool, operation, count)
            });
            if let Ok(running) = &mut running
                && counted.is_err()
            {
                running.load.forget();
            }
            counted
        };
        let calls = attached(Tool::Strace);
        let callgrind = match &refused {
            None => difference(numbers, |count| callgrind::count(name, scale, operation, count)),
            Some(why) => Err(why.clone()),
        };
        if let Err(why) = &callgrind {
            refused = Some(why.clone());
        }
        let perf = attached(Tool::Perf);
        for (index, side) in sides.iter().enumerate() {
            rows.push(Row {
                site: name.to_owned(),
                operation: operation.name(),
                side,
                calls: calls.clone().map(|sides| sides[index].clone()),
                callgrind: callgrind.clone().map(|sides| sides[index].clone()),
                perf: perf.clone().map(|sides| sides[index].clone()),
            });
        }
    }
    rows
}

/// Of one operation, at each side: what more of them add.
fn difference(
    numbers: [usize; 2],
    mut count: impl FnMut(usize) -> Result<Vec<Counts>, String>,
) -> Result<Vec<Counts>, String> {
    let [few, many] = [count(numbers[0])?, count(numbers[1])?];
    let added = (numbers[1] - numbers[0]) as f64;
    let of_side = |(few, mut many): (Counts, Counts)| {
        for (name, count) in few {
            *many.entry(name).or_default() -= count;
        }
        many.values_mut().for_each(|count| *count /= added);
        many
    };
    Ok(few.into_iter().zip(many).map(of_side).collect())
}
