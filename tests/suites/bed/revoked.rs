//! Servers whose certificates were revoked, and lists and stapled responses that say less than they should (RFC 5280
//! section 5, RFC 6960, RFC 7633).

use std::sync::OnceLock;

use tlsify_client::{Blame, Code};

use super::authorities::{intermediate, root, stranger};
use super::case::{Alert, Case, SHOP, Scene, fails, opens, show};
use super::certificates::{
    Certificate, DAY, HOUR, KEY_CERT_SIGN, SERVER_AUTH, authority, leaf, nameless, now,
};
use super::lists::{List, Staple};

const REVOKED: Alert = Alert::Sent("44 certificate_revoked");
const UNKNOWN_CA: Alert = Alert::Sent("48 unknown_ca");
const BAD_STATUS: Alert = Alert::Sent("113 bad_certificate_status_response");
const BY_NAME: &[&str] = &["name:shop.example"];

/// A server below the intermediate, whose serial number the lists here may have.
fn server() -> &'static Certificate {
    static SERVER: OnceLock<Certificate> = OnceLock::new();
    SERVER.get_or_init(|| leaf(SHOP).by(intermediate()))
}

fn chain() -> Scene {
    show(&[server(), intermediate()])
}

/// Of both authorities of that chain, with these in them.
fn lists(of_root: &[&Certificate], of_intermediate: &[&Certificate]) -> Vec<Vec<u8>> {
    vec![List::of(root()).with(of_root).sign(), List::of(intermediate()).with(of_intermediate).sign()]
}

pub(crate) fn by_lists() -> Vec<Case> {
    let revoked =
        |what, scene: fn() -> Scene| fails(what, Code::CertificateRevoked, REVOKED, "revoked", scene);
    // The caller gave the lists, and has to give others.
    let ours = |what, code, alert, says, scene: fn() -> Scene| {
        fails(what, code, alert, says, scene).blaming(Blame::Caller)
    };
    vec![
        opens("lists that have others", BY_NAME, || chain().with_lists(lists(&[stranger()], &[stranger()]))),
        opens("lists that have nobody", BY_NAME, || chain().with_lists(lists(&[], &[]))),
        opens("the list of the end entity's issuer alone, and no other is wanted", BY_NAME, || {
            chain().with_lists(lists(&[intermediate()], &[]))
        })
        .with("crl-check", "end-entity"),
        opens("no list of an issuer, and that is allowed", BY_NAME, || {
            chain().with_lists(vec![List::of(root()).sign()])
        })
        .with("crl-unknown", "allow"),
        opens("a list past its next update, and that is allowed", BY_NAME, || {
            let stale = List::of(intermediate()).until(now() - HOUR).sign();
            chain().with_lists(vec![List::of(root()).sign(), stale])
        })
        .with("crl-stale", "allow"),
        revoked("a certificate in its issuer's list", || chain().with_lists(lists(&[], &[server()]))),
        revoked("an issuer in the list of the root", || chain().with_lists(lists(&[intermediate()], &[])))
            .saying("an issuer of peer's certificate"),
        revoked("a certificate in a list past its next update, which is allowed", || {
            let stale = List::of(intermediate()).with(&[server()]).until(now() - HOUR).sign();
            chain().with_lists(vec![List::of(root()).sign(), stale])
        })
        .with("crl-stale", "allow"),
        revoked("a certificate in a list, and what no list covers is allowed", || {
            chain().with_lists(vec![List::of(intermediate()).with(&[server()]).sign()])
        })
        .with("crl-unknown", "allow"),
        ours(
            "a list past its next update",
            Code::RevocationStale,
            UNKNOWN_CA,
            "should have been replaced 3 hours ago",
            || {
                let stale = List::of(intermediate()).until(now() - 3 * HOUR).sign();
                chain().with_lists(vec![List::of(root()).sign(), stale])
            },
        ),
        ours(
            "no list of the end entity's issuer",
            Code::RevocationUnknown,
            UNKNOWN_CA,
            "no revocation list covers",
            || chain().with_lists(vec![List::of(root()).sign()]),
        ),
        ours(
            "no list of the issuer's issuer",
            Code::RevocationUnknown,
            UNKNOWN_CA,
            "no revocation list covers",
            || chain().with_lists(vec![List::of(intermediate()).sign()]),
        ),
        ours(
            "a list in the issuer's name by somebody else",
            Code::CrlInvalid,
            Alert::Sent("46 certificate_unknown"),
            "is not signed by it",
            || {
                let forged = List::of(intermediate()).signed_by(stranger()).sign();
                chain().with_lists(vec![List::of(root()).sign(), forged])
            },
        ),
        ours(
            "a list by an issuer that may not sign lists",
            Code::CrlInvalid,
            Alert::Sent("46 certificate_unknown"),
            "revocation list",
            || {
                let issuer = authority("No Lists").usage(KEY_CERT_SIGN).by(root());
                let lists = vec![List::of(root()).sign(), List::of(&issuer).sign()];
                show(&[&leaf(SHOP).by(&issuer), &issuer]).with_lists(lists)
            },
        ),
    ]
}

