//! Keys that are not in this process: who signs is asked, and why nobody did is told to the caller and to the peer.

use std::sync::{Arc, Mutex};

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SignatureAlgorithm};
use rustls::{AlertDescription, Error};

use super::cases::{Case, NAME, Pair, Role, Setup, Shape, Theirs, cases};
use crate::tls::pair::{Authority, VERSIONS, client_spec, only, params, server_spec};
use crate::tls::{
    Blame, ClientCertificate, ClientProfile, ClientSpec, Code, Identity, Party, PrivateKey, PublicKey,
    ServerProfile, ServerSpec, Signatory, Unsigned, Version,
};

/// A signer in memory, which does as the test says.
#[derive(Debug)]
pub(crate) struct Signer {
    key: KeyPair,
    foreign: bool,
    answer: Mutex<Answer>,
    asked: Mutex<Vec<u16>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Signs,
    /// A signature with one bit turned over.
    Faulty,
    No(Unsigned),
}

impl Signer {
    pub(crate) fn new(algorithm: &'static SignatureAlgorithm, foreign: bool) -> Arc<Self> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        Arc::new(Self { key, foreign, answer: Mutex::new(Answer::Signs), asked: Mutex::default() })
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn key(self: &Arc<Self>) -> PrivateKey {
        let public = PublicKey::from_spki_der(&self.key.subject_public_key_info()).unwrap();
        PrivateKey::Away { public, signatory: Arc::clone(self) as _ }
    }

    /// An identity with a certificate of this authority.
    pub(crate) fn identity(self: &Arc<Self>, ca: &Authority, name: &str) -> Identity {
        let (chain, _) = ca.pems(&self.key, params(&[name]));
        Identity::new(chain.as_bytes(), self.key(), None).unwrap()
    }
}

impl Signatory for Signer {
    fn sign(&self, public: &PublicKey, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        assert!(public.schemes().contains(&scheme));
        self.asked.lock().unwrap().push(scheme);
        let mut signature = rcgen::SigningKey::sign(&self.key, message).unwrap();
        match &*self.answer.lock().unwrap() {
            Answer::Signs => {}
            Answer::Faulty => *signature.last_mut().unwrap() ^= 1,
            Answer::No(why) => return Err(why.clone()),
        }
        Ok(signature)
    }

    fn may_wait(&self) -> bool {
        self.foreign
    }

    fn name(&self) -> &str {
        "token"
    }
}

/// Two ends, ours with a key that `signer` has: as a server, or as a client of a server that wants a certificate.
fn pair(case: Case, signer: &Arc<Signer>) -> (Pair<Theirs>, Setup) {
    let ca = Authority::new("ca");
    let (our_own, other) = (signer.identity(&ca, NAME), ca.identity(&[NAME]));
    let (client, server) = match case.role {
        Role::Client => (Some(our_own), other),
        Role::Server => (Some(other), our_own),
    };
    let case_params = only(case.version);
    let client =
        ClientSpec { identity: client, params: case_params.clone(), ..client_spec(ca.trust(), &[NAME]) };
    let server = ServerSpec {
        client_certificate: ClientCertificate::Required,
        trust: Some(ca.trust()),
        params: case_params,
        ..server_spec(vec![server])
    };
    let setup = Setup {
        client: ClientProfile::build(client).unwrap(),
        server: Arc::new(ServerProfile::build(server).unwrap()),
        peers_fragment: None,
    };
    (setup.pair(case.role, case.exports()), setup)
}

/// Those that sign: `Hello` takes other parameters, and signs as the others do.
fn signing_cases() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| case.shape != Shape::Hello)
}

#[test]
fn a_session_opens_with_a_key_that_is_not_here() {
    for case in signing_cases() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            for foreign in [false, true] {
                let signer = Signer::new(algorithm, foreign);
                let (mut pair, _setup) = pair(case, &signer);
                pair.run();
                pair.assert_open(&format!("{case:?} {algorithm:?}"));
                assert_eq!(signer.asked.lock().unwrap().len(), 1);
            }
        }
    }
}

#[test]
fn why_nobody_signs_is_told_to_the_caller_and_internal_error_to_the_peer() {
    let reasons = [
        (Unsigned::Locked, Code::KeyLocked, Blame::Operator),
        (Unsigned::Forgotten, Code::KeyForgotten, Blame::Operator),
        (Unsigned::GivenForgotten, Code::KeyForgotten, Blame::Caller),
        (Unsigned::UseRefused, Code::KeyUseRefused, Blame::Operator),
        (Unsigned::KeyholderAway, Code::KeyholderUnavailable, Blame::Daemon),
        (Unsigned::SignerAway("token".into()), Code::SignerUnreachable, Blame::Operator),
        (Unsigned::SignerSlow("token".into()), Code::SignerTimeout, Blame::Operator),
        (Unsigned::SignerBusy("token".into()), Code::SignerTimeout, Blame::Operator),
        (Unsigned::SignerRefused("token".into()), Code::SignerRefused, Blame::Operator),
        (Unsigned::PinRefused("token".into()), Code::SignerRefused, Blame::Operator),
    ];
    for case in signing_cases() {
        for (why, code, blame) in reasons.clone() {
            let signer = Signer::new(&rcgen::PKCS_ECDSA_P256_SHA256, true);
            signer.answers(Answer::No(why.clone()));
            let (mut pair, _setup) = pair(case, &signer);
            pair.run();
            let failure = pair.ours.failure.clone().unwrap_or_else(|| panic!("{case:?} {why:?} went on"));
            assert_eq!((failure.code, failure.blame), (code, blame), "{case:?}");
            assert_eq!((failure.text.clone(), failure.alert), (why.to_string(), Some((80, Party::Us))));
            assert!(failure.is_unsigned());
            assert_eq!(
                pair.peer.failure,
                Some(Error::AlertReceived(AlertDescription::InternalError)),
                "{case:?}: the peer hears it"
            );
        }
    }
}

