//! The authorities that most cases share, made when first asked for.

use std::sync::OnceLock;

use super::certificates::{Certificate, authority};
use super::keys::Kind;

/// Whom clients here trust, unless a case says otherwise.
pub(crate) fn root() -> &'static Certificate {
    static ROOT: OnceLock<Certificate> = OnceLock::new();
    ROOT.get_or_init(|| authority("Bed Root").self_signed())
}

/// Whom nobody trusts.
pub(crate) fn stranger() -> &'static Certificate {
    static STRANGER: OnceLock<Certificate> = OnceLock::new();
    STRANGER.get_or_init(|| authority("Bed Stranger").self_signed())
}

/// A good one below the root.
pub(crate) fn intermediate() -> &'static Certificate {
    static INTERMEDIATE: OnceLock<Certificate> = OnceLock::new();
    INTERMEDIATE.get_or_init(|| authority("Bed Intermediate").by(root()))
}

/// One that is trusted where a case says so, with an RSA key: it can sign with hashes that nobody should.
pub(crate) fn rsa_root() -> &'static Certificate {
    static RSA: OnceLock<Certificate> = OnceLock::new();
    RSA.get_or_init(|| authority("Bed RSA Root").key(Kind::Weak(2048, 65_537)).self_signed())
}
