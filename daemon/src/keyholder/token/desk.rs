//! What the threads of the process share: the token, and when it is opened.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::module::{Hash, Mechanism, Pins, Session, Token, TokenKey};
use super::policy::{Policy, Step, Trouble};
use crate::io::agent::wire::{
    Curve, KeyKind, RSA_SHA2_256, RSA_SHA2_512, WireError, signature_of_bytes, signature_of_halves,
};

/// The token.
pub(super) struct Desk<T> {
    /// The signer, for the log.
    name: String,
    token: RwLock<T>,
    policy: Mutex<Policy>,
    pins: Box<dyn Pins + Send + Sync>,
}

/// One thread's session, and of which opening it is.
pub(super) struct Seat<S> {
    current: Option<(u64, S, Vec<TokenKey>)>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// SSH_AGENTC_SIGN_REQUEST with these flags.
    Ssh(u32),
    /// RSASSA-PSS by IANA's number.
    Pss(u16),
}

impl<S> Default for Seat<S> {
    fn default() -> Self {
        Self { current: None }
    }
}

impl<T: Token> Desk<T> {
    pub(super) fn new(name: &str, token: T, pins: Box<dyn Pins + Send + Sync>) -> Self {
        Self { name: name.to_owned(), token: RwLock::new(token), policy: Mutex::default(), pins }
    }

    /// The keys, looked for anew: some may have been put there.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) fn keys<'a>(&self, seat: &'a mut Seat<T::Session>) -> Result<&'a [TokenKey], Trouble> {
        let generation = self.sit(seat)?;
        let (_, session, keys) = seat.current.as_mut().ok_or_else(closed)?;
        match session.keys() {
            Ok(found) => *keys = found,
            Err(trouble) => return Err(self.met(generation, trouble)),
        }
        Ok(keys)
    }

    /// Signs `message` with the key `blob`. The result is as SSH writes it, of PSS as TLS has it.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) fn sign(
        &self,
        seat: &mut Seat<T::Session>,
        blob: &[u8],
        wanted: Wanted,
        message: &[u8],
    ) -> Result<Vec<u8>, Trouble> {
        let generation = self.sit(seat)?;
        let place = |seat: &Seat<T::Session>| {
            let (_, _, keys) = seat.current.as_ref()?;
            keys.iter().position(|key| key.blob == blob)
        };
        let number = match place(seat) {
            Some(number) => number,
            None => {
                self.keys(seat)?;
                place(seat).ok_or_else(|| {
                    Trouble::Refused("the token has no such key, or does not show it".to_owned())
                })?
            }
        };
        let (_, session, keys) = seat.current.as_mut().ok_or_else(closed)?;
        let key = &keys[number];
        if key.asks_each_time {
            let why =
                "the key wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE), which is not done here";
            return Err(Trouble::Refused(why.to_owned()));
        }
        let kind = key.kind;
        let (mechanism, data) = mechanism(kind, wanted, message)?;
        let signature =
            session.sign(number, mechanism, &data).map_err(|trouble| self.met(generation, trouble))?;
        written(kind, mechanism, &signature)
            .map_err(|error| Trouble::Refused(format!("its signature: {error}")))
    }

    /// The thread ends.
    pub(super) fn leave(&self, seat: Seat<T::Session>) {
        let Some((own, session, _)) = seat.current else { return };
        // Nobody opens it anew in the meantime.
        let open = self.token.read().unwrap_or_else(PoisonError::into_inner);
        if self.policy().is_open(own) {
            session.close();
        }
        drop(open);
    }

    /// Gives the thread a session of the token that is open now, opening it if that is due. Returns of which opening.
    fn sit(&self, seat: &mut Seat<T::Session>) -> Result<u64, Trouble> {
        loop {
            let step = self.policy().poll(Instant::now());
            match step {
                Step::Open => self.open(),
                // Until whoever opens it is done.
                Step::Wait => drop(self.token.read().unwrap_or_else(PoisonError::into_inner)),
                Step::Not(trouble, _) | Step::Never(trouble) => return Err(trouble),
                Step::Use(generation) => {
                    if seat.current.as_ref().is_none_or(|(own, ..)| *own != generation) {
                        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
                        let session = token.session().map_err(|trouble| self.met(generation, trouble))?;
                        seat.current = Some((generation, session, Vec::new()));
                    }
                    return Ok(generation);
                }
            }
        }
    }

    fn open(&self) {
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        let result = token.open(&*self.pins);
        match &result {
            Ok(()) => tracing::info!(signer = self.name, "the token is open"),
            Err(trouble @ Trouble::Pin(_)) => {
                tracing::error!(
                    signer = self.name,
                    %trouble,
                    "the token does not take its PIN, which is not tried again: put pin-file right and reload"
                );
            }
            Err(trouble) => {
                tracing::warn!(
                    signer = self.name,
                    %trouble,
                    "cannot open the token, the next try is in 30 s at the earliest"
                );
            }
        }
        self.policy().handle_opened(result.as_ref().map(|_| ()));
    }

    fn met(&self, generation: u64, trouble: Trouble) -> Trouble {
        if matches!(trouble, Trouble::Device(_)) {
            tracing::warn!(signer = self.name, %trouble, "the token fails");
        }
        self.policy().handle_trouble(generation, &trouble);
        trouble
    }

    fn policy(&self) -> MutexGuard<'_, Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> Trouble {
    Trouble::Device("the token is not open".to_owned())
}