#[test]
fn a_faulty_signature_of_a_strangers_signer_never_leaves() {
    for case in signing_cases() {
        let signer = Signer::new(&rcgen::PKCS_ECDSA_P256_SHA256, true);
        signer.answers(Answer::Faulty);
        let (mut pair, _setup) = pair(case, &signer);
        pair.run();
        let failure = pair.ours.failure.clone().expect("it failed here");
        assert_eq!(failure.code, Code::SignerRefused, "{case:?}: {failure}");
        assert_eq!(
            pair.peer.failure,
            Some(Error::AlertReceived(AlertDescription::InternalError)),
            "{case:?}"
        );
    }
}

#[test]
fn a_signer_that_does_not_know_a_scheme_is_not_asked_for_it() {
    #[derive(Debug)]
    struct NoPss;
    impl Signatory for NoPss {
        fn sign(&self, _: &PublicKey, _: u16, _: &[u8]) -> Result<Vec<u8>, Unsigned> {
            Err(Unsigned::SignerRefused("old".into()))
        }
        fn may_wait(&self) -> bool {
            true
        }
        fn knows(&self, scheme: u16) -> bool {
            // rsa_pss_rsae_*
            !(0x0804..=0x0806).contains(&scheme)
        }
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let public = PublicKey::from_spki_der(&key.subject_public_key_info()).unwrap();
    assert_eq!(public.schemes(), [0x0806, 0x0805, 0x0804, 0x0601, 0x0501, 0x0401]);
    let ca = Authority::new("ca");
    let (chain, _) = ca.pems(&key, params(&[NAME]));
    let key = PrivateKey::Away { public, signatory: Arc::new(NoPss) };
    let identity = Identity::new(chain.as_bytes(), key, None).unwrap();
    for (version, code) in VERSIONS.into_iter().zip([Code::SignerRefused, Code::NoSharedParameters]) {
        assert_eq!(version == Version::Tls12, code == Code::SignerRefused, "the order of VERSIONS");
        let server = ServerSpec { params: only(version), ..server_spec(vec![identity.clone()]) };
        let client = ClientSpec { params: only(version), ..client_spec(ca.trust(), &[NAME]) };
        let setup = Setup {
            client: ClientProfile::build(client).unwrap(),
            server: Arc::new(ServerProfile::build(server).unwrap()),
            peers_fragment: None,
        };
        let mut pair = setup.pair(Role::Server, false);
        pair.run();
        assert_eq!(pair.ours.failure.as_ref().map(|failure| failure.code), Some(code));
    }
}

#[test]
fn a_key_that_is_away_has_to_be_the_certificates_as_one_that_is_here() {
    let ca = Authority::new("ca");
    let (one, other) =
        (Signer::new(&rcgen::PKCS_ECDSA_P256_SHA256, false), Signer::new(&PKCS_ED25519, false));
    let (chain, _) = ca.pems(&one.key, params(&[NAME]));
    let (second, _) = ca.pems(&other.key, params(&[NAME]));
    let wrong = Identity::new(chain.as_bytes(), other.key(), None).unwrap_err();
    assert_eq!(wrong.code(), Code::KeyMismatch);
    let order = Identity::new((chain + &second).as_bytes(), other.key(), None).unwrap_err();
    assert_eq!(order.to_string(), crate::tls::IdentityError::Order(2).to_string());
    let raw = Identity::raw(one.key()).unwrap();
    assert!(raw.is_raw() && raw.waits_for().is_none());
    assert_eq!(raw.spki_sha256(), one.key().public().unwrap().spki_sha256);
}

#[test]
fn an_open_session_does_not_keep_a_key_that_its_profile_has_let_go() {
    for case in signing_cases() {
        let signer = Signer::new(&rcgen::PKCS_ECDSA_P256_SHA256, false);
        let (mut pair, setup) = pair(case, &signer);
        pair.run();
        pair.assert_open(&format!("{case:?}"));
        assert!(Arc::strong_count(&signer) > 1, "the profile has it");
        drop(setup);
        assert_eq!(Arc::strong_count(&signer), 1, "{case:?}");
    }
}
