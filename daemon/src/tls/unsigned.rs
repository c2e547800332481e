//! Why there is no signature of ours, and so no session.

use tlsify_protocol::Code;

/// Why somebody whom we asked did not sign. The names are those of signers in the configuration; nothing of a key is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsigned {
    /// The keyholder is locked.
    #[error("our private key is locked, unlock it with ssh-add -X on the daemon's keys socket")]
    Locked,
    /// The keyholder has no such key, or none any more.
    #[error(
        "our private key is not in the keyholder, add it with ssh-add on the daemon's keys socket, or reload the daemon"
    )]
    Forgotten,
    /// The same of a key that a caller gave.
    #[error(
        "the private key that was given with the profile is forgotten, since the keyholder was started again; hand it over again with define"
    )]
    GivenForgotten,
    /// The key is there, and not for this.
    #[error("our private key is not lent for this: its allowed uses leave out this role or version of TLS")]
    UseRefused,
    /// The keyholder does not answer.
    #[error(
        "the process that holds the private keys does not answer, it is started again when it has ended: try again"
    )]
    KeyholderAway,
    /// There is no way to the signer.
    #[error("signer \"{0}\" cannot be reached, see that it runs and that the keyholder may connect to it")]
    SignerAway(String),
    /// It did not answer by its deadline.
    #[error("signer \"{0}\" did not answer in time, see what it waits for, or give it a longer deadline")]
    SignerSlow(String),
    /// So many wait for it that nobody else may.
    #[error("signer \"{0}\" has as many handshakes waiting for it as may wait, it is too slow for so many")]
    SignerBusy(String),
    /// It answered, and did not sign.
    #[error(
        "signer \"{0}\" refused to sign, see whether it has the key and whether it asks somebody for consent"
    )]
    SignerRefused(String),
    /// What it signed does not verify with our public key.
    #[error(
        "signer \"{0}\" gave a signature that is not one of our key, which was not sent: the signer is broken, or has another key"
    )]
    SignerFaulty(String),
    /// The token does not take its PIN, and is not tried again.
    #[error(
        "signer \"{0}\" does not take its PIN, and is not tried again before the configuration is loaded again"
    )]
    PinRefused(String),
}

impl Unsigned {
    /// The protocol's code.
    pub fn code(&self) -> Code {
        match self {
            Self::Locked => Code::KeyLocked,
            Self::Forgotten | Self::GivenForgotten => Code::KeyForgotten,
            Self::UseRefused => Code::KeyUseRefused,
            Self::KeyholderAway => Code::KeyholderUnavailable,
            Self::SignerAway(_) => Code::SignerUnreachable,
            Self::SignerSlow(_) | Self::SignerBusy(_) => Code::SignerTimeout,
            Self::SignerRefused(_) | Self::SignerFaulty(_) | Self::PinRefused(_) => Code::SignerRefused,
        }
    }

    /// Who has to act: as the code says, but for a key that a caller gave.
    pub fn blame(&self) -> tlsify_protocol::Blame {
        match self {
            Self::GivenForgotten => tlsify_protocol::Blame::Caller,
            other => other.code().blame(),
        }
    }
}
