//! Bytes to messages: one pass over the lines, then the rules between keys.
//!
//! | file | messages |
//! | --- | --- |
//! | `mod` | the frame of every packet, and how one key is read |
//! | `requests` | what a caller sends; the TLS keys |
//! | `answers` | what the daemon sends |
//! | `asking` | questions before TLS starts, and their answers |
//!
//! The keys of each stand in the order of [`keys`](crate::keys), so that the two can be compared by eye.

mod answers;
mod asking;
mod requests;

use core::time::Duration;

use crate::error::{Flaw, ParseError};
use crate::keys::Verb;
use crate::limits::{MAX_PACKET, PROTOCOL_VERSION};
use crate::lines::{Line, Lines, find_id};
use crate::list::Items;
use crate::message::{Answer, Request};
use crate::value::{Code, Millis, Role, Value, decimal};
use answers::{defined, ended, established, failed, forgotten, hello, refused, status_answer};
use requests::{cancel, define, forget, start, status_query};

impl<'a> Request<'a> {
    /// Reads a caller's packet. What can be checked from the text alone has been checked when this is `Ok`.
    ///
    /// # Errors
    /// The packet is not of this protocol, or its keys do not make a request: the error is what `refused` says.
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError<'a>> {
        parse(packet, Verb::REQUESTS, |verb, lines| match verb {
            Verb::Define => define(lines).map(Request::Define),
            Verb::Accept => start(lines, Role::Server).map(Request::Accept),
            Verb::Connect => start(lines, Role::Client).map(Request::Connect),
            Verb::Cancel => cancel(lines),
            Verb::Forget => forget(lines).map(Request::Forget),
            Verb::Choose => asking::choose(lines).map(Request::Choose),
            _ => status_query(lines).map(Request::Status),
        })
    }
}

impl<'a> Answer<'a> {
    /// Reads a daemon's packet.
    ///
    /// # Errors
    /// The packet is not of this protocol: the caller should close its control connection.
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError<'a>> {
        parse(packet, Verb::ANSWERS, |verb, lines| match verb {
            Verb::Hello => hello(lines).map(Answer::Hello),
            Verb::Defined => defined(lines).map(Answer::Defined),
            Verb::Refused => refused(lines).map(Answer::Refused),
            Verb::Failed => failed(lines).map(Answer::Failed),
            Verb::Established => established(lines).map(Answer::Established),
            Verb::Ended => ended(lines).map(Answer::Ended),
            Verb::Forgotten => forgotten(lines),
            Verb::ClientHello => asking::client_hello(lines).map(Answer::ClientHello),
            _ => status_answer(lines).map(Answer::Status),
        })
    }
}

/// The frame of every packet; `body` reads the lines after the first.
fn parse<'a, T>(
    packet: &'a [u8],
    verbs: &[Verb],
    body: impl FnOnce(Verb, Lines<'a>) -> Result<T, Flaw<'a>>,
) -> Result<T, ParseError<'a>> {
    let mut read = None;
    first_line(packet, verbs)
        .and_then(|(verb, lines)| {
            read = Some(verb);
            body(verb, lines)
        })
        .map_err(|Flaw { code, about, why }| ParseError { id: find_id(packet), code, about, verb: read, why })
}

fn first_line<'a>(packet: &'a [u8], verbs: &[Verb]) -> Result<(Verb, Lines<'a>), Flaw<'a>> {
    if packet.len() > MAX_PACKET {
        return Err(Flaw::new(Code::PacketTooLong, "it has more than 65536 bytes"));
    }
    let malformed = |why| Flaw::new(Code::Malformed, why);
    let text = core::str::from_utf8(packet).map_err(|_| malformed("it is not UTF-8"))?;
    let mut lines = Lines::new(text);
    let first = lines.text().ok_or(malformed("it is empty"))??;
    let (version, verb) = first
        .strip_prefix("tlsify/")
        .and_then(|rest| rest.split_once(' '))
        .ok_or(malformed("the first line is not \"tlsify/VERSION VERB\""))?;
    let number = decimal(version).ok_or(malformed("the version is not a number"))?;
    if number != u64::from(PROTOCOL_VERSION) {
        return Err(Flaw::about(Code::Version, version, "version 1"));
    }
    let known = verbs.iter().copied().find(|known| known.as_str() == verb);
    Ok((known.ok_or(Flaw::about(Code::UnknownVerb, verb, "a verb of version 1"))?, lines))
}

/// A key that may be given once.
fn once<'a, T: Value<'a>>(slot: &mut Option<T>, line: &Line<'a>) -> Result<(), Flaw<'a>> {
    if slot.is_some() {
        return Err(Flaw::about(Code::KeyConflict, line.key, "it is given twice"));
    }
    *slot = Some(value(line)?);
    Ok(())
}

/// A key that may be repeated.
fn many<'a, T: Value<'a>>(items: &mut Items<'a, T>, line: &Line<'a>) -> Result<(), Flaw<'a>> {
    value::<T>(line)?;
    items.push(line);
    Ok(())
}

fn value<'a, T: Value<'a>>(line: &Line<'a>) -> Result<T, Flaw<'a>> {
    T::read(line.value).ok_or_else(|| Flaw::about(Code::BadValue, line.key, T::EXPECTED))
}

/// A key that this verb does not have passes only with its mark.
fn unknown<'a>(line: &Line<'a>) -> Result<(), Flaw<'a>> {
    if line.ignorable { Ok(()) } else { Err(Flaw::about(Code::UnknownKey, line.key, "no such key")) }
}

fn need<T>(value: Option<T>, key: &'static str) -> Result<T, Flaw<'static>> {
    value.ok_or_else(|| Flaw::about(Code::MissingKey, key, "the key is required"))
}

fn duration(Millis(duration): Millis) -> Duration {
    duration
}
