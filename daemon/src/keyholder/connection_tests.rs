//! What each of the three at the other end may do, with OpenSSH's own bytes.

use std::os::fd::OwnedFd;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};

use super::super::foreign::{Foreign, Opener, Shut};
use super::super::memory::Memory;
use super::*;
use crate::io::agent::wire::{About, signature_to_tls, spki_of_blob};
use crate::io::sealed_memfd;

const OPENSSH: &str = include_str!("../io/agent/wire/fixtures/openssh-9.2.txt");

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}

/// The recorded message with which ssh-add adds a key of this kind.
fn added(kind: KeyKind) -> Vec<u8> {
    let bodies = OPENSSH.lines().filter_map(|line| line.strip_prefix("> ")).map(unhex);
    let is = |body: &Vec<u8>| match Request::parse(body) {
        Ok(Request::Add { key, confirm: false, .. }) => key.kind() == Some(kind),
        _ => false,
    };
    bodies.into_iter().find(is).expect("it was recorded")
}

const P256: KeyKind = KeyKind::Ecdsa(Curve::P256);

struct Desk {
    shared: Arc<Shared>,
    user: Connection,
    worker: Connection,
    supervisor: Connection,
}

fn desk() -> Desk {
    let shared = Shared::new(None, Memory::Unkept);
    let door = shared.table().open_door();
    let connection = |who| Connection::new(shared.clone(), who);
    Desk {
        user: connection(Who::User { uid: 0, pid: 1 }),
        worker: connection(Who::Worker("worker".into(), door)),
        supervisor: connection(Who::Supervisor),
        shared,
    }
}

impl Connection {
    fn ask(&mut self, request: Request<'_>) -> Vec<u8> {
        let framed = request.framed().expect("short");
        self.answer(&framed[4..], Vec::new())[4..].to_vec()
    }

    fn succeeds(&mut self, request: Request<'_>) -> bool {
        self.ask(request) == [6]
    }

    fn reason(&mut self) -> Reason {
        let answer = self.ask(Request::Extension(Extension::LastFailure));
        match Answer::parse(&answer) {
            Ok(Answer::Extension(Reply::LastFailure(failure))) => failure.reason,
            other => panic!("{other:?}"),
        }
    }

    fn listed(&mut self) -> usize {
        match Answer::parse(&self.ask(Request::Identities)) {
            Ok(Answer::Identities(listed)) => listed.len(),
            other => panic!("{other:?}"),
        }
    }

