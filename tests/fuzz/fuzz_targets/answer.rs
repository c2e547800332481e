//! What a daemon can send: never a panic, and what is accepted is written and parses back to itself. Read as text, it says
//! the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlsify_protocol::text::TextPacket;
use tlsify_protocol::{Answer, Code, How, MAX_PACKET, Would};

fuzz_target!(|packet: &[u8]| {
    let text = TextPacket::parse(packet);
    if let Ok(answer) = Answer::parse(packet) {
        let text = text.expect("what has types is text");
        assert_eq!(text.verb, answer.verb().as_str());
        // Where an answer has no such key, one that may be ignored can still stand there.
        if let Some(id) = answer.id() {
            assert_eq!(text.get("id"), Some(id.to_string().as_str()));
        }
        let mut buf = vec![0; MAX_PACKET];
        match answer.write(&mut buf) {
            Ok(len) => assert_eq!(Answer::parse(&buf[..len]), Ok(answer)),
            Err(_) => assert!(is_newer(&answer), "an accepted answer can be written"),
        }
    }
});

/// Words of a newer daemon are read, and cannot be written.
fn is_newer(answer: &Answer<'_>) -> bool {
    match answer {
        Answer::Refused(refused) => refused.code == Code::Other,
        Answer::Failed(failed) => {
            failed.code == Code::Other || failed.would == Some(Would::Failed(Code::Other))
        }
        Answer::Ended(ended) => ended.how == How::Other || ended.code == Some(Code::Other),
        _ => false,
    }
}
