//! What is needed of a PKCS #11 module, as traits: the one implementation is `pkcs11.rs`, the tests have another.

use zeroize::Zeroizing;

use super::policy::Trouble;
use crate::io::agent::wire::KeyKind;

/// A token that can be opened, and again.
pub(super) trait Token: Send + Sync {
    /// What signs on it.
    type Session: Session;

    /// Initialises the module (anew), finds the token and logs in if it wants that. Sessions from before are of no more use.
    ///
    /// # Errors
    /// [`Trouble`].
    fn open(&mut self, pins: &dyn Pins) -> Result<(), Trouble>;

    /// A session of the opened token, for one thread.
    ///
    /// # Errors
    /// [`Trouble`].
    fn session(&self) -> Result<Self::Session, Trouble>;
}

/// One thread's way to the token.
pub(super) trait Session {
    /// The private keys whose public half is known. Their places in the list are their numbers for [`Session::sign`].
    ///
    /// # Errors
    /// [`Trouble`].
    fn keys(&mut self) -> Result<Vec<TokenKey>, Trouble>;

    /// Signs with key `number` of the last list: the message itself for [`Mechanism::Ed25519`] and
    /// [`Mechanism::Pkcs1`], its hash for the others. Of ECDSA come the two numbers one behind the other.
    ///
    /// # Errors
    /// [`Trouble`].
    fn sign(&mut self, number: usize, mechanism: Mechanism, data: &[u8]) -> Result<Vec<u8>, Trouble>;

    /// Gives the token back what the session takes there. Only while the token that it is of is open.
    fn close(self);
}

/// A private key on a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenKey {
    /// Its public half, as SSH writes it.
    pub(super) blob: Vec<u8>,
    /// Of what kind it is.
    pub(super) kind: KeyKind,
    /// What people call it.
    pub(super) label: Vec<u8>,
    /// Whether it wants the PIN for each signature, as cards for signing contracts do. Nobody types one here.
    pub(super) asks_each_time: bool,
}

/// How it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// CKM_ECDSA.
    Ecdsa,
    /// CKM_EDDSA.
    Ed25519,
    /// CKM_SHA256_RSA_PKCS and its like.
    Pkcs1(Hash),
    /// CKM_RSA_PKCS_PSS, the salt as long as the hash (RFC 9846 section 4.3.3).
    Pss(Hash),
}

/// A hash of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Hash {
    /// The hash of `message`.
    pub(super) fn of(self, message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &aws_lc_rs::digest::SHA256,
            Self::Sha384 => &aws_lc_rs::digest::SHA384,
            Self::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        aws_lc_rs::digest::digest(algorithm, message).as_ref().to_vec()
    }
}

/// Where the PIN comes from, and who keeps account of the tries: the supervisor, which outlives this process.
pub(super) trait Pins {
    /// The PIN for one try, whose result is to be said with [`Pins::judged`]. `None`: this token has none.
    ///
    /// # Errors
    /// [`Trouble::Pin`]: there are no more tries, or it cannot be read.
    fn pin(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Trouble>;

    /// What the token made of it.
    fn judged(&self, verdict: Verdict);
}

/// What a token made of a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Verdict {
    /// It is the right one.
    Accepted,
    /// It is not, or it is locked: nobody tries again.
    Refused,
    /// The token did not look at it.
    Untried,
}
