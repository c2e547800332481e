//! Socket options of AF_UNIX that the crates do not know yet.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// include/uapi/asm-generic/socket.h: the peer's supplementary groups (Linux 4.13).
const SO_PEERGROUPS: libc::c_int = 59;
/// include/uapi/asm-generic/socket.h: a pidfd of the peer's process (Linux 6.5).
const SO_PEERPIDFD: libc::c_int = 77;
/// include/uapi/asm-generic/socket.h: whether SCM_RIGHTS is taken (Linux 6.16).
const SO_PASSRIGHTS: libc::c_int = 83;

/// More groups than this and the caller's are cut here: NGROUPS_MAX is 65,536, and nobody grants a
/// profile by a group further down than this.
const MAX_GROUPS: usize = 1024;

/// The supplementary groups that the peer of a connected AF_UNIX socket had when it connected.
///
/// # Errors
/// The system's, for instance on a kernel before 4.13 (`ENOPROTOOPT`).
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; 64];
    loop {
        let mut bytes = libc::socklen_t::try_from(size_of_val(&groups[..])).unwrap_or(0);
        match get(socket.as_fd(), SO_PEERGROUPS, &mut groups, &mut bytes) {
            Ok(()) => {
                groups.truncate(bytes as usize / size_of::<u32>());
                return Ok(groups);
            }
            // ERANGE: the list is longer; `bytes` says how long.
            Err(e) if e.raw_os_error() == Some(libc::ERANGE) && groups.len() < MAX_GROUPS => {
                groups.resize((bytes as usize / size_of::<u32>()).clamp(groups.len() + 1, MAX_GROUPS), 0);
            }
            Err(e) => return Err(e),
        }
    }
}

/// A pidfd of the process that connected the peer of a connected AF_UNIX socket: that process, whoever has its number
/// by now. Close-on-exec, and the caller's of this function.
///
/// # Errors
/// The system's: the process has ended (`ESRCH`, and since Linux 6.16 not even then), a kernel before 6.5
/// (`ENOPROTOOPT`), out of descriptors.
pub fn peer_process(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut fd = [0_u32; 1];
    let mut bytes = libc::socklen_t::try_from(size_of_val(&fd)).unwrap_or(0);
    get(socket.as_fd(), SO_PEERPIDFD, &mut fd, &mut bytes)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd[0].cast_signed()) })
}

/// Makes `socket` refuse descriptors from its peer (SO_PASSRIGHTS = 0), so that nobody can park
/// descriptors in a plaintext pair's queue. Kernels before 6.16 do not know the option: nothing is
/// lost there, because a plain `recv` throws unexpected descriptors away.
pub fn refuse_descriptors(socket: impl AsFd) {
    let off: libc::c_int = 0;
    // SAFETY: the pointer and the length describe `off`, which outlives the call.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0),
        )
    };
}

fn get(
    fd: BorrowedFd<'_>,
    option: libc::c_int,
    into: &mut [u32],
    bytes: &mut libc::socklen_t,
) -> io::Result<()> {
    // SAFETY: `bytes` holds the size of `into` in bytes; the kernel writes at most that much, and
    // any bit pattern is a u32.
    let done = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, into.as_mut_ptr().cast(), bytes)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn groups_of_a_peer_are_ours_on_a_pair() {
        let (here, _there) = UnixStream::pair().expect("pair");
        let mut ours: Vec<u32> =
            nix::unistd::getgroups().expect("getgroups").into_iter().map(nix::unistd::Gid::as_raw).collect();
        let mut theirs = peer_groups(&here).expect("groups");
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(theirs, ours);
    }

    #[test]
    fn the_process_of_a_peer_is_ours_on_a_pair_and_stays_out_of_children() {
        let (here, _there) = UnixStream::pair().expect("pair");
        let process = peer_process(&here).expect("Linux 6.5");
        let info =
            std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).expect("proc");
        assert!(info.lines().any(|line| line == format!("Pid:\t{}", std::process::id())), "{info}");
        let flags = rustix::io::fcntl_getfd(&process).expect("fcntl");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn a_pair_that_refuses_descriptors_still_carries_bytes() {
        use std::io::{Read, Write};
        let (mut here, mut there) = UnixStream::pair().expect("pair");
        refuse_descriptors(&here);
        there.write_all(b"x").expect("write");
        let mut byte = [0];
        here.read_exact(&mut byte).expect("read");
        assert_eq!(&byte, b"x");
    }
}
