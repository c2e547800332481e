use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;

use rcgen::{KeyPair, PublicKeyData};

use super::*;
use crate::io::agent::wire::{signature_of_tls, spki_of_blob};
use crate::io::{read_regular, sealed_memfd};
use crate::tls::{Signatory, Unsigned};

const MESSAGE: &[u8] = b"what is to be signed";
const P256: u16 = 0x0403;

/// What the keyholder does when it is asked to sign.
#[derive(Clone, Debug)]
enum Does {
    Signs,
    Refuses(Reason, &'static str),
    Closes,
    SpeaksNonsense,
    Nothing,
}

/// A keyholder with one key, in threads of this process.
struct Holder {
    key: KeyPair,
    does: Mutex<Does>,
    lines: AtomicU64,
    heard: mpsc::Sender<u64>,
}

impl Holder {
    /// It, our end of its door, and the numbers of keys that it forgets.
    fn begin() -> (Arc<Self>, Channel, mpsc::Receiver<u64>) {
        let (heard, forgotten) = mpsc::channel();
        let (key, does) = (KeyPair::generate().expect("key"), Mutex::new(Does::Signs));
        let holder = Arc::new(Self { key, does, lines: 0.into(), heard });
        let door = holder.door();
        (holder, door, forgotten)
    }

    fn door(self: &Arc<Self>) -> Channel {
        let (ours, theirs) = Channel::pair().expect("pair");
        let door = Channel::new(theirs).expect("channel");
        let holder = Arc::clone(self);
        thread::spawn(move || {
            while let Ok((Knock::Connect, mut fds)) = door.receive_by(None) {
                holder.lines.fetch_add(1, Ordering::Relaxed);
                let (holder, stream) = (Arc::clone(&holder), Stream::new(fds.pop().expect("one")));
                thread::spawn(move || holder.serve(stream));
            }
        });
        ours
    }

    fn does(&self, does: Does) {
        *self.does.lock().expect("whole") = does;
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_spki_der(&self.key.subject_public_key_info()).expect("key")
    }

