//! One rustls client that owns no buffers, so that thousands at rest cost the bench little and a download is not read in
//! pieces of 4 KiB, as the buffered interface does it: bytes come in from one large buffer and go out to another.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, HandshakeKind, NamedGroup};

/// What a record of 16 KiB can grow by, with room to spare.
const OVERHEAD: usize = 64;
/// The plaintext of the largest record (RFC 9846 section 5.1).
const RECORD: usize = 16 * 1024;
/// No flight of a client is larger, also with a share of X25519MLKEM768.
const FLIGHT: usize = 4096;

/// A client's side of one session.
pub(crate) struct Tls(UnbufferedClientConnection);

/// Where a session has come to, when all that came is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The handshake goes on when more comes.
    Handshaking,
    /// Requests can be sent.
    Open,
    /// The server said close_notify.
    PeerClosed,
}

impl Tls {
    pub(crate) fn new(config: &Arc<ClientConfig>) -> Result<Self, String> {
        let name = ServerName::try_from("localhost").expect("it is a name");
        UnbufferedClientConnection::new(Arc::clone(config), name).map(Self).map_err(|error| error.to_string())
    }

    /// Uses up what came, but for a part of a record at its end: says how much it used. Plaintext goes to `plain`, what
    /// has to be sent is appended to `out`.
    ///
    /// # Errors
    /// What rustls says, or `plain`.
    pub(crate) fn process(
        &mut self,
        incoming: &mut [u8],
        out: &mut Out,
        plain: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(usize, Step), String> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state, .. } = self.0.process_tls_records(&mut incoming[used..]);
            used += discard;
            match state.map_err(|error| error.to_string())? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| error.to_string())?;
                        used += record.discard;
                        plain(record.payload)?;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    into(out, FLIGHT, |room| {
                        data.encode(room).map_err(|error| match error {
                            EncodeError::InsufficientSize(size) => Some(size.required_size),
                            EncodeError::AlreadyEncoded => None,
                        })
                    })?;
                }
                // The caller sends `out` before it waits.
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::BlockedHandshake => return Ok((used, Step::Handshaking)),
                ConnectionState::WriteTraffic(_) => return Ok((used, Step::Open)),
                ConnectionState::PeerClosed | ConnectionState::Closed => return Ok((used, Step::PeerClosed)),
                other => return Err(format!("rustls came to {other:?}")),
            }
        }
    }

    /// Appends `data`, encrypted, to `out`. `rest` is what [`Tls::process`] did not use.
    pub(crate) fn encrypt(&mut self, rest: &mut [u8], data: &[u8], out: &mut Out) -> Result<(), String> {
        let likely = data.len() + (data.len() / RECORD + 1) * OVERHEAD;
        match self.0.process_tls_records(rest).state.map_err(|error| error.to_string())? {
            ConnectionState::WriteTraffic(mut traffic) => {
                into(out, likely, |room| traffic.encrypt(data, room).map_err(needed))
            }
            other => Err(format!("a request cannot be written in {other:?}")),
        }
    }

    /// Appends close_notify to `out`.
    pub(crate) fn close_notify(&mut self, rest: &mut [u8], out: &mut Out) -> Result<(), String> {
        match self.0.process_tls_records(rest).state.map_err(|error| error.to_string())? {
            ConnectionState::WriteTraffic(mut traffic) => {
                into(out, OVERHEAD, |room| traffic.queue_close_notify(room).map_err(needed))
            }
            other => Err(format!("close_notify cannot be written in {other:?}")),
        }
    }

    /// Full or resumed, when the handshake is done.
    ///
    /// # Errors
    /// It used the curve that is only there for the certificate.
    pub(crate) fn kind(&self) -> Result<Option<HandshakeKind>, String> {
        match self.0.negotiated_key_exchange_group().map(|group| group.name()) {
            Some(NamedGroup::secp256r1) => Err("the key exchange was on P-256".to_owned()),
            _ => Ok(self.0.handshake_kind()),
        }
    }
}

/// Bytes to be sent, in memory that is used again and again.
#[derive(Default)]
pub(crate) struct Out {
    room: Vec<u8>,
    filled: usize,
}

impl Out {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.room[..self.filled]
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }
}

/// Lets `write` write behind what `out` has: into `likely` bytes, and into more when it says how many it needs.
fn into(
    out: &mut Out,
    likely: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), String> {
    let mut room = likely;
    for _ in 0..2 {
        let end = out.filled + room;
        if out.room.len() < end {
            out.room.resize(end, 0);
        }
        match write(&mut out.room[out.filled..end]) {
            Ok(count) => {
                out.filled += count;
                return Ok(());
            }
            Err(Some(more)) => room = more,
            Err(None) => break,
        }
    }
    Err("rustls cannot encrypt any more".to_owned())
}

fn needed(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}
