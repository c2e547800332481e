//! The keyholder: keys in locked memory, questions and signatures on sockets that others made.

use super::Rule::Always;
use super::{Call, base, calls};

pub(super) const TABLES: &[&[Call]] = &[base::PROCESS, base::SOCKETS, base::CODE, base::NO_NAMES, OWN];

const OWN: &[Call] = calls! {
    SYS_mlock: Always, "keys are not swapped out";
    SYS_mlock2: Always, "keys are not swapped out";
    SYS_munlock: Always, "and their memory is given back";
    SYS_mlockall: Always, "the same for all that it has";
    SYS_sched_setaffinity: Always, "a worker's thread is answered on its core";
    SYS_memfd_secret: Always, "memory that not even the kernel's own maps have";
};
