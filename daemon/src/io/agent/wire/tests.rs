//! Messages of OpenSSH as they were on the wire, and what hostile bytes do.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use proptest::prelude::*;

use super::*;

/// What ssh-add and ssh-keygen -Y sign of OpenSSH 9.2 said (`>`) to its ssh-agent, and what that answered (`<`). The keys
/// were made for this.
const OPENSSH: &str = include_str!("fixtures/openssh-9.2.txt");

fn recorded() -> Vec<(bool, Vec<u8>)> {
    let unhex = |text: &str| -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
    };
    OPENSSH.lines().map(|line| (line.starts_with('>'), unhex(&line[2..]))).collect()
}

#[test]
fn what_openssh_says_is_understood_and_would_be_said_the_same_way() {
    let mut seen = Vec::new();
    for (asks, body) in recorded() {
        let framed = if asks {
            let request = Request::parse(&body).expect("OpenSSH's");
            seen.push(format!("{request:?}"));
            request.framed()
        } else {
            Answer::parse(&body).expect("OpenSSH's").framed()
        };
        let framed = framed.expect("it was sent");
        assert_eq!(frame_length(framed[..4].try_into().expect("four")), Ok(body.len()));
        assert_eq!(framed[4..], body, "{}", seen.last().expect("a request comes first"));
    }
    for kind in ["Identities", "Sign", "Add", "Remove", "RemoveAll", "Lock", "Unlock", "Other"] {
        assert!(seen.iter().any(|seen| seen.starts_with(kind)), "{kind} is among what was recorded");
    }
}

#[test]
fn constraints_of_ssh_add_are_read() {
    let recorded = recorded();
    let mut found = Vec::new();
    for (_, body) in recorded.iter().filter(|(asks, _)| *asks) {
        if let Ok(Request::Add { key, comment, life, confirm, other }) = Request::parse(body) {
            let comment = String::from_utf8_lossy(comment).into_owned();
            found.push((key.kind().expect("of use to TLS"), comment, life, confirm, other));
        }
    }
    let p256 = KeyKind::Ecdsa(Curve::P256);
    assert!(found.contains(&(KeyKind::Rsa, "rsa-2048@test".to_owned(), Some(600), false, false)));
    assert!(found.contains(&(p256, "ecdsa-256@test".to_owned(), None, true, false)));
    assert!(found.contains(&(KeyKind::Ed25519, "ed25519-256@test".to_owned(), None, false, false)));
}

