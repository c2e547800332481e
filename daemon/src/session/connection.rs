//! One rustls connection that owns no buffer: the bytes come in and go out as arguments.
//!
//! With the session machine above it ([`super::Session`]) this is one of the two rooms that name rustls.
//! The unbuffered interface is the data path of everybody; a session that asked for exporter values
//! runs on [`super::buffered`] instead, because rustls 0.23 exports only there.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ProtocolVersion, ServerConfig};

use super::buffered::Buffered;
use super::fill::Fill;

/// TLS adds at most this to a record of 16 KiB: header, explicit nonce, content type, tag, and some
/// room for a key_update that goes in front. Too small costs a second try, nothing else.
const RECORD_OVERHEAD: usize = 64;
/// The type that every record of an open TLS 1.3 session shows (RFC 9846 §5.2).
const APPLICATION_DATA: u8 = 23;
/// The smallest plaintext per record that anybody can ask for (`max-fragment`), for sizing.
const TYPICAL_FRAGMENT: usize = 16 * 1024;

/// What a call to [`Connection::process`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing more to do before more bytes come.
    Blocked,
    /// The handshake is done, and everything that came is processed.
    Open,
    /// The peer said close_notify; what came before it is in the plaintext.
    PeerClosed,
}

/// A client's or a server's connection. The variants are as large as rustls makes them: the box
/// around the whole session is the one allocation.
#[allow(clippy::large_enum_variant, reason = "one allocation per session, made around it")]
pub(super) enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
    Buffered(Box<Buffered>),
}

impl Connection {
    pub(super) fn client(
        mut config: Arc<ClientConfig>,
        name: ServerName<'static>,
        exports: bool,
    ) -> Result<Self, Error> {
        Ok(if exports {
            // RFC 7627 §5.4: without it, TLS 1.2 sessions can share keys, so an exported value binds nothing.
            Arc::make_mut(&mut config).require_ems = true;
            Self::Buffered(Box::new(Buffered::client(config, name)?))
        } else {
            Self::Client(UnbufferedClientConnection::new(config, name)?)
        })
    }

    pub(super) fn server(mut config: Arc<ServerConfig>, exports: bool) -> Result<Self, Error> {
        Ok(if exports {
            // As for a client.
            Arc::make_mut(&mut config).require_ems = true;
            Self::Buffered(Box::new(Buffered::server(config)?))
        } else {
            Self::Server(UnbufferedServerConnection::new(config)?)
        })
    }

    /// Processes what came from the peer. Plaintext is appended to `plain`, bytes for the peer to
    /// `out` (also a fatal alert, when this fails). Returns how many bytes of `incoming` are used
    /// up; the rest has to stand in front of what comes next.
    pub(super) fn process(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Fill,
        out: &mut Fill,
    ) -> (usize, Result<Step, Error>) {
        if let Self::Buffered(conn) = self {
            return conn.process(incoming, plain, out);
        }
        let mut used = 0;
        loop {
            let (discard, progress) = self.advance(&mut incoming[used..], plain, out, None);
            used += discard;
            match progress {
                Ok(Progress::More) => {}
                Ok(Progress::Blocked) => return (used, Ok(Step::Blocked)),
                Ok(Progress::Open | Progress::Wrote) => return (used, Ok(Step::Open)),
                Ok(Progress::PeerClosed) => return (used, Ok(Step::PeerClosed)),
                Err(error) => {
                    self.collect_alert(&mut incoming[used..], plain, out);
                    return (used, Err(error));
                }
            }
        }
    }

    /// Encrypts `data` into `out`. `rest` is the partial record that [`Connection::process`] left.
    pub(super) fn encrypt(&mut self, rest: &mut [u8], data: &[u8], out: &mut Fill) -> Result<(), Error> {
        match self {
            Self::Buffered(conn) => conn.encrypt(data, out),
            _ => self.write(rest, Write::Data(data), out),
        }
    }

    /// Appends the close_notify alert to `out` (RFC 9846 §6.1).
    pub(super) fn close_notify(&mut self, rest: &mut [u8], out: &mut Fill) -> Result<(), Error> {
        match self {
            Self::Buffered(conn) => conn.close_notify(out),
            _ => self.write(rest, Write::CloseNotify, out),
        }
    }

