//! Attempts to break out, made by a part itself after its confinement. In debug builds only: a release has no such code.
//!
//! A test writes `PART ATTEMPT` into a file and starts the daemon with its path in [`FILE`]. The part of that name takes the
//! file away before it is confined, so that one process makes the attempt and the one after it does not, and says in the
//! log what came of it. When it was killed, it says nothing, and the supervisor does.

use std::fs;
use std::path::PathBuf;

use super::{May, Part, Place};
use crate::sys::{Prepared, attempt};

/// The environment variable with the path of the file.
const FILE: &str = "TLSIFYD_TEST_ESCAPE";

/// An attempt that is to be made.
#[derive(Debug)]
pub struct Escape {
    part: Part,
    name: String,
    prepared: Prepared,
}

impl Escape {
    /// Every attempt there is.
    pub const ALL: [&str; 23] = [
        "open-passwd",
        "open-shadow",
        "open-own-memory",
        "write-file",
        "open-in-a-callers-folder",
        "socket-internet",
        "socket-unix",
        "socket-packet",
        "datagram-pair",
        "connect",
        "execute",
        "trace",
        "read-others-memory",
        "signal-supervisor",
        "map-writable-code",
        "make-data-code",
        "become-root",
        "more-descriptors",
        "io-uring",
        "bpf",
        "process",
        "namespace",
        "mount",
    ];

    /// Takes the attempt that this part is to make, if there is one. To be called before it is confined.
    pub fn planned(part: Part) -> Option<Self> {
        let file = std::env::var_os(FILE)?;
        let plan = fs::read_to_string(&file).ok()?;
        let name = plan.trim().strip_prefix(part.name())?.trim().to_owned();
        fs::remove_file(&file).ok()?;
        Some(Self { part, name, prepared: Prepared::new().ok()? })
    }

    /// Where the plan is: parts take it away, so their parent may.
    pub fn place() -> Option<Place> {
        let file = PathBuf::from(std::env::var_os(FILE)?);
        Some(Place::new(file.parent()?, May::Change))
    }

    /// Makes it, and says in the log what came of it, if there is still somebody to say it.
    pub fn make(self) {
        let Self { part, name, prepared } = self;
        match attempt(&name, &prepared) {
            Ok(()) => tracing::error!("{part}: {name}: it came out"),
            Err(error) => tracing::error!("{part}: {name}: refused: {error}"),
        }
    }
}
