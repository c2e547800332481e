//! The process' insides with a token that does what the test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use zeroize::Zeroizing;

use super::desk::{Desk, Seat, Wanted};
use super::module::{Hash, Mechanism, Pins, Session, Token, TokenKey, Verdict};
use super::policy::Trouble;
use super::serve::Threads;
use crate::io::agent::Stream;
use crate::io::agent::wire::{
    Answer, Curve, Extension, Failure, KeyKind, Reason, Reply, Request, blob_of_spki,
};

const MESSAGE: &[u8] = b"what is to be signed";

/// What the token does next; when the script is over, what it is asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    openings: VecDeque<Trouble>,
    signings: VecDeque<Trouble>,
    opened: u32,
    closed: u32,
    signed: Vec<(Mechanism, Vec<u8>)>,
    keys: Vec<TokenKey>,
    judged: Vec<Verdict>,
    hang: Option<Duration>,
}

impl Script {
    fn with<R>(&self, look: impl FnOnce(&mut Inner) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }
}

impl Token for Script {
    type Session = Script;

    fn open(&mut self, pins: &dyn Pins) -> Result<(), Trouble> {
        pins.pin()?;
        self.with(|inner| inner.opened += 1);
        let result = self.with(|inner| inner.openings.pop_front()).map_or(Ok(()), Err);
        pins.judged(match &result {
            Err(Trouble::Pin(_)) => Verdict::Refused,
            _ => Verdict::Accepted,
        });
        result
    }

    fn session(&self) -> Result<Script, Trouble> {
        Ok(self.clone())
    }
}

impl Session for Script {
    fn keys(&mut self) -> Result<Vec<TokenKey>, Trouble> {
        Ok(self.with(|inner| inner.keys.clone()))
    }

    fn sign(&mut self, _: usize, mechanism: Mechanism, data: &[u8]) -> Result<Vec<u8>, Trouble> {
        if let Some(hang) = self.with(|inner| inner.hang) {
            std::thread::sleep(hang);
        }
        if let Some(trouble) = self.with(|inner| inner.signings.pop_front()) {
            return Err(trouble);
        }
        self.with(|inner| inner.signed.push((mechanism, data.to_vec())));
        Ok(vec![1; 64])
    }

    fn close(self) {
        self.with(|inner| inner.closed += 1);
    }
}

impl Pins for Script {
    fn pin(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Trouble> {
        Ok(Some(Zeroizing::new(b"1234".to_vec())))
    }

    fn judged(&self, verdict: Verdict) {
        self.with(|inner| inner.judged.push(verdict));
    }
}

fn key(kind: KeyKind, blob: &[u8]) -> TokenKey {
    TokenKey { blob: blob.to_vec(), kind, label: b"key".to_vec(), asks_each_time: false }
}

/// A desk, and a P-256 key on its token.
fn desk() -> (Script, Desk<Script>, Vec<u8>) {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let blob = blob_of_spki(&pair.subject_public_key_info()).unwrap();
    let script = Script::default();
    script.with(|inner| inner.keys = vec![key(KeyKind::Ecdsa(Curve::P256), &blob)]);
    (script.clone(), Desk::new("t", script.clone(), Box::new(script)), blob)
}

fn device() -> Trouble {
    Trouble::Device("gone".to_owned())
}

#[test]
fn ecdsa_hashes_first_and_pss_has_its_own_mechanism() {
    let (script, desk, blob) = desk();
    let mut seat = Seat::default();
    desk.sign(&mut seat, &blob, Wanted::Ssh(0), MESSAGE).unwrap();
    script.with(|inner| inner.keys.push(key(KeyKind::Rsa, b"rsa")));
    let pss = desk.sign(&mut seat, b"rsa", Wanted::Pss(0x0805), MESSAGE).unwrap();
    assert_eq!(pss, [1; 64], "bare, as TLS has it");
    desk.sign(&mut seat, b"rsa", Wanted::Ssh(4), MESSAGE).unwrap();
    let signed = script.with(|inner| inner.signed.clone());
    assert_eq!(
        signed,
        [
            (Mechanism::Ecdsa, Hash::Sha256.of(MESSAGE)),
            (Mechanism::Pss(Hash::Sha384), Hash::Sha384.of(MESSAGE)),
            (Mechanism::Pkcs1(Hash::Sha512), MESSAGE.to_vec()),
        ]
    );
    for wrong in [Wanted::Ssh(0), Wanted::Ssh(1), Wanted::Pss(0x0403)] {
        assert!(
            matches!(desk.sign(&mut seat, b"rsa", wrong, MESSAGE), Err(Trouble::Refused(_))),
            "{wrong:?}"
        );
    }
    assert_eq!(script.with(|inner| inner.opened), 1);
}

#[test]
fn a_key_that_is_put_on_the_token_later_is_found() {
    let (script, desk, _) = desk();
    let mut seat = Seat::default();
    assert!(matches!(desk.sign(&mut seat, b"later", Wanted::Ssh(0), MESSAGE), Err(Trouble::Refused(_))));
    script.with(|inner| inner.keys.push(key(KeyKind::Ed25519, b"later")));
    desk.sign(&mut seat, b"later", Wanted::Ssh(0), MESSAGE).unwrap();
}

#[test]
fn a_device_error_is_not_answered_with_one_opening_per_handshake() {
    let (script, desk, blob) = desk();
    let mut seat = Seat::default();
    desk.sign(&mut seat, &blob, Wanted::Ssh(0), MESSAGE).unwrap();
    script.with(|inner| inner.signings.push_back(device()));
    for _ in 0..20 {
        assert_eq!(desk.sign(&mut seat, &blob, Wanted::Ssh(0), MESSAGE), Err(device()));
    }
    assert_eq!(script.with(|inner| inner.opened), 1);
}

#[test]
fn a_wrong_pin_is_tried_once_whoever_asks() {
    let (script, desk, blob) = desk();
    let refused = Trouble::Pin("CKR_PIN_INCORRECT".to_owned());
    script.with(|inner| inner.openings.push_back(refused.clone()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut seat = Seat::default();
                for _ in 0..10 {
                    assert_eq!(desk.sign(&mut seat, &blob, Wanted::Ssh(0), MESSAGE), Err(refused.clone()));
                }
            });
        }
    });
    assert_eq!(script.with(|inner| (inner.opened, inner.judged.clone())), (1, vec![Verdict::Refused]));
}

