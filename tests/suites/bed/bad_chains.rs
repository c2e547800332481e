//! Servers that nobody trusted vouches for, or somebody who may not, or not at this time (RFC 5280 section 6).

use tlsify_client::Code;

use super::authorities::{intermediate, root, stranger};
use super::case::{Alert, Case, Pinned, SHOP, Scene, fails, show, show_bytes};
use super::certificates::{
    ANY_PURPOSE, CLIENT_AUTH, CRL_SIGN, Certificate, DAY, DIGITAL_SIGNATURE, HOUR, KEY_ENCIPHERMENT,
    authority, leaf, nameless, now,
};
use super::keys::Kind;

const BAD_CERTIFICATE: Alert = Alert::Sent("42 bad_certificate");
const EXPIRED: Alert = Alert::Sent("45 certificate_expired");
const UNKNOWN: Alert = Alert::Sent("46 certificate_unknown");
const UNKNOWN_CA: Alert = Alert::Sent("48 unknown_ca");
const UNSUPPORTED: Alert = Alert::Sent("43 unsupported_certificate");

/// The end entity below this issuer, which is below the root.
fn below(issuer: &Certificate) -> Scene {
    show(&[&leaf(SHOP).by(issuer), issuer])
}

pub(crate) fn dates() -> Vec<Case> {
    let late = |what, says, scene: fn() -> Scene| fails(what, Code::CertificateExpired, EXPIRED, says, scene);
    let early =
        |what, says, scene: fn() -> Scene| fails(what, Code::CertificateNotYetValid, EXPIRED, says, scene);
    vec![
        late("a certificate that ended three days ago", "expired 3 days ago", || {
            show(&[&leaf(SHOP).ended(3 * DAY).by(root())])
        }),
        late("a certificate that ended some seconds ago", "seconds ago", || {
            show(&[&leaf(SHOP).ended(5).by(root())])
        }),
        late("a certificate that ends before it begins", "has expired", || {
            show(&[&leaf(SHOP).valid(2_000_000_000, 1_000_000_000).by(root())])
        }),
        late("an issuer that has expired", "an issuer of peer's certificate expired 3 days ago", || {
            below(&authority("Old").ended(3 * DAY).by(root()))
        }),
        late("a root that has expired", "an issuer of peer's certificate expired 3 days ago", || {
            let old = authority("Old Root").ended(3 * DAY).self_signed();
            show(&[&leaf(SHOP).by(&old)]).trusting(&[&old])
        }),
        early("a certificate that begins in three hours", "becomes valid in", || {
            show(&[&leaf(SHOP).begins(3 * HOUR + 60).by(root())])
        })
        .saying("is this host's clock right?"),
        early("a certificate of a thousand years ahead", "becomes valid in 36", || {
            show(&[&leaf(SHOP).begins(1000 * 365 * DAY).by(root())])
        }),
        early(
            "an issuer that begins in three days",
            "an issuer of peer's certificate becomes valid in",
            || below(&authority("New").begins(3 * DAY).by(root())),
        ),
    ]
}

