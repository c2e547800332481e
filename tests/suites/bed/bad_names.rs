//! Servers that are somebody, and not the one that was asked for (RFC 9525, RFC 5280 section 4.2.1.6 and 4.2.1.10).

use tlsify_client::Code;

use super::authorities::{intermediate, root};
use super::case::{Alert, Case, Pinned, SHOP, Scene, fails, show};
use super::certificates::{Draft, authority, leaf, nameless};

const BAD_CERTIFICATE: Alert = Alert::Sent("42 bad_certificate");
const UNKNOWN: Alert = Alert::Sent("46 certificate_unknown");

/// Wrong in its names, from the trusted authority.
fn named(what: &'static str, says: &'static str, draft: fn() -> Draft) -> Case {
    fails(what, Code::NameMismatch, BAD_CERTIFICATE, says, move || show(&[&draft().by(root())]))
}

pub(crate) fn identifiers() -> Vec<Case> {
    vec![
        named("another host", "it names web.example", || leaf("web.example")),
        named("the name with one letter less", "it names shop.exampl", || leaf("shop.exampl")),
        named("a name below", "it names www.shop.example", || leaf("www.shop.example")),
        named("a name above", "it names example", || leaf("example")),
        named("the name as a part of another's", "it names shop.example.evil.example", || {
            leaf("shop.example.evil.example")
        }),
        named(
            "none of three names that are asked",
            "\"a.example\" or \"b.example\" or \"192.0.2.9\"",
            || leaf(SHOP),
        )
        .asking(&["a.example", "b.example", "192.0.2.9"]),
        named("a common name only", "common name, \"shop.example\"", || nameless(SHOP).without_names())
            .saying("needs a subjectAltName"),
        named("an empty list of names", "common name, \"shop.example\"", || {
            nameless(SHOP).with_empty_names()
        }),
        named("no name anywhere", "it names nobody", || nameless("").without_subject()),
        named("the right common name beside another DNS name", "it names web.example", || {
            leaf("web.example").subject(SHOP.as_bytes())
        }),
        named("the name as a URI", "it names https://shop.example", || {
            nameless(SHOP).uri("https://shop.example/")
        }),
        named("the name as a mail address", "it names a@shop.example", || {
            nameless(SHOP).name(1, b"a@shop.example")
        }),
        named("a NUL in the DNS name", "shop.example?.evil.example", || {
            leaf("").without_names().dns("shop.example\0.evil.example")
        }),
        named("a NUL in the common name", "common name, \"shop.example?.evil.example\"", || {
            nameless("").subject(b"shop.example\0.evil.example")
        }),
        named("a dot at the end of the name", "it names shop.example.", || leaf("shop.example.")),
        named("a space behind the name", "it names shop.example ", || leaf("shop.example ")),
        named("the U-label of an A-label that is asked", "\"xn--bcher-kva.example\"", || {
            leaf("bücher.example")
        })
        .asking(&["xn--bcher-kva.example"]),
        named("a name with a line in it", "it names shop.example?code=good", || {
            leaf("shop.example\ncode=good")
        }),
        named("a hundred other names", "and 95 more", || {
            (0..100).fold(nameless(SHOP), |draft, number| draft.dns(format!("{number}.example")))
        }),
    ]
}

pub(crate) fn wildcards() -> Vec<Case> {
    vec![
        named("a wildcard for two labels", "it names *.example", || leaf("*.example"))
            .asking(&["a.shop.example"]),
        named("a wildcard for the name itself", "it names *.shop.example", || leaf("*.shop.example")),
        named("a wildcard as a part of a label", "it names sh*.example", || leaf("sh*.example")),
        named("a wildcard before a part of a label", "it names *op.example", || leaf("*op.example")),
        named("a wildcard in the middle", "it names shop.*.example", || leaf("shop.*.example"))
            .asking(&["shop.a.example"]),
        named("a wildcard in an A-label", "it names xn--*.example", || leaf("xn--*.example"))
            .asking(&["xn--bcher-kva.example"]),
        named("a wildcard for a whole domain of the first level", "it names *.example", || leaf("*.example")),
        named("two wildcards", "it names *.*.example", || leaf("*.*.example")).asking(&["a.b.example"]),
        named("a wildcard and nothing else", "it names *", || leaf("*")),
        named("a wildcard for an address", "it names *.0.2.7", || leaf("*.0.2.7")).asking(&["192.0.2.7"]),
    ]
}

