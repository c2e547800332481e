//! The alert that ends a session: which one it was, and one that is put right.

use rustls::Error;
use tlsify_protocol::{Code, Party};

use super::fill::Fill;

/// RFC 9846 §6 (formerly RFC 8446 §6): the alert that answers a server_name nobody serves.
const UNRECOGNIZED_NAME: u8 = 112;
/// RFC 9846 §6.2: the alert that answers a record that does not decrypt.
const BAD_RECORD_MAC: u8 = 20;
/// What rustls says in its place when the resolver finds no certificate: access_denied, in an
/// unencrypted alert record of TLS 1.2's shape, fatal.
const RUSTLS_NO_CERTIFICATE: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// internal_error, fatal, in a record of its own.
const UNSIGNED: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// The alert that was really said: read where it is in the clear, else what the error leads to. Nothing said is no
/// alert, whatever the error.
pub(super) fn said_in(
    said: &[u8],
    likely: Option<(u8, Party)>,
    error: &Error,
    handshaking: bool,
) -> Option<u8> {
    match said.last_chunk::<7>() {
        None => None,
        Some(&[21, 3, _, 0, 2, _, alert]) => Some(alert),
        // Behind the handshake nothing but a record fails to decrypt; in it, a Finished may.
        Some(_) if *error == Error::DecryptError && !handshaking => Some(BAD_RECORD_MAC),
        Some(_) => likely.map(|(alert, _)| alert),
    }
}

/// We cannot sign, and rustls says nothing about it. What stood in front of the signature in the same flight is taken back,
/// so that this is our first word in it, and not encrypted: in TLS 1.2 nothing is at this point, in TLS 1.3 a server has
/// not said its ServerHello, and a client has used no key yet (RFC 9846 §6; peers take such an alert until then).
pub(super) fn say_unsigned(out: &mut Fill, said: usize) {
    out.truncate(said);
    out.extend(&UNSIGNED);
}

/// rustls has one alert for every reason not to have a certificate; RFC 6066 §3 wants
/// unrecognized_name for a name that is not served.
pub(super) fn correct(code: Code, said: &mut [u8]) {
    if code == Code::UnknownServerName
        && let Some(alert) = said.last_chunk_mut::<7>()
        && *alert == RUSTLS_NO_CERTIFICATE
    {
        alert[6] = UNRECOGNIZED_NAME;
    }
}
