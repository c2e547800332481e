//! Servers that are what they say: each of them is one that a check which is too strict, or wrong, would refuse.

use super::authorities::{intermediate, root};
use super::case::{Case, Pinned, SHOP, Scene, opens, show};
use super::certificates::{
    ANY_PURPOSE, CLIENT_AUTH, Certificate, DAY, HOUR, SERVER_AUTH, authority, leaf, nameless, now,
};
use super::keys::Kind;
use super::server::Only;

const BY_NAME: &[&str] = &["name:shop.example"];

pub(crate) fn names() -> Vec<Case> {
    let plain = || show(&[&leaf(SHOP).by(root())]);
    vec![
        opens("its exact name", BY_NAME, plain),
        opens("the name in upper case is asked", BY_NAME, plain).asking(&["SHOP.Example"]),
        opens("the name with a dot at the end is asked", BY_NAME, plain).asking(&["shop.example."]),
        opens("its name in upper case", BY_NAME, || show(&[&leaf("Shop.EXAMPLE").by(root())])),
        opens("a wildcard for one label", &["name:a.shop.example"], || {
            show(&[&leaf("*.shop.example").by(root())])
        })
        .asking(&["a.shop.example"]),
        opens("an internationalised name as A-label", &["name:xn--bcher-kva.example"], || {
            show(&[&leaf("xn--bcher-kva.example").by(root())])
        })
        .asking(&["xn--bcher-kva.example"]),
        opens("a wildcard before an A-label", &["name:www.xn--bcher-kva.example"], || {
            show(&[&leaf("*.xn--bcher-kva.example").by(root())])
        })
        .asking(&["www.xn--bcher-kva.example"]),
        opens("its name with an underscore", &["name:_a.shop.example"], || {
            show(&[&leaf("_a.shop.example").by(root())])
        })
        .asking(&["_a.shop.example"]),
        opens("an IPv4 address", &["name:192.0.2.7"], || {
            show(&[&nameless(SHOP).address(&[192, 0, 2, 7]).by(root())])
        })
        .asking(&["192.0.2.7"]),
        opens("an IPv6 address", &["name:2001:db8::7"], || show(&[&nameless(SHOP).address(&V6).by(root())]))
            .asking(&["2001:0DB8:0::7"]),
        opens("the second of three names that are asked", BY_NAME, plain).asking(&[
            "db.example",
            SHOP,
            "192.0.2.7",
        ]),
        opens("its name behind others of every kind", BY_NAME, || {
            let names =
                nameless("else").uri("https://shop.example/").name(1, b"a@shop.example").dns("else.example");
            show(&[&names.address(&[192, 0, 2, 7]).dns(SHOP).by(root())])
        }),
        opens("a service of a domain", &["name:srv:_imaps.mail.example"], || {
            show(&[&nameless(SHOP).service("_IMAPS.Mail.example").by(root())])
        })
        .asking(&["srv:_imaps.mail.example"]),
        opens("a URI with the scheme and the host", &["name:uri:sip:voice.example"], || {
            show(&[&nameless(SHOP).uri("sip:Voice.example;transport=tcp").by(root())])
        })
        .asking(&["uri:sip:voice.example"]),
        opens("a service, the second of two that are asked", &["name:srv:_imap.mail.example"], || {
            show(&[&leaf("mail.example").service("_imap.mail.example").by(root())])
        })
        .asking(&["srv:_imaps.mail.example", "srv:_imap.mail.example"]),
        opens("another common name", BY_NAME, || show(&[&leaf(SHOP).subject(b"else.example").by(root())])),
        opens("a NUL in a common name that nobody reads", BY_NAME, || {
            show(&[&leaf(SHOP).subject(b"shop.example\0.evil.example").by(root())])
        }),
        opens("no subject at all", BY_NAME, || show(&[&leaf(SHOP).without_subject().by(root())])),
    ]
}

const V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

