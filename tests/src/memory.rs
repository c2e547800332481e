//! What a process takes of the machine's memory for itself.

use std::fs;

use crate::daemon::TestDaemon;

impl TestDaemon {
    /// The pages in KiB that it has for itself and that no file is behind: what more sessions make more of. Its text
    /// is not counted: that turns from shared into private when the last other daemon on the machine ends, and is
    /// dirty while it was just built.
    ///
    /// # Panics
    /// When it has ended.
    pub fn private_kib(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).expect("tlsifyd runs");
        let own = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")?.strip_suffix("kB"));
        own.and_then(|number| number.trim().parse().ok()).expect("a number of KiB")
    }
}
