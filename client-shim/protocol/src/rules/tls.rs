//! The TLS keys: what they take from each other, from the role, and from the descriptors.

use super::descriptors::Fds;
use super::{Checked, bad, conflict, missing};
use crate::limits::{
    MAX_ALLOWS, MAX_ALPN, MAX_FRAGMENT, MAX_KEY_UPDATE_BYTES, MAX_PINS, MIN_FRAGMENT, MIN_KEY_UPDATE_BYTES,
    MIN_KEY_UPDATE_MS,
};
use crate::message::TlsKeys;
use crate::value::{Allow, CertificateType, ClientCertificate, Pin, Role, StapledOcsp, Trust, Version};

/// The TLS keys and the descriptors that belong to them.
pub(super) fn parameters(tls: &TlsKeys<'_>, role: Role, fds: &Fds) -> Checked {
    if tls.min.zip(tls.max).is_some_and(|(min, max)| min > max) {
        return conflict("min", "it is above max");
    }
    if tls.alpn.is_some_and(|alpn| alpn.len() > MAX_ALPN) {
        return bad("alpn", "at most 32 names");
    }
    if tls.max_fragment.is_some_and(|bytes| !(MIN_FRAGMENT..=MAX_FRAGMENT).contains(&bytes)) {
        return bad("max-fragment", "512 to 16384");
    }
    if tls.pins.len() > MAX_PINS {
        return bad("pin", "at most 32 pins");
    }
    if tls.allow.len() > MAX_ALLOWS {
        return bad("allow", "at most 64 rules");
    }
    let descriptor = tls.trust == Some(Trust::Descriptor);
    if descriptor && !fds.ca {
        return missing("fds", "trust=descriptor takes a ca descriptor");
    }
    if fds.ca && !descriptor {
        return conflict("fds", "a ca descriptor takes trust=descriptor");
    }
    if tls.trust == Some(Trust::Pins) && tls.pins.is_empty() {
        return missing("pin", "trust=pins trusts nobody else");
    }
    revocation(tls, fds)?;
    match role {
        Role::Client => client(tls, fds)?,
        Role::Server => server(tls, fds)?,
    }
    raw_keys(tls, fds)?;
    key_updates(tls)
}

/// What goes with raw public keys (RFC 7250): of the peer, which nobody vouches for, and of our own.
fn raw_keys(tls: &TlsKeys<'_>, fds: &Fds) -> Checked {
    let theirs = tls.certificate_type == Some(CertificateType::RawPublicKey);
    if (theirs || fds.raw_keys > 0) && tls.max == Some(Version::Tls12) {
        return conflict("max", "raw public keys take TLS 1.3");
    }
    if !theirs {
        return Ok(());
    }
    match tls.trust {
        Some(Trust::Pins) => {}
        Some(_) => return conflict("trust", "nobody vouches for a raw public key: trust=pins"),
        None => return missing("trust", "nobody vouches for a raw public key: trust=pins"),
    }
    if tls.pins.iter().any(|pin| matches!(pin, Pin::Certificate(_))) {
        return conflict("pin", "a raw public key has no certificate: spki-sha256");
    }
    if !tls.allow.iter().all(|rule| matches!(rule, Allow::Pin(Pin::Spki(_)))) {
        return conflict("allow", "a raw public key has no certificate and no names: spki-sha256");
    }
    Ok(())
}

fn key_updates(tls: &TlsKeys<'_>) -> Checked {
    let sane = MIN_KEY_UPDATE_BYTES..=MAX_KEY_UPDATE_BYTES;
    if tls.key_update_bytes.is_some_and(|bytes| !sane.contains(&bytes)) {
        return bad("key-update-bytes", "65536 to 68719476736");
    }
    if tls.key_update_interval.is_some_and(|age| age.as_millis() < u128::from(MIN_KEY_UPDATE_MS)) {
        return bad("key-update-interval", "milliseconds, 60000 to 4294967295");
    }
    let given = [
        ("key-update-bytes", tls.key_update_bytes.is_some()),
        ("key-update-interval", tls.key_update_interval.is_some()),
    ];
    match given.into_iter().find(|&(_, given)| given && tls.max == Some(Version::Tls12)) {
        Some((key, _)) => conflict(key, "TLS 1.2 cannot do that"),
        None => Ok(()),
    }
}

