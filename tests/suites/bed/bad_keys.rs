//! Servers whose cryptography is too weak or does not fit, and certificates that are too large.

use tlsify_client::Code;

use super::authorities::{root, rsa_root};
use super::case::{Alert, Case, SHOP, Scene, fails, opens, show};
use super::certificates::{authority, leaf, nameless};
use super::keys::{Hash, Key, Kind};
use super::server::Only;

const DECRYPT_ERROR: Alert = Alert::Sent("51 decrypt_error");

pub(crate) fn keys() -> Vec<Case> {
    let unproven = |what, says, scene: fn() -> Scene| {
        let alert = Alert::Sent("42 bad_certificate");
        fails(what, Code::BadCertificate, alert, says, scene).by_openssl()
    };
    let weak = |what, says, scene: fn() -> Scene| {
        fails(what, Code::KeyUnproven, DECRYPT_ERROR, says, scene).by_openssl()
    };
    vec![
        weak("RSA with 1024 bits", "RSA with 1024 bits, and 2048", || {
            show(&[&leaf(SHOP).key(Kind::Weak(1024, 65_537)).by(root())])
        }),
        weak("RSA with 512 bits", "RSA with 512 bits, and 2048", || {
            show(&[&leaf(SHOP).key(Kind::Weak(512, 65_537)).by(root())]).only(Only::Tls12)
        }),
        unproven("an issuer of RSA with 1024 bits", "RSA with 1024 bits, and 2048", || {
            let issuer = authority("Weak").key(Kind::Weak(1024, 65_537)).by(root());
            show(&[&leaf(SHOP).by(&issuer), &issuer])
        }),
        unproven("a signature with SHA-1", "not supported", || {
            show(&[&leaf(SHOP).hash(Hash::Sha1).by(rsa_root())]).trusting(&[rsa_root()])
        }),
        unproven("a signature with MD5", "not supported", || {
            show(&[&leaf(SHOP).hash(Hash::Md5).by(rsa_root())]).trusting(&[rsa_root()])
        }),
        unproven("an issuer signed with SHA-1", "not supported", || {
            let issuer = authority("Old Hash").hash(Hash::Sha1).by(rsa_root());
            show(&[&leaf(SHOP).by(&issuer), &issuer]).trusting(&[rsa_root()])
        }),
        fails(
            "a key that does not belong to the certificate",
            Code::KeyUnproven,
            DECRYPT_ERROR,
            "its signature of the handshake does not verify",
            || show(&[&leaf(SHOP).by(root())]).signing_with(&Key::new(Kind::P256)),
        ),
        fails(
            "a key of another kind than the certificate's",
            Code::KeyUnproven,
            DECRYPT_ERROR,
            "with another kind of key",
            || show(&[&leaf(SHOP).by(root())]).signing_with(&Key::new(Kind::Rsa2048)).only(Only::Tls13),
        ),
    ]
}

pub(crate) fn sizes() -> Vec<Case> {
    vec![
        opens("a certificate of 60,000 bytes", &["name:shop.example"], || {
            show(&[&(0..1_100).fold(leaf(SHOP), |draft, number| draft.dns(long(number))).by(root())])
        }),
        fails(
            "a chain of more than 64 KiB",
            Code::ProtocolViolation,
            Alert::None,
            "more than 64 KiB",
            || {
                let draft = |first: u32| {
                    (first..first + 700).fold(nameless(SHOP), |draft, number| draft.dns(long(number)))
                };
                let issuer = authority("Large").by(root());
                show(&[&draft(0).by(&issuer), &draft(1_000).by(&issuer), &issuer]).refused_unread()
            },
        ),
        fails(
            "twenty certificates one above the other",
            Code::BadCertificate,
            Alert::Sent("46 certificate_unknown"),
            "cost too much to check",
            || {
                let mut chain = vec![authority("Number 0").by(root())];
                for number in 1..20 {
                    chain.insert(0, authority(&format!("Number {number}")).by(&chain[0]));
                }
                chain.insert(0, leaf(SHOP).by(&chain[0]));
                show(&chain.iter().collect::<Vec<_>>())
            },
        ),
    ]
}

/// A name of 48 letters.
fn long(number: u32) -> String {
    format!("{number:0>32}.other.example.org")
}
