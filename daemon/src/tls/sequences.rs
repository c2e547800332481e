//! DER of a SEQUENCE: from its content, and back.

use der::{Decode, Tagged};

/// A SEQUENCE with this content.
pub(super) fn in_sequence(content: &[u8]) -> Vec<u8> {
    rustls::DistinguishedName::in_sequence(content).as_ref().to_vec()
}

/// The content of a SEQUENCE with nothing behind it.
pub(super) fn content(sequence: &[u8]) -> Option<&[u8]> {
    let any = der::AnyRef::from_der(sequence).ok()?;
    (any.tag() == der::Tag::Sequence).then(|| any.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_nothing_else_does() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            let sequence = in_sequence(&vec![7; length]);
            assert_eq!(content(&sequence), Some(&vec![7; length][..]));
            assert_eq!(content(&sequence[..sequence.len() - 1]), None, "cut off");
            assert_eq!(content(&[&sequence[..], &[0]].concat()), None, "something behind it");
        }
        assert_eq!(content(&[0x31, 0]), None, "a SET");
        assert_eq!(content(&[0x30, 0x80, 0, 0]), None, "of no definite length");
        assert_eq!(content(&[0x30, 0x81, 1, 7]), None, "a length that is longer than it has to be");
    }
}
