//! A token: a PKCS#11 module of the host's, with the files that the operator names and a service that owns the device.

use super::Rule::Always;
use super::{Call, base, calls};

pub(super) const TABLES: &[&[Call]] = &[
    base::PROCESS,
    base::SOCKETS,
    base::MODULES,
    base::NAMES,
    base::LIBRARIES,
    base::CONNECTING,
    base::LOCAL,
    OWN,
];

/// In addition, where the operator says that the device is on the network.
pub(super) const NETWORK: &[Call] = base::NETWORK;

const OWN: &[Call] = calls! {
    SYS_ioctl: Always, "a reader's device, where the operator named its file";
    SYS_mlock: Always, "PINs and keys are not swapped out";
    SYS_munlock: Always, "and their memory is given back";
    SYS_mkdirat: Always, "objects of a software token are files";
    SYS_unlinkat: Always, "objects of a software token are files";
    #[cfg(target_arch = "x86_64")]
    SYS_renameat: Always, "objects of a software token are files";
    SYS_renameat2: Always, "objects of a software token are files";
    SYS_fchmod: Always, "and only its user's";
    SYS_umask: Always, "and only its user's";
    #[cfg(target_arch = "x86_64")]
    SYS_mkdir: Always, "objects of a software token are files";
    #[cfg(target_arch = "x86_64")]
    SYS_unlink: Always, "objects of a software token are files";
    #[cfg(target_arch = "x86_64")]
    SYS_rename: Always, "objects of a software token are files";
    #[cfg(target_arch = "x86_64")]
    SYS_chmod: Always, "and only its user's";
};
