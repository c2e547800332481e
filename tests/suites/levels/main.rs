//! Security levels by name: what a level lets in and keeps out, what was reached, and the operator's floor, which
//! binds every caller in every way of asking.

mod floor;
mod peers;
mod reload;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use tlsify_client::{Code, Error, Profile};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{KeyKind, Open, pki};

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

/// A server's profile with the good certificate.
fn server(name: &str) -> Profile {
    Profile::server(name).certificate(good().certificate_fd()).key(good().key_fd())
}

/// Code and alert of a session that did not open.
#[track_caller]
fn failed(result: Result<Open, Error>) -> (Code, u8) {
    match result {
        Err(Error::Failed(failed)) => (failed.code, failed.alert.map_or(0, |alert| alert.description)),
        other => panic!("{other:?}"),
    }
}

/// Code and key of a request that was refused.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (Code, String) {
    match result {
        Err(Error::Refused(refused)) => (refused.code, refused.about.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

/// A peer that has these groups and no other.
fn provider(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() })
}

type Versions = &'static [&'static SupportedProtocolVersion];

fn server_with(groups: &[&'static dyn SupportedKxGroup], versions: Versions) -> ServerConfig {
    ServerConfig::builder_with_provider(provider(groups))
        .with_protocol_versions(versions)
        .expect("the versions have groups")
        .with_no_client_auth()
        .with_single_cert(good().chain(), good().key())
        .expect("our own identity is good")
}

fn client_with(groups: &[&'static dyn SupportedKxGroup], versions: Versions) -> ClientConfig {
    ClientConfig::builder_with_provider(provider(groups))
        .with_protocol_versions(versions)
        .expect("the versions have groups")
        .with_root_certificates(pki().ca.roots())
        .with_no_client_auth()
}