/// Services and URIs (RFC 9525 section 6.5).
pub(crate) fn applications() -> Vec<Case> {
    vec![
        named("another service of the domain", "it names srv:_imap.mail.example", || {
            nameless(SHOP).service("_imap.mail.example")
        })
        .asking(&["srv:_imaps.mail.example"]),
        named("the service of another domain", "it names srv:_imaps.web.example", || {
            nameless(SHOP).service("_imaps.web.example")
        })
        .asking(&["srv:_imaps.mail.example"]),
        named("the domain of a service as a DNS name", "it names mail.example", || leaf("mail.example"))
            .asking(&["srv:_imaps.mail.example"]),
        named("the service as a DNS name", "it names _imaps.mail.example", || leaf("_imaps.mail.example"))
            .asking(&["srv:_imaps.mail.example"]),
        named("a service when the domain is asked", "it names srv:_imaps.shop.example", || {
            nameless(SHOP).service("_imaps.shop.example")
        }),
        named("a service of a wildcard", "it names srv:_imaps.*.example", || {
            nameless(SHOP).service("_imaps.*.example")
        })
        .asking(&["srv:_imaps.mail.example"]),
        named("a NUL in a service", "srv:_imaps.mail.example?.evil.example", || {
            nameless(SHOP).service("_imaps.mail.example\0.evil.example")
        })
        .asking(&["srv:_imaps.mail.example"]),
        named("a URI of another scheme", "it names sips:voice.example", || {
            nameless(SHOP).uri("sips:voice.example")
        })
        .asking(&["uri:sip:voice.example"]),
        named("a URI of another host", "it names sip:web.example", || nameless(SHOP).uri("sip:web.example"))
            .asking(&["uri:sip:voice.example"]),
        named("a URI of one user of the host", "it names sip:ann@voice.example", || {
            nameless(SHOP).uri("sip:ann@voice.example")
        })
        .asking(&["uri:sip:voice.example"]),
        named("a URI whose user looks like the host", "it names sip://voice.example", || {
            nameless(SHOP).uri("sip://voice.example@evil.example")
        })
        .asking(&["uri:sip:voice.example"]),
    ]
}

pub(crate) fn addresses() -> Vec<Case> {
    vec![
        named("another address", "it names 192.0.2.8", || nameless(SHOP).address(&[192, 0, 2, 8]))
            .asking(&["192.0.2.7"]),
        named("the address as the text of a DNS name", "it names 192.0.2.7", || leaf("192.0.2.7"))
            .asking(&["192.0.2.7"]),
        named("the address in the common name", "common name, \"192.0.2.7\"", || nameless("192.0.2.7"))
            .asking(&["192.0.2.7"]),
        named("the address as a URI", "it names https://192.0.2.7/", || {
            nameless(SHOP).uri("https://192.0.2.7/")
        })
        .asking(&["192.0.2.7"]),
        named("an address when a name is asked", "it names 192.0.2.7", || {
            nameless(SHOP).address(&[192, 0, 2, 7])
        }),
        named("an IPv4 address when its IPv6 form is asked", "it names 192.0.2.7", || {
            nameless(SHOP).address(&[192, 0, 2, 7])
        })
        .asking(&["::ffff:192.0.2.7"]),
        named("an address of five bytes", "\"192.0.2.7\"", || nameless(SHOP).address(&[192, 0, 2, 7, 0]))
            .asking(&["192.0.2.7"]),
        named("a network in place of an address", "\"192.0.2.7\"", || {
            nameless(SHOP).address(&[192, 0, 2, 0, 255, 255, 255, 0])
        })
        .asking(&["192.0.2.7"]),
    ]
}

