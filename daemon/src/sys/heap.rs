//! Where the allocator keeps what a program holds, and that it stays in memory.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;

use rustix::mm::{Advice, MlockFlags};

/// Has the allocator take all memory from the one heap that grows at its end (brk(2)), also for threads that are to come, so
/// that [`keep_heap`] finds it. Large blocks stay there, too.
///
/// False where the allocator cannot be told (it is not glibc's).
pub fn one_heap() -> bool {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: i32 = 32 * 1024 * 1024;
        // Only the first may fail: the others are allowed to make no difference.
        // SAFETY: mallopt changes the allocator's own numbers, under its own lock.
        let one = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) } == 1;
        // SAFETY: as above.
        let whole = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) } == 1;
        one && whole
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

/// The address behind the heap's last byte.
#[must_use]
pub fn heap_end() -> usize {
    // SAFETY: with 0 it only tells; nothing moves.
    unsafe { libc::sbrk(0) }.addr()
}

/// Keeps the heap, from `start` to its end, out of swap and out of core dumps. Pages are locked when they are first used. To
/// be called again when it may have grown.
///
/// # Errors
/// The system's: RLIMIT_MEMLOCK is too small for it.
pub fn keep_heap(start: usize) -> io::Result<()> {
    let Some(length) = heap_end().checked_sub(start).filter(|length| *length > 0) else { return Ok(()) };
    let start = std::ptr::with_exposed_provenance_mut::<c_void>(start);
    // SAFETY: it changes what the kernel does with the pages, not what is in them; a wrong range is an error of its own.
    let not_dumped = unsafe { rustix::mm::madvise(start, length, Advice::LinuxDontDump) };
    // SAFETY: as above.
    let locked = unsafe { rustix::mm::mlock_with(start, length, MlockFlags::ONFAULT) };
    not_dumped.and(locked).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_of_no_length_is_kept_and_the_end_is_an_address() {
        let end = heap_end();
        assert!(end > 4096);
        assert!(keep_heap(end + (1 << 30)).is_ok(), "nothing to do");
    }
}
