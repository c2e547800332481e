//! From records to the first handshake message, however it is cut (RFC 9846 section 5.1).

use std::borrow::Cow;

use super::{Flaw, MAX_CLIENT_HELLO, MAX_HELLO_WIRE};

/// ContentType handshake, and the first byte of every legacy_record_version.
const HANDSHAKE: u8 = 22;
const MAJOR: u8 = 3;

/// Type, version and length.
const RECORD_HEADER: usize = 5;

/// Most bytes of a record (RFC 9846 section 5.1).
const MAX_RECORD: usize = 1 << 14;

/// HandshakeType client_hello, and the bytes of type and length.
const CLIENT_HELLO: u8 = 1;
const MESSAGE_HEADER: usize = 4;

/// What was found at the front of the bytes.
pub(super) enum Found<'a> {
    /// It takes at least so many bytes in all.
    More(usize),
    /// The body of a ClientHello.
    Message(Cow<'a, [u8]>),
    NotTls,
    Malformed(Flaw),
}

pub(super) fn message(bytes: &[u8]) -> Found<'_> {
    match gather(bytes) {
        Ok(Found::More(least)) if least > MAX_HELLO_WIRE => {
            Found::Malformed(Flaw::unexpected("the ClientHello is cut into too many records"))
        }
        Ok(found) => found,
        Err(flaw) => Found::Malformed(flaw),
    }
}

/// Record after record, until the message is whole.
fn gather(bytes: &[u8]) -> Result<Found<'_>, Flaw> {
    // One byte tells most other protocols from TLS.
    match bytes {
        [] => return Ok(Found::More(1)),
        [HANDSHAKE] => return Ok(Found::More(2)),
        [HANDSHAKE, MAJOR, ..] => {}
        _ => return Ok(Found::NotTls),
    }
    let mut message = Cow::Borrowed(&[][..]);
    let mut at = 0;
    loop {
        let missing = length(&message)?.unwrap_or(MESSAGE_HEADER) - message.len();
        let Some((header, rest)) = bytes.get(at..).and_then(|rest| rest.split_at_checked(RECORD_HEADER))
        else {
            return Ok(Found::More(at + RECORD_HEADER + missing));
        };
        let size = record(header)?;
        let fragment = rest.get(..size).unwrap_or(rest);
        append(&mut message, fragment);
        let known = length(&message)?;
        // RFC 9846 §5.1: a message before a change of keys ends with its record. Nothing can follow a ClientHello.
        if known.is_some_and(|total| message.len() - fragment.len() + size > total) {
            return Err(Flaw::unexpected("something follows the ClientHello in its record"));
        }
        if known == Some(message.len()) {
            return Ok(Found::Message(body(message)));
        }
        if fragment.len() < size {
            return Ok(Found::More(
                bytes.len() + known.unwrap_or(MESSAGE_HEADER).max(message.len() + 1) - message.len(),
            ));
        }
        at += RECORD_HEADER + size;
    }
}

/// The length of a record, if it may be one of these.
fn record(header: &[u8]) -> Result<usize, Flaw> {
    let &[kind, major, _, high, low] = header else {
        return Err(Flaw::decode("a record has no header"));
    };
    if kind != HANDSHAKE || major != MAJOR {
        return Err(Flaw::unexpected("another record stands inside the ClientHello"));
    }
    match usize::from(u16::from_be_bytes([high, low])) {
        0 => Err(Flaw::unexpected("a record of the ClientHello is empty")),
        size if size > MAX_RECORD => Err(Flaw::overflow("a record is longer than 16384 bytes")),
        size => Ok(size),
    }
}

/// How long the message is with its header, once that is there.
fn length(message: &[u8]) -> Result<Option<usize>, Flaw> {
    if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
        return Err(Flaw::unexpected("the first message is not a ClientHello"));
    }
    let Some(&[_, high, middle, low]) = message.first_chunk::<MESSAGE_HEADER>() else { return Ok(None) };
    let size = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if size > MAX_CLIENT_HELLO {
        return Err(Flaw::decode("the ClientHello is longer than 65535 bytes"));
    }
    Ok(Some(MESSAGE_HEADER + size))
}

/// Most are in one record, and are not copied.
fn append<'a>(message: &mut Cow<'a, [u8]>, fragment: &'a [u8]) {
    if message.is_empty() {
        *message = Cow::Borrowed(fragment);
    } else {
        message.to_mut().extend_from_slice(fragment);
    }
}

fn body(message: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match message {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(MESSAGE_HEADER..).unwrap_or_default()),
        Cow::Owned(mut bytes) => {
            bytes.drain(..MESSAGE_HEADER.min(bytes.len()));
            Cow::Owned(bytes)
        }
    }
}
