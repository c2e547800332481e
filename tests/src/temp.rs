//! Folders that go when the test does, or at the latest when the next one comes.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// What our folders' names begin with; the process id follows, then what it is for.
const PREFIX: &str = "tlsifyd-test-";

/// A folder of this test alone, removed with everything in it when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new folder that only this user can enter. Its path is short: a Unix socket's may have 107 bytes.
    pub fn new(what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("{PREFIX}{}-{what}-{count}", process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A test that failed for another reason should say that reason.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what test processes left that are no more: killed ones, and the folders that live as long as the process.
fn sweep() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        let is_gone = |pid: u32| !Path::new(&format!("/proc/{pid}")).exists();
        if owner.is_some_and(is_gone) {
            // Somebody else's, or swept by a neighbour at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_a_live_one_has_is_not() {
        let ours = TempDir::new("kept");
        // No process has the number 0.
        let left = env::temp_dir().join(format!("{PREFIX}0-left-{}", process::id()));
        fs::create_dir(&left).unwrap();
        sweep();
        assert!(!left.exists());
        assert!(ours.path().exists());
    }
}
