//! The supervisor: files that the configuration names, sockets to listen on, and the parts, from their start to their end.
//! What it may, they inherit: each then gives up what it does not need itself.

use super::Rule::{Always, When};
use super::{Call, base, bits, calls};

pub(super) const TABLES: &[&[Call]] = &[
    base::PROCESS,
    base::SOCKETS,
    base::MODULES,
    base::NAMES,
    base::LIBRARIES,
    base::CONNECTING,
    base::LOCAL,
    LISTENING,
    PARTS,
    CONFINING,
];

const LISTENING: &[Call] = calls! {
    SYS_bind: Always, "the sockets that callers find";
    SYS_listen: Always, "the sockets that callers find";
    SYS_fchmodat: Always, "who may connect there";
    SYS_fchmod: Always, "who may connect there";
    SYS_unlinkat: Always, "a socket goes with its daemon";
    #[cfg(target_arch = "x86_64")]
    SYS_renameat: Always, "a new socket takes the place of an old one at once";
    SYS_renameat2: Always, "a new socket takes the place of an old one at once";
    SYS_mkdirat: Always, "the folder they are in";
    #[cfg(target_arch = "x86_64")]
    SYS_chmod: Always, "who may connect there";
    #[cfg(target_arch = "x86_64")]
    SYS_unlink: Always, "a socket goes with its daemon";
    #[cfg(target_arch = "x86_64")]
    SYS_rename: Always, "a new socket takes the place of an old one at once";
    #[cfg(target_arch = "x86_64")]
    SYS_mkdir: Always, "the folder they are in";
};

const PARTS: &[Call] = calls! {
    SYS_clone: When(&[&[bits(0, base::NAMESPACES, 0)]]), "starts parts";
    #[cfg(target_arch = "x86_64")]
    SYS_fork: Always, "starts parts";
    #[cfg(target_arch = "x86_64")]
    SYS_vfork: Always, "starts parts";
    SYS_execve: Always, "the parts are this program, anew; landlock says which programs there are";
    SYS_wait4: Always, "how a part ended";
    SYS_waitid: Always, "how a part ended";
    SYS_kill: Always, "ends parts";
    SYS_tgkill: Always, "abort(3), here and in the parts, which have other numbers";
    SYS_pidfd_open: Always, "a part by something that is no number";
    SYS_pidfd_send_signal: Always, "ends parts";
    SYS_setpgid: Always, "signals from a terminal are the supervisor's";
    SYS_setsid: Always, "signals from a terminal are the supervisor's";
    SYS_chdir: Always, "parts start in no folder of anybody's";
    SYS_umask: Always, "files of a part's module are its own";
    SYS_close_range: Always, "parts inherit what they are given";
    SYS_set_tid_address: Always, "a program's start";
    #[cfg(target_arch = "x86_64")]
    SYS_arch_prctl: Always, "a program's start: where a thread's own data is";
};

/// What [`confine`](crate::process::sandbox::confine) does in a part: each call takes something away.
const CONFINING: &[Call] = calls! {
    SYS_prctl: Always, "not dumpable, no new privileges, no code in data, an empty bounding set, the end with the supervisor's";
    SYS_prlimit64: Always, "no core files; higher than its hard limit nobody comes";
    SYS_capget: Always, "which capabilities there are";
    SYS_capset: Always, "none";
    SYS_setgroups: Always, "no groups of root's";
    SYS_setresgid: Always, "a part's own group";
    SYS_setresuid: Always, "a part's own user";
    SYS_landlock_create_ruleset: Always, "what a part may open";
    SYS_landlock_add_rule: Always, "what a part may open";
    SYS_landlock_restrict_self: Always, "and nothing else";
    SYS_seccomp: Always, "a part's own list, which is shorter";
};
