//! Base64 as RFC 4648 section 4 has it: padded, canonical, no white space, in constant memory.
//!
//! Ours because the freestanding command uses it too, and because one text must stand for each value: a decoder that
//! lets stray bits or missing padding pass would give two packets for one message.

/// Characters that `len` bytes take. Saturates; nothing of that size fits in a packet.
#[must_use]
pub const fn encoded_len(len: usize) -> usize {
    len.div_ceil(3).saturating_mul(4)
}

/// Bytes that a canonical text stands for; `None` when it is not one.
#[must_use]
pub fn check(text: &[u8]) -> Option<usize> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let quads = text.len() / 4;
    let mut len = 0;
    for (at, quad) in text.chunks_exact(4).enumerate() {
        let (_, took) = decode_quad(quad)?;
        if took < 3 && at + 1 != quads {
            return None;
        }
        len += took;
    }
    Some(len)
}

/// The bytes of a text that [`check`] has accepted. Of another text it gives what comes before the first fault.
pub fn decode(text: &[u8]) -> impl Iterator<Item = u8> + Clone + '_ {
    text.chunks_exact(4).map_while(decode_quad).flat_map(|(bytes, took)| bytes.into_iter().take(took))
}

/// The text of up to three bytes; the end of a longer value is padded, so only its last group may be short.
#[must_use]
pub fn encode_group(group: &[u8]) -> [u8; 4] {
    let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
    let bits = at(0) << 16 | at(1) << 8 | at(2);
    let mut text = [18, 12, 6, 0].map(|shift| letter((bits >> shift) as u8 & 0x3f));
    for pad in text.iter_mut().skip(group.len() + 1) {
        *pad = b'=';
    }
    text
}

/// Four characters: their bytes, and how many of them count.
fn decode_quad(quad: &[u8]) -> Option<([u8; 3], usize)> {
    let &[a, b, c, d] = quad else { return None };
    let took = match (c, d) {
        (b'=', b'=') => 1,
        (_, b'=') => 2,
        _ => 3,
    };
    let c = if took < 2 { 0 } else { bits(c)? };
    let d = if took < 3 { 0 } else { bits(d)? };
    let all = bits(a)? << 18 | bits(b)? << 12 | c << 6 | d;
    let [_, x, y, z] = all.to_be_bytes();
    // RFC 4648 section 3.5: the bits that padding leaves over are zero, or the text is not canonical.
    let canonical = match took {
        1 => y == 0 && z == 0,
        2 => z == 0,
        _ => true,
    };
    canonical.then_some(([x, y, z], took))
}

fn letter(bits: u8) -> u8 {
    match bits {
        0..=25 => b'A' + bits,
        26..=51 => b'a' + (bits - 26),
        52..=61 => b'0' + (bits - 52),
        62 => b'+',
        _ => b'/',
    }
}

fn bits(letter: u8) -> Option<u32> {
    Some(u32::from(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn encode(bytes: &[u8]) -> Vec<u8> {
        bytes.chunks(3).flat_map(encode_group).collect()
    }

    #[test]
    fn the_vectors_of_rfc_4648_section_10() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text.as_bytes());
            assert_eq!(check(text.as_bytes()), Some(bytes.len()));
            assert!(decode(text.as_bytes()).eq(bytes.bytes()));
            assert_eq!(encoded_len(bytes.len()), text.len());
        }
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert!(decode(&encode(&all)).eq(all.iter().copied()));
    }

    #[test]
    fn a_second_spelling_of_the_same_bytes_is_refused() {
        for bad in [
            "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9v", "Zm9v\n", "Z===", "====", "_m9v", "Zg=v",
            "=g==",
        ] {
            assert_eq!(check(bad.as_bytes()), None, "{bad}");
        }
    }
}
