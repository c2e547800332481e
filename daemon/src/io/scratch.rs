//! The buffers of one worker thread. Every session's turn borrows them; none keeps them.

use crate::session::Fill;

/// One read of the network or of the program at most, to begin with. Many records per system call.
pub(super) const READ: usize = 256 * 1024;
/// One read of the network at most, where the peer sends in bulk and the program keeps up: a quarter less processor
/// time for an upload (measured) than with [`READ`]. For the program's side, larger reads made no difference.
pub(super) const MAX_READ: usize = 1024 * 1024;

/// Buffers for one turn.
#[derive(Debug)]
pub struct Scratch {
    /// Ciphertext as it came, decrypted from here.
    pub net_in: Fill,
    /// Plaintext, in either direction.
    pub plain: Fill,
    /// Records for the peer.
    pub net_out: Fill,
}

impl Scratch {
    /// The buffers, as large as a turn can need without growing.
    #[must_use]
    pub fn new() -> Self {
        // Zeroed memory is the system's own until it is written: most daemons never use it all.
        let bulk = MAX_READ + MAX_READ / 64;
        Self {
            net_in: Fill::with_capacity(bulk),
            plain: Fill::with_capacity(bulk),
            net_out: Fill::with_capacity(READ + READ / 64),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
