//! Numbers that two processes see.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A memory file as numbers, shared with whoever else has mapped it.
pub struct SharedCells {
    at: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: what is behind the pointer is atomic and lives as long as this does; nothing belongs to a thread.
unsafe impl Send for SharedCells {}
// SAFETY: as above: all that a shared reference gives is atomic.
unsafe impl Sync for SharedCells {}

impl SharedCells {
    /// Maps the whole file; its size is cut to whole numbers. Pages are taken when they are written.
    ///
    /// # Errors
    /// It is empty or can shrink (it has to be sealed against that: reading what is no longer there would end the
    /// process), or the system's.
    pub fn map(file: impl AsFd) -> io::Result<Self> {
        if !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the shared memory can shrink"));
        }
        let bytes = usize::try_from(fstat(&file)?.st_size).unwrap_or(0);
        let count = bytes / size_of::<AtomicU64>();
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the shared memory is empty"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a mapping of its own at an address that the kernel chooses: nothing that exists is touched.
        let at = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, file.as_fd(), 0) }?;
        let at = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { at, count })
    }

    /// The numbers. Others may change them at any time.
    #[must_use]
    pub fn cells(&self) -> &[AtomicU64] {
        // SAFETY: `map` has mapped this many at this place, aligned to a page, for reading and writing, of a file that
        // cannot shrink; they stay until `drop`. Any bits are a number, and all access is atomic.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.count) }
    }
}

impl Drop for SharedCells {
    fn drop(&mut self) {
        // SAFETY: this is what `map` mapped, and nobody has a reference any more: they borrow from `self`.
        let unmapped = unsafe { munmap(self.at.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

impl fmt::Debug for SharedCells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCells").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};

    use super::*;

    #[test]
    fn what_one_writes_the_other_reads_and_a_file_that_can_shrink_is_refused() {
        let file = memfd_create("cells", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memfd");
        ftruncate(&file, 8192).expect("size");
        assert!(SharedCells::map(&file).is_err());
        fcntl_add_seals(&file, SealFlags::SHRINK).expect("seal");
        let (one, other) = (SharedCells::map(&file).expect("map"), SharedCells::map(&file).expect("map"));
        assert_eq!(one.cells().len(), 1024);
        one.cells()[1023].store(7, Ordering::Relaxed);
        assert_eq!(other.cells()[1023].load(Ordering::Relaxed), 7);
    }
}
