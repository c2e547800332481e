//! What more than one part needs: memory, threads, time, descriptors that are there already.

use super::Rule::{Always, Answer, When};
use super::{Call, bits, calls, is, null, ours};

/// What a thread of our process has in common with it (all glibc and musl ask for), and none of what would make a process,
/// a namespace or a tracee of it.
const THREAD: i32 =
    libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
const NO_THREAD: i32 =
    libc::CLONE_VFORK | libc::CLONE_PTRACE | libc::CLONE_PARENT | libc::CLONE_PIDFD | NAMESPACES;

/// What makes a namespace with a process.
pub(super) const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// prctl's first argument: a name for memory in /proc, which allocators and loaders set.
const PR_SET_VMA: i32 = 0x5356_4d41;
/// What the kernel told this process at its start. rustix asks for it before its first call of the vDSO.
const PR_GET_AUXV: i32 = 0x4155_5856;
/// The kind of a socket, without its flags.
const KIND: i32 = 0xf;

/// Every process with threads.
pub(super) const PROCESS: &[Call] = calls! {
    // Memory. What is run is in the tables CODE and MODULES.
    SYS_munmap: Always, "gives memory back";
    SYS_mremap: Always, "buffers grow; it changes no protection";
    SYS_brk: Always, "the allocator's heap";
    SYS_madvise: Always, "stacks of ended threads are given back, and random numbers are kept from children";
    // Threads.
    SYS_clone: When(&[&[bits(0, THREAD | NO_THREAD, THREAD)]]), "threads for callers' slow files; no processes, no namespaces";
    SYS_clone3: Answer(libc::ENOSYS, &[]), "a filter cannot look at its flags: the C library takes clone then";
    SYS_set_robust_list: Always, "each thread says where its locks are";
    SYS_rseq: Always, "each thread, for the C library's per-core data";
    SYS_futex: Always, "locks; free to everybody, it reaches no memory but one's own";
    SYS_sigaltstack: Always, "each thread has a stack for overflows";
    SYS_rt_sigprocmask: Always, "threads are made with signals held back";
    SYS_rt_sigaction: Always, "the C library's own, with the first thread; handlers are code of this process";
    SYS_rt_sigreturn: Always, "the way back from a handler";
    SYS_tgkill: When(&[&[ours(0)]]), "abort(3): this process may end itself, and nobody else";
    SYS_sched_yield: Always, "locks that are held for a moment";
    SYS_sched_getaffinity: Always, "how many processors there are: the allocator's arenas, stacks' guards";
    SYS_sched_getattr: When(&[&[is(0, 0)]]), "how this thread is scheduled";
    SYS_sched_setattr: When(&[&[is(0, 0)]]), "this thread's slices of time (sys::ask_for_slices)";
    SYS_prctl: When(&[&[is(0, libc::PR_SET_NAME)], &[is(0, libc::PR_GET_NAME)], &[is(0, PR_SET_VMA)], &[is(0, PR_GET_AUXV)]]), "names of threads and of memory, and where the vDSO is";
    SYS_gettid: Always, "locks, names of threads";
    SYS_getpid: Always, "abort(3), the log";
    SYS_getppid: Always, "whether the supervisor is still there";
    SYS_getuid: Always, "who we are";
    SYS_geteuid: Always, "who we are";
    SYS_getgid: Always, "who we are";
    SYS_getegid: Always, "who we are";
    SYS_prlimit64: When(&[&[is(0, 0), null(2)]]), "asks for a limit of this process, and sets none";
    SYS_exit: Always, "a thread's end";
    SYS_exit_group: Always, "the end";
    SYS_restart_syscall: Always, "what the kernel goes on with after a stop";
    SYS_uname: Always, "the C library's version checks";
    SYS_sysinfo: Always, "the C library's sort asks how much memory there is";
    // Time and chance; most of it without the kernel.
    SYS_clock_gettime: Always, "the time, where the vDSO cannot say it";
    SYS_clock_getres: Always, "and how exact it is";
    SYS_gettimeofday: Always, "the same, of old";
    SYS_clock_nanosleep: Always, "waits";
    SYS_nanosleep: Always, "waits, of old";
    SYS_getrandom: Always, "keys";
    // Descriptors that are there.
    SYS_read: Always, "what callers, peers and event counters say";
    SYS_write: Always, "the same way back, and the log";
    SYS_readv: Always, "the same in pieces";
    SYS_writev: Always, "the same in pieces";
    SYS_close: Always, "ends a descriptor";
    SYS_fstat: Always, "what a descriptor is";
    SYS_fcntl: When(&[
        &[is(1, libc::F_GETFD)], &[is(1, libc::F_SETFD)], &[is(1, libc::F_GETFL)], &[is(1, libc::F_SETFL)],
        &[is(1, libc::F_DUPFD_CLOEXEC)], &[is(1, libc::F_ADD_SEALS)], &[is(1, libc::F_GET_SEALS)],
        &[is(1, libc::F_OFD_GETLK)], &[is(1, libc::F_OFD_SETLK)], &[is(1, libc::F_OFD_SETLKW)],
    ]), "flags, copies, seals, and locks of callers' files; none that sends signals to others";
    SYS_ioctl: When(&[&[is(1, FIONREAD)], &[is(1, FIONBIO)], &[is(1, TCGETS)]]), "how many bytes wait, not to wait, whether the log is a terminal; no device's";
    SYS_lseek: Always, "where a caller's file stands";
    SYS_memfd_create: Always, "bulk answers travel as sealed memory";
    SYS_ftruncate: Always, "memory files get their length";
    SYS_pread64: Always, "callers' files, where the caller's own position stays";
    SYS_pwrite64: Always, "memory files, and a caller's file of ticket keys";
    SYS_preadv2: Always, "reads that must not wait";
    SYS_pwritev2: Always, "writes that must not wait";
    // Waiting.
    SYS_epoll_create1: Always, "a loop for each thread";
    SYS_epoll_ctl: Always, "what it waits for";
    SYS_epoll_pwait: Always, "the loop";
    SYS_epoll_pwait2: Always, "the loop, with finer deadlines";
    #[cfg(target_arch = "x86_64")]
    SYS_epoll_wait: Always, "the loop";
    SYS_eventfd2: Always, "wakes a loop";
    SYS_ppoll: Always, "waits for one descriptor";
    #[cfg(target_arch = "x86_64")]
    SYS_poll: Always, "waits for one descriptor";
};

