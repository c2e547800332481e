//! A token behind a real module, through the crate `cryptoki`.
//!
//! The module is somebody else's C code in this process. It sees what this process sees: its own libraries, the paths that
//! the configuration gives it, the PIN, and hashes to sign.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism as Way, MechanismType};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session as Opened, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;

use super::Place;
use super::module::{Hash, Mechanism, Pins, Session, Token, TokenKey, Verdict};
use super::policy::Trouble;
use super::public::{list, list_public};
use crate::config::TokenName;

/// The module and the token in it.
#[derive(Debug)]
pub(super) struct ModuleToken {
    place: Place,
    loaded: Option<Pkcs11>,
    slot: Option<Slot>,
}

impl ModuleToken {
    /// Nothing is loaded yet.
    pub(super) fn new(place: Place) -> Self {
        Self { place, loaded: None, slot: None }
    }

    fn find(&self, module: &Pkcs11) -> Result<Slot, Trouble> {
        let slots = module.get_slots_with_token().map_err(|error| trouble("list its tokens", &error))?;
        let label = match &self.place.token {
            TokenName::Slot(number) => {
                let found = slots.into_iter().find(|slot| slot.id() == *number);
                return found.ok_or_else(|| Trouble::Device(format!("slot {number} has no token")));
            }
            TokenName::Label(label) => label,
        };
        // A slot whose token is broken must not hide the others.
        let has_label = |slot: &Slot| module.get_token_info(*slot).is_ok_and(|info| info.label() == label);
        let mut found = slots.into_iter().filter(has_label);
        match (found.next(), found.next()) {
            (Some(slot), None) => Ok(slot),
            (None, _) => Err(Trouble::Device(format!("there is no token with the label \"{label}\""))),
            (Some(_), Some(_)) => {
                let why = format!("two tokens have the label \"{label}\", say which with \"slot\"");
                Err(Trouble::Device(why))
            }
        }
    }
}

impl Token for ModuleToken {
    type Session = ModuleSession;

    fn open(&mut self, pins: &dyn Pins) -> Result<(), Trouble> {
        self.slot = None;
        if let Some(module) = &self.loaded {
            // Whatever it says: it is initialised anew.
            let _ = module.clone().finalize();
        }
        let module = match self.loaded.take() {
            Some(module) => module,
            None => Pkcs11::new(&self.place.module)
                .map_err(|error| trouble(&format!("load {}", self.place.module.display()), &error))?,
        };
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        let begun = match module.initialize(arguments) {
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            other => other.map_err(|error| trouble("initialise the module", &error)),
        };
        let module = self.loaded.insert(module).clone();
        begun?;
        let slot = self.find(&module)?;
        let info = module.get_token_info(slot).map_err(|error| trouble("look at the token", &error))?;
        // Left open: the login lasts while there is a session (PKCS #11 section 5.6), and nobody signs with this one. None is
        // closed when it is dropped: its handle may be that of another session, once the module was initialised anew.
        let anchor =
            module.open_ro_session_no_drop(slot).map_err(|error| trouble("open a session", &error))?;
        if info.login_required() && self.place.pin {
            if info.user_pin_locked() {
                return Err(Trouble::Pin("the token says that its PIN is locked".to_owned()));
            }
            if info.user_pin_final_try() {
                let why = "the token says that one try is left for its PIN, which is left to a person";
                return Err(Trouble::Pin(why.to_owned()));
            }
            log_in(&anchor, pins)?;
        }
        self.slot = Some(slot);
        Ok(())
    }

    fn session(&self) -> Result<ModuleSession, Trouble> {
        let (Some(module), Some(slot)) = (&self.loaded, self.slot) else {
            return Err(Trouble::Device("the token is not open".to_owned()));
        };
        let session = module.open_ro_session_no_drop(slot);
        let session = session.map_err(|error| trouble("open a session", &error))?;
        Ok(ModuleSession { session, logged_in: self.place.pin, objects: Vec::new() })
    }
}

fn log_in(session: &Opened, pins: &dyn Pins) -> Result<(), Trouble> {
    let Some(pin) = pins.pin()? else { return Ok(()) };
    // Wiped when dropped, as ours is.
    let pin = RawAuthPin::new(Box::new(pin.to_vec()));
    let result = match session.login_with_raw(UserType::User, &pin) {
        Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        other => other.map_err(|error| trouble("log in", &error)),
    };
    pins.judged(match result {
        Ok(()) => Verdict::Accepted,
        Err(Trouble::Pin(_)) => Verdict::Refused,
        Err(_) => Verdict::Untried,
    });
    result
}