pub(crate) fn chains() -> Vec<Case> {
    vec![
        opens("an intermediate", BY_NAME, || below(intermediate(), &[intermediate()])),
        opens("two intermediates in the wrong order", BY_NAME, || {
            let second = authority("Second").by(intermediate());
            below(&second, &[intermediate(), &second])
        }),
        opens("somebody else's certificate in the chain", BY_NAME, || {
            let other = authority("Nobody's").self_signed();
            below(intermediate(), &[&other, intermediate()])
        }),
        opens("garbage behind a whole chain", BY_NAME, || {
            let mut scene = below(intermediate(), &[intermediate()]);
            scene.append(b"no certificate");
            scene
        }),
        opens("the root at the end of the chain", BY_NAME, || {
            below(intermediate(), &[intermediate(), root()])
        }),
        opens("an expired cross-sign beside the good one", BY_NAME, || {
            let expired = authority("Bed Intermediate").key_of(intermediate()).ended(DAY).by(root());
            below(intermediate(), &[&expired, intermediate()])
        }),
        opens("the path length just met", BY_NAME, || {
            let top = authority("One More").constrained(true, Some(1)).by(root());
            let last = authority("Last").constrained(true, Some(0)).by(&top);
            below(&last, &[&last, &top])
        }),
        opens("four intermediates", BY_NAME, || {
            let mut chain = vec![authority("Number 0").by(root())];
            for name in ["Number 1", "Number 2", "Number 3"] {
                chain.insert(0, authority(name).by(&chain[0]));
            }
            below(&chain[0], &chain.iter().collect::<Vec<_>>())
        }),
        opens("a name that its issuer may vouch for", BY_NAME, || {
            let local =
                authority("Local").names_within(&[(2, b"example")], &[(2, b"evil.example")]).by(root());
            below(&local, &[&local])
        }),
        opens("an issuer for servers only", BY_NAME, || {
            let issuer = authority("For Servers").purposes(&[SERVER_AUTH]).by(root());
            below(&issuer, &[&issuer])
        }),
        opens("no extended key usage", BY_NAME, || show(&[&leaf(SHOP).purposes(&[]).by(root())])),
        opens("a certificate for servers and clients", BY_NAME, || {
            show(&[&leaf(SHOP).purposes(&[CLIENT_AUTH, SERVER_AUTH]).by(root())])
        }),
        opens("any purpose beside that of a server", BY_NAME, || {
            show(&[&leaf(SHOP).purposes(&[ANY_PURPOSE, SERVER_AUTH]).by(root())])
        }),
        opens("an extension that nobody knows and nobody must", BY_NAME, || {
            show(&[&leaf(SHOP).extension("1.3.6.1.4.1.11129.2.9.9", false, b"\x05\x00").by(root())])
        }),
        opens("a trusted intermediate, and not its root", BY_NAME, || {
            below(intermediate(), &[]).trusting(&[intermediate()])
        }),
        opens("a pinned key beside the chain", &["name:shop.example", "pin of the key"], || {
            show(&[&leaf(SHOP).by(root())])
        })
        .pinning(Pinned::Key),
        opens("a pinned certificate of its own, and nobody trusted", &["pin of the certificate"], || {
            show(&[&leaf(SHOP).self_signed()]).trusting_pins()
        })
        .asking(&[])
        .pinning(Pinned::Certificate),
        opens("a pinned root in place of a server", &["pin of the key"], || show(&[root()]).trusting_pins())
            .asking(&[])
            .pinning(Pinned::Key),
        opens("a pinned key, the second of two", &["name:shop.example", "pin of the key"], || {
            show(&[&leaf(SHOP).self_signed()]).trusting_pins()
        })
        .pinning(Pinned::Another)
        .pinning(Pinned::Key),
    ]
}

/// The server below this issuer, with the rest of its chain.
fn below(issuer: &Certificate, rest: &[&Certificate]) -> Scene {
    let leaf = leaf(SHOP).by(issuer);
    let mut chain = vec![&leaf];
    chain.extend(rest);
    show(&chain)
}

pub(crate) fn keys() -> Vec<Case> {
    let of = |kind: Kind| move || show(&[&leaf(SHOP).key(kind).by(root())]);
    vec![
        opens("a key on P-384", BY_NAME, of(Kind::P384)),
        opens("a key on Curve25519", BY_NAME, of(Kind::Ed25519)),
        opens("RSA with 2048 bits", BY_NAME, of(Kind::Rsa2048)),
        opens("RSA with 3072 bits", BY_NAME, of(Kind::Rsa3072)),
        opens("RSA with the exponent 3", BY_NAME, of(Kind::Weak(2048, 3))).by_openssl(),
        opens("only TLS 1.3", BY_NAME, || show(&[&leaf(SHOP).by(root())]).only(Only::Tls13)),
        opens("another kind of key at each step of the chain", BY_NAME, || {
            let first = authority("On P-384").key(Kind::P384).by(root());
            let second = authority("Of RSA").key(Kind::Rsa2048).by(&first);
            let third = authority("On Curve25519").key(Kind::Ed25519).by(&second);
            below(&third, &[&third, &second, &first])
        }),
    ]
}

pub(crate) fn dates() -> Vec<Case> {
    // Its limits are part of the time (RFC 5280 section 4.1.2.5); a minute is what a slow machine may need.
    vec![
        opens("a certificate that begins this second", BY_NAME, || {
            show(&[&leaf(SHOP).valid(now(), now() + DAY).by(root())])
        }),
        opens("a certificate that ends in a minute", BY_NAME, || {
            show(&[&leaf(SHOP).valid(now() - DAY, now() + 60).by(root())])
        }),
        opens("a certificate that ends after 2050", BY_NAME, || {
            show(&[&leaf(SHOP).valid(now() - HOUR, 2_600_000_000).by(root())])
        }),
        opens("a certificate without an end, 9999", BY_NAME, || {
            show(&[&leaf(SHOP).valid(now() - HOUR, 253_402_300_799).by(root())])
        }),
        opens("a pinned certificate that has expired, and nobody trusted", &["pin of the key"], || {
            show(&[&leaf(SHOP).ended(DAY).self_signed()]).trusting_pins()
        })
        .asking(&[])
        .pinning(Pinned::Key),
    ]
}
