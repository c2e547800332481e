//! Raw public keys (RFC 7250): what goes with them and what does not, said before any session begins.
//!
//! rustls does them in TLS 1.3 only, and decides for a whole configuration: either all that an end shows are raw public
//! keys or none, and likewise all that it takes.

use super::identity::Identity;
use super::params::Params;
use super::reference::ReferenceId;
use super::spec::SpecError;
use super::trust::{AllowRule, Pin, Trust};

/// What we show: all certificates, or all raw public keys, which narrow `params` to TLS 1.3.
pub(super) fn check_ours(identities: &[Identity], params: &mut Params) -> Result<(), SpecError> {
    match identities.iter().filter(|identity| identity.is_raw()).count() {
        0 => Ok(()),
        raw if raw == identities.len() => need_tls13(params),
        _ => Err(SpecError::RawKeys {
            about: "certificate",
            why: "raw public keys and certificates cannot be identities of one profile",
        }),
    }
}

/// What the peer shows: a raw public key, which nobody but a pin vouches for.
pub(super) fn check_theirs(
    trust: &Trust,
    pins: &[Pin],
    names: &[ReferenceId],
    allow: &[AllowRule],
    params: &mut Params,
) -> Result<(), SpecError> {
    let wrong = |about, why| Err(SpecError::RawKeys { about, why });
    if !matches!(trust, Trust::Pins) {
        return wrong("trust", "nobody vouches for a raw public key but a pin, it takes trust=pins");
    }
    if pins.iter().any(|pin| matches!(pin, Pin::Certificate(_))) {
        return wrong("pin", "a raw public key comes without a certificate, pin its spki-sha256");
    }
    if !names.is_empty() {
        return wrong("name", "a raw public key names nobody, a pin says who is meant");
    }
    if !allow.iter().all(|rule| matches!(rule, AllowRule::Pin(Pin::Spki(_)))) {
        return wrong("allow", "a raw public key has no certificate and no names, allow its spki-sha256");
    }
    need_tls13(params)
}

fn need_tls13(params: &mut Params) -> Result<(), SpecError> {
    if params.keep_tls13_only() {
        return Ok(());
    }
    Err(SpecError::RawKeys {
        about: "max",
        why: "raw public keys take TLS 1.3, which the other keys leave out",
    })
}