pub(crate) fn issuers() -> Vec<Case> {
    let unknown = |what, scene: fn() -> Scene| {
        fails(what, Code::UnknownIssuer, UNKNOWN_CA, "not issued by a trusted authority", scene)
    };
    // An authority that was made anew under its old name is common, and no reason to doubt the server.
    let named = |what, whose, scene: fn() -> Scene| unknown(what, scene).saying(whose);
    vec![
        unknown("a certificate of its own", || show(&[&leaf(SHOP).self_signed()])),
        unknown("an unknown authority", || show(&[&leaf(SHOP).by(stranger())])),
        unknown("an unknown authority that is shown, too", || {
            show(&[&leaf(SHOP).by(stranger()), stranger()])
        }),
        unknown("an intermediate that is not shown", || show(&[&leaf(SHOP).by(intermediate())])),
        unknown("another intermediate than its own", || {
            show(&[&leaf(SHOP).by(&authority("Hidden").by(root())), intermediate()])
        }),
        unknown("an unknown authority with garbage behind", || {
            let mut scene = show(&[&leaf(SHOP).by(stranger()), stranger()]);
            scene.append(b"no certificate");
            scene
        }),
        named("an issuer of the root's name with another key", "\"Bed Root\" that issued it", || {
            show(&[&leaf(SHOP).by(&authority("Bed Root").self_signed())])
        }),
        named("a certificate of its own in the name of the root", "\"Bed Root\" that issued it", || {
            show(&[&leaf(SHOP).subject(b"Bed Root").self_signed()])
        }),
        named("the same with another kind of key than the root's", "\"Bed Root\" that issued it", || {
            show(&[&leaf(SHOP).subject(b"Bed Root").key(Kind::Rsa2048).self_signed()])
        }),
        named(
            "an issuer of the intermediate's name with another key",
            "\"Bed Intermediate\" that issued it",
            || show(&[&leaf(SHOP).by(&authority("Bed Intermediate").self_signed()), intermediate()]),
        ),
        unknown("two authorities that vouch for each other", || {
            let one = authority("One").self_signed();
            let other = authority("Other").by(&one);
            let one = authority("One").key_of(&one).by(&other);
            show(&[&leaf(SHOP).by(&one), &one, &other])
        }),
        fails("the root in place of a server", Code::BadCertificate, UNKNOWN, "authority", || {
            show(&[root()])
        }),
        fails(
            "an authority's certificate with the right name",
            Code::BadCertificate,
            UNKNOWN,
            "authority",
            || show(&[&leaf(SHOP).constrained(true, None).by(root())]),
        ),
    ]
}

pub(crate) fn rights() -> Vec<Case> {
    let unfit = |what, says, scene: fn() -> Scene| fails(what, Code::BadCertificate, UNKNOWN, says, scene);
    let purpose = |what, scene: fn() -> Scene| {
        fails(what, Code::CertificatePurpose, UNSUPPORTED, "extended key usage", scene)
    };
    vec![
        unfit("a server's certificate as issuer", "may not issue", || {
            below(&leaf("other.example").by(root()))
        }),
        unfit("an issuer without basic constraints", "may not issue", || {
            below(&authority("No Constraints").unconstrained().by(root()))
        }),
        unfit("an issuer that says it is none", "may not issue", || {
            below(&authority("No Authority").constrained(false, None).by(root()))
        }),
        unfit("an issuer that may sign revocation lists only", "may not issue", || {
            below(&authority("Lists Only").usage(CRL_SIGN).by(root()))
        }),
        unfit("an issuer that may sign handshakes only", "may not issue", || {
            below(&authority("Handshakes Only").usage(DIGITAL_SIGNATURE).by(root()))
        }),
        unfit("more intermediates than an issuer allows", "longer than its authority allows", || {
            let last = authority("Last").constrained(true, Some(0)).by(root());
            let more = authority("One More").by(&last);
            show(&[&leaf(SHOP).by(&more), &more, &last])
        }),
        unfit("more intermediates than the root allows", "longer than its authority allows", || {
            let root = authority("Short Root").constrained(true, Some(0)).self_signed();
            let more = authority("One More").by(&root);
            below(&more).trusting(&[&root])
        }),
        purpose("a client's certificate", || show(&[&leaf(SHOP).purposes(&[CLIENT_AUTH]).by(root())])),
        purpose("a certificate for any purpose, and not for servers", || {
            show(&[&leaf(SHOP).purposes(&[ANY_PURPOSE]).by(root())])
        }),
        purpose("a certificate for signing code", || {
            show(&[&leaf(SHOP).purposes(&["1.3.6.1.5.5.7.3.3"]).by(root())])
        }),
        purpose("an issuer for clients only", || {
            below(&authority("For Clients").purposes(&[CLIENT_AUTH]).by(root()))
        }),
        fails(
            "a critical extension that nobody knows",
            Code::BadCertificate,
            UNKNOWN,
            "critical extension that is not understood",
            || {
                show(&[&leaf(SHOP).extension("1.3.6.1.4.1.11129.2.9.9", true, b"\x05\x00").by(root())])
                    .unreadable()
            },
        ),
        fails(
            "an issuer with a critical extension that nobody knows",
            Code::BadCertificate,
            UNKNOWN,
            "an issuer of peer's certificate has a critical extension that is not understood",
            || {
                below(
                    &authority("Strange").extension("1.3.6.1.4.1.11129.2.9.9", true, b"\x05\x00").by(root()),
                )
            },
        ),
        fails(
            "version 1, without extensions",
            Code::BadCertificate,
            UNKNOWN,
            "is not X.509 version 3",
            || show(&[&nameless(SHOP).version(1).by(root())]).unreadable(),
        ),
        // TLS 1.3 needs version 3, whoever trusts it (RFC 9846 section 4.4.2.2).
        fails("version 1, pinned", Code::BadCertificate, UNKNOWN, "is not X.509 version 3", || {
            show_bytes(vec![nameless(SHOP).version(1).self_signed().der], &root().key).trusting_pins()
        })
        .asking(&[])
        .pinning(Pinned::Certificate),
        fails(
            "an issuer of version 1",
            Code::BadCertificate,
            UNKNOWN,
            "an issuer of peer's certificate is not X.509 version 3",
            || below(&authority("Version 1").version(1).by(root())),
        ),
        unfit("an extension that is there twice", "extension value invalid", || {
            let again = b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
            show(&[&leaf(SHOP).extension("2.5.29.37", false, again).by(root())]).unreadable()
        }),
        fails(
            "a certificate that may not sign handshakes",
            Code::CertificatePurpose,
            UNSUPPORTED,
            "key usage does not include digital signatures",
            || show(&[&leaf(SHOP).usage(KEY_ENCIPHERMENT).by(root())]),
        ),
    ]
}

