//! What may be read of a text in PEM where private keys have no business: everything but what is in them.
//!
//! Many programs keep a certificate and its key in one file. Who reads such a file for its certificates wipes the key
//! before anybody else sees the text: the frame of the section stays, so that whoever looks can say that there was one.

use zeroize::Zeroize;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// Of all kinds: PKCS#8, SEC1, PKCS#1, encrypted ones, OpenSSH's.
const KEY: &[u8] = b"PRIVATE KEY";

/// Takes out what is between BEGIN and END of each private key, and says whether there was any. A key without an END goes
/// to the end of the text. What was taken out is wiped.
pub fn without_keys(text: &mut Vec<u8>) -> bool {
    let kept = cut(text);
    if let Some(kept) = kept {
        text.truncate(kept);
    }
    kept.is_some()
}

/// Moves what is kept to the front, and wipes what is behind it then: how much is kept, unless it is all.
fn cut(text: &mut [u8]) -> Option<usize> {
    let (mut kept, mut at) = (0, 0);
    while let Some((from, to)) = key(&text[at..]) {
        text.copy_within(at..at + from, kept);
        (kept, at) = (kept + from, at + to);
    }
    if at == 0 {
        return None;
    }
    // What was before it has been written over.
    text.copy_within(at.., kept);
    kept += text.len() - at;
    text[kept..].zeroize();
    Some(kept)
}

/// Whether there is a private key in this text, or the frame of one.
#[must_use]
pub fn holds_key(text: &[u8]) -> bool {
    label(text).is_some()
}

/// The first private key that is more than its frame: from behind its BEGIN line to its END line.
fn key(text: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        let line = at + label(&text[at..])?;
        let from = next_line(text, line);
        let to = find(&text[from..], END).map_or(text.len(), |end| from + end);
        if to > from {
            return Some((from, to));
        }
        at = to;
    }
}

/// Where the first line is, from its BEGIN on, that begins a private key.
fn label(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let key = at + find(&text[at..], KEY)?;
        let line = text[at..key].iter().rposition(is_end).map_or(at, |end| at + end + 1);
        if let Some(begin) = find(&text[line..key], BEGIN) {
            return Some(line + begin);
        }
        at = key + KEY.len();
    }
}

fn is_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Where the line behind the one at `at` begins.
fn next_line(text: &[u8], at: usize) -> usize {
    match text[at..].iter().position(is_end).map(|end| at + end) {
        Some(end) if text[end..].starts_with(b"\r\n") => end + 2,
        Some(end) => end + 1,
        None => text.len(),
    }
}

/// Horspool's search: a host's CA bundle is a quarter of a megabyte, and is read by processes that live for milliseconds.
fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let last = what.len() - 1;
    let mut skips = [what.len(); 256];
    for (at, byte) in what[..last].iter().enumerate() {
        skips[usize::from(*byte)] = last - at;
    }
    let mut at = 0;
    while let Some(window) = text.get(at..at + what.len()) {
        if window == what {
            return Some(at);
        }
        at += skips[usize::from(window[last])];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn left(text: &str) -> (bool, String) {
        let mut bytes = text.as_bytes().to_vec();
        let whole = bytes.len();
        let was = without_keys(&mut bytes);
        assert!(was || bytes.len() == whole);
        (was, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn of_a_key_of_any_kind_only_the_frame_stays_wherever_it_is() {
        let kinds = [
            "PRIVATE KEY",
            "EC PRIVATE KEY",
            "RSA PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
        ];
        for kind in kinds {
            for line in ["\n", "\r\n", "\r"] {
                let key = format!(
                    "-----BEGIN {kind}-----{line}S3CR3T{line}S3CR3T=={line}-----END {kind}-----{line}"
                );
                let frame = key.replace(&format!("S3CR3T{line}S3CR3T=={line}"), "");
                let text = CERTIFICATE.replace('\n', line);
                let all = format!("{text}{key}{key}{text}{key}");
                assert_eq!(left(&all), (true, format!("{text}{frame}{frame}{text}{frame}")), "{kind}");
                assert_eq!(left(&key), (true, frame.clone()));
                assert_eq!(left(&frame), (false, frame.clone()), "twice is once");
                assert!(holds_key(frame.as_bytes()));
            }
        }
    }

    #[test]
    fn a_key_that_never_ends_is_cut_to_the_end_of_the_text() {
        let begin = format!("{CERTIFICATE} -----BEGIN EC PRIVATE KEY-----\n");
        assert_eq!(left(&format!("{begin}S3CR3T\nS3CR3T")), (true, begin));
        assert_eq!(left("-----BEGIN PRIVATE KEY-----"), (false, "-----BEGIN PRIVATE KEY-----".to_owned()));
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let talk = "the PRIVATE KEY is elsewhere\n-----END PRIVATE KEY-----\n";
        for text in
            ["", talk, CERTIFICATE, "\u{0}\u{1}PRIVATE KE", "-----BEGIN CERTIFICATE-----\nPRIVATE KEY"]
        {
            assert_eq!(left(text), (false, text.to_owned()));
            assert!(!holds_key(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_was_taken_out_is_nowhere_in_the_buffer() {
        let key =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", "S3CR3T".repeat(40));
        let mut text = format!("{key}{CERTIFICATE}{key}{CERTIFICATE}").into_bytes();
        let kept = cut(&mut text).unwrap();
        assert!(find(&text, b"S3").is_none() && text[kept..].iter().all(|byte| *byte == 0));
        assert!(kept > 2 * CERTIFICATE.len() && text[..kept].ends_with(CERTIFICATE.as_bytes()));
    }

    #[test]
    fn the_search_finds_what_windows_find() {
        let text = b"-----BEGIN-BEGIN -----BEGIN ---BEGIN -----BEGIN";
        for end in 0..text.len() {
            for what in [BEGIN, b"-", b"GIN", b"--"] {
                let plain = text[..end].windows(what.len()).position(|window| window == what);
                assert_eq!(find(&text[..end], what), plain);
            }
        }
    }
}
