//! The limits of the protocol, each with its reason. PROTOCOL.md section "Limits" says the same.

/// The version in the first line of every packet.
pub const PROTOCOL_VERSION: u32 = 1;

/// Bytes of one packet. The kernel takes about 200 kB; a third of that leaves room for its own accounting, and nothing
/// that belongs in a packet is larger (bulk travels as a descriptor).
pub const MAX_PACKET: usize = 65_536;

/// Descriptors with one packet. The kernel takes 253; 64 is thirty identities in one profile, and bounds what one
/// caller can have in flight before the daemon has looked at it.
pub const MAX_DESCRIPTORS: usize = 64;

/// Words in one space-separated value. No list of TLS names is longer, and `fds` cannot name more than travel.
pub const MAX_WORDS: usize = 64;

/// Reference identifiers in one `connect`. Each is compared with each name of the certificate.
pub const MAX_NAMES: usize = 16;

/// Sockets that a `connect` with `to` may try at once. One for each address family is enough; a few more let several
/// addresses of a family race, and eight is what a name with many addresses deserves at most.
pub const MAX_NETS: usize = 8;

/// Pins in one request. Room for several keys per host of a small cluster while they are rotated.
pub const MAX_PINS: usize = 32;

/// Access rules in one request. More than this belongs behind a certification authority.
pub const MAX_ALLOWS: usize = 64;

/// ALPN names in one request: 32 × 256 bytes still leave a ClientHello that middle boxes let through.
pub const MAX_ALPN: usize = 32;

/// Bytes of one ALPN name (RFC 7301 section 3.1: one length byte, and not empty).
pub const MAX_ALPN_NAME: usize = 255;

/// Exporter values in one request: their answers have to fit in one `established` packet.
pub const MAX_EXPORTS: usize = 8;

/// Bytes of an exporter label: RFC 9846 section 7.1 (formerly RFC 8446) has 255 for it, six of them for `tls13 `.
pub const MAX_EXPORT_LABEL: usize = 249;

/// Bytes of an exporter context, decoded: eight of them and their labels fit in one packet three times over.
pub const MAX_EXPORT_CONTEXT: usize = 1024;

/// Bytes of `received`, decoded: one TLS record of the largest size. A caller that read more has read on purpose.
pub const MAX_RECEIVED: usize = 16_384;

/// Bytes of a profile's, a store's name.
pub const MAX_PROFILE_NAME: usize = 64;

/// Bytes of a DNS name (RFC 1035 section 3.1 in its text form, without the last dot).
pub const MAX_DNS_NAME: usize = 253;

/// Bytes of the text behind `dns:`, `uri:`, `mail:` in an access rule.
pub const MAX_ALLOW_TEXT: usize = 1024;

/// Bytes of `ech-config`, decoded: four configurations with keys of a hybrid post-quantum kind, which take 1.3 kB each.
pub const MAX_ECH_CONFIG: usize = 8192;

/// Least plaintext per record for `max-fragment`: RFC 8449 and RFC 6066 go no lower than 64 and 512; below 512 the
/// records' own overhead passes five per cent.
pub const MIN_FRAGMENT: u16 = 512;

/// Most plaintext per record: RFC 9846 section 5.1.
pub const MAX_FRAGMENT: u16 = 16_384;

/// Least `key-update-bytes`: a key_update costs both ends about as much as a record, so that below this it would show.
pub const MIN_KEY_UPDATE_BYTES: u64 = 64 * 1024;

/// Most `key-update-bytes`, and the default: 2^22 full records, a sixth of what RFC 9846 section 5.5 allows AES-GCM.
pub const MAX_KEY_UPDATE_BYTES: u64 = 1 << 36;

/// Least milliseconds of `key-update-interval`: peers count key_updates against floods, some of them 8 in a second, and
/// those that a peer has not read yet arrive at once.
pub const MIN_KEY_UPDATE_MS: u32 = 60_000;

/// Most milliseconds of a timeout: 49 days. A timer beyond is a mistake in the unit.
pub const MAX_TIMEOUT_MS: u32 = u32::MAX;

/// Bytes of a certificate, key or OCSP descriptor's content that the daemon reads; a response may have 32 KiB of them.
pub const MAX_IDENTITY_FILE: usize = 1 << 20;

/// Bytes of a CA bundle that the daemon reads, and of lists of revoked certificates: the public web's roots take a quarter
/// of a megabyte, and some 200,000 revoked certificates all of it.
pub const MAX_CA_FILE: usize = 8 << 20;
