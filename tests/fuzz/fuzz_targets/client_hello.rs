//! What a peer can send first: never a panic, a part is never enough, and what follows a hello does not change it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlsifyd::tls::{ClientHello, Look};

fuzz_target!(|bytes: &[u8]| {
    let looked = ClientHello::look(bytes);
    match &looked {
        Look::More(least) => assert!(*least > bytes.len()),
        Look::Whole(hello) => {
            let ja4 = hello.ja4();
            let parts: Vec<_> = ja4.split('_').map(str::len).collect();
            assert_eq!(parts, [10, 12, 12], "{ja4}");
            assert_eq!(ClientHello::look(&[bytes, &[23, 3, 3]].concat()), looked);
        }
        Look::NotTls => assert!(!bytes.starts_with(&[22, 3])),
        Look::Malformed(flaw) => assert!(!flaw.what.is_empty()),
    }
});
