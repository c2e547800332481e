//! Counts as a table for people and as JSON for programs.

use std::fmt::Write as _;

use tlsifyd_tests::figures::table::quoted;

use super::Counts;

/// Less than this in one operation is no part of it: a timer, or a turn of a loop that came a little later.
const NOTHING: f64 = 0.05;

/// One operation at one side of a site.
pub(crate) struct Row {
    pub(super) site: String,
    pub(super) operation: &'static str,
    pub(super) side: &'static str,
    pub(super) calls: Result<Counts, String>,
    /// `user` instructions of the processor that valgrind is.
    pub(super) callgrind: Result<Counts, String>,
    /// `user` and `kernel` instructions of this processor.
    pub(super) perf: Result<Counts, String>,
}

/// A table for each operation.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut operations: Vec<&str> = Vec::new();
    for row in rows {
        if !operations.contains(&row.operation) {
            operations.push(row.operation);
        }
    }
    let mut text = String::new();
    for operation in operations {
        let _ = writeln!(
            text,
            "{operation}\n{:<14} {:<9} {:>12} {:>12} {:>12} {:>7}  system calls",
            "", "", "callgrind", "user", "kernel", "calls"
        );
        for row in rows.iter().filter(|row| row.operation == operation) {
            let _ = writeln!(text, "{:<14} {:<9} {}", row.site, row.side, row.figures());
        }
        text.push('\n');
    }
    text
}

impl Row {
    fn figures(&self) -> String {
        let mut line = String::new();
        for (counts, name) in [(&self.callgrind, "user"), (&self.perf, "user"), (&self.perf, "kernel")] {
            let count = counts.as_ref().ok().and_then(|counts| counts.get(name));
            let count = count.map_or("-".to_owned(), |count| format!("{count:.0}"));
            let _ = write!(line, "{count:>12} ");
        }
        match &self.calls {
            Ok(calls) => {
                let _ = write!(line, "{:>7.2}  {}", all(calls), names(calls));
            }
            Err(why) => {
                let _ = write!(line, "{:>7}  strace: {why}", "-");
            }
        }
        for (tool, counts) in [("callgrind", &self.callgrind), ("perf", &self.perf)] {
            if let Err(why) = counts {
                let _ = write!(line, "; {tool}: {why}");
            }
        }
        line
    }

    /// `{"operation", "site", "side", "calls": {"all", "by_name": {…}}, "callgrind": {"user"}, "perf": {"user", "kernel"}}`,
    /// with `{"why"}` where something was not counted.
    pub(crate) fn json(&self) -> String {
        let named = |counts: &Counts| -> String {
            let pairs = counts.iter().map(|(name, count)| format!("{}: {count:.3}", quoted(name)));
            pairs.collect::<Vec<_>>().join(", ")
        };
        let why = |why: &String| format!("{{\"why\": {}}}", quoted(why));
        let calls = self.calls.as_ref().map_or_else(why, |calls| {
            format!("{{\"all\": {:.3}, \"by_name\": {{{}}}}}", all(calls), named(calls))
        });
        let [callgrind, perf] = [&self.callgrind, &self.perf]
            .map(|counts| counts.as_ref().map_or_else(why, |counts| format!("{{{}}}", named(counts))));
        format!(
            "{{\"operation\": {}, \"site\": {}, \"side\": {}, \"calls\": {calls}, \"callgrind\": {callgrind}, \"perf\": {perf}}}",
            quoted(self.operation),
            quoted(&self.site),
            quoted(self.side)
        )
    }
}

fn all(calls: &Counts) -> f64 {
    calls.values().sum()
}

/// The most frequent ones first.
fn names(calls: &Counts) -> String {
    let mut calls: Vec<(&String, f64)> = calls.iter().map(|(name, count)| (name, *count)).collect();
    calls.retain(|(_, count)| count.abs() >= NOTHING);
    calls.sort_by(|one, other| other.1.total_cmp(&one.1));
    let calls: Vec<String> = calls.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
    calls.join(", ")
}
