//! What the clients of the bench agree to: one version, one suite, one group, and nothing else, so that all sites do the
//! same arithmetic. Certificates are not verified: that would be work of the client, and no site is judged by it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption, Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, NamedGroup, SignatureScheme};

/// A configuration for TLS 1.2 or 1.3, with X25519 alone or X25519MLKEM768 alone. With a store for tickets, each
/// connection resumes if one is left.
pub(crate) fn client_config(tls12: bool, hybrid: bool, tickets: Option<Arc<Tickets>>) -> Arc<ClientConfig> {
    let suite = match tls12 {
        true => aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        false => aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    };
    let groups = match (hybrid, tls12) {
        (true, _) => vec![aws_lc_rs::kx_group::X25519MLKEM768],
        // With TLS 1.2 the certificate's curve has to be among them as well (RFC 8422 section 5.1); who has a choice
        // is checked to have taken the first.
        (false, true) => vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
        (false, false) => vec![aws_lc_rs::kx_group::X25519],
    };
    let provider =
        CryptoProvider { cipher_suites: vec![suite], kx_groups: groups, ..aws_lc_rs::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[if tls12 { &TLS12 } else { &TLS13 }])
        .expect("the suite is one of the version's")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified))
        .with_no_client_auth();
    config.resumption = match tickets {
        Some(tickets) => Resumption::store(tickets).tls12_resumption(Tls12Resumption::Disabled),
        None => Resumption::disabled(),
    };
    Arc::new(config)
}

/// Tickets of TLS 1.3, each used once (RFC 9846 section C.4), the oldest first. All servers of one bench have one name, so
/// a store is for one server.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<VecDeque<Tls13ClientSessionValue>>);

/// More are never needed at once, and some servers send two for each one that is used.
const TICKETS: usize = 256;

impl Tickets {
    /// How many are left.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'_>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() == TICKETS {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'_>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tickets", self.count())
    }
}

/// Believes everybody. The key exchange and the Finished messages are still checked by rustls.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
