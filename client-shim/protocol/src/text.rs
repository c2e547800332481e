//! A packet as the text that it is, for a caller that passes on what a person said and reads a few keys of the answer:
//! the frame is checked here, and what the values mean is left to the daemon, which refuses by name. [`Request`] and
//! [`Answer`] are the same with types.
//!
//! [`Request`]: crate::Request
//! [`Answer`]: crate::Answer

use crate::limits::MAX_PACKET;
use crate::lines::{Lines, is_plain};

/// What every packet of this version begins with.
const FIRST: &str = "tlsify/1 ";

/// A packet that was received.
#[derive(Clone, Copy)]
pub struct TextPacket<'a> {
    /// What the first line says after the version.
    pub verb: &'a str,
    lines: Lines<'a>,
}

impl<'a> TextPacket<'a> {
    /// Reads the frame; `None` when this is no packet of version 1.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let mut lines = Lines::new(core::str::from_utf8(packet).ok()?);
        let verb = lines.text()?.ok()?.strip_prefix(FIRST)?;
        { lines }.all(|line| line.is_ok()).then_some(Self { verb, lines })
    }

    /// The value of a key; of a repeated one, the first.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.all(key).next()
    }

    /// The values of a key, in their order.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.lines.filter_map(Result::ok).filter(move |line| line.key == key).map(|line| line.value)
    }
}

/// A packet that is being written to the front of a buffer.
pub struct TextWriter<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

/// Why a line was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The packet would be longer than its buffer, or than 65,536 bytes.
    NoRoom,
    /// The value is empty, or has a control character in it: it could end its own line and begin another.
    Value,
}

impl<'b> TextWriter<'b> {
    /// Begins with the first line.
    ///
    /// # Errors
    /// [`Unfit::NoRoom`]
    pub fn begin(buffer: &'b mut [u8], verb: &str) -> Result<Self, Unfit> {
        let room = buffer.len().min(MAX_PACKET);
        let mut writer = Self { buffer: buffer.get_mut(..room).unwrap_or_default(), length: 0 };
        [FIRST, verb, "\n"].iter().try_for_each(|part| writer.push(part.as_bytes()))?;
        Ok(writer)
    }

    /// Adds `key=value`, the value in parts.
    ///
    /// # Errors
    /// [`Unfit`]; the packet is then of no use.
    pub fn line(&mut self, key: &str, value: &[&[u8]]) -> Result<(), Unfit> {
        let start = self.key(key)?;
        value.iter().try_for_each(|part| self.push(part))?;
        self.end(start)
    }

    /// Adds `key=` and a list of words.
    ///
    /// # Errors
    /// As [`TextWriter::line`].
    pub fn words<'w>(&mut self, key: &str, words: impl Iterator<Item = &'w [u8]>) -> Result<(), Unfit> {
        let start = self.key(key)?;
        for word in words {
            if self.length > start {
                self.push(b" ")?;
            }
            self.push(word)?;
        }
        self.end(start)
    }

    /// Adds `key=` and a decimal number.
    ///
    /// # Errors
    /// [`Unfit::NoRoom`]
    pub fn number(&mut self, key: &str, number: u32) -> Result<(), Unfit> {
        let start = self.key(key)?;
        let mut scale = 1_000_000_000;
        while scale > 0 {
            if number >= scale || scale == 1 {
                // A digit.
                self.push(&[b'0' + (number / scale % 10) as u8])?;
            }
            scale /= 10;
        }
        self.end(start)
    }

    /// The packet so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    /// The buffer, for something else.
    #[must_use]
    pub fn into_buffer(self) -> &'b mut [u8] {
        self.buffer
    }

    /// `key=`; where its value begins.
    fn key(&mut self, key: &str) -> Result<usize, Unfit> {
        self.push(key.as_bytes())?;
        self.push(b"=")?;
        Ok(self.length)
    }

    /// The end of a line whose value began at `start`.
    fn end(&mut self, start: usize) -> Result<(), Unfit> {
        match self.buffer.get(start..self.length) {
            Some(written @ [_, ..]) if is_plain(written) => self.push(b"\n"),
            _ => Err(Unfit::Value),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let end = self.length + bytes.len();
        self.buffer.get_mut(self.length..end).ok_or(Unfit::NoRoom)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }
}

