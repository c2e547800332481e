//! A packet's lines: found, and checked to be text, in one pass over the bytes.

use crate::error::Flaw;
use crate::value::Code;

/// One `key=value` line.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Without the `?`.
    pub(crate) key: &'a str,
    /// Written `?key`: who does not know it may ignore it.
    pub(crate) ignorable: bool,
    pub(crate) value: &'a str,
    /// The packet from this line on: where the values of a repeated key are found again.
    pub(crate) tail: &'a str,
}

impl<'a> Line<'a> {
    /// `line` without its LF, checked before or about to be refused.
    pub(crate) fn split(line: &'a str, tail: &'a str) -> Option<Self> {
        let (key, value) = line.split_once('=')?;
        let (key, ignorable) = match key.strip_prefix('?') {
            Some(key) => (key, true),
            None => (key, false),
        };
        (!key.is_empty()).then_some(Self { key, ignorable, value, tail })
    }
}

/// The lines after the first.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    /// Starts at the first line of `packet`, which [`Lines::text`] takes.
    pub(crate) fn new(packet: &'a str) -> Self {
        Self { rest: packet }
    }

    /// The next line without its LF; `None` at the end of the packet.
    pub(crate) fn text(&mut self) -> Option<Result<&'a str, Flaw<'a>>> {
        if self.rest.is_empty() {
            return None;
        }
        let mut before = 0;
        for (at, &byte) in self.rest.as_bytes().iter().enumerate() {
            if byte == b'\n' {
                let (line, rest) = (self.rest.get(..at)?, self.rest.get(at + 1..)?);
                self.rest = rest;
                return Some(Ok(line));
            }
            if is_control(before, byte) {
                return Some(Err(Flaw::new(Code::Malformed, "a control character")));
            }
            before = byte;
        }
        Some(Err(Flaw::new(Code::Malformed, "the last line has no end")))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, Flaw<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let tail = self.rest;
        Some(self.text()?.and_then(|line| {
            Line::split(line, tail).ok_or(Flaw::new(Code::Malformed, "a line that is not key=value"))
        }))
    }
}

/// Whether valid UTF-8 has a control character here: C0 and DEL are one byte, C1 (U+0080 to U+009F) is C2 80 to C2 9F.
fn is_control(before: u8, byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f || (before == 0xc2 && byte < 0xa0)
}

/// Whether a text may stand in a packet as a value.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let mut before = 0;
    text.iter().all(|&byte| !is_control(core::mem::replace(&mut before, byte), byte))
}

/// The `id` line of a packet that may be broken anywhere: who gets the refusal.
pub(crate) fn find_id(packet: &[u8]) -> Option<u64> {
    packet.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let digits = line.strip_prefix(b"id=").or_else(|| line.strip_prefix(b"?id="))?;
        crate::value::decimal(core::str::from_utf8(digits).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn lines_are_split_and_a_marked_key_loses_its_mark() {
        let all: Vec<_> = Lines::new("a=1\n?b=x=y\nc=\n").map(|line| line.unwrap()).collect();
        assert_eq!(
            all.iter().map(|line| (line.key, line.ignorable, line.value)).collect::<Vec<_>>(),
            [("a", false, "1"), ("b", true, "x=y"), ("c", false, "")]
        );
        assert_eq!(all[1].tail, "?b=x=y\nc=\n");
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for bad in
            ["a=1", "a\n", "\n", "=1\n", "?=1\n", "a=\t\n", "a=\u{85}\n", "a=\u{7f}\n", "a=\r\n", "a=\0\n"]
        {
            assert!(Lines::new(bad).any(|line| line.is_err()), "{bad:?}");
        }
        assert!(Lines::new("a=\u{a0}é\u{2003}\n").all(|line| line.is_ok()));
    }

    #[test]
    fn the_id_of_a_broken_packet_is_found() {
        assert_eq!(find_id(b"tlsify/9 \xff\nx\nid=7\n"), Some(7));
        assert_eq!(find_id(b"tlsify/1 accept\nid=07\n"), None);
        assert_eq!(find_id(b"id=7\n"), None);
        assert_eq!(find_id(b""), None);
    }
}
