//! What a caller can send: never a panic, and what is accepted is written and parses back to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlsify_protocol::{MAX_PACKET, Request};

fuzz_target!(|packet: &[u8]| {
    if let Ok(request) = Request::parse(packet) {
        let mut buf = vec![0; MAX_PACKET];
        let len = request.write(&mut buf).expect("an accepted request can be written");
        assert_eq!(Request::parse(&buf[..len]), Ok(request));
    }
});