    /// Whether there are new keys for old sessions: in TLS 1.3.
    pub(super) fn has_key_updates(&self) -> bool {
        self.common().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether no part of a handshake message waits for its end, if `rest` is what [`Connection::process`] left: rustls
    /// leaves a whole record there only as a part of one. Such a message of an open session is a ticket in several records.
    /// What the buffered connection holds cannot be seen; for it to matter, the peer would have to pause in the middle of its
    /// ticket until it is time for a new key.
    pub(super) fn is_between_messages(&self, rest: &[u8]) -> bool {
        match *rest {
            _ if matches!(self, Self::Buffered(_)) => true,
            [] => true,
            [APPLICATION_DATA, _, _, high, low, ref begun @ ..] => {
                begun.len() < usize::from(u16::from_be_bytes([high, low]))
            }
            [APPLICATION_DATA, ..] => true,
            _ => false,
        }
    }

    /// Says key_update, asks the peer for one (RFC 9846 §4.7.3), and sends with the new key from now on.
    pub(super) fn renew_key(&mut self, rest: &mut [u8], out: &mut Fill) -> Result<(), Error> {
        match self {
            Self::Buffered(conn) => conn.renew_key(out),
            _ => self.write(rest, Write::KeyUpdate, out),
        }
    }

    /// Whether no part of a message waits for its end, if `rest` is what [`Connection::process`] left. What the
    /// buffered connection holds cannot be seen.
    pub(super) fn holds_nothing(&self, rest: &[u8]) -> bool {
        rest.is_empty() && !matches!(self, Self::Buffered(_))
    }

    /// What was negotiated.
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Client(conn) => conn,
            Self::Server(conn) => conn,
            Self::Buffered(conn) => conn.common(),
        }
    }

    /// An exporter value (RFC 5705; RFC 9846 §7.5). Only a connection made with `exports` has them.
    pub(super) fn export(&self, value: &mut [u8], label: &[u8], context: Option<&[u8]>) -> Result<(), Error> {
        match self {
            Self::Buffered(conn) => conn.export(value, label, context),
            _ => Err(Error::General("this connection was made without exporters".to_owned())),
        }
    }

    fn write(&mut self, rest: &mut [u8], write: Write<'_>, out: &mut Fill) -> Result<(), Error> {
        // A connection at rest has no plaintext waiting: process() took all there was.
        let mut none = Fill::default();
        let mut used = 0;
        loop {
            let (discard, progress) = self.advance(&mut rest[used..], &mut none, out, Some(write));
            used += discard;
            debug_assert!(used == 0 && none.is_empty(), "a whole record was left behind");
            match progress? {
                Progress::More | Progress::PeerClosed => {}
                Progress::Wrote => return Ok(()),
                Progress::Blocked | Progress::Open => return Err(Error::HandshakeNotComplete),
            }
        }
    }

    /// One step of rustls, whichever role.
    fn advance(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Fill,
        out: &mut Fill,
        write: Option<Write<'_>>,
    ) -> (usize, Result<Progress, Error>) {
        match self {
            Self::Client(conn) => take(conn.process_tls_records(incoming), plain, out, write),
            Self::Server(conn) => take(conn.process_tls_records(incoming), plain, out, write),
            Self::Buffered(_) => unreachable!("the buffered connection has its own calls"),
        }
    }

    /// After an error, rustls still has the fatal alert to say. Only so far: one step more would have it
    /// look at the bad record again, and say a second one.
    fn collect_alert(&mut self, incoming: &mut [u8], plain: &mut Fill, out: &mut Fill) {
        while self.common().wants_write() {
            let before = out.len();
            let (_, progress) = self.advance(incoming, plain, out, None);
            if out.len() == before || progress.is_err() {
                return;
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Write<'a> {
    Data(&'a [u8]),
    CloseNotify,
    /// It goes out in front of what is written next.
    KeyUpdate,
}

enum Progress {
    More,
    Blocked,
    Open,
    Wrote,
    PeerClosed,
}

fn take<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Fill,
    out: &mut Fill,
    write: Option<Write<'_>>,
) -> (usize, Result<Progress, Error>) {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let progress = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            into_room(out, TYPICAL_FRAGMENT, |room| match data.encode(room) {
                Ok(count) => Ok(count),
                Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(EncodeError::AlreadyEncoded) => Err(None),
            })
            .map(|()| Progress::More)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // `out` is ours to deliver from here on; the relay keeps what the socket refuses.
            data.done();
            Ok(Progress::More)
        }
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain.extend(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Progress::More),
            }
        },
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match write {
            None => Ok(Progress::Open),
            Some(Write::Data(data)) => {
                let likely = data.len() + (data.len() / TYPICAL_FRAGMENT + 2) * RECORD_OVERHEAD;
                into_room(out, likely, |room| traffic.encrypt(data, room).map_err(needed))
                    .map(|()| Progress::Wrote)
            }
            Some(Write::CloseNotify) => {
                into_room(out, RECORD_OVERHEAD, |room| traffic.queue_close_notify(room).map_err(needed))
                    .map(|()| Progress::Wrote)
            }
            Some(Write::KeyUpdate) => traffic.refresh_traffic_keys().map(|()| Progress::Wrote),
        },
        Ok(ConnectionState::PeerClosed) => Ok(Progress::PeerClosed),
        Ok(ConnectionState::BlockedHandshake) => Ok(Progress::Blocked),
        Ok(ConnectionState::Closed) => Ok(Progress::Open),
        // Early data is off in every configuration of ours, and no other state exists in 0.23.
        Ok(_) => Err(Error::General("rustls reached a state that is switched off here".to_owned())),
    };
    (discard, progress)
}

/// Lets `write` write into the room behind `out`, a second time with more room if it asks for it
/// (`Err(Some(size))`). `Err(None)` means it cannot write any more at all.
fn into_room(
    out: &mut Fill,
    likely: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Error> {
    let mut least = likely;
    for _ in 0..2 {
        match write(out.spare(least)) {
            Ok(count) => {
                out.advance(count);
                return Ok(());
            }
            Err(Some(required)) => least = required,
            Err(None) => break,
        }
    }
    Err(Error::EncryptError)
}

fn needed(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}
