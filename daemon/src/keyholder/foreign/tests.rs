//! Agents that lie, hang, vanish and come back. Each is a thread behind a socketpair.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SigningKey as _};

use super::opener::Shut;
use super::*;
use crate::io::agent::Stream;
use crate::io::agent::wire::{
    About, Answer, Extension, Failure, Reply, Request, blob_of_spki, signature_of_tls,
};

const ECDSA: u16 = 0x0403;
const MESSAGE: &[u8] = b"what is to be signed";
const DEADLINE: u32 = 200;

/// What one connection's agent does with each request; `None` ends the connection.
type Behaviour = Box<dyn FnMut(&Request<'_>) -> Option<Vec<u8>> + Send>;

/// Hands out the connections of a script; when it is over, nobody is there.
#[derive(Default)]
struct Scripted {
    token: bool,
    connections: Mutex<VecDeque<Behaviour>>,
    opened: Mutex<u32>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Opener for Scripted {
    fn about(&self, name: &str) -> Option<About> {
        (name == "s").then_some(About { deadline_ms: DEADLINE, token: self.token, epoch: 1 })
    }

    fn open(&self, _: &str, _: Instant) -> Result<OwnedFd, Shut> {
        *self.opened.lock().unwrap() += 1;
        let next = self.connections.lock().unwrap().pop_front();
        let mut behaviour = next.ok_or_else(|| Shut::Away("nobody listens".to_owned()))?;
        let (mut stream, theirs) = Stream::pair().unwrap();
        std::thread::spawn(move || {
            while let Ok((request, _)) = stream.receive(None, Duration::from_secs(5)) {
                let Some(answer) = behaviour(&Request::parse(&request).unwrap()) else { return };
                let _ = stream.send(&answer, &[], None);
            }
        });
        Ok(theirs)
    }
}

struct Bench {
    key: Arc<KeyPair>,
    blob: Vec<u8>,
    script: Arc<Scripted>,
    foreign: Foreign,
}

impl Bench {
    fn new(token: bool) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let blob = blob_of_spki(&key.subject_public_key_info()).unwrap();
        let script = Arc::new(Scripted { token, ..Scripted::default() });
        let foreign = Foreign::new(script.clone());
        foreign.expect("s", &blob).unwrap();
        Self { key: key.into(), blob, script, foreign }
    }

    fn next(&self, behaviour: impl FnMut(&Request<'_>) -> Option<Vec<u8>> + Send + 'static) {
        self.script.connections.lock().unwrap().push_back(Box::new(behaviour));
    }

    fn sign(&self) -> Result<Vec<u8>, NotSigned> {
        self.foreign.sign("s", &self.blob, ECDSA, MESSAGE)
    }

    fn opened(&self) -> u32 {
        *self.script.opened.lock().unwrap()
    }
}

fn honest(key: &Arc<KeyPair>) -> impl FnMut(&Request<'_>) -> Option<Vec<u8>> + Send + 'static {
    let key = key.clone();
    move |request| match request {
        Request::Sign { data, .. } => Some(signed(&key, data)),
        _ => Some(Answer::Failure.framed().unwrap().to_vec()),
    }
}

fn signed(key: &KeyPair, data: &[u8]) -> Vec<u8> {
    let signature = signature_of_tls(ECDSA, &key.sign(data).unwrap()).unwrap();
    Answer::Signature(&signature).framed().unwrap().to_vec()
}

#[test]
fn an_honest_agent_signs_again_and_again_on_one_connection() {
    let bench = Bench::new(false);
    bench.next(honest(&bench.key));
    for _ in 0..10 {
        bench.sign().unwrap();
    }
    assert_eq!(bench.opened(), 1);
}

/// What a liar answers, made with the right key.
type Lie = fn(&KeyPair) -> Vec<u8>;

const LIES: [(&str, Lie); 9] = [
    ("the signature of something else", |key| signed(key, b"something else")),
    ("the signature of another key", |_| {
        signed(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), MESSAGE)
    }),
    ("a signature of another kind", |_| {
        let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let signature = signature_of_tls(0x0807, &other.sign(MESSAGE).unwrap()).unwrap();
        Answer::Signature(&signature).framed().unwrap().to_vec()
    }),
    ("an empty signature", |_| Answer::Signature(b"").framed().unwrap().to_vec()),
    ("a byte too many", |key| {
        let mut longer = signed(key, MESSAGE);
        longer.push(7);
        longer[3] += 1;
        longer
    }),
    ("garbage", |_| vec![0, 0, 0, 4, 14, 0xff, 0xff, 0xff]),
    ("the answer to something else", |_| Answer::Success.framed().unwrap().to_vec()),
    ("an empty frame", |_| vec![0; 4]),
    ("a huge frame", |_| vec![0xff; 64]),
];

#[test]
fn no_lie_becomes_a_signature_and_no_liar_is_asked_on_the_same_connection() {
    for (what, lie) in LIES {
        let bench = Bench::new(false);
        let lie = lie(&bench.key);
        bench.next(move |_| Some(lie.clone()));
        bench.next(honest(&bench.key));
        let refused = bench.sign().expect_err(what);
        assert!(matches!(refused.reason, Reason::SignerRefused | Reason::SignerAway), "{what}: {refused:?}");
        assert!(refused.text.starts_with("signer \"s\": "), "{refused}");
        if refused.reason == Reason::SignerRefused {
            bench.sign().unwrap();
            assert_eq!(bench.opened(), 2, "{what}");
        }
    }
}

#[test]
fn a_signature_that_comes_too_late_is_never_the_next_ones() {
    let bench = Bench::new(false);
    let slow = bench.key.clone();
    bench.next(move |request| {
        std::thread::sleep(Duration::from_millis(2 * u64::from(DEADLINE)));
        let Request::Sign { data, .. } = request else { return None };
        Some(signed(&slow, data))
    });
    bench.next(honest(&bench.key));
    let begun = Instant::now();
    assert_eq!(bench.sign().unwrap_err().reason, Reason::SignerSlow);
    assert!(begun.elapsed() >= Duration::from_millis(DEADLINE.into()));
    bench.foreign.sign("s", &bench.blob, ECDSA, b"another message").unwrap();
    assert_eq!(bench.opened(), 2);
}

#[test]
fn half_an_answer_is_waited_for_until_the_deadline_and_no_longer() {
    let bench = Bench::new(false);
    let key = bench.key.clone();
    bench.next(move |_| {
        let mut half = signed(&key, MESSAGE);
        half.truncate(half.len() / 2);
        Some(half)
    });
    assert_eq!(bench.sign().unwrap_err().reason, Reason::SignerSlow);
}

#[test]
fn two_answers_to_one_question_are_not_two_signatures() {
    let bench = Bench::new(false);
    let key = bench.key.clone();
    bench.next(move |_| Some([signed(&key, MESSAGE), signed(&key, MESSAGE)].concat()));
    bench.next(honest(&bench.key));
    bench.sign().unwrap();
    bench.foreign.sign("s", &bench.blob, ECDSA, b"another message").unwrap();
    assert_eq!(bench.opened(), 2);
}

#[test]
fn an_agent_that_was_restarted_is_no_trouble_and_one_that_is_gone_is_left_alone() {
    let bench = Bench::new(false);
    let mut once = honest(&bench.key);
    let mut asked = 0;
    bench.next(move |request| {
        asked += 1;
        (asked == 1).then(|| once(request)).flatten()
    });
    bench.next(honest(&bench.key));
    bench.sign().unwrap();
    bench.sign().unwrap();
    assert_eq!(bench.opened(), 2);
    let gone = Bench::new(false);
    assert_eq!(gone.sign().unwrap_err().reason, Reason::SignerAway);
    for _ in 0..100 {
        let refused = gone.sign().unwrap_err();
        assert_eq!(refused.reason, Reason::SignerAway);
        assert!(refused.text.contains("is tried again in"), "{refused}");
    }
    assert_eq!(gone.opened(), 1, "nobody knocks for every handshake");
}

#[test]
fn a_refusal_is_no_trouble_and_a_token_says_why() {
    let bench = Bench::new(false);
    bench.next(|_| Some(Answer::Failure.framed().unwrap().to_vec()));
    for _ in 0..10 {
        assert_eq!(bench.sign().unwrap_err().reason, Reason::SignerRefused);
    }
    assert_eq!(bench.opened(), 1);
    let bench = Bench::new(true);
    bench.next(|request| {
        let pin = Failure { reason: Reason::PinRefused, signer: "", text: "the token says no" };
        Some(match request {
            Request::Extension(Extension::LastFailure) => {
                Answer::Extension(Reply::LastFailure(pin)).framed().unwrap().to_vec()
            }
            _ => Answer::Failure.framed().unwrap().to_vec(),
        })
    });
    let refused = bench.sign().unwrap_err();
    assert_eq!((refused.reason, &*refused.text), (Reason::PinRefused, "signer \"s\": the token says no"));
}

#[test]
fn what_an_agent_cannot_sign_is_refused_before_it_is_asked() {
    let bench = Bench::new(false);
    assert_eq!(bench.foreign.expect("t", &bench.blob).unwrap_err().reason, Reason::Unsupported);
    // ssh-rsa with e = 65537 and a modulus of eight bytes: its kind is enough.
    let mut rsa = b"\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01\0\0\0\x08".to_vec();
    rsa.extend_from_slice(&[0x7f; 8]);
    let refused = bench.foreign.expect("s", &rsa).unwrap_err();
    assert!(refused.reason == Reason::KeyInvalid && refused.text.contains("RSASSA-PSS"), "{refused}");
    assert_eq!(Bench::new(true).foreign.expect("s", &rsa), Ok(()));
    let other = bench.foreign.sign("s", &bench.blob, 0x0807, MESSAGE).unwrap_err();
    assert_eq!(other.reason, Reason::Unsupported);
    assert_eq!(bench.opened(), 0);
}
