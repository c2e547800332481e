//! Memory files of other processes of ours, mapped for good.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::ptr;
use std::slice;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// The content of a sealed memory file, mapped read-only until the process ends: its pages are shared by all who map it.
/// The descriptor may be closed.
///
/// # Errors
/// The system's; and it is no memory file, or somebody could still change it or make it shorter.
pub fn map_sealed(file: impl AsFd) -> io::Result<&'static [u8]> {
    let sealed = SealFlags::WRITE | SealFlags::SHRINK;
    if !fcntl_get_seals(&file)?.contains(sealed) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file is not sealed"));
    }
    let size = usize::try_from(fstat(&file)?.st_size).map_err(io::Error::other)?;
    if size == 0 {
        return Ok(&[]);
    }
    // SAFETY: the kernel chooses the place, so that nothing of ours is there.
    let place = unsafe { mmap(ptr::null_mut(), size, ProtFlags::READ, MapFlags::SHARED, &file, 0)? };
    // SAFETY: `size` bytes are mapped there, and nobody unmaps them: the place is known here only. The seals, which cannot be
    // taken away, keep everybody from writing them and from making the file shorter.
    Ok(unsafe { slice::from_raw_parts(place.cast(), size) })
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

    use super::*;

    #[test]
    fn what_somebody_could_still_change_is_not_mapped() {
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::io::pwrite(&file, b"content", 0).unwrap();
        assert!(map_sealed(&file).is_err());
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        assert!(map_sealed(&file).is_err());
        fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
        let content = map_sealed(&file).unwrap();
        drop(file);
        assert_eq!(content, b"content");
        assert!(map_sealed(std::fs::File::open("/proc/self/exe").unwrap()).is_err());
    }
}
