//! How long one traffic key is used for sending, in TLS 1.3 (RFC 9846 sections 4.7.3 and 5.5).

use core::time::Duration;

use tlsify_protocol::{MAX_FRAGMENT, MAX_KEY_UPDATE_BYTES};

/// When a session's sending key is replaced by a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    /// Bytes of plaintext that are sent under one key before it is replaced.
    pub bytes: u64,
    /// Records, which reach the safe amount before the bytes do when they are small.
    pub records: u64,
    /// The age at which a key is not used any more; `None`: at any age.
    pub age: Option<Duration>,
    /// Bytes of plaintext in a record that is full.
    pub fragment: u64,
}

/// As many as the default of bytes makes when all are full. AES-GCM is good for 2^24.5 (RFC 9846 section 5.5), and rustls
/// replaces a key at 2^24 by itself; what is longer here leaves less for the sessions in which it has to.
const RECORDS: u64 = MAX_KEY_UPDATE_BYTES / MAX_FRAGMENT as u64;

impl KeyLimits {
    /// What counts where nothing is said.
    pub const USUAL: Self =
        Self { bytes: MAX_KEY_UPDATE_BYTES, records: RECORDS, age: None, fragment: MAX_FRAGMENT as u64 };

    pub(super) fn new(bytes: Option<u64>, age: Option<Duration>, fragment: Option<u16>) -> Self {
        Self {
            bytes: bytes.unwrap_or(Self::USUAL.bytes),
            age,
            fragment: fragment.map_or(Self::USUAL.fragment, u64::from),
            ..Self::USUAL
        }
    }
}
