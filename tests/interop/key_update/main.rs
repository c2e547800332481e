//! New keys for old sessions (KeyUpdate, RFC 9846 section 4.7.3): other libraries take ours, answer, and have their own; and
//! no byte of the stream minds.
//!
//! The daemon leaves a quarter of a second between two, so what is sent here goes on until there were enough.

mod gnutls;
mod openssl;
mod streams;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use tlsify_client::{Client, Scope};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{KeyKind, Running, pki, running};

/// The least that a profile may ask for.
const OFTEN: u64 = 64 * 1024;
/// As many as are waited for.
const ENOUGH: u64 = 3;

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

/// How often the only session of this caller has replaced its key.
fn key_updates(client: &Client) -> u64 {
    let list = client.status(Scope::Own, true).unwrap().list_text().unwrap();
    let count = list.split_whitespace().find_map(|fact| fact.strip_prefix("key-updates="));
    count.unwrap_or_else(|| panic!("{list:?}")).parse().unwrap_or_else(|_| panic!("{list:?}"))
}

/// Lines of digits that are all different. Digits are no command of OpenSSL's tools.
fn line(number: u64) -> String {
    format!("{number:063}\n")
}

/// Many lines from this number on: 64 KiB.
fn lines(from: u64) -> Vec<u8> {
    (from..from + 1024).flat_map(|number| line(number).into_bytes()).collect()
}

/// Says lines from 0 on, at least so many bytes, and on until the session has had enough new keys. Gives how many bytes.
fn say_until_enough(client: Client, mut plain: UnixStream, least: usize) -> Running<usize> {
    running("program", move || {
        let (mut number, mut said) = (0, 0);
        loop {
            let some = lines(number);
            plain.write_all(&some).expect("the session takes it");
            (number, said) = (number + 1024, said + some.len());
            if said >= least && key_updates(&client) >= ENOUGH {
                return said;
            }
        }
    })
}

/// Whether `text` are lines from 0 on, and nothing else.
fn are_lines(text: &[u8]) -> bool {
    text.len().is_multiple_of(64)
        && text.chunks(64).zip(0..).all(|(text, number)| text == line(number).as_bytes())
}

/// Reads so many bytes.
fn hear(mut plain: UnixStream, count: usize) -> Running<Vec<u8>> {
    running("reader", move || {
        let mut heard = vec![0; count];
        plain.read_exact(&mut heard).map(|()| heard).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// What a tool prints on a line with this word, counted.
fn count(text: &str, words: &[&str]) -> u64 {
    text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count() as u64
}

/// A copy of the program's side.
fn again(plain: &UnixStream) -> UnixStream {
    let copy: io::Result<_> = plain.try_clone();
    copy.expect("a descriptor is free")
}
