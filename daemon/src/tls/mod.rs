//! Text and bytes become rustls configurations here, and peers are verified here.
//!
//! ```text
//!  certificate, key, OCSP ──▶ Identity ─┐
//!  ca bundle, crl ──▶ Roots, Revocation ┤                        ┌─▶ resolver: which identity (SNI)
//!  min, ciphers, alpn, … ───▶ Params ───┼─▶ ServerProfile ──┐    │
//!  name=, pins, allow ──────▶ rules ────┴─▶ ClientProfile ──┼─ session_config ─▶ rustls config of ONE session
//!                                                           │    │
//!                                                 Witness ◀─┴────┴─▶ verifier: may the peer pass
//!                    (what one handshake saw: names, scheme, chain, what matched, why we refused)
//! ```
//!
//! A profile is prepared once and serves any number of sessions. A session's configuration is a shallow
//! copy whose resolver and verifier write into the session's own [`Witness`].
//!
//! What this folder does not do: no system call, no clock, no task, no file, no record layer. Bytes come in
//! as arguments, the time comes from rustls' own time provider inside a handshake, and the data path is in
//! `session`. Checking cannot be switched off: there is no constructor for it.
//!
//! A private key is in this process or away ([`PrivateKey`]): then a [`Signatory`] is asked, and says [`Unsigned`] why not.
//!
//! Where raw public keys (RFC 7250) are said to be what an end shows, "the certificate" that rustls hands around is a
//! SubjectPublicKeyInfo: an [`Identity`] and a [`Seen`] know which of the two they hold.
//!
//! Both roles: no early data, no key log, no extraction of secrets. Nothing is resumed and no ticket is
//! sent or kept but with a store that the caller names: [`TicketStore`] for a client's tickets, [`KeyStore`] for the keys
//! of a server's. The server chooses the cipher suite and the group in its own order of preference, as rustls does by
//! default.

mod away;
mod chain;
mod client;
mod client_hello;
mod dates;
mod digest;
mod ech;
mod explain;
mod facts;
mod failure;
mod holder_key;
mod identity;
mod key_limits;
mod learn;
mod level;
mod names;
mod params;
mod params_spec;
mod pem;
mod presented;
mod private_key;
mod public_text;
mod raw_keys;
mod reference;
mod revocation;
mod roots;
mod select;
mod sequences;
mod server;
mod signing;
mod sni;
mod spec;
mod staple;
mod ticket_keys;
mod tickets;
mod trust;
mod unsigned;
mod verify_client;
mod verify_server;
mod witness;

#[cfg(test)]
pub(crate) mod pair;
#[cfg(test)]
pub(crate) mod tests;

pub use client::{ClientProfile, ClientSpec};
pub use client_hello::{ClientHello, Flaw, Look, MAX_CLIENT_HELLO, MAX_HELLO_WIRE, Offer, is_grease};
pub use dates::{complaint, complaint_of_list, days_left, ends};
pub use digest::{certificate_sha256, sha256, spki_sha256, to_pem};
pub use ech::{Ech, EchError};
pub use failure::Failure;
pub use holder_key::{HolderKey, KeyDer};
pub use identity::{Identity, IdentityError, pin_of_pem, public_of_chain};
pub use key_limits::KeyLimits;
pub use learn::Learned;
pub use level::{least_version, reached};
pub use names::{
    alert_code, alert_name, cipher_suite_name, group_name, protocol_version_name, signature_scheme_name,
};
pub use params::Params;
pub use params_spec::{ParamsError, ParamsSpec};
pub use private_key::{PrivateKey, PublicKey, Signatory, Uses};
pub use public_text::{holds_key, without_keys};
pub use reference::{ReferenceId, ReferenceIdError};
pub use revocation::{Crls, CrlsError, Revocation};
pub use roots::{Roots, RootsError};
pub use server::{ServerProfile, ServerSpec};
pub use sni::{ServerNameChoice, Sni};
pub use spec::SpecError;
pub use ticket_keys::{
    CacheEntry, CacheEvent, CacheFigures, Cached, KeyFile, KeyFileError, KeyStore, MAX_KEY_FILE, Returning,
    ServerResumption, Sought, Stamp, TicketKeys,
};
pub use tickets::{Resuming, TicketStore, Tickets};
pub use trust::{AllowRule, Match, Pin, Trust};
pub use unsigned::Unsigned;
pub use witness::{Presented, Seen, Verdict, Witness};

// The protocol's words that this room's types are made of.
pub use tlsify_protocol::{
    AlpnMismatch, Blame, CertificateType, ClientCertificate, Code, CrlCheck, CrlDoubt, Level, Party,
    StapledOcsp, Version,
};