/// Below an issuer that may vouch for some names only.
fn limited(permitted: &[(u8, &[u8])], excluded: &[(u8, &[u8])], draft: Draft) -> Scene {
    let issuer = authority("Limited").names_within(permitted, excluded).by(root());
    show(&[&draft.by(&issuer), &issuer])
}

fn beyond(what: &'static str, scene: fn() -> Scene) -> Case {
    fails(what, Code::BadCertificate, UNKNOWN, "a name that its issuer may not vouch for", scene)
}

pub(crate) fn constraints() -> Vec<Case> {
    vec![
        beyond("a DNS name that its issuer is not permitted", || {
            limited(&[(2, b"other.example")], &[], leaf(SHOP))
        }),
        beyond("a DNS name that its issuer is forbidden", || {
            limited(&[], &[(2, b"shop.example")], leaf(SHOP))
        }),
        beyond("a wildcard that its issuer is forbidden a part of", || {
            limited(&[], &[(2, b"secret.shop.example")], leaf("*.shop.example"))
        })
        .asking(&["a.shop.example"]),
        beyond("an address that its issuer is not permitted", || {
            limited(
                &[(7, &[198, 51, 100, 0, 255, 255, 255, 0])],
                &[],
                nameless(SHOP).address(&[192, 0, 2, 7]),
            )
        })
        .asking(&["192.0.2.7"]),
        beyond("an address that its issuer is forbidden", || {
            limited(&[], &[(7, &[192, 0, 2, 0, 255, 255, 255, 0])], nameless(SHOP).address(&[192, 0, 2, 7]))
        })
        .asking(&["192.0.2.7"]),
        beyond("a good name beside one that its issuer is not permitted", || {
            limited(&[(2, b"shop.example")], &[], leaf(SHOP).dns("evil.example"))
        }),
        beyond("a constraint of the root itself", || {
            let root = authority("Limited Root").names_within(&[(2, b"other.example")], &[]).self_signed();
            show(&[&leaf(SHOP).by(&root)]).trusting(&[&root])
        }),
        beyond("a constraint two steps above", || {
            let issuer = authority("Limited").names_within(&[(2, b"other.example")], &[]).by(root());
            let below = authority("Below").by(&issuer);
            show(&[&leaf(SHOP).by(&below), &below, &issuer])
        }),
    ]
}

pub(crate) fn pins() -> Vec<Case> {
    let mismatch = |what, pinned, scene: fn() -> Scene| {
        fails(what, Code::PinMismatch, UNKNOWN, "is not the pinned one", scene).pinning(pinned)
    };
    vec![
        mismatch("another key than the pinned one, with a good chain", Pinned::Another, || {
            show(&[&leaf(SHOP).by(root())])
        }),
        mismatch("another key than the pinned one, and nobody trusted", Pinned::Another, || {
            show(&[&leaf(SHOP).self_signed()]).trusting_pins()
        })
        .asking(&[]),
        fails(
            "the pinned key from an unknown authority",
            Code::UnknownIssuer,
            Alert::Sent("48 unknown_ca"),
            "not issued by a trusted authority",
            || show(&[&leaf(SHOP).self_signed()]),
        )
        .pinning(Pinned::Key),
        named("the pinned key with another name", "it names web.example", || leaf("web.example"))
            .pinning(Pinned::Key),
        // A pin is about the end entity alone: an authority's key vouches for too many.
        mismatch("an issuer whose key is the pinned one", Pinned::Issuer, || {
            show(&[&leaf(SHOP).by(intermediate()), intermediate()])
        }),
    ]
}
