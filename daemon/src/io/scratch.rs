//! The buffers of one worker thread. Every session's turn borrows them; none keeps them.

use crate::session::Fill;

/// One read of the network or of the program at most. Many records per system call; larger reads
/// measured no faster and leave the processor's second-level cache.
pub(super) const READ: usize = 256 * 1024;

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
        let room = READ + READ / 64;
        Self {
            net_in: Fill::with_capacity(room),
            plain: Fill::with_capacity(room),
            net_out: Fill::with_capacity(room),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