/// How a key of this kind does what is wanted, and what it is given.
fn mechanism(kind: KeyKind, wanted: Wanted, message: &[u8]) -> Result<(Mechanism, Vec<u8>), Trouble> {
    let hash = |curve| match curve {
        Curve::P256 => Hash::Sha256,
        Curve::P384 => Hash::Sha384,
        Curve::P521 => Hash::Sha512,
    };
    Ok(match (kind, wanted) {
        (KeyKind::Ecdsa(curve), Wanted::Ssh(0)) => (Mechanism::Ecdsa, hash(curve).of(message)),
        (KeyKind::Ed25519, Wanted::Ssh(0)) => (Mechanism::Ed25519, message.to_vec()),
        (KeyKind::Rsa, Wanted::Ssh(RSA_SHA2_256)) => (Mechanism::Pkcs1(Hash::Sha256), message.to_vec()),
        (KeyKind::Rsa, Wanted::Ssh(RSA_SHA2_512)) => (Mechanism::Pkcs1(Hash::Sha512), message.to_vec()),
        (KeyKind::Rsa, Wanted::Pss(0x0804)) => (Mechanism::Pss(Hash::Sha256), Hash::Sha256.of(message)),
        (KeyKind::Rsa, Wanted::Pss(0x0805)) => (Mechanism::Pss(Hash::Sha384), Hash::Sha384.of(message)),
        (KeyKind::Rsa, Wanted::Pss(0x0806)) => (Mechanism::Pss(Hash::Sha512), Hash::Sha512.of(message)),
        _ => return Err(Trouble::Refused("a key of this kind does not sign like that".to_owned())),
    })
}

/// As the agent protocol has it: of PSS, the bare signature.
fn written(kind: KeyKind, mechanism: Mechanism, signature: &[u8]) -> Result<Vec<u8>, WireError> {
    match (kind, mechanism) {
        (KeyKind::Ecdsa(curve), _) => signature_of_halves(curve, signature),
        (KeyKind::Ed25519, _) => signature_of_bytes("ssh-ed25519", signature),
        (KeyKind::Rsa, Mechanism::Pkcs1(Hash::Sha256)) => signature_of_bytes("rsa-sha2-256", signature),
        (KeyKind::Rsa, Mechanism::Pkcs1(_)) => signature_of_bytes("rsa-sha2-512", signature),
        (KeyKind::Rsa, _) => Ok(signature.to_vec()),
    }
}
