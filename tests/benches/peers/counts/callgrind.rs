//! User-mode instructions of a site whose programs were started under valgrind's callgrind, from their start to their end.

use std::fs;

use tlsifyd_tests::TempDir;
use tlsifyd_tests::tools::find;

use super::{Counts, Operation, Running};
use crate::scenarios::Scale;

/// Starts the site anew, has it do `count` operations, and ends it: says how many instructions each side took for all of
/// that.
///
/// # Errors
/// valgrind is not here, or cannot run this site.
pub(super) fn count(
    name: &str,
    scale: Scale,
    operation: Operation,
    count: usize,
) -> Result<Vec<Counts>, String> {
    let valgrind = find("valgrind").ok_or("valgrind is not here")?.display().to_string();
    let dir = TempDir::new("callgrind");
    // It stays in the process that it was started in, so that each file has the number of that.
    let out = format!("--callgrind-out-file={}/%p", dir.path().display());
    let under = vec![valgrind, "--quiet".to_owned(), "--tool=callgrind".to_owned(), out];
    let mut running = Running::start(name, scale, under)?;
    running.work(operation, count, |_| Ok(()), Ok)?;
    let sides = running.site.sides();
    running.site.end()?;
    let of_process = |pid: &u32| {
        let file = dir.path().join(pid.to_string());
        let text = fs::read_to_string(file).unwrap_or_default();
        total(&text).ok_or_else(|| format!("callgrind left no total of process {pid}"))
    };
    let of_side = |(_, pids): &(&str, Vec<u32>)| {
        let count: f64 = pids.iter().map(of_process).sum::<Result<_, String>>()?;
        Ok(Counts::from([("user".to_owned(), count)]))
    };
    sides.iter().map(of_side).collect()
}

/// The last line that has one: threads that ended before have lines of their own only where that was asked for.
fn total(text: &str) -> Option<f64> {
    let mut lines = text.lines().rev();
    lines.find_map(|line| line.strip_prefix("totals:")?.trim().parse().ok())
}