/// Lists of revoked certificates are about a chain: without one they would look like a check and be none.
fn revocation(tls: &TlsKeys<'_>, fds: &Fds) -> Checked {
    if fds.crl && tls.trust == Some(Trust::Pins) {
        return conflict("fds", "crl has no effect with trust=pins: no chain is built");
    }
    if tls.stapled_ocsp == Some(StapledOcsp::Required) && tls.trust == Some(Trust::Pins) {
        return conflict("stapled-ocsp", "with trust=pins there is no issuer to believe");
    }
    let about = [
        ("crl-check", tls.crl_check.is_some()),
        ("crl-unknown", tls.crl_unknown.is_some()),
        ("crl-stale", tls.crl_stale.is_some()),
    ];
    match about.into_iter().find(|&(_, given)| given && !fds.crl) {
        Some((key, _)) => conflict(key, "it takes a crl descriptor"),
        None => Ok(()),
    }
}

fn client(tls: &TlsKeys<'_>, fds: &Fds) -> Checked {
    if fds.identities > 1 {
        return bad("fds", "at most one certificate, or key, for a client");
    }
    if tls.client_certificate.is_some() {
        return conflict("client-certificate", "only a server asks for one");
    }
    if !tls.allow.is_empty() {
        return conflict("allow", "only a server lets clients in");
    }
    if tls.unknown_name.is_some() {
        return conflict("unknown-name", "only a server is asked for names");
    }
    Ok(())
}

fn server(tls: &TlsKeys<'_>, fds: &Fds) -> Checked {
    if fds.identities == 0 {
        return missing("fds", "a server needs certificate and key, or a key");
    }
    let asks =
        matches!(tls.client_certificate, Some(ClientCertificate::Optional | ClientCertificate::Required));
    if asks && tls.trust.is_none() {
        return missing("trust", "client certificates have to be checked against something");
    }
    if fds.crl && !asks {
        return conflict("fds", "crl takes client-certificate=optional or required");
    }
    if tls.stapled_ocsp.is_some() {
        return conflict("stapled-ocsp", "only a server staples");
    }
    // A server that names what it trusts and does not ask would let everybody in: nobody means that.
    let unasked =
        [("allow", !tls.allow.is_empty()), ("pin", !tls.pins.is_empty()), ("trust", tls.trust.is_some())];
    let raw = ("certificate-type", tls.certificate_type == Some(CertificateType::RawPublicKey));
    match unasked.into_iter().chain([raw]).find(|&(_, given)| given && !asks) {
        Some((key, _)) => conflict(key, "it takes client-certificate=optional or required"),
        None => Ok(()),
    }
}

/// The first TLS key that was given.
pub(super) fn first_tls_key(tls: &TlsKeys<'_>) -> Option<&'static str> {
    let given = [
        ("min", tls.min.is_some()),
        ("max", tls.max.is_some()),
        ("level", tls.level.is_some()),
        ("ciphers", tls.ciphers.is_some()),
        ("groups", tls.groups.is_some()),
        ("signature-schemes", tls.signature_schemes.is_some()),
        ("alpn", tls.alpn.is_some()),
        ("alpn-mismatch", tls.alpn_mismatch.is_some()),
        ("max-fragment", tls.max_fragment.is_some()),
        ("extended-master-secret", tls.extended_master_secret.is_some()),
        ("trust", tls.trust.is_some()),
        ("pin", !tls.pins.is_empty()),
        ("client-certificate", tls.client_certificate.is_some()),
        ("allow", !tls.allow.is_empty()),
        ("unknown-name", tls.unknown_name.is_some()),
        ("certificate-type", tls.certificate_type.is_some()),
        ("key-update-bytes", tls.key_update_bytes.is_some()),
        ("key-update-interval", tls.key_update_interval.is_some()),
        ("crl-check", tls.crl_check.is_some()),
        ("crl-unknown", tls.crl_unknown.is_some()),
        ("crl-stale", tls.crl_stale.is_some()),
        ("stapled-ocsp", tls.stapled_ocsp.is_some()),
    ];
    given.into_iter().find(|&(_, given)| given).map(|(key, _)| key)
}
