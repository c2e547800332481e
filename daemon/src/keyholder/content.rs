//! What may be signed: what a TLS handshake signs, and nothing that any other protocol would take for its own.
//!
//! ```text
//!  TLS 1.3 CertificateVerify (RFC 9846 section 4.5.3, formerly RFC 8446 section 4.4.3)
//!    64 spaces ‖ "TLS 1.3, server CertificateVerify" or "… client …" ‖ 0 ‖ hash of 32 or 48 bytes
//!  TLS 1.2 ServerKeyExchange (RFC 8422 section 5.4)
//!    client_random ‖ server_random ‖ named_curve ‖ curve ‖ length ‖ point
//!  TLS 1.2 CertificateVerify of a client (RFC 5246 section 7.4.8)
//!    ClientHello ‖ ServerHello ‖ Certificate ‖ [CertificateStatus] ‖ ServerKeyExchange ‖ CertificateRequest ‖
//!    ServerHelloDone ‖ Certificate ‖ ClientKeyExchange            whole messages, in this order
//! ```
//!
//! The asker may be a worker that was taken over. It then gets handshakes signed for as long as it asks, which a key in its
//! own memory would have given it, too; but no login by SSH, no certificate, no signed file and no bare hash. A message of
//! TLS 1.2's server has 64 bytes of the asker's choice in front, so what SSH signs is looked for there as well.

use crate::io::agent::wire::Uses;

const SERVER: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const CLIENT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

/// What is signed here; `None` for what TLS does not sign.
pub(super) fn use_of(message: &[u8]) -> Option<Uses> {
    if looks_like_ssh(message) {
        return None;
    }
    certificate_verify_13(message)
        .or_else(|| server_key_exchange_12(message).then_some(Uses::TLS12_SERVER))
        .or_else(|| client_handshake_12(message).then_some(Uses::TLS12_CLIENT))
}

fn certificate_verify_13(message: &[u8]) -> Option<Uses> {
    let rest = message.strip_prefix(&[b' '; 64])?;
    let (hash, uses) = match (rest.strip_prefix(SERVER), rest.strip_prefix(CLIENT)) {
        (Some(hash), _) => (hash, Uses::TLS13_SERVER),
        (_, Some(hash)) => (hash, Uses::TLS13_CLIENT),
        _ => return None,
    };
    // SHA-256 and SHA-384: TLS 1.3 has no suite with another.
    matches!(hash.len(), 32 | 48).then_some(uses)
}

fn server_key_exchange_12(message: &[u8]) -> bool {
    let Some((_randoms, params)) = message.split_at_checked(64) else { return false };
    // named_curve; of explicit curves, and of finite fields, our handshakes make none.
    let [3, curve @ ..] = params else { return false };
    let (expected, first) = match curve {
        [0, 0x17, ..] => (65, Some(4)),
        [0, 0x18, ..] => (97, Some(4)),
        [0, 0x19, ..] => (133, Some(4)),
        [0, 0x1d, ..] => (32, None),
        [0, 0x1e, ..] => (56, None),
        _ => return false,
    };
    let [_, _, length, point @ ..] = curve else { return false };
    usize::from(*length) == expected
        && point.len() == expected
        && first.is_none_or(|first| point.first() == Some(&first))
}

/// Types of handshake messages (RFC 5246 section 7.4), and whether each has to be there.
const CLIENT_FLIGHTS: [(u8, bool); 9] = [
    (1, true),
    (2, true),
    (11, true),
    (22, false),
    (12, true),
    (13, true),
    (14, true),
    (11, true),
    (16, true),
];

fn client_handshake_12(message: &[u8]) -> bool {
    // A ClientHello of TLS begins with a version 3.x.
    if message.get(4) != Some(&3) {
        return false;
    }
    let mut rest = message;
    for (wanted, needed) in CLIENT_FLIGHTS {
        match rest {
            [kind, a, b, c, body @ ..] if *kind == wanted => {
                let length = u32::from_be_bytes([0, *a, *b, *c]);
                let Some(behind) = usize::try_from(length).ok().and_then(|length| body.get(length..)) else {
                    return false;
                };
                rest = behind;
            }
            _ if needed => return false,
            _ => {}
        }
    }
    rest.is_empty()
}

