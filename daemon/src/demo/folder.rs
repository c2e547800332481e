//! The folder of one demonstration: only this user enters it, and it goes with the demonstration.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;

use super::error::DemoError;

/// Folders of killed demonstrations may stand in the way of a process with the same number.
const ATTEMPTS: u32 = 100;

pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, DemoError> {
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let path = env::temp_dir().join(format!("tlsifyd-demo-{}-{attempt}", process::id()));
            // Made, not found: what somebody else put there is never ours.
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => last = Some(cause),
                Err(cause) => return Err(DemoError::System { what: "make a temporary folder", cause }),
            }
        }
        let cause = last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into());
        Err(DemoError::System { what: "make a temporary folder", cause })
    }

    /// Where the engine listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("sock")
    }

    /// The throwaway CA's certificate, for curl.
    pub(super) fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left to tell, and what stays holds no secret.
        let _ = fs::remove_dir_all(&self.0);
    }
}
