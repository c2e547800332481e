//! As much DER as a certificate needs, written by hand: a writer of well-formed certificates would refuse half of the
//! bed.

/// One element: its tag, its length, its content.
pub(crate) fn element(tag: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let bytes = &bytes[long.leading_zeros() as usize / 8..];
            out.push(0x80 | bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, parts.concat())
}

/// `[number] EXPLICIT`.
pub(crate) fn explicit(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    element(0xa0 | number, content)
}

/// A small number.
pub(crate) fn integer(value: u8) -> Vec<u8> {
    unsigned(&[value])
}

/// A number of any size, big-endian.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let mut content = bytes[first..].to_vec();
    if content.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.insert(0, 0);
    }
    element(2, content)
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    element(1, [if value { 0xff } else { 0 }])
}

/// An object identifier: `2.5.29.17`.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().expect("a number")).collect();
    let mut content = Vec::new();
    for arc in [&[arcs[0] * 40 + arcs[1]], &arcs[2..]].concat() {
        let groups = (0..10).rev().map(|group| (arc >> (7 * group)) as u8 & 0x7f);
        let mut groups: Vec<u8> = groups.skip_while(|group| *group == 0).collect();
        if groups.is_empty() {
            groups.push(0);
        }
        let last = groups.len() - 1;
        groups[..last].iter_mut().for_each(|group| *group |= 0x80);
        content.extend(groups);
    }
    element(6, content)
}

/// Bits with all eight of the last byte in use.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(3, [&[0], bytes].concat())
}

/// Named bits, bit 0 first, without zeros at the end (X.690 section 11.2.2).
pub(crate) fn named_bits(bits: u16) -> Vec<u8> {
    let bytes = bits.to_be_bytes();
    let used = if bytes[1] != 0 { &bytes[..] } else { &bytes[..1] };
    let unused = used[used.len() - 1].trailing_zeros().min(7) as u8;
    element(3, [&[unused], used].concat())
}

/// Seconds since 1970 as RFC 5280 section 4.1.2.5 wants them: UTCTime up to 2049, GeneralizedTime from 2050 on.
pub(crate) fn time(seconds: i64) -> Vec<u8> {
    let digits = digits(seconds);
    match ("1950".."2050").contains(&&digits[..4]) {
        true => element(0x17, &digits[2..]),
        false => element(0x18, digits),
    }
}

/// GeneralizedTime whatever the year, as OCSP has it.
pub(crate) fn generalized(seconds: i64) -> Vec<u8> {
    element(0x18, digits(seconds))
}

fn digits(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (mut year, mut left) = (1970, days);
    let length = |year: i64| if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 };
    while left < 0 {
        year -= 1;
        left += length(year);
    }
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let february = length(year) - 337;
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{:02}{hour:02}{minute:02}{second:02}Z", left + 1)
}

#[test]
fn what_is_written_by_hand_is_what_the_rules_say() {
    assert_eq!(oid("1.2.840.113549.1.1.11"), b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b");
    assert_eq!(oid("2.5.29.17"), b"\x06\x03\x55\x1d\x11");
    assert_eq!(unsigned(&[0, 0x80]), b"\x02\x02\x00\x80");
    assert_eq!(integer(0), b"\x02\x01\x00");
    assert_eq!(element(4, [7; 300])[..4], [4, 0x82, 1, 44]);
    assert_eq!(named_bits(0b1000_0000_0000_0000), b"\x03\x02\x07\x80");
    assert_eq!(time(0), b"\x17\x0d700101000000Z");
    assert_eq!(time(951_782_399), b"\x17\x0d000228235959Z");
    assert_eq!(time(951_868_800), b"\x17\x0d000301000000Z");
    assert_eq!(time(2_524_608_000), b"\x18\x0f20500101000000Z");
    assert_eq!(time(253_402_300_799), b"\x18\x0f99991231235959Z");
}
