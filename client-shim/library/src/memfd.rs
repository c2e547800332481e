//! Bytes as a descriptor, so that keys and certificates that a program holds in memory touch no disk.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// A sealed memfd with these bytes: nobody who holds it can change or shorten it.
///
/// # Errors
/// The system's: no free descriptor, no memory.
pub fn pem_fd(bytes: impl AsRef<[u8]>) -> io::Result<OwnedFd> {
    let fd = memfd_create("tlsify-pem", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes.as_ref())?;
    file.rewind()?;
    let fd = OwnedFd::from(file);
    fcntl_add_seals(&fd, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_was_put_in_is_read_and_cannot_be_changed() {
        let mut file = File::from(pem_fd("text").unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
    }
}