    fn blob(&mut self) -> Vec<u8> {
        match Answer::parse(&self.ask(Request::Identities)) {
            Ok(Answer::Identities(listed)) => listed[0].blob.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn signed(&mut self, blob: &[u8], data: &[u8], flags: u32) -> Option<Vec<u8>> {
        match Answer::parse(&self.ask(Request::Sign { blob, data, flags })) {
            Ok(Answer::Signature(signature)) => Some(signature.to_vec()),
            _ => None,
        }
    }

    /// Number and blob, or the reason.
    fn add_file(&mut self, uses: Uses, fds: Vec<OwnedFd>) -> Result<(u64, Vec<u8>), Reason> {
        let extension = Extension::AddDescriptor { uses, life: None, purpose: "a profile" };
        let framed = Request::Extension(extension).framed().expect("short");
        let answer = self.answer(&framed[4..], fds);
        match Answer::parse(&answer[4..]) {
            Ok(Answer::Extension(Reply::Added { handle, blob, spki })) => {
                assert_eq!(spki_of_blob(blob).as_deref(), Ok(spki));
                Ok((handle, blob.to_vec()))
            }
            Ok(Answer::ExtensionFailure) => Err(self.reason()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn of_a_file_with_certificate_and_key_everything_but_the_key_is_told_also_while_locked() {
    let Desk { shared: _shared, supervisor, worker, mut user } = desk();
    assert!(user.succeeds(Request::Lock(b"x")));
    let (key, certificate) = (pem(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let frame = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n";
    let framed = Request::Extension(Extension::Certificates).framed().expect("short");
    for mut who in [supervisor, worker] {
        let answer = who.answer(&framed[4..], file(&format!("{certificate}{key}{certificate}")));
        let expected = format!("{certificate}{frame}{certificate}");
        assert_eq!(
            Answer::parse(&answer[4..]),
            Ok(Answer::Extension(Reply::Certificates(expected.as_bytes())))
        );
        let large = file(&certificate.repeat(5_000));
        for wrong in [Vec::new(), file("a").into_iter().chain(file("b")).collect(), large] {
            let answer = who.answer(&framed[4..], wrong);
            assert_eq!(Answer::parse(&answer[4..]), Ok(Answer::ExtensionFailure));
            assert_eq!(who.reason(), Reason::Unreadable);
        }
    }
    let answer = user.answer(&framed[4..], file(certificate));
    assert_eq!(Answer::parse(&answer[4..]), Ok(Answer::ExtensionFailure));
}

fn verify_13(side: &str) -> Vec<u8> {
    [format!("{}TLS 1.3, {side} CertificateVerify\0", " ".repeat(64)).as_bytes(), &[7; 32]].concat()
}

fn file(text: &str) -> Vec<OwnedFd> {
    vec![sealed_memfd("key", text.as_bytes()).expect("memfd")]
}

fn pem() -> String {
    rcgen::KeyPair::generate().expect("a P-256 key").serialize_pem()
}

#[test]
fn a_key_of_ssh_adds_signs_handshakes_for_the_worker_and_nothing_else() {
    let mut desk = desk();
    assert_eq!(desk.user.answer(&added(P256), Vec::new())[4..], [6]);
    let blob = desk.worker.blob();
    let data = verify_13("server");
    let signature = desk.worker.signed(&blob, &data, 0).expect("it is a handshake's");
    let tls = signature_to_tls(0x0403, &blob, &signature).expect("ECDSA");
    let spki = spki_of_blob(&blob).expect("a key");
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki).verify(&data, &tls).expect("good");
    for asker in [&mut desk.worker, &mut desk.user, &mut desk.supervisor] {
        assert!(asker.signed(&blob, b"a login", 0).is_none());
        assert_eq!(asker.reason(), Reason::UseRefused);
    }
}

#[test]
fn rsa_signs_by_pss_through_the_extension_and_never_with_sha_1() {
    let mut desk = desk();
    desk.user.answer(&added(KeyKind::Rsa), Vec::new());
    let (blob, message) = (desk.worker.blob(), verify_13("server"));
    let pss = |scheme| Request::Extension(Extension::RsaPss { blob: &blob, scheme, message: &message });
    let answer = desk.worker.ask(pss(0x0804));
    let Ok(Answer::Extension(Reply::RsaPss(signature))) = Answer::parse(&answer) else {
        panic!("{answer:?}")
    };
    let spki = spki_of_blob(&blob).expect("a key");
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &spki).verify(&message, signature).expect("good");
    for scheme in [0x0401, 0x0403, 0x0809, 0] {
        assert_eq!(desk.worker.ask(pss(scheme)), [28], "{scheme:x}");
    }
    assert!(desk.worker.signed(&blob, &message, RSA_SHA2_256).is_some());
    assert!(desk.worker.signed(&blob, &message, RSA_SHA2_512).is_some());
    assert!(desk.worker.signed(&blob, &message, 0).is_none());
}

#[test]
fn a_key_of_another_kind_than_the_scheme_is_not_used() {
    let mut desk = desk();
    desk.user.answer(&added(KeyKind::Ed25519), Vec::new());
    let (blob, message) = (desk.worker.blob(), verify_13("server"));
    let pss = Extension::RsaPss { blob: &blob, scheme: 0x0804, message: &message };
    assert_eq!(desk.worker.ask(Request::Extension(pss)), [28]);
    assert!(desk.worker.signed(&blob, &message, 0).is_some());
}

#[test]
fn a_callers_key_is_for_its_worker_and_its_uses_and_goes_by_its_number() {
    let mut desk = desk();
    let (handle, blob) = desk.worker.add_file(Uses::SERVER, file(&pem())).expect("a key");
    assert!(desk.worker.signed(&blob, &verify_13("server"), 0).is_some());
    assert!(desk.worker.signed(&blob, &verify_13("client"), 0).is_none());
    assert_eq!(desk.worker.reason(), Reason::UseRefused);
    let other = desk.shared.table().open_door();
    let mut other = Connection::new(desk.shared.clone(), Who::Worker("other".into(), other));
    for stranger in [&mut other, &mut desk.user, &mut desk.supervisor] {
        assert_eq!(stranger.listed(), 0);
        assert!(stranger.signed(&blob, &verify_13("server"), 0).is_none());
        assert_eq!(stranger.reason(), Reason::Forgotten);
        assert!(!stranger.succeeds(Request::Extension(Extension::Forget { handle })));
        assert!(!stranger.succeeds(Request::Remove { blob: &blob }));
    }
    assert!(desk.worker.succeeds(Request::Extension(Extension::Forget { handle })));
    assert!(desk.worker.signed(&blob, &verify_13("server"), 0).is_none());
    assert_eq!(desk.worker.reason(), Reason::Forgotten);
}

#[test]
fn the_operators_keys_go_by_ssh_add_and_a_callers_do_not() {
    let mut desk = desk();
    desk.supervisor.add_file(Uses::SERVER, file(&pem())).expect("a key");
    desk.worker.add_file(Uses::SERVER, file(&pem())).expect("a key");
    desk.user.answer(&added(P256), Vec::new());
    desk.user.answer(&added(KeyKind::Ed25519), Vec::new());
    assert_eq!((desk.user.listed(), desk.worker.listed()), (3, 4));
    let first = desk.user.blob();
    assert!(desk.user.succeeds(Request::Remove { blob: &first }));
    assert!(!desk.user.succeeds(Request::Remove { blob: &first }), "it is gone");
    assert!(desk.user.succeeds(Request::RemoveAll));
    assert_eq!((desk.user.listed(), desk.worker.listed()), (0, 1));
}

#[test]
fn while_locked_nothing_happens_but_that_the_configuration_is_read_and_keys_are_forgotten() {
    let mut desk = desk();
    let (handle, blob) = desk.worker.add_file(Uses::SERVER, file(&pem())).expect("a key");
    assert!(desk.user.succeeds(Request::Lock(b"secret")));
    assert!(!desk.user.succeeds(Request::Lock(b"other")));
    assert!(desk.worker.signed(&blob, &verify_13("server"), 0).is_none());
    assert_eq!(desk.worker.reason(), Reason::Locked);
    assert!(desk.worker.signed(&blob, b"a login", 0).is_none());
    assert_eq!((desk.worker.listed(), desk.user.listed()), (0, 0));
    assert_eq!(desk.worker.add_file(Uses::SERVER, file(&pem())), Err(Reason::Locked));
    assert_eq!(desk.user.answer(&added(P256), Vec::new())[4..], [5]);
    assert!(!desk.user.succeeds(Request::RemoveAll));
    assert!(!desk.worker.succeeds(Request::Remove { blob: &blob }));
    desk.supervisor.add_file(Uses::SERVER, file(&pem())).expect("a reload is not refused");
    assert!(!desk.user.succeeds(Request::Unlock(b"other")));
    assert!(desk.user.succeeds(Request::Unlock(b"secret")));
    assert!(desk.worker.signed(&blob, &verify_13("server"), 0).is_some());
    assert!(desk.worker.succeeds(Request::Extension(Extension::Forget { handle })));
}

#[test]
fn a_worker_in_wrong_hands_can_neither_lock_nor_add_nor_remove_what_is_not_its() {
    let mut desk = desk();
    desk.user.answer(&added(P256), Vec::new());
    let blob = desk.user.blob();
    let Ok(spki) = spki_of_blob(&blob) else { panic!("a key") };
    let foreign = Extension::AddForeign { signer: "card", spki: &spki, uses: Uses::ALL, purpose: "" };
    let add = added(KeyKind::Ed25519);
    for request in [
        Request::parse(&add).expect("it was recorded"),
        Request::Lock(b"x"),
        Request::Unlock(b"x"),
        Request::RemoveAll,
        Request::Remove { blob: &blob },
        Request::Extension(foreign),
        Request::Extension(Extension::Forget { handle: 1 }),
        Request::Extension(Extension::Other("session-bind@openssh.com")),
        Request::Other(20),
    ] {
        assert!(!desk.worker.succeeds(request), "{request:?}");
    }
    assert_eq!(desk.user.listed(), 1);
}

#[test]
fn constraints_that_nobody_keeps_are_refused() {
    let mut desk = desk();
    let body = added(P256);
    let Ok(Request::Add { key, comment, .. }) = Request::parse(&body) else { panic!("it was recorded") };
    let with = |life, confirm| Request::Add { key, comment, life, confirm, other: false };
    assert!(!desk.user.succeeds(with(None, true)));
    assert_eq!(desk.user.reason(), Reason::Unsupported);
    assert!(desk.user.succeeds(with(Some(0), false)), "which ends at once");
    assert_eq!(desk.user.listed(), 0);
    assert!(desk.user.succeeds(with(Some(60), false)));
    assert_eq!(desk.user.listed(), 1);
    let other = SecretKey::Other;
    assert!(!desk.user.succeeds(Request::Add {
        key: other,
        comment,
        life: None,
        confirm: false,
        other: true
    }));
}

#[test]
fn what_is_no_key_is_refused_with_the_reason() {
    let mut desk = desk();
    let reader = rustix::pipe::pipe().expect("pipe").0;
    let mut add = |fds| desk.worker.add_file(Uses::ALL, fds).expect_err("no key");
    assert_eq!(add(Vec::new()), Reason::Unreadable);
    assert_eq!(add(vec![reader]), Reason::Unreadable);
    assert_eq!(add([file(&pem()), file(&pem())].concat_fds()), Reason::Unreadable);
    assert_eq!(add(file("nothing")), Reason::KeyInvalid);
    assert_eq!(add(file(&[pem(), pem()].concat())), Reason::KeyInvalid);
    assert_eq!(desk.worker.listed(), 0);
}

trait ConcatFds {
    fn concat_fds(self) -> Vec<OwnedFd>;
}

impl<const N: usize> ConcatFds for [Vec<OwnedFd>; N] {
    fn concat_fds(self) -> Vec<OwnedFd> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn a_foreign_key_asks_its_signer_and_tells_its_reason() {
    #[derive(Debug)]
    struct Nobody;
    impl Opener for Nobody {
        fn about(&self, name: &str) -> Option<About> {
            (name == "card").then_some(About { deadline_ms: 10, token: false, epoch: 1 })
        }
        fn open(&self, _: &str, _: Instant) -> Result<OwnedFd, Shut> {
            Err(Shut::Slow)
        }
    }
    let shared = Shared::new(Some(Foreign::new(Arc::new(Nobody))), Memory::Unkept);
    let mut supervisor = Connection::new(shared, Who::Supervisor);
    let pair = rcgen::KeyPair::generate().expect("a P-256 key");
    let key = HolderKey::from_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let foreign =
        Extension::AddForeign { signer: "card", spki: key.spki_der(), uses: Uses::SERVER, purpose: "shop" };
    let nobodys =
        Extension::AddForeign { signer: "other", spki: key.spki_der(), uses: Uses::ALL, purpose: "" };
    assert_eq!(supervisor.ask(Request::Extension(nobodys)), [28], "there is no such signer");
    let answer = supervisor.ask(Request::Extension(foreign));
    let Ok(Answer::Extension(Reply::Foreign { blob, .. })) = Answer::parse(&answer) else {
        panic!("{answer:?}")
    };
    assert!(supervisor.signed(blob, b"a login", 0).is_none(), "refused before the signer is asked");
    assert_eq!(supervisor.reason(), Reason::UseRefused);
    assert!(supervisor.signed(blob, &verify_13("server"), 0).is_none());
    assert_eq!(supervisor.reason(), Reason::SignerSlow);
}

proptest::proptest! {
    #[test]
    fn every_message_has_an_answer(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let mut desk = desk();
        for asker in [&mut desk.worker, &mut desk.supervisor] {
            let answer = asker.answer(&body, Vec::new());
            proptest::prop_assert!(Answer::parse(&answer[4..]).is_ok());
        }
    }
}
