//! Answers of a cache, the first byte saying what was asked: never a panic, nothing longer than is taken, and an answer is
//! the same wherever the bytes are cut and whatever comes behind it.

use tlsifyd::io::cache::codec::{Asked, Dialect, MAX_ANSWER, MAX_VALUE, Reply};

const ASKED: [Asked<'_>; 5] =
    [Asked::Get("tlsify:0a"), Asked::Set, Asked::Delete, Asked::Probe, Asked::Setup];

pub fn answers(dialect: Dialect, bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let asked = ASKED[usize::from(*which) % ASKED.len()];
    let read = dialect.read(bytes, asked);
    match read {
        Ok(Some((reply, used))) => {
            assert!(used <= bytes.len().min(MAX_ANSWER));
            if let Reply::Value(value) = reply {
                assert!(value.len() <= MAX_VALUE && matches!(asked, Asked::Get(_)));
            }
            assert_eq!(dialect.read(&bytes[..used], asked), read);
            for cut in [0, used / 2, used - 1] {
                assert_eq!(dialect.read(&bytes[..cut], asked), Ok(None), "{cut} of {used}");
            }
            assert_eq!(dialect.read(&[bytes, b"\r\nx"].concat(), asked), read);
        }
        // Nobody makes us keep more.
        Ok(None) => assert!(bytes.len() < MAX_ANSWER),
        Err(broken) => assert!(!broken.to_string().is_empty()),
    }
}
