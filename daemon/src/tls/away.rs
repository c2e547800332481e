//! A key that is not in this process, as rustls sees it: it chooses a scheme here, and asks for the signature.

use std::sync::{Arc, Weak};

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, OtherError, SignatureAlgorithm, SignatureScheme};

use super::private_key::{PrivateKey, PublicKey, Signatory};
use super::unsigned::Unsigned;

/// The key of an identity, wherever it is.
///
/// Of one that is away rustls gets no share: its client keeps the configuration for as long as the session is open, and a
/// caller's key is to be forgotten when its profile and the last handshake are gone. Both hold the identity.
pub(super) fn signing_key(key: &PrivateKey) -> Arc<dyn SigningKey> {
    match key {
        PrivateKey::Here(key) => Arc::clone(key),
        PrivateKey::Away { public, signatory } => {
            Arc::new(AwayKey { public: public.clone(), signatory: Arc::downgrade(signatory) })
        }
    }
}

#[derive(Clone, Debug)]
struct AwayKey {
    public: PublicKey,
    signatory: Weak<dyn Signatory>,
}

#[derive(Debug)]
struct AwaySigner {
    key: AwayKey,
    scheme: SignatureScheme,
}

impl SigningKey for AwayKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signatory = self.signatory.upgrade();
        let knows = |scheme| signatory.as_ref().is_none_or(|signatory| signatory.knows(scheme));
        let fits = |scheme: &&SignatureScheme| offered.contains(scheme) && knows(u16::from(**scheme));
        let scheme = *self.public.preferred().iter().find(fits)?;
        Some(Box::new(AwaySigner { key: self.clone(), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(&*self.public.spki_der))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.public.algorithm()
    }
}

impl Signer for AwaySigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let AwayKey { public, signatory } = &self.key;
        // Only a session whose request is over already, and whose caller is told something else.
        let signatory = signatory.upgrade().ok_or_else(|| unsigned(Unsigned::Forgotten))?;
        let scheme = u16::from(self.scheme);
        let signature = signatory.sign(public, scheme, message).map_err(unsigned)?;
        // One faulty RSA signature gives the private key away to whoever sees it (Lenstra's attack), and a faulty one of
        // ECDSA can. Our keyholder signs with the library that this process has, which checks its own RSA signatures;
        // what a token or another agent does is not known, and its time dwarfs that of a look.
        if signatory.may_wait() && !public.verifies(scheme, message, &signature) {
            return Err(unsigned(Unsigned::SignerFaulty(signatory.name().to_owned())));
        }
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// rustls hands it through, and [`reason`] finds it again.
fn unsigned(reason: Unsigned) -> Error {
    Error::Other(OtherError(Arc::new(reason)))
}

/// Why there is no signature of ours, if that is what a handshake failed of.
pub(super) fn reason(error: &Error) -> Option<&Unsigned> {
    match error {
        Error::Other(other) => other.0.downcast_ref(),
        _ => None,
    }
}
