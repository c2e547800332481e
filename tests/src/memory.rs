//! What a process takes of the machine's memory for itself.

use std::fs;

use crate::daemon::TestDaemon;

impl TestDaemon {
    /// The pages in KiB that it alone has written: what more sessions make more of. Its text is not counted: it turns
    /// from shared into private when the last other daemon on the machine ends.
    ///
    /// # Panics
    /// When it has ended.
    pub fn private_kib(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).expect("tlsifyd runs");
        let dirty = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")?.strip_suffix("kB"));
        dirty.and_then(|number| number.trim().parse().ok()).expect("a number of KiB")
    }
}