/// What SSH signs: a login (RFC 4252 section 7: the session's hash as a string, then SSH_MSG_USERAUTH_REQUEST), and what
/// OpenSSH's `ssh-keygen -Y sign` does. A hello whose random bytes are such by chance is one of 2^40.
fn looks_like_ssh(message: &[u8]) -> bool {
    let login = message.split_first_chunk().is_some_and(|(length, rest)| {
        let length = u32::from_be_bytes(*length);
        matches!(length, 16..=64) && usize::try_from(length).is_ok_and(|at| rest.get(at) == Some(&50))
    });
    login || message.starts_with(b"SSHSIG")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify_13(side: &str, hash: usize) -> Vec<u8> {
        let context = format!("{}TLS 1.3, {side} CertificateVerify\0", " ".repeat(64));
        [context.as_bytes(), &vec![0xa5; hash]].concat()
    }

    fn exchange_12(curve: u8, point: &[u8]) -> Vec<u8> {
        let length = u8::try_from(point.len()).expect("short");
        [&[0x99; 64][..], &[3, 0, curve, length], point].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        [&[kind], &length[1..], body].concat()
    }

    fn flights(kinds: &[u8]) -> Vec<u8> {
        kinds.iter().flat_map(|kind| message(*kind, &[&[3, 3][..], &[*kind; 40]].concat())).collect()
    }

    #[test]
    fn what_tls_signs_is_known_by_its_use() {
        for hash in [32, 48] {
            assert_eq!(use_of(&verify_13("server", hash)), Some(Uses::TLS13_SERVER));
            assert_eq!(use_of(&verify_13("client", hash)), Some(Uses::TLS13_CLIENT));
        }
        let point = |length: usize| [&[4][..], &vec![7; length - 1]].concat();
        for (curve, point) in [(0x17, point(65)), (0x18, point(97)), (0x19, point(133)), (0x1d, vec![9; 32])]
        {
            assert_eq!(use_of(&exchange_12(curve, &point)), Some(Uses::TLS12_SERVER));
        }
        for whole in [&[1, 2, 11, 12, 13, 14, 11, 16][..], &[1, 2, 11, 22, 12, 13, 14, 11, 16]] {
            assert_eq!(use_of(&flights(whole)), Some(Uses::TLS12_CLIENT));
        }
    }

    #[test]
    fn what_is_nearly_that_is_not_signed() {
        for hash in [0, 20, 31, 33, 47, 49, 64] {
            assert_eq!(use_of(&verify_13("server", hash)), None, "{hash}");
        }
        assert_eq!(use_of(&verify_13("proxy", 32)), None);
        assert_eq!(use_of(&verify_13("server", 32)[1..]), None, "63 spaces");
        let mut longer = vec![b' '];
        longer.extend(verify_13("server", 32));
        assert_eq!(use_of(&longer), None, "65 spaces");
        let wrong = [(0x17, vec![7; 65]), (0x17, vec![4; 64]), (0x1d, vec![9; 33]), (0x15, vec![4; 57])];
        for (curve, point) in wrong {
            assert_eq!(use_of(&exchange_12(curve, &point)), None, "{curve:x} {}", point.len());
        }
        let behind = [&exchange_12(0x1d, &[9; 32])[..], &[0]].concat();
        assert_eq!(use_of(&behind), None, "a byte more");
        let orders: [&[u8]; 7] = [
            &[1, 2, 11, 12, 13, 14, 11],
            &[1, 2, 11, 12, 14, 11, 16],
            &[2, 1, 11, 12, 13, 14, 11, 16],
            &[1, 2, 11, 12, 13, 14, 11, 16, 20],
            &[1],
            &[1, 1, 2, 11, 12, 13, 14, 11, 16],
            &[1, 2, 11, 12, 13, 14, 11, 15, 16],
        ];
        for order in orders {
            assert_eq!(use_of(&flights(order)), None, "{order:?}");
        }
        let whole = flights(&[1, 2, 11, 12, 13, 14, 11, 16]);
        for cut in 0..whole.len() {
            assert_eq!(use_of(&whole[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn no_other_protocol_gets_a_signature() {
        let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let login = |user: &[u8], session: usize| {
            [
                string(&vec![7; session]),
                vec![50],
                string(user),
                string(b"ssh-connection"),
                string(b"publickey"),
            ]
            .concat()
        };
        // A login whose name has the parameters of a curve where they would have to be.
        let mut hidden = login(&[0; 40], 32);
        hidden.resize(64, 0);
        hidden.extend_from_slice(&[3, 0, 0x17, 65, 4]);
        hidden.extend_from_slice(&[9; 64]);
        assert!(server_key_exchange_12(&hidden), "or this test shows nothing");
        // sha256 DigestInfo and a TBSCertificate, as openssl dgst, cosign and a certificate authority would have them.
        let certificate = [&[0x30, 0x82, 1, 0, 0xa0, 3, 2, 1, 2][..], &[5; 252]].concat();
        let dsse = b"DSSEv1 28 application/vnd.in-toto+json 2 {}".to_vec();
        let tls12_digest = [&[0x30, 0x31, 0x30, 0x0d, 6, 9][..], &[7; 45]].concat();
        let others = [
            login(b"root", 32),
            login(b"root", 20),
            login(b"root", 64),
            hidden,
            [b"SSHSIG".to_vec(), string(b"file"), string(b""), string(b"sha512"), string(&[1; 64])].concat(),
            vec![0xa5; 32],
            vec![0xa5; 48],
            vec![0xa5; 64],
            vec![0xa5; 256],
            certificate,
            dsse,
            tls12_digest,
            b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJyb290In0".to_vec(),
            Vec::new(),
        ];
        for other in others {
            assert_eq!(use_of(&other), None, "{other:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn chance_is_never_a_handshake(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            proptest::prop_assert!(use_of(&bytes).is_none() || server_key_exchange_12(&bytes));
        }
    }
}