#[test]
fn a_key_that_wants_its_pin_each_time_is_refused_before_the_token_is_asked() {
    let (script, desk, blob) = desk();
    script.with(|inner| inner.keys[0].asks_each_time = true);
    let refused = desk.sign(&mut Seat::default(), &blob, Wanted::Ssh(0), MESSAGE).unwrap_err();
    assert!(refused.to_string().contains("CKA_ALWAYS_AUTHENTICATE"), "{refused}");
    assert!(script.with(|inner| inner.signed.is_empty()));
}

/// Asks like the keyholder does.
fn ask(stream: &mut Stream, request: &Request<'_>) -> Zeroizing<Vec<u8>> {
    stream.ask(&request.framed().unwrap(), &[], Instant::now() + Duration::from_secs(10)).unwrap()
}

#[test]
fn a_connection_lists_signs_and_says_why_not() {
    let (script, desk, blob) = desk();
    let (mut stream, theirs) = Stream::pair().unwrap();
    Threads::default().serve(Arc::new(desk), theirs);
    let listed = ask(&mut stream, &Request::Identities);
    let Answer::Identities(listed) = Answer::parse(&listed).unwrap() else { panic!("{listed:?}") };
    assert_eq!((listed[0].blob, listed[0].comment), (&*blob, &b"key"[..]));
    let sign = Request::Sign { blob: &blob, data: MESSAGE, flags: 0 };
    assert!(matches!(Answer::parse(&ask(&mut stream, &sign)), Ok(Answer::Signature(_))));
    script.with(|inner| inner.signings.push_back(device()));
    assert_eq!(Answer::parse(&ask(&mut stream, &sign)), Ok(Answer::Failure));
    let why = ask(&mut stream, &Request::Extension(Extension::LastFailure));
    let why = Answer::parse(&why).unwrap();
    let failure = Failure { reason: Reason::SignerAway, signer: "", text: "gone" };
    assert_eq!(why, Answer::Extension(Reply::LastFailure(failure)));
    assert_eq!(Answer::parse(&ask(&mut stream, &Request::RemoveAll)), Ok(Answer::Failure));
}

#[test]
fn sessions_are_given_back_and_never_those_of_an_earlier_opening() {
    let (script, desk, blob) = desk();
    let mut seats: Vec<_> = (0..2).map(|_| Seat::default()).collect();
    for seat in &mut seats {
        desk.sign(seat, &blob, Wanted::Ssh(0), MESSAGE).unwrap();
    }
    desk.leave(seats.pop().unwrap());
    assert_eq!(script.with(|inner| inner.closed), 1);
    script.with(|inner| inner.signings.push_back(device()));
    desk.sign(&mut seats[0], &blob, Wanted::Ssh(0), MESSAGE).unwrap_err();
    desk.leave(seats.pop().unwrap());
    assert_eq!(script.with(|inner| inner.closed), 1);
}

#[test]
fn a_module_that_hangs_is_noticed_and_takes_no_more_threads_than_there_may_be() {
    let (script, desk, blob) = desk();
    let desk = Arc::new(desk);
    script.with(|inner| inner.hang = Some(Duration::from_secs(2)));
    let threads = Threads::default();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let (mut stream, theirs) = Stream::pair().unwrap();
        threads.serve(desk.clone(), theirs);
        let sign = Request::Sign { blob: &blob, data: MESSAGE, flags: 0 }.framed().unwrap();
        streams.push((stream.send(&sign, &[], None).is_ok(), stream));
    }
    assert_eq!(streams.iter().filter(|(served, _)| *served).count(), 16);
    let begun = Instant::now();
    while !threads.stuck(Duration::ZERO, Instant::now()) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    assert!(!threads.stuck(Duration::from_secs(60), Instant::now()));
    assert!(threads.stuck(Duration::from_secs(60), Instant::now() + Duration::from_secs(62)));
}
