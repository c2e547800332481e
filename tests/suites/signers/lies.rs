//! An agent in somebody else's hands: nothing that it says becomes a signature.

use std::sync::Mutex;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use super::*;
use tlsifyd_tests::signers::{message, sign_request, signed_profile, strings};
use tlsifyd_tests::{FakeAgent, KeyKind};

/// A SIGN_RESPONSE with a signature of `data` by the key of the good server.
fn signed(data: &[u8]) -> Vec<u8> {
    let der = pem::parse(&pki().server(KeyKind::EcdsaP256).key_pem).expect("our own key");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.contents()).expect("P-256");
    let signature = key.sign(&SystemRandom::new(), data).expect("signed");
    let (r, s) = signature.as_ref().split_at(32);
    // An mpint is not negative.
    let numbers = strings(&[&[&[0], r].concat(), &[&[0], s].concat()]);
    message(14, &strings(&[&strings(&[b"ecdsa-sha2-nistp256", &numbers])]))
}

fn honest(request: &[u8]) -> Option<Vec<u8>> {
    sign_request(request).map(|(_, data)| signed(data))
}

fn daemon(agent: &FakeAgent) -> TestDaemon {
    let identity = pki().server(KeyKind::EcdsaP256);
    let config = super::agent("a", &agent.socket()) + &signed_profile("p", &identity.certificate_file, "a");
    TestDaemon::with_config(config)
}

/// What the lies are, each with what it becomes.
fn lies() -> Vec<(&'static str, Lie, Code)> {
    vec![
        ("a signature of something else", |_| Some(signed(b"something else")), Code::SignerRefused),
        (
            "one bit",
            |request| {
                let mut answer = honest(request)?;
                *answer.last_mut()? ^= 1;
                Some(answer)
            },
            Code::SignerRefused,
        ),
        ("an empty signature", |_| Some(message(14, &strings(&[b""]))), Code::SignerRefused),
        ("a success without a signature", |_| Some(message(6, b"")), Code::SignerUnreachable),
        ("garbage", |_| Some(vec![0xa5; 1000]), Code::SignerUnreachable),
        ("a huge frame", |_| Some(vec![0x7f; 70_000]), Code::SignerUnreachable),
        ("an empty frame", |_| Some(vec![0; 4]), Code::SignerUnreachable),
        ("half a frame", |request| honest(request).map(|answer| answer[..20].to_vec()), Code::SignerTimeout),
        ("silence", |_| Some(Vec::new()), Code::SignerTimeout),
        ("the end of the connection", |_| None, Code::SignerUnreachable),
    ]
}

#[test]
fn no_lie_of_an_agent_becomes_a_handshake_and_the_truth_is_believed_afterwards() {
    let agent = FakeAgent::start(honest);
    let daemon = daemon(&agent);
    let client = daemon.client();
    handshake(&client, "p").expect("the truth");
    for (what, lie, code) in lies() {
        agent.now(lie);
        let failed = handshake(&client, "p").expect_err(what);
        assert_eq!(failed.code, code, "{what}: {failed:?}");
        agent.now(honest);
        assert_recovers(&daemon, "p");
    }
}

#[test]
fn the_answer_to_another_request_is_not_taken_for_this_ones() {
    // Answers each request with the signature that the one before should have had.
    let last: Mutex<Option<Vec<u8>>> = Mutex::default();
    let agent = FakeAgent::start(move |request| {
        let own = honest(request);
        std::mem::replace(&mut *last.lock().expect("nobody panicked"), own.clone()).or(own)
    });
    let daemon = daemon(&agent);
    let client = daemon.client();
    handshake(&client, "p").expect("the first has its own");
    for _ in 0..5 {
        assert_fails(&client, "p", Code::SignerRefused);
    }
}

#[test]
fn an_agent_that_hangs_up_on_everybody_is_not_asked_for_every_handshake() {
    let agent = FakeAgent::start(|_| None);
    let daemon = daemon(&agent);
    let client = daemon.client();
    for _ in 0..20 {
        assert_fails(&client, "p", Code::SignerUnreachable);
    }
    // Within a second of the first, once; a slow machine takes longer for twenty.
    assert!(agent.asked() < 10, "{}", agent.asked());
}