/// The answers in one packet of a caller that said `batch=yes`, each to be parsed for itself: one, for any other. Their
/// descriptors come in the same order, as many for each as its `fds` names.
pub fn answers(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packet;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // What begins with the protocol's name begins a message: no key has a slash.
        let next = rest.windows(NEXT.len()).position(|window| window == NEXT);
        let (answer, behind) = rest.split_at(next.map_or(rest.len(), |at| at + 1));
        rest = behind;
        Some(answer)
    })
}

/// How a message begins that stands behind another.
const NEXT: &[u8] = b"\ntlsify/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Request};

    #[test]
    fn what_is_written_as_text_parses_with_types() {
        let mut buffer = [0; 200];
        let mut packet = TextWriter::begin(&mut buffer, "connect").unwrap();
        packet.line("id", &[b"7"]).unwrap();
        packet.words("fds", [&b"net"[..], b"ca"].into_iter()).unwrap();
        packet.number("handshake-timeout", 4_294_967_295).unwrap();
        packet.number("idle-timeout", 10).unwrap();
        packet.line("name", &[b"a.example"]).unwrap();
        packet.line("trust", &[b"descriptor"]).unwrap();
        let expected = "tlsify/1 connect\nid=7\nfds=net ca\nhandshake-timeout=4294967295\nidle-timeout=10\nname=a.example\ntrust=descriptor\n";
        assert_eq!(core::str::from_utf8(packet.written()), Ok(expected));
        assert_eq!(Request::parse(packet.written()).unwrap().id(), 7);
    }

    #[test]
    fn a_value_cannot_become_a_second_line() {
        for value in [&b"a\ntrust=pins"[..], b"", b"\x7f", b"a\r", "a\u{85}b".as_bytes()] {
            let mut buffer = [0; 100];
            let mut packet = TextWriter::begin(&mut buffer, "connect").unwrap();
            assert_eq!(packet.line("name", &[value]), Err(Unfit::Value), "{value:?}");
        }
        let mut buffer = [0; 24];
        let mut packet = TextWriter::begin(&mut buffer, "connect").unwrap();
        assert_eq!(packet.line("name", &[b"a.example"]), Err(Unfit::NoRoom));
    }

    #[test]
    fn a_packet_read_as_text_says_what_it_says_with_types() {
        let packet = b"tlsify/1 ended\nid=1\n?new=x\nhow=truncated\nin=0\nout=7\n";
        let text = TextPacket::parse(packet).unwrap();
        assert_eq!((text.verb, text.get("how"), text.get("out")), ("ended", Some("truncated"), Some("7")));
        assert_eq!((text.get("new"), text.get("code")), (Some("x"), None));
        assert!(Answer::parse(packet).is_ok());
    }

    #[test]
    fn a_repeated_key_gives_its_values_in_their_order() {
        let text = TextPacket::parse(b"tlsify/1 failed\nnote=a\nid=1\nnote=b\n?note=c\n").unwrap();
        assert!(text.all("note").eq(["a", "b", "c"]));
        assert_eq!((text.get("note"), text.all("notes").count()), (Some("a"), 0));
    }

    #[test]
    fn answers_that_came_together_are_told_apart_and_one_alone_is_whole() {
        let (one, two) =
            (b"tlsify/1 ended\nid=1\nhow=reset\n", b"tlsify/1 refused\ntext=tlsify/1 is not it\n");
        let packet = [&one[..], two, one].concat();
        assert!(answers(&packet).eq([&one[..], two, one]));
        assert!(answers(one).eq([&one[..]]));
        assert_eq!(answers(b"").count(), 0);
        assert!(answers(b"\ntlsify/").eq([&b"\n"[..], b"tlsify/"]), "nothing is lost of what is no packet");
    }

    #[test]
    fn what_is_no_packet_is_not_read() {
        for bad in
            [&b""[..], b"tlsify/2 ended\nid=1\n", b"tlsify/1 ended\nid", b"tlsify/1 ended\nid\n", b"\xff"]
        {
            assert!(TextPacket::parse(bad).is_none(), "{bad:?}");
        }
    }
}
