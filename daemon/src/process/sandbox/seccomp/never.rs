//! What a part with code of others in it is killed for: nobody tries these by mistake. (The worker and the keyholder are
//! killed for everything that is not in their tables.)

use super::Rule::Always;
use super::{Call, calls};

/// In any part, so also in the supervisor and whatever it starts.
pub(super) const CALLS: &[Call] = calls! {
    SYS_ptrace: Always, "another process's memory";
    SYS_process_vm_readv: Always, "another process's memory";
    SYS_process_vm_writev: Always, "another process's memory";
    SYS_process_madvise: Always, "another process's memory";
    SYS_pidfd_getfd: Always, "another process's descriptors";
    SYS_kcmp: Always, "another process's insides";
    SYS_userfaultfd: Always, "holds the kernel up at a place of one's choice: a tool of exploits";
    SYS_bpf: Always, "code in the kernel";
    SYS_perf_event_open: Always, "a large part of the kernel, often broken";
    SYS_io_uring_setup: Always, "system calls that no filter sees";
    SYS_io_uring_enter: Always, "system calls that no filter sees";
    SYS_io_uring_register: Always, "system calls that no filter sees";
    SYS_init_module: Always, "code in the kernel";
    SYS_finit_module: Always, "code in the kernel";
    SYS_delete_module: Always, "code in the kernel";
    SYS_kexec_load: Always, "another kernel";
    SYS_reboot: Always, "the host's end";
    SYS_mount: Always, "another file system";
    SYS_umount2: Always, "another file system";
    SYS_pivot_root: Always, "another file system";
    SYS_chroot: Always, "another file system";
    SYS_fsopen: Always, "another file system";
    SYS_fsmount: Always, "another file system";
    SYS_move_mount: Always, "another file system";
    SYS_open_tree: Always, "another file system";
    SYS_unshare: Always, "another world, with rights that one lacks here";
    SYS_setns: Always, "another world";
    SYS_open_by_handle_at: Always, "files past their folders";
    SYS_keyctl: Always, "the kernel's keyrings, and a large part of it";
    SYS_add_key: Always, "the same";
    SYS_request_key: Always, "the same, and a program of root's";
    SYS_personality: Always, "turns off how memory is laid out";
    SYS_swapon: Always, "the host's";
    SYS_swapoff: Always, "the host's";
    SYS_settimeofday: Always, "the host's clock";
    SYS_clock_settime: Always, "the host's clock";
    SYS_sethostname: Always, "the host's name";
    SYS_acct: Always, "the host's";
    #[cfg(target_arch = "x86_64")]
    SYS_iopl: Always, "the hardware";
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm: Always, "the hardware";
};

/// In the parts: only the supervisor starts programs.
pub(super) const NOT_IN_PARTS: &[Call] = calls! {
    SYS_execve: Always, "another program";
    SYS_execveat: Always, "another program";
};