// The kernel's numbers, which the C libraries have in different types.
const FIONREAD: i32 = 0x541b;
const FIONBIO: i32 = 0x5421;
const TCGETS: i32 = 0x5401;

/// Sockets that are there, and pairs of them.
pub(super) const SOCKETS: &[Call] = calls! {
    SYS_recvmsg: Always, "packets with descriptors";
    SYS_sendmsg: Always, "packets with descriptors";
    SYS_recvfrom: Always, "what a peer sends";
    SYS_sendto: Always, "what a peer gets";
    SYS_shutdown: Always, "ends a direction, or a session";
    SYS_accept4: Always, "callers at sockets that the supervisor made";
    SYS_getsockname: Always, "the address of a session";
    SYS_getpeername: Always, "the address of its peer";
    SYS_getsockopt: Always, "who a caller is, what a socket is";
    SYS_setsockopt: When(&[
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_LINGER)], &[is(1, libc::SOL_SOCKET), is(2, libc::SO_PASSCRED)],
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_SNDBUF)], &[is(1, libc::SOL_SOCKET), is(2, libc::SO_RCVBUF)],
        &[is(1, libc::SOL_SOCKET), is(2, SO_PASSPIDFD)], &[is(1, libc::SOL_SOCKET), is(2, SO_PASSRIGHTS)],
        &[is(1, libc::SOL_SOCKET), is(2, libc::SO_RCVTIMEO)], &[is(1, libc::SOL_SOCKET), is(2, libc::SO_SNDTIMEO)],
        &[is(1, libc::SOL_SOCKET), is(2, SO_RCVTIMEO_NEW)], &[is(1, libc::SOL_SOCKET), is(2, SO_SNDTIMEO_NEW)],
        &[is(1, libc::IPPROTO_TCP), is(2, libc::TCP_NODELAY)],
    ]), "how sockets end, how much they hold, no delay; no socket filters, no devices";
    SYS_socketpair: When(&[&[is(0, libc::AF_UNIX), bits(1, KIND, libc::SOCK_STREAM)], &[is(0, libc::AF_UNIX), bits(1, KIND, libc::SOCK_SEQPACKET)]]), "the plaintext's way, and channels; no datagrams, which could be sent to any path";
};

// include/uapi/asm-generic/socket.h
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;
const SO_PASSPIDFD: i32 = 76;
const SO_PASSRIGHTS: i32 = 83;

/// Memory that is run is what the process was started with.
pub(super) const CODE: &[Call] = calls! {
    SYS_mmap: When(&[&[bits(2, libc::PROT_EXEC, 0)]]), "memory, stacks, the shared CA pool; never to run";
    SYS_mprotect: When(&[&[bits(2, libc::PROT_EXEC, 0)]]), "guards of stacks, the heap's growth; never to run";
};

/// Memory that is run comes from files: the host's modules. Nothing is written and run.
pub(super) const MODULES: &[Call] = calls! {
    SYS_mmap: When(&[&[bits(2, libc::PROT_EXEC, 0)], &[bits(2, libc::PROT_EXEC | libc::PROT_WRITE, libc::PROT_EXEC), bits(3, libc::MAP_ANONYMOUS, 0)]]), "memory, and modules from files; never to write and run";
    SYS_mprotect: When(&[&[bits(2, libc::PROT_EXEC, 0)]]), "the loader takes away what modules need no more; never to run";
};

