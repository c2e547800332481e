//! PEM sections by kind, with errors that say what was found instead.

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use tlsify_protocol::base64;
use zeroize::{Zeroize, Zeroizing};

/// What is wrong with the text around the base64. Never holds the text itself: it may be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A section never ends.
    #[error("a PEM section has no END line, is the text cut off?")]
    Unterminated,
    /// A line looks like the start of a section and is not.
    #[error("a PEM section starts with a malformed BEGIN line")]
    BeginLine,
    /// The inside of a section is not base64.
    #[error("a PEM section is not valid base64")]
    Base64,
    /// Larger than any certificate or key.
    #[error("a PEM section is too large")]
    TooLarge,
}

/// All `CERTIFICATE` sections, in order.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match section.map_err(explain)? {
            (SectionKind::Certificate, der) => found.push(CertificateDer::from(der)),
            (SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey, mut key) => {
                key.zeroize();
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The private keys of a text, at most two of them: one is right, more is an error that the caller names.
///
/// Not read by rustls' reader, which leaves the text of what it reads in memory that it has freed.
pub(super) fn keys(text: &[u8]) -> Result<Vec<PrivateKeyDer<'static>>, PemError> {
    let mut found: Vec<PrivateKeyDer<'static>> = Vec::new();
    let mut rest = text;
    while found.len() < 2 {
        match next_key(&mut rest, text.len()) {
            Ok(Some(key)) => found.push(key),
            Ok(None) => break,
            Err(error) => {
                found.iter_mut().for_each(Zeroize::zeroize);
                return Err(error);
            }
        }
    }
    Ok(found)
}

/// The next section that is a private key.
fn next_key(rest: &mut &[u8], most: usize) -> Result<Option<PrivateKeyDer<'static>>, PemError> {
    while let Some(line) = next_line(rest) {
        let Some(label) = line.strip_prefix(b"-----BEGIN ") else { continue };
        let label = label.strip_suffix(b"-----").ok_or(PemError::BeginLine)?;
        let kind: fn(Vec<u8>) -> PrivateKeyDer<'static> = match label {
            b"PRIVATE KEY" => |der| PrivatePkcs8KeyDer::from(der).into(),
            b"RSA PRIVATE KEY" => |der| PrivatePkcs1KeyDer::from(der).into(),
            b"EC PRIVATE KEY" => |der| PrivateSec1KeyDer::from(der).into(),
            _ => {
                skip(label, rest)?;
                continue;
            }
        };
        // Both buffers are as large as they will get: one that grows leaves what it held behind.
        let mut text = Zeroizing::new(Vec::with_capacity(most));
        loop {
            let line = next_line(rest).ok_or(PemError::Unterminated)?;
            if is_end(line, label) {
                break;
            }
            text.extend_from_slice(line);
        }
        let mut der = Vec::with_capacity(base64::check(&text).ok_or(PemError::Base64)?);
        der.extend(base64::decode(&text));
        return Ok(Some(kind(der)));
    }
    Ok(None)
}

/// To behind the END of a section that is something else.
fn skip(label: &[u8], rest: &mut &[u8]) -> Result<(), PemError> {
    while let Some(line) = next_line(rest) {
        if is_end(line, label) {
            return Ok(());
        }
    }
    Err(PemError::Unterminated)
}

fn is_end(line: &[u8], label: &[u8]) -> bool {
    line.strip_prefix(b"-----END ").and_then(|line| line.strip_suffix(b"-----")) == Some(label)
}

fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = behind.get(1..).unwrap_or_default();
    Some(line.trim_ascii())
}

/// The labels of the sections of a text, whether or not anyone knows them, at most five.
pub(super) fn labels(text: &[u8]) -> Vec<String> {
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let line = line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
            // A label is a few upper-case words; anything else is not repeated to the reader.
            let plain =
                line.len() <= 40 && line.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' '));
            Some(if plain { String::from_utf8_lossy(line).into_owned() } else { "something else".to_owned() })
        })
        .take(5)
        .collect()
}

/// The first section with a label that rustls' own reader does not know; `None` when there is none.
pub(super) fn section(text: &[u8], label: &str) -> Option<Result<Vec<u8>, PemError>> {
    let text = core::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let Some((base64, _)) = rest.split_once("-----END ") else {
        return Some(Err(PemError::Unterminated));
    };
    // The same section under a label that the reader knows: one decoder for all base64 here.
    let known = format!("-----BEGIN CERTIFICATE-----{base64}-----END CERTIFICATE-----\n");
    Some(certificates(known.as_bytes()).and_then(|mut found| match found.pop() {
        Some(der) => Ok(der.to_vec()),
        None => Err(PemError::Base64),
    }))
}

/// Whether a key of this text is locked with a passphrase (PKCS#8, or the older header of OpenSSL).
pub(super) fn is_encrypted(text: &[u8]) -> bool {
    let has = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// `, it holds A and B`, or nothing when there is no PEM section at all.
pub(super) fn what_instead(labels: &[String]) -> String {
    match labels {
        [] => String::new(),
        some => format!(", it holds {}", some.join(" and ")),
    }
}

pub(super) fn explain(error: pem::Error) -> PemError {
    match error {
        pem::Error::MissingSectionEnd { .. } => PemError::Unterminated,
        pem::Error::IllegalSectionStart { .. } => PemError::BeginLine,
        pem::Error::SectionTooLarge => PemError::TooLarge,
        _ => PemError::Base64,
    }
}