    fn serve(&self, mut stream: Stream) {
        let mut refused = (Reason::None, "");
        while let Ok((body, fds)) = stream.receive(None, PATIENCE) {
            let answered = match Request::parse(&body).expect("a request") {
                Request::Extension(Extension::LastFailure) => {
                    let (reason, signer) = refused;
                    let failure = Failure { reason, signer, text: "why" };
                    Answer::Extension(Reply::LastFailure(failure)).framed()
                }
                Request::Extension(Extension::Forget { handle }) => {
                    self.heard.send(handle).expect("somebody listens");
                    Answer::Success.framed()
                }
                request => match self.does.lock().expect("whole").clone() {
                    Does::Signs => self.answer(&request, fds),
                    Does::Refuses(reason, signer) => {
                        refused = (reason, signer);
                        Answer::Failure.framed()
                    }
                    Does::Closes => return,
                    Does::SpeaksNonsense => Answer::Other(77).framed(),
                    Does::Nothing => continue,
                },
            };
            if stream.send(&answered.expect("fits"), &[], None).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request<'_>, fds: Vec<OwnedFd>) -> Result<Zeroizing<Vec<u8>>, WireError> {
        match request {
            Request::Extension(Extension::Core { .. }) => Answer::Success.framed(),
            Request::Sign { blob, data, .. } => {
                assert_eq!(spki_of_blob(blob).expect("a key"), self.key.subject_public_key_info());
                let signature = rcgen::SigningKey::sign(&self.key, data).expect("signature");
                Answer::Signature(&signature_of_tls(P256, &signature)?).framed()
            }
            Request::Extension(Extension::AddDescriptor { uses, purpose, .. }) => {
                assert_eq!((*uses, *purpose), (Uses::SERVER, "uid 7"));
                assert_eq!(&**read_regular(&fds[0], 100).expect("a file"), b"not read here");
                let spki = self.key.subject_public_key_info();
                let blob = blob_of_spki(&spki)?;
                Answer::Extension(Reply::Added { handle: 4711, blob: &blob, spki: &spki }).framed()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn signatory(key: &PrivateKey) -> &Arc<dyn Signatory> {
    match key {
        PrivateKey::Away { signatory, .. } => signatory,
        PrivateKey::Here(_) => panic!("it is here"),
    }
}

fn sign(key: &PrivateKey) -> Result<(), Unsigned> {
    let public = key.public().expect("known");
    let signature = signatory(key).sign(&public, P256, MESSAGE)?;
    assert!(public.verifies(P256, MESSAGE, &signature));
    Ok(())
}

fn given(keyholder: &Arc<Keyholder>) -> Result<PrivateKey, NotTaken> {
    let file = sealed_memfd("key", b"not read here").expect("memfd");
    keyholder.add_descriptor(file.as_fd(), Uses::SERVER, "uid 7")
}

#[test]
fn a_thread_that_settles_has_one_line_for_all_its_signatures() {
    let (holder, door, _) = Holder::begin();
    let keyholder = Keyholder::new(door);
    let key = keyholder.own(holder.public()).expect("known");
    assert!(!signatory(&key).may_wait());
    let works = |settles: bool| {
        let (key, keyholder) = (key.clone(), Arc::clone(&keyholder));
        let work = move || {
            if settles {
                keyholder.settle_here();
            }
            (0..3).try_for_each(|_| sign(&key))
        };
        thread::spawn(work).join().expect("thread").expect("signed");
    };
    works(true);
    works(true);
    // One each, and one for who has none.
    works(false);
    assert_eq!(holder.lines.load(Ordering::Relaxed), 3);
}

#[test]
fn a_line_that_was_closed_is_made_anew_and_the_signature_is_there() {
    let (holder, door, _) = Holder::begin();
    let keyholder = Keyholder::new(door);
    let key = keyholder.own(holder.public()).expect("known");
    sign(&key).expect("signed");
    holder.does(Does::Closes);
    assert_eq!(sign(&key), Err(Unsigned::KeyholderAway), "twice in a row is no accident");
    holder.does(Does::Signs);
    sign(&key).expect("signed again");
}

#[test]
fn nonsense_is_no_signature_and_not_the_next_ones_answer() {
    let (holder, door, _) = Holder::begin();
    let keyholder = Keyholder::new(door);
    let key = keyholder.own(holder.public()).expect("known");
    holder.does(Does::SpeaksNonsense);
    assert_eq!(sign(&key), Err(Unsigned::KeyholderAway));
    holder.does(Does::Signs);
    sign(&key).expect("signed");
    assert_eq!(holder.lines.load(Ordering::Relaxed), 2);
}

#[test]
fn a_keyholder_that_is_gone_fails_at_once_and_its_successor_signs_but_has_no_given_keys() {
    let (holder, door, forgotten) = Holder::begin();
    let keyholder = Keyholder::new(door);
    let (own, given_before) =
        (keyholder.own(holder.public()).expect("known"), given(&keyholder).expect("taken"));
    sign(&own).expect("signed");
    sign(&given_before).expect("signed");
    let (gone, theirs) = Channel::pair().expect("pair");
    drop(theirs);
    keyholder.replace_door(gone);
    assert_eq!(sign(&own), Err(Unsigned::KeyholderAway));
    keyholder.replace_door(holder.door());
    sign(&own).expect("signed again");
    assert_eq!(sign(&given_before), Err(Unsigned::GivenForgotten));
    let given_again = given(&keyholder).expect("taken");
    sign(&given_again).expect("signed");
    // The number of the one before is another key's by now, or nobody's.
    drop(given_before);
    drop(given_again);
    assert_eq!(forgotten.recv_timeout(PATIENCE), Ok(4711));
    assert!(forgotten.try_recv().is_err());
}

#[test]
fn why_nobody_signs_arrives_with_its_reason() {
    let (holder, door, _) = Holder::begin();
    let keyholder = Keyholder::new(door);
    let own = keyholder.own(holder.public()).expect("known");
    let second = Duration::from_secs(1);
    let cases = [
        (Reason::Locked, Unsigned::Locked),
        (Reason::Forgotten, Unsigned::Forgotten),
        (Reason::UseRefused, Unsigned::UseRefused),
        (Reason::SignerSlow, Unsigned::SignerSlow("token".into())),
        (Reason::SignerAway, Unsigned::SignerAway("token".into())),
        (Reason::SignerRefused, Unsigned::SignerRefused("token".into())),
        (Reason::PinRefused, Unsigned::PinRefused("token".into())),
        (Reason::None, Unsigned::SignerRefused("token".into())),
    ];
    for (reason, why) in cases {
        holder.does(Does::Refuses(reason, "token"));
        assert_eq!(sign(&own), Err(why.clone()), "{reason:?}");
        let foreign = keyholder.foreign(holder.public(), "token", second).expect("known");
        assert!(signatory(&foreign).may_wait() && signatory(&foreign).name() == "token");
        assert_eq!(sign(&foreign), Err(why), "{reason:?}");
    }
    let given = {
        holder.does(Does::Signs);
        given(&keyholder).expect("taken")
    };
    holder.does(Does::Refuses(Reason::Forgotten, ""));
    assert_eq!(sign(&given), Err(Unsigned::GivenForgotten));
}

#[test]
fn a_signer_that_hangs_is_waited_for_until_its_deadline_and_does_not_stop_another() {
    let (holder, door, _) = Holder::begin();
    let keyholder = Keyholder::new(door);
    let foreign = |name| keyholder.foreign(holder.public(), name, Duration::from_millis(1)).expect("known");
    let (hangs, works) = (foreign("hangs"), foreign("works"));
    holder.does(Does::Nothing);
    assert_eq!(sign(&hangs), Err(Unsigned::SignerSlow("hangs".into())));
    holder.does(Does::Signs);
    sign(&works).expect("signed");
    sign(&hangs).expect("it is back");
    assert_eq!(holder.lines.load(Ordering::Relaxed), 2, "the line with the late answer is gone");
}

#[test]
fn a_callers_file_is_handed_on_and_why_it_is_not_taken_is_told() {
    let (holder, door, forgotten) = Holder::begin();
    let keyholder = Keyholder::new(door);
    let key = given(&keyholder).expect("taken");
    assert_eq!(key.public().expect("known").spki_sha256, holder.public().spki_sha256);
    drop(key.clone());
    assert!(forgotten.try_recv().is_err(), "a clone is the same key");
    drop(key);
    assert_eq!(forgotten.recv_timeout(PATIENCE), Ok(4711));
    for (reason, expected) in [
        (Reason::Locked, "Locked"),
        (Reason::KeyInvalid, "Invalid(\"why\")"),
        (Reason::Unreadable, "Unreadable(\"why\")"),
        (Reason::Full, "Full"),
        (Reason::Unsupported, "Away"),
    ] {
        holder.does(Does::Refuses(reason, ""));
        assert_eq!(format!("{:?}", given(&keyholder).expect_err("refused")), expected);
    }
}

#[test]
fn what_is_held_for_people_has_no_key_in_it() {
    let (holder, door, _) = Holder::begin();
    let keyholder = Keyholder::new(door);
    let key = keyholder.own(holder.public()).expect("known");
    let mut text = Vec::new();
    write!(text, "{key:?}").expect("memory");
    let text = String::from_utf8(text).expect("text");
    assert!(text.len() < 1000 && text.contains("PublicKey(P256"), "{text}");
}
