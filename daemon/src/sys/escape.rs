//! What somebody who took a process over would try next. In debug builds only, for the tests of the sandbox: each is the bare
//! system call, so that nothing stands between it and the kernel.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// What an attempt needs and could only be had before: a caller's folder, a socket.
#[derive(Debug)]
pub struct Prepared {
    folder: File,
    socket: OwnedFd,
    limit: libc::rlimit64,
}

impl Prepared {
    /// Opens what callers send, while that can be done.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Self> {
        // A child of a supervisor that is confined has the other one.
        let folder = File::open("/root").or_else(|_| File::open("/proc"))?;
        // SAFETY: it makes a descriptor of numbers, which nobody else owns.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just made, and is nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel fills the structure, which outlives the call.
        unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut limit) };
        limit.rlim_max = limit.rlim_max.saturating_add(1);
        Ok(Self { folder, socket, limit })
    }
}

/// Makes the attempt of this name; `Ok`: it came out.
///
/// # Errors
/// What the kernel answers. There may also be no answer, because it killed the process.
pub fn attempt(name: &str, prepared: &Prepared) -> io::Result<()> {
    let open = |path: &CStr, flags: i32| call(libc::SYS_openat, &[at_cwd(), address(path), word(flags)]);
    let socket = |family, kind| call(libc::SYS_socket, &[word(family), word(kind), 0]);
    // SAFETY: it returns a number.
    let parent = word(unsafe { libc::getppid() });
    match name {
        "open-passwd" => open(c"/etc/passwd", libc::O_RDONLY),
        "open-shadow" => open(c"/etc/shadow", libc::O_RDONLY),
        "open-own-memory" => open(c"/proc/self/mem", libc::O_RDWR),
        "write-file" => open(c"/tmp/tlsifyd-escape", libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL),
        "open-in-a-callers-folder" => {
            let folder = word(prepared.folder.as_raw_fd());
            call(libc::SYS_openat, &[folder, address(c"."), word(libc::O_RDONLY | libc::O_DIRECTORY)])
        }
        "socket-internet" => socket(libc::AF_INET, libc::SOCK_STREAM),
        "socket-unix" => socket(libc::AF_UNIX, libc::SOCK_STREAM),
        "socket-packet" => socket(libc::AF_PACKET, libc::SOCK_RAW),
        "datagram-pair" => {
            let mut pair = [0_i32; 2];
            let pair = ptr::from_mut(&mut pair).addr();
            call(libc::SYS_socketpair, &[word(libc::AF_UNIX), word(libc::SOCK_DGRAM), 0, pair])
        }
        "connect" => connect(prepared),
        "execute" => {
            let words = [c"/bin/true".as_ptr(), ptr::null()];
            call(libc::SYS_execve, &[address(c"/bin/true"), words.as_ptr().addr(), 0])
        }
        "trace" => call(libc::SYS_ptrace, &[16, parent, 0, 0]),
        "read-others-memory" => {
            let mut byte = [0_u8; 1];
            let own = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
            let theirs = libc::iovec { iov_base: ptr::without_provenance_mut(4096), iov_len: 1 };
            let (own, theirs) = (ptr::from_ref(&own).addr(), ptr::from_ref(&theirs).addr());
            match call(libc::SYS_process_vm_readv, &[parent, own, 1, theirs, 1, 0]) {
                // There is nothing at that address, which says that it was looked at.
                Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
                other => other,
            }
        }
        "signal-supervisor" => call(libc::SYS_kill, &[parent, 0]),
        "map-writable-code" => {
            let rights = word(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
            let kind = word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            call(libc::SYS_mmap, &[0, 4096, rights, kind, usize::MAX, 0])
        }
        "make-data-code" => {
            let kind = word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let page = call_for(
                libc::SYS_mmap,
                &[0, 4096, word(libc::PROT_READ | libc::PROT_WRITE), kind, usize::MAX, 0],
            )?;
            call(libc::SYS_mprotect, &[page, 4096, word(libc::PROT_READ | libc::PROT_EXEC)])
        }
        "become-root" => call(libc::SYS_setresuid, &[0, 0, 0]),
        "more-descriptors" => {
            let limit = ptr::from_ref(&prepared.limit).addr();
            call(libc::SYS_prlimit64, &[0, word(libc::RLIMIT_NOFILE.cast_signed()), limit, 0])
        }
        "io-uring" => {
            let mut parameters = [0_u8; 256];
            call(libc::SYS_io_uring_setup, &[1, parameters.as_mut_ptr().addr()])
        }
        "bpf" => {
            let mut attributes = [0_u32; 32];
            // BPF_MAP_CREATE: an array of one number.
            attributes[..4].copy_from_slice(&[2, 4, 4, 1]);
            call(libc::SYS_bpf, &[0, attributes.as_mut_ptr().addr(), 128])
        }
        "process" => match call_for(libc::SYS_clone, &[word(libc::SIGCHLD), 0, 0, 0, 0])? {
            // SAFETY: the child ends here, before it does anything.
            0 => unsafe { libc::_exit(0) },
            _ => Ok(()),
        },
        "namespace" => call(libc::SYS_unshare, &[word(libc::CLONE_NEWUSER)]),
        "mount" => call(libc::SYS_mount, &[address(c"none"), address(c"/mnt"), address(c"tmpfs"), 0, 0]),
        other => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no attempt is called \"{other}\"")))
        }
    }
}

/// Runs `work` in a child of this process that has no other thread, and says how it ended: with this status, or killed by
/// this signal. For tests, whose processes have threads; `work` that returns ends with 0, and one that panics with 101.
///
/// # Errors
/// The system's.
pub fn in_a_child(work: impl FnOnce()) -> io::Result<Result<i32, i32>> {
    // SAFETY: the C library leaves a child of a process with threads an allocator that works, which is what `work` needs;
    // the threads that there are hold no other lock of ours, for they wait for this test.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: it ends this process, and runs nothing of the parent's on the way.
        unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) };
    }
    let mut status = 0;
    // SAFETY: the kernel writes the status, which outlives the call.
    if unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(if libc::WIFSIGNALED(status) { Err(libc::WTERMSIG(status)) } else { Ok(libc::WEXITSTATUS(status)) })
}

/// To a port where nobody is.
fn connect(prepared: &Prepared) -> io::Result<()> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 1_u16.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be() },
        sin_zero: [0; 8],
    };
    let address = ptr::from_ref(&address).addr();
    let socket = word(prepared.socket.as_raw_fd());
    match call(libc::SYS_connect, &[socket, address, size_of::<libc::sockaddr_in>()]) {
        // That came from the other end.
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => Ok(()),
        other => other,
    }
}

fn at_cwd() -> usize {
    word(libc::AT_FDCWD)
}

fn word(number: i32) -> usize {
    // As the C library passes an int: what stands above 32 bits is its sign.
    number as isize as usize
}

fn address(text: &CStr) -> usize {
    text.as_ptr().addr()
}

fn call(number: i64, words: &[usize]) -> io::Result<()> {
    call_for(number, words).map(|_| ())
}

fn call_for(number: i64, words: &[usize]) -> io::Result<usize> {
    let word = |at: usize| words.get(at).copied().unwrap_or(0);
    // SAFETY: `attempt` passes numbers and addresses of what lives until the call has returned, with their true lengths;
    // in a build with this file, no process with somebody's secrets makes such a call.
    let done = unsafe { libc::syscall(number, word(0), word(1), word(2), word(3), word(4), word(5)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done.cast_unsigned() as usize) }
}