/// Stapled by the server of the chain above.
fn stapling(staple: Staple<'_>) -> Scene {
    chain().stapling(staple.sign())
}

/// A certificate that promises a staple (RFC 7633): status_request is 5.
fn promising() -> &'static Certificate {
    static PROMISING: OnceLock<Certificate> = OnceLock::new();
    PROMISING.get_or_init(|| {
        leaf(SHOP).extension("1.3.6.1.5.5.7.1.24", false, b"\x30\x03\x02\x01\x05").by(intermediate())
    })
}

fn good<'a>() -> Staple<'a> {
    Staple::about(server(), intermediate())
}

fn good_of_promising<'a>() -> Staple<'a> {
    Staple::about(promising(), intermediate())
}

fn promised(staple: Staple<'_>) -> Scene {
    show(&[promising(), intermediate()]).stapling(staple.sign())
}

pub(crate) fn by_staples() -> Vec<Case> {
    let revoked =
        |what, scene: fn() -> Scene| fails(what, Code::CertificateRevoked, REVOKED, "revoked", scene);
    let invalid =
        |what, says, scene: fn() -> Scene| fails(what, Code::StapleInvalid, BAD_STATUS, says, scene);
    vec![
        opens("a good response", BY_NAME, || stapling(good())),
        opens("a good response, and one is required", BY_NAME, || stapling(good()))
            .with("stapled-ocsp", "required"),
        opens("a good response by one whom the issuer lets sign", BY_NAME, || {
            let delegate = nameless("Responder").purposes(&[OCSP_SIGNING]).by(intermediate());
            stapling(good().signed_by(delegate))
        }),
        opens("a promise of a response, kept", BY_NAME, || promised(good_of_promising())),
        // Without a promise it says nothing, and nobody asked for one.
        opens("a response that is too old", BY_NAME, || {
            stapling(good().between(now() - 9 * DAY, now() - 2 * DAY))
        }),
        opens("a response for another certificate", BY_NAME, || {
            stapling(Staple::about(promising(), intermediate()))
        }),
        opens("garbage for a response", BY_NAME, || chain().stapling(b"no response".to_vec())),
        revoked("a response that says revoked", || stapling(good().revoked())),
        revoked("a response that says revoked, and one is required", || stapling(good().revoked()))
            .with("stapled-ocsp", "required"),
        revoked("a promise of a response that says revoked", || promised(good_of_promising().revoked())),
        fails("a promise of a response, and none", Code::StapleMissing, BAD_STATUS, "must-staple", || {
            show(&[promising(), intermediate()])
        }),
        fails("no response, and one is required", Code::StapleMissing, BAD_STATUS, "one is required", chain)
            .with("stapled-ocsp", "required"),
        invalid("a promised response that is too old", "too old", || {
            promised(good_of_promising().between(now() - 9 * DAY, now() - 2 * DAY))
        }),
        invalid("a promised response of tomorrow", "of the future", || {
            promised(good_of_promising().between(now() + DAY, now() + 8 * DAY))
        }),
        invalid("a promised response for another certificate", "for another certificate", || {
            promised(Staple::about(server(), intermediate()))
        }),
        invalid("a promised response by somebody else", "neither the issuer nor a responder", || {
            promised(good_of_promising().signed_by(stranger().clone()))
        }),
        invalid(
            "a promised response by another server of the issuer",
            "neither the issuer nor a responder",
            || {
                let other = leaf("other.example").purposes(&[SERVER_AUTH]).by(intermediate());
                promised(good_of_promising().signed_by(other))
            },
        ),
        invalid("a promised response that was changed", "neither the issuer nor a responder", || {
            let mut staple = good_of_promising().revoked().sign();
            let at = staple.windows(2).position(|bytes| bytes == [0xa1, 0x11]).expect("it says revoked");
            // Its date one year later.
            staple[at + 7] ^= 1;
            show(&[promising(), intermediate()]).stapling(staple)
        }),
        invalid("a promised response that knows nothing", "does not know the certificate", || {
            promised(good_of_promising().unknown())
        }),
        invalid("a promised response that is an error", "had no answer", || {
            show(&[promising(), intermediate()]).stapling(b"\x30\x03\x0a\x01\x03".to_vec())
        }),
        invalid("garbage for a promised response", "not correctly encoded", || {
            show(&[promising(), intermediate()]).stapling(b"no response".to_vec())
        }),
        invalid("a response that is too old, and one is required", "too old", || {
            stapling(good().between(now() - 9 * DAY, now() - 2 * DAY))
        })
        .with("stapled-ocsp", "required"),
    ]
}

/// id-kp-OCSPSigning (RFC 6960 section 4.2.2.2).
const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";
