//! What the keyholder is asked, and what an agent answers: either end may be in somebody else's hands.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlsifyd::io::agent::wire::{
    Answer, Request, blob_of_spki, kind_of_blob, signature_of_tls, signature_to_tls, spki_of_blob,
};

/// IANA's numbers of the signature schemes that SSH has names for.
const SCHEMES: [u16; 6] = [0x0403, 0x0503, 0x0603, 0x0807, 0x0401, 0x0601];

fuzz_target!(|body: &[u8]| {
    if let Ok(request) = Request::parse(body) {
        // Written and read again it is the same, but for constraints that are not known, and kinds of keys.
        if let Ok(framed) = request.framed() {
            let again = Request::parse(&framed[4..]).expect("it was written");
            let is_same = again == request;
            assert!(is_same || matches!(request, Request::Add { other: true, .. }), "{request:?}");
        }
        if let Request::Sign { blob, .. } | Request::Remove { blob } = request {
            key(blob);
        }
    }
    if let Ok(answer) = Answer::parse(body) {
        if let Ok(framed) = answer.framed() {
            assert_eq!(Answer::parse(&framed[4..]).expect("it was written"), answer);
        }
        if let Answer::Identities(listed) = &answer {
            listed.iter().for_each(|listed| key(listed.blob));
        }
        if let Answer::Signature(signature) = answer {
            for scheme in SCHEMES {
                let _ = signature_of_tls(scheme, signature);
                let _ = signature_to_tls(scheme, b"\0\0\0\x0bssh-ed25519", signature);
            }
        }
    }
    let _ = blob_of_spki(body);
});

/// A key that is read is written as it was, unless it is RSA with more zeros than needed.
fn key(blob: &[u8]) {
    let Ok(spki) = spki_of_blob(blob) else { return };
    let again = blob_of_spki(&spki).expect("it was written");
    assert_eq!(kind_of_blob(&again), kind_of_blob(blob));
    assert_eq!(spki_of_blob(&again).as_ref(), Ok(&spki));
}