/// Names of files, where there are none. Only metadata of what is open can be had.
pub(super) const NO_NAMES: &[Call] = calls! {
    SYS_statx: When(&[&[bits(2, libc::AT_EMPTY_PATH, libc::AT_EMPTY_PATH)]]), "what a descriptor is, and when it was made";
    SYS_statx: Answer(libc::EACCES, &[&[bits(2, libc::AT_EMPTY_PATH, 0)]]), "the standard library tries it with nothing, to see whether it is there";
    SYS_newfstatat: When(&[&[bits(3, libc::AT_EMPTY_PATH, libc::AT_EMPTY_PATH)]]), "fstat(3) of the C library";
    SYS_newfstatat: Answer(libc::EACCES, &[&[bits(3, libc::AT_EMPTY_PATH, 0)]]), "the cryptography looks for /dev/sysgenid, and does without";
    #[cfg(target_arch = "x86_64")]
    SYS_stat: Answer(libc::EACCES, &[]), "the same, with older C libraries";
    SYS_openat: Answer(libc::EACCES, &[]), "a panic with RUST_BACKTRACE looks for its symbols, and ends one session and not the part";
    #[cfg(target_arch = "x86_64")]
    SYS_open: Answer(libc::EACCES, &[]), "the same, of libraries that are older";
    SYS_readlinkat: Answer(libc::EACCES, &[]), "the same: where the program is";
    #[cfg(target_arch = "x86_64")]
    SYS_readlink: Answer(libc::EACCES, &[]), "the same";
    SYS_getcwd: Answer(libc::EACCES, &[]), "the same: paths are shown as seen from here";
};

/// Names of files, as far as landlock lets them be used.
pub(super) const NAMES: &[Call] = calls! {
    SYS_openat: Always, "the host's tables, modules and their data";
    SYS_statx: Always, "whether they have changed";
    SYS_newfstatat: Always, "whether they have changed";
    SYS_faccessat: Always, "whether they are there";
    SYS_faccessat2: Always, "whether they are there";
    SYS_readlinkat: Always, "where a link leads";
    SYS_getdents64: Always, "what a folder holds";
    SYS_getcwd: Always, "where we are";
    SYS_statfs: Always, "what a file system is";
    SYS_fstatfs: Always, "what a file system is";
    SYS_flock: Always, "locks";
    SYS_fsync: Always, "until it is on disk";
    SYS_fdatasync: Always, "until it is on disk";
    #[cfg(target_arch = "x86_64")]
    SYS_open: Always, "as openat, of libraries that are older";
    #[cfg(target_arch = "x86_64")]
    SYS_stat: Always, "as newfstatat";
    #[cfg(target_arch = "x86_64")]
    SYS_lstat: Always, "as newfstatat";
    #[cfg(target_arch = "x86_64")]
    SYS_access: Always, "as faccessat";
    #[cfg(target_arch = "x86_64")]
    SYS_readlink: Always, "as readlinkat";
};

/// What libraries of others do to descriptors and signals, and ours do not.
pub(super) const LIBRARIES: &[Call] = calls! {
    SYS_fcntl: Always, "locks of the older kind, which modules use";
    SYS_dup: Always, "copies";
    SYS_dup3: Always, "copies";
    #[cfg(target_arch = "x86_64")]
    SYS_dup2: Always, "copies";
    SYS_pipe2: Always, "wakes a thread of theirs";
    #[cfg(target_arch = "x86_64")]
    SYS_pipe: Always, "wakes a thread of theirs";
    SYS_pselect6: Always, "waits";
    #[cfg(target_arch = "x86_64")]
    SYS_select: Always, "waits";
    SYS_getresuid: Always, "who we are";
    SYS_getresgid: Always, "who we are";
    SYS_getgroups: Always, "who we are";
    SYS_getrusage: Always, "what was used";
    SYS_times: Always, "what was used";
    SYS_membarrier: Always, "locks of theirs";
    SYS_timerfd_create: Always, "deadlines";
    SYS_timerfd_settime: Always, "deadlines";
};

/// Connections that it makes itself. `connect` and `bind` have addresses behind a pointer, which no filter reads: the
/// kinds of sockets bound them.
pub(super) const CONNECTING: &[Call] = calls! {
    SYS_connect: Always, "the other end";
    SYS_sendmmsg: Always, "two questions to a name server at once";
    SYS_recvmmsg: Always, "their answers";
    SYS_setsockopt: Always, "what libraries ask of sockets of their own";
};

/// Sockets to services of this host.
pub(super) const LOCAL: &[Call] = calls! {
    SYS_socket: When(&[&[is(0, libc::AF_UNIX)]]), "services of this host: nscd, resolved, sssd, pcscd, the journal";
};

/// Sockets to the network.
pub(super) const NETWORK: &[Call] = calls! {
    SYS_socket: When(&[
        &[is(0, libc::AF_INET), bits(1, KIND, libc::SOCK_STREAM)], &[is(0, libc::AF_INET), bits(1, KIND, libc::SOCK_DGRAM)],
        &[is(0, libc::AF_INET6), bits(1, KIND, libc::SOCK_STREAM)], &[is(0, libc::AF_INET6), bits(1, KIND, libc::SOCK_DGRAM)],
    ]), "TCP and UDP; no raw packets";
};
