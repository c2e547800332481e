//! What a process asks the kernel about confining itself, and the one thing that no crate we use does for it.
#![allow(unsafe_code)]

use std::{io, ptr};

/// include/uapi/linux/landlock.h: `LANDLOCK_CREATE_RULESET_VERSION`.
const LANDLOCK_VERSION: u32 = 1;
/// include/uapi/linux/prctl.h, Linux 6.3.
const PR_SET_MDWE: libc::c_int = 65;
const PR_GET_MDWE: libc::c_int = 66;
const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;

/// The version of landlock's interface that the kernel speaks; 0 where there is none, or it is turned off.
pub fn landlock_version() -> i32 {
    let (no_attributes, no_size) = (ptr::null::<libc::c_void>(), 0_usize);
    // SAFETY: with this flag the kernel reads no memory of ours and makes no descriptor: it returns a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, no_attributes, no_size, LANDLOCK_VERSION) };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// Whether the kernel can be given a list of system calls that kills a process which makes another (Linux 4.14).
pub fn can_kill_by_system_call() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    let no_flags: libc::c_uint = 0;
    // SAFETY: the kernel reads the four bytes of `action`, which outlives the call.
    let done = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, no_flags, ptr::from_ref(&action))
    };
    done == 0
}

/// Whether the kernel knows [`deny_writable_code`].
pub fn can_deny_writable_code() -> bool {
    let none: libc::c_ulong = 0;
    // SAFETY: it returns flags of this process and touches no memory.
    let flags = unsafe { libc::prctl(PR_GET_MDWE, none, none, none, none) };
    flags >= 0
}

/// From now on no memory of this process, or of a child, can become executable that was writable (PR_SET_MDWE, Linux 6.3).
/// For good.
///
/// # Errors
/// The system's; on a kernel that does not know it, `EINVAL`.
pub fn deny_writable_code() -> io::Result<()> {
    let none: libc::c_ulong = 0;
    // SAFETY: it sets a flag of this process and touches no memory of ours.
    let done = unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, none, none, none) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
