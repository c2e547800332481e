//! Raw public keys (RFC 7250), with GnuTLS at the other end, and ends that do not do them; the rules about them, as every
//! kind of caller hears them; and what resumes.

mod gnutls;
mod pairs;
mod refusals;

use tlsify_client::{Accept, CertificateType, ClientCertificate, Connect, Pin, Trust};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{KeyKind, pki};

/// Whose key the daemon has here: any identity's will do, its certificate is not shown.
fn ours() -> &'static Identity {
    pki().client(KeyKind::Ed25519)
}

/// A connect that knows the peer by its key alone.
fn connect(net: impl Into<std::os::fd::OwnedFd>, peer: &Identity) -> Connect {
    let connect = Connect::new(net).certificate_type(CertificateType::RawPublicKey);
    connect.trust(Trust::Pins).pin(Pin::Spki(peer.spki_sha256))
}

/// An accept that shows our key, and lets in who has the key of `peer`.
fn accept(net: impl Into<std::os::fd::OwnedFd>, peer: &Identity) -> Accept {
    let accept = Accept::new(net).key(ours().key_fd()).certificate_type(CertificateType::RawPublicKey);
    let accept = accept.client_certificate(ClientCertificate::Required);
    accept.trust(Trust::Pins).pin(Pin::Spki(peer.spki_sha256))
}