#[test]
fn signatures_of_openssh_are_good_for_tls_with_the_same_key() {
    let recorded = recorded();
    let mut checked = 0;
    for (request, answer) in recorded.iter().zip(recorded.iter().skip(1)) {
        let Ok(Request::Sign { blob, data, .. }) = Request::parse(&request.1) else { continue };
        let Ok(Answer::Signature(signature)) = Answer::parse(&answer.1) else { continue };
        let (scheme, algorithm): (u16, &'static dyn VerificationAlgorithm) =
            match kind_of_blob(blob).expect("of use") {
                KeyKind::Ecdsa(Curve::P256) => (0x0403, &ECDSA_P256_SHA256_ASN1),
                KeyKind::Ecdsa(Curve::P384) => (0x0503, &ECDSA_P384_SHA384_ASN1),
                KeyKind::Ecdsa(Curve::P521) => (0x0603, &ECDSA_P521_SHA512_ASN1),
                KeyKind::Ed25519 => (0x0807, &ED25519),
                KeyKind::Rsa => (0x0601, &RSA_PKCS1_2048_8192_SHA512),
            };
        let spki = spki_of_blob(blob).expect("a key");
        assert_eq!(blob_of_spki(&spki).as_deref(), Ok(blob), "there and back");
        let tls = signature_to_tls(scheme, blob, signature).expect("a signature");
        UnparsedPublicKey::new(algorithm, &spki).verify(data, &tls).expect("good");
        assert_eq!(signature_of_tls(scheme, &tls).as_deref(), Ok(signature), "and back");
        // Not as a signature of another kind.
        for other in [0x0403, 0x0503, 0x0603, 0x0807, 0x0401, 0x0601].into_iter().filter(|no| *no != scheme) {
            assert!(signature_to_tls(other, blob, signature).is_err(), "{other:x}");
        }
        checked += 1;
    }
    assert!(checked >= 5, "one of each kind: {checked}");
}

#[test]
fn an_rsa_signature_without_its_leading_zeros_gets_them_back_and_a_short_one_is_none() {
    let (mut blob, mut signature) = (Vec::new(), Vec::new());
    for part in [&b"ssh-rsa"[..], &[1, 0, 1], &[&[0][..], &[0xff; 256]].concat()] {
        parts::Put::string(&mut blob, part).expect("room");
    }
    for part in [&b"rsa-sha2-256"[..], &[7; 255]] {
        parts::Put::string(&mut signature, part).expect("room");
    }
    let tls = signature_to_tls(0x0401, &blob, &signature).expect("one zero is missing");
    assert_eq!((tls.len(), tls[0], tls[1]), (256, 0, 7));
    let mut short = Vec::new();
    for part in [&b"rsa-sha2-256"[..], &[7; 200]] {
        parts::Put::string(&mut short, part).expect("room");
    }
    assert!(signature_to_tls(0x0401, &blob, &short).is_err());
}

#[test]
fn our_extensions_come_back_as_they_went() {
    let requests = [
        Extension::Query,
        Extension::RsaPss { blob: b"blob", scheme: 0x0804, message: b"message" },
        Extension::AddDescriptor { uses: Uses::SERVER, life: Some(9), purpose: "uid 7's profile" },
        Extension::AddDescriptor { uses: Uses::ALL, life: None, purpose: "" },
        Extension::AddForeign { signer: "card", spki: b"spki", uses: Uses::CLIENT, purpose: "p" },
        Extension::Certificates,
        Extension::Forget { handle: u64::MAX },
        Extension::LastFailure,
        Extension::Other("session-bind@openssh.com"),
    ];
    for extension in requests {
        let framed = Request::Extension(extension).framed().expect("short");
        assert_eq!(Request::parse(&framed[4..]), Ok(Request::Extension(extension)));
    }
    let failure = Failure { reason: Reason::SignerSlow, signer: "card", text: "no answer in 2 s" };
    let replies = [
        Reply::ours(),
        Reply::RsaPss(b"signature"),
        Reply::Added { handle: 3, blob: b"blob", spki: b"spki" },
        Reply::Certificates(b"-----BEGIN CERTIFICATE-----"),
        Reply::Foreign { handle: 4, blob: b"blob" },
        Reply::LastFailure(failure),
        Reply::Other("x@example"),
    ];
    for reply in replies {
        let answer = Answer::Extension(reply);
        let framed = answer.framed().expect("short");
        assert_eq!(Answer::parse(&framed[4..]), Ok(answer));
    }
    for byte in 0..=12 {
        let reason = Reason::from_byte(byte);
        assert!(reason as u8 == byte || (byte == 12 && reason == Reason::None));
    }
}

#[test]
fn lengths_beyond_the_bound_are_refused_before_anything_is_made() {
    for length in [0, u32::try_from(MAX_MESSAGE).expect("fits") + 1, u32::MAX] {
        assert_eq!(frame_length(length.to_be_bytes()), Err(WireError::Length(length.into())));
    }
    let data = vec![0; MAX_MESSAGE];
    assert!(Request::Sign { blob: b"", data: &data, flags: 0 }.framed().is_err());
    // A list that says it has four thousand million keys, and one that has more than anybody.
    assert!(Answer::parse(&[12, 0xff, 0xff, 0xff, 0xff]).is_err());
    let many = [&[12, 0, 0, 8, 1][..], &[0; 8 * 2049]].concat();
    assert_eq!(Answer::parse(&many), Err(WireError::Nonsense("the number of keys")));
}

#[test]
fn a_constraint_that_is_not_known_is_not_passed_over() {
    let recorded = recorded();
    let is_plain_add = |body: &&Vec<u8>| body[0] == 17;
    let mut body = recorded.iter().map(|(_, body)| body).find(is_plain_add).expect("one").clone();
    body[0] = 25;
    body.extend_from_slice(&[255, 0, 0, 0, 1, b'x', 9, 9]);
    assert!(matches!(Request::parse(&body), Ok(Request::Add { other: true, .. })));
    body[0] = 17;
    assert_eq!(Request::parse(&body), Err(WireError::Trailing("a request")));
}

#[test]
fn nothing_of_a_secret_is_in_what_is_shown() {
    for (asks, body) in recorded() {
        if asks && let Ok(request) = Request::parse(&body) {
            let shown = format!("{request:?}");
            assert!(shown.len() < 30 && !shown.contains(char::is_numeric), "{shown}");
        }
    }
}

proptest! {
    #[test]
    fn hostile_bytes_do_nothing(kind in 0_u8..32, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let body = [&[kind][..], &bytes].concat();
        if let Ok(request) = Request::parse(&body) {
            let _ = request.framed();
        }
        if let Ok(answer) = Answer::parse(&body) {
            let _ = answer.framed();
        }
        let _ = spki_of_blob(&bytes);
        let _ = blob_of_spki(&bytes);
        let _ = signature_of_tls(0x0403, &bytes);
    }

    #[test]
    fn a_real_message_with_a_few_changed_bytes_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let recorded = recorded();
        let (asks, mut body) = which.get(&recorded).clone();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if asks {
            // What is read is what would be written, but for what is left out on purpose.
            if let Ok(request @ (Request::Sign { .. } | Request::Remove { .. } | Request::Lock(_))) =
                Request::parse(&body)
            {
                prop_assert_eq!(&request.framed().expect("it was read")[4..], &body[..]);
            }
        } else if let Ok(Answer::Signature(signature)) = Answer::parse(&body) {
            for scheme in [0x0403, 0x0503, 0x0603, 0x0807, 0x0601] {
                for (_, other) in &recorded {
                    if let Ok(Request::Sign { blob, .. }) = Request::parse(other) {
                        let _ = signature_to_tls(scheme, blob, signature);
                    }
                }
            }
        }
    }
}
