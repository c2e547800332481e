//! Where keys are: in memory that is not swapped, not dumped, and not read by others of the same user.
//!
//! ```text
//!  limit of locked memory is none ──▶ all memory, now and later (mlockall)
//!  some limit (8 MiB is usual)    ──▶ the heap, and again when it grows: the provider keeps its keys there
//!  not even that                  ──▶ said in the log
//! ```
//!
//! Not locked with a limit: the threads' stacks, where a signature's intermediate numbers are for microseconds. With
//! `MCL_FUTURE` and a limit, memory that does not fit is refused instead of not locked, which ends the process: so it is
//! used only without one.
//!
//! Not readable by others: no core dump (RLIMIT_CORE 0, PR_SET_DUMPABLE 0, which also refuses ptrace and /proc/PID/mem to
//! the same user). Root with CAP_SYS_PTRACE reads any memory, here as everywhere.

use std::fs;
use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use crate::sys;

/// How the memory is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// All of it, also what is to come.
    All,
    /// The heap from this address on.
    Heap(usize),
    /// Not at all.
    Unkept,
}

impl Memory {
    /// To be called while there is one thread, before privileges are dropped and before any key is there. What cannot be done
    /// is said in the log: the keys are needed all the same.
    #[must_use]
    pub fn protect() -> Self {
        let said = |what: &str, done: rustix::io::Result<()>| {
            if let Err(errno) = done {
                tracing::warn!(error = %io::Error::from(errno), "cannot {what}");
            }
        };
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        said("forbid core dumps", setrlimit(Resource::Core, none));
        said("keep other processes out of the keys' memory", Self::not_dumpable());
        let memory = Self::lock_all().or_else(Self::lock_heap).unwrap_or(Self::Unkept);
        match memory {
            Self::All => tracing::debug!("all memory of the keyholder is locked"),
            Self::Heap(_) => tracing::debug!("the keyholder's heap is locked"),
            Self::Unkept => tracing::warn!(
                "the keys' memory cannot be locked, and may be swapped: raise the limit of locked memory (LimitMEMLOCK=)"
            ),
        }
        memory
    }

    /// Once more, after a change of the user, which takes it back.
    ///
    /// # Errors
    /// The system's.
    pub fn not_dumpable() -> rustix::io::Result<()> {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
    }

    fn lock_all() -> Option<Self> {
        let limit = getrlimit(Resource::Memlock);
        if limit.maximum.is_some() {
            // May be raised by who has CAP_SYS_RESOURCE.
            setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).ok()?;
        } else if limit.current.is_some() {
            setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).ok()?;
        }
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).ok()?;
        Some(Self::All)
    }

    fn lock_heap() -> Option<Self> {
        let limit = getrlimit(Resource::Memlock);
        // As far as it goes; it fails only where there is nothing to raise.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, ..limit });
        if !sys::one_heap() {
            return None;
        }
        let start = heap_start(&fs::read_to_string("/proc/self/maps").ok()?)?;
        sys::keep_heap(start).ok()?;
        Some(Self::Heap(start))
    }

    /// After a key was added: the heap may have grown.
    pub(super) fn keep(self) {
        if let Self::Heap(start) = self
            && let Err(error) = sys::keep_heap(start)
        {
            tracing::warn!(%error, "the new key's memory cannot be locked, and may be swapped");
        }
    }
}

/// The heap's first address, of `/proc/PID/maps`.
fn heap_start(maps: &str) -> Option<usize> {
    let line = maps.lines().find(|line| line.ends_with("[heap]"))?;
    usize::from_str_radix(line.split_once('-')?.0, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_is_found_among_the_mappings() {
        let maps = "55d0a000-55d0b000 r-xp 00000000 fe:00 1 /usr/sbin/tlsifyd\n\
                    55e1f000-55e40000 rw-p 00000000 00:00 0                          [heap]\n\
                    7f00a000-7f00b000 rw-p 00000000 00:00 0 \n";
        assert_eq!(heap_start(maps), Some(0x55e1_f000));
        assert_eq!(heap_start("7f00a000-7f00b000 rw-p 00000000 00:00 0 [stack]"), None);
    }
}
