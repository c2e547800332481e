//! The ssh-agent protocol (RFC 9987; OpenSSH's PROTOCOL.agent) as types, and our extensions of it.
//!
//! ```text
//!  uint32 length ‖ byte kind ‖ fields            length: 1 to 262,144, as OpenSSH's agent has it
//!
//!  Request::parse(body) ◀── kind, fields ──▶ request.framed()        Answer::parse(body) ◀──▶ answer.framed()
//!  spki_of_blob, blob_of_spki: a public key as SSH and as X.509 write it
//!  signature_to_tls, signature_of_tls: a signature as SSH and as TLS write it
//! ```
//!
//! Nothing here does I/O. What is parsed borrows from the message, so that no second copy of a secret exists, and nothing
//! is allocated that a length in the message asked for: either end may be in somebody else's hands.
//!
//! # Our extensions
//!
//! All are SSH_AGENTC_EXTENSION (27), `string name`, and the fields below; answered with SSH_AGENT_EXTENSION_RESPONSE (29),
//! `string name` and fields, or with SSH_AGENT_SUCCESS (6) where there are none, or SSH_AGENT_EXTENSION_FAILURE (28). An
//! agent that does not know one answers SSH_AGENT_FAILURE (5). `string`, `uint32` and `uint64` are those of RFC 4251
//! section 5; `uint16` is two bytes, the higher one first.
//!
//! | name | fields | answer's fields |
//! | --- | --- | --- |
//! | `query` (RFC 9987 section 5.8.1) | | `string name` for each extension |
//! | `rsa-pss@tlsifyd` | `string key blob`, `uint16` IANA signature scheme (0x0804, 0x0805, 0x0806), `string message` | `string signature`, as TLS has it |
//! | `add-descriptor@tlsifyd` | `byte uses`, `uint32` lifetime in seconds (0: none), `string purpose`; with the message's first byte, by SCM_RIGHTS, a descriptor of a regular file with one PEM private key | `uint64 handle`, `string key blob`, `string` SubjectPublicKeyInfo in DER |
//! | `add-foreign@tlsifyd` | `string` name of the signer, `string` SubjectPublicKeyInfo in DER, `byte uses`, `string purpose` | `uint64 handle`, `string key blob` |
//! | `forget@tlsifyd` | `uint64 handle` | (success) |
//! | `last-failure@tlsifyd` | | `byte` [`Reason`], `string` name of the signer or empty, `string` text for a log |
//! | `core@tlsifyd` | `uint32` the core that the asker's thread runs on | (success): this connection is served there, if it may be |
//!
//! `uses` is [`Uses`]. `purpose` is UTF-8 for the log and the listing, at most 256 bytes. `last-failure` is about the last
//! refused request of the same connection. Keys added through a door are forgotten when the door closes: see [`Knock`].

mod answer;
mod blob;
mod door;
mod extension;
mod key;
mod parts;
mod request;
mod secret;
mod signature;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Listed, MAX_IDENTITIES};
pub use blob::{blob_of_ed25519, blob_of_point, blob_of_rsa, signature_of_bytes, signature_of_halves};
pub use door::{About, Asks, Knock, Opened};
pub use extension::{Extension, Failure, Reason, Reply, Uses};
pub use key::{Curve, KeyKind, blob_of_spki, kind_of_blob, spki_of_blob};
pub use parts::{frame_length, framed};
pub use request::{RSA_SHA2_256, RSA_SHA2_512, Request};
pub use secret::SecretKey;
pub use signature::{How, how, signature_of_tls, signature_to_tls};

/// Bytes of one message at most, without its length: what OpenSSH's agent takes and sends. The largest message of ours is
/// a CertificateVerify of TLS 1.2, a whole handshake.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// Why bytes are no message, or a key or a signature cannot be written. The other end's doing; never a byte of it in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Empty, or longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes, expected 1 to {MAX_MESSAGE}")]
    Length(u64),
    /// It ends before it is complete.
    #[error("{0} is cut off")]
    CutOff(&'static str),
    /// Bytes behind its end.
    #[error("there is something behind {0}")]
    Trailing(&'static str),
    /// A value that it cannot have.
    #[error("{0} makes no sense")]
    Nonsense(&'static str),
    /// A kind of key, or of signature, that TLS has no use for.
    #[error("a kind of key that is not RSA, ECDSA on a NIST curve or Ed25519")]
    Kind,
}