pub(crate) fn bytes() -> Vec<Case> {
    let broken =
        |what, says, scene: fn() -> Scene| fails(what, Code::BadCertificate, BAD_CERTIFICATE, says, scene);
    vec![
        broken("a signature that is broken", "is not that of the issuer", || {
            let mut leaf = leaf(SHOP).by(root());
            *leaf.der.last_mut().expect("it ends with the signature") ^= 1;
            show(&[&leaf])
        }),
        broken("a name that was changed after signing", "is not that of the issuer", || {
            let mut leaf = leaf("shop.exampli").by(root());
            let at = leaf.der.windows(12).rposition(|bytes| bytes == b"shop.exampli").expect("its name");
            leaf.der[at + 11] = b'e';
            show(&[&leaf])
        }),
        broken("an issuer whose signature is broken", "is not that of the issuer", || {
            let mut issuer = authority("Broken").by(root());
            *issuer.der.last_mut().expect("it ends with the signature") ^= 1;
            below(&issuer)
        }),
        broken("text in place of a certificate", "not correctly encoded", || {
            show_bytes(vec![b"this is no certificate".to_vec()], &root().key)
        }),
        broken("a certificate that is cut short", "not correctly encoded", || {
            let mut leaf = leaf(SHOP).by(root());
            leaf.der.truncate(leaf.der.len() / 2);
            show(&[&leaf]).unreadable()
        }),
        // The engine counts from 1970. What is older than that has ended anyway.
        broken("a date before 1970", "not correctly encoded", || {
            show(&[&leaf(SHOP).valid(-DAY, now() + DAY).by(root())])
        }),
        broken("bytes behind the certificate", "not correctly encoded", || {
            let mut leaf = leaf(SHOP).by(root());
            leaf.der.push(0);
            show(&[&leaf]).unreadable()
        }),
        fails(
            "an empty list of certificates",
            Code::CertificateMissing,
            Alert::None,
            "sent no certificate",
            || show_bytes(Vec::new(), &root().key),
        ),
    ]
}
