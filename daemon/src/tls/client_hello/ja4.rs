//! JA4, the fingerprint of TLS clients that FoxIO publishes: `a_b_c`.
//!
//! ```text
//!  t13d1516h2_8daaf6152771_d8a2da3f94cd
//!  a: t         over TCP
//!     13        the greatest version
//!     d         there is a server_name; i: there is none
//!     15 16     cipher suites, extensions
//!     h2        first and last character of the first ALPN name; 00: none
//!  b: the sorted cipher suites
//!  c: the sorted extensions without server_name and ALPN, "_", the signature schemes in their order
//! ```
//!
//! Of b and c it is the first 12 digits of the SHA-256, and 12 zeros of nothing. Reserved values (GREASE) count nowhere.

use super::offer::is_reserved;
use super::{ClientHello, is_grease};
use crate::tls::digest::sha256;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

pub(super) fn fingerprint(hello: &ClientHello) -> String {
    let suites = plain(&hello.cipher_suites);
    let extensions = plain(&hello.extensions);
    let front = format!(
        "t{}{}{:02}{:02}{}",
        version(hello),
        if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' },
        suites.len().min(99),
        extensions.len().min(99),
        alpn(hello)
    );
    let hashed = extensions.into_iter().filter(|kind| ![SERVER_NAME, ALPN].contains(kind)).collect();
    let mut text = sorted(hashed);
    let schemes = plain(&hello.signature_schemes);
    if !schemes.is_empty() {
        text = format!("{text}_{}", joined(&schemes));
    }
    format!("{front}_{}_{}", short_hash(&sorted(suites)), short_hash(&text))
}

fn version(hello: &ClientHello) -> &'static str {
    match plain(&hello.versions).into_iter().max().unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// Two characters of the first application protocol: of its name, or of its hexadecimal digits where they are neither
/// letters nor digits.
fn alpn(hello: &ClientHello) -> String {
    let name = hello.alpn.iter().find(|name| !is_reserved(name));
    let Some((&first, &last)) = name.and_then(|name| name.first().zip(name.last())) else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        format!("{}{}", char::from(first), char::from(last))
    } else {
        format!("{:x}{:x}", first >> 4, last & 0xf)
    }
}

fn plain(values: &[u16]) -> Vec<u16> {
    values.iter().copied().filter(|&value| !is_grease(value)).collect()
}

fn sorted(mut values: Vec<u16>) -> String {
    values.sort_unstable();
    joined(&values)
}

fn joined(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    sha256(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
