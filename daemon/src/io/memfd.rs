//! Bulk that goes to a caller: a sealed memory file.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// A memory file with `bytes`, at offset 0, that nobody can change any more: the reader may map it
/// without fear that it shrinks. The name shows up in /proc only.
///
/// # Errors
/// The system's: out of descriptors or memory.
pub fn sealed_memfd(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = (bytes.len() - rest.len()) as u64;
        match rustix::io::pwrite(&fd, rest, at) {
            Ok(count) => rest = &rest[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    fcntl_add_seals(&fd, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_sealed_file_reads_from_its_start_and_cannot_change() {
        let fd = sealed_memfd("chain", b"hello").expect("memfd");
        assert!(rustix::io::pwrite(&fd, b"x", 0).is_err());
        assert!(rustix::fs::ftruncate(&fd, 1).is_err());
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
    }
}