/// One thread's session.
pub(super) struct ModuleSession {
    session: Opened,
    /// Otherwise private keys do not show.
    logged_in: bool,
    objects: Vec<ObjectHandle>,
}

impl Session for ModuleSession {
    fn keys(&mut self) -> Result<Vec<TokenKey>, Trouble> {
        let failed = |error| trouble("list its keys", &error);
        let (mut keys, objects) = list(&self.session).map_err(failed)?;
        self.objects = objects;
        if keys.is_empty() && !self.logged_in {
            keys = list_public(&self.session).map_err(failed)?;
        }
        Ok(keys)
    }

    fn sign(&mut self, number: usize, mechanism: Mechanism, data: &[u8]) -> Result<Vec<u8>, Trouble> {
        let object = self.objects.get(number).copied();
        let object = object
            .ok_or_else(|| Trouble::Refused("its private half does not show without a PIN".to_owned()))?;
        self.session.sign(&way(mechanism), object, data).map_err(|error| trouble("sign", &error))
    }

    fn close(self) {
        // One that is closed already is what was wanted.
        let _ = self.session.close();
    }
}

fn way(mechanism: Mechanism) -> Way<'static> {
    match mechanism {
        Mechanism::Ecdsa => Way::Ecdsa,
        Mechanism::Ed25519 => Way::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
        Mechanism::Pkcs1(Hash::Sha256) => Way::Sha256RsaPkcs,
        Mechanism::Pkcs1(Hash::Sha384) => Way::Sha384RsaPkcs,
        Mechanism::Pkcs1(Hash::Sha512) => Way::Sha512RsaPkcs,
        Mechanism::Pss(hash) => {
            let (hash_alg, mgf, bytes) = match hash {
                Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32_u64),
                Hash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
                Hash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
            };
            Way::RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len: bytes.into() })
        }
    }
}

/// The objects of a class, with some of their attributes.
pub(super) fn objects(
    session: &Opened,
    class: ObjectClass,
    wanted: &[cryptoki::object::AttributeType],
) -> Result<Vec<(ObjectHandle, Vec<Attribute>)>, Error> {
    let found = session.find_objects(&[Attribute::Class(class)])?;
    found.into_iter().map(|object| Ok((object, session.get_attributes(object, wanted)?))).collect()
}

/// What a module's error means for what is done next.
fn trouble(doing: &str, error: &Error) -> Trouble {
    use RvError as R;
    let Error::Pkcs11(code, _) = error else {
        return Trouble::Device(format!("cannot {doing}: {error}"));
    };
    // CKR_PIN_INCORRECT, for who looks it up.
    let why = format!("cannot {doing}: {code:?}");
    match code {
        R::PinIncorrect
        | R::PinInvalid
        | R::PinLenRange
        | R::PinExpired
        | R::PinLocked
        | R::UserPinNotInitialized => Trouble::Pin(why),
        R::MechanismInvalid
        | R::MechanismParamInvalid
        | R::KeyFunctionNotPermitted
        | R::KeyTypeInconsistent
        | R::KeySizeRange
        | R::DataInvalid
        | R::DataLenRange
        | R::ActionProhibited
        | R::CurveNotSupported
        | R::FunctionNotSupported => Trouble::Refused(why),
        // The device is gone or broken, its sessions are, or the module is confused: what helps, if anything does, is to
        // begin again.
        _ => Trouble::Device(why),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn a_pin_error_is_never_taken_for_a_device_that_may_come_back() {
        let of = |code, function| trouble("do it", &Error::Pkcs11(code, function));
        for code in [RvError::PinIncorrect, RvError::PinLocked, RvError::PinExpired, RvError::PinLenRange] {
            assert!(matches!(of(code, Function::Login), Trouble::Pin(_)), "{code:?}");
        }
        for code in [
            RvError::DeviceError,
            RvError::DeviceRemoved,
            RvError::TokenNotPresent,
            RvError::SessionHandleInvalid,
            RvError::GeneralError,
            RvError::UserNotLoggedIn,
        ] {
            assert!(matches!(of(code, Function::Sign), Trouble::Device(_)), "{code:?}");
        }
        assert!(matches!(of(RvError::MechanismInvalid, Function::SignInit), Trouble::Refused(_)));
    }
}
