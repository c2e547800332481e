//! What a process takes of the machine's memory for itself.

use std::fs;

use crate::daemon::TestDaemon;

impl TestDaemon {
    /// The pages in KiB that it alone has: what more sessions make more of. Resident memory also counts the program's
    /// own text, which the system maps as it likes.
    ///
    /// # Panics
    /// When it has ended.
    pub fn private_kib(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).expect("tlsifyd runs");
        let private =
            rollup.lines().filter_map(|line| line.strip_prefix("Private_")?.split_whitespace().nth(1));
        private.map(|number| number.parse::<u64>().expect("a number of KiB")).sum()
    }
}
