//! A key that is not in this process, as rustls sees it: it chooses a scheme here, and asks for the signature.

use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, OtherError, SignatureAlgorithm, SignatureScheme};

use super::private_key::{PrivateKey, PublicKey, Signatory};
use super::unsigned::Unsigned;

/// The key of an identity, wherever it is.
pub(super) fn signing_key(key: PrivateKey) -> Arc<dyn SigningKey> {
    match key {
        PrivateKey::Here(key) => key,
        PrivateKey::Away { public, signatory } => Arc::new(AwayKey { public, signatory }),
    }
}

#[derive(Clone, Debug)]
struct AwayKey {
    public: PublicKey,
    signatory: Arc<dyn Signatory>,
}

#[derive(Debug)]
struct AwaySigner {
    key: AwayKey,
    scheme: SignatureScheme,
}

impl SigningKey for AwayKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let fits =
            |scheme: &&SignatureScheme| offered.contains(scheme) && self.signatory.knows(u16::from(**scheme));
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
