//! The same connection on rustls' buffered interface, for sessions that asked for exporter values:
//! rustls 0.23 has `export_keying_material` only there. It copies more and holds buffers, so nobody
//! else pays for it.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, CommonState, Connection, Error, InvalidMessage, ProtocolVersion,
    ServerConfig, ServerConnection,
};

use super::connection::Step;
use super::fill::Fill;

/// Plaintext is taken out in steps of this size: one TLS record.
const RECORD: usize = 16 * 1024;
/// The type of a record with an alert, which TLS 1.2 shows (RFC 5246 §6.2.1).
const ALERT: u8 = 21;

pub(super) struct Buffered {
    conn: Connection,
    peer_closed: bool,
}

impl Buffered {
    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        Ok(Self::over(ClientConnection::new(config, name)?.into()))
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::over(ServerConnection::new(config)?.into()))
    }

    fn over(mut conn: Connection) -> Self {
        // Whatever is written is taken out at once, so rustls' own limit would only split it.
        conn.set_buffer_limit(None);
        Self { conn, peer_closed: false }
    }

    pub(super) fn process(
        &mut self,
        incoming: &[u8],
        plain: &mut Fill,
        out: &mut Fill,
    ) -> (usize, Result<Step, Error>) {
        let mut rest = incoming;
        let mut result = Ok(());
        loop {
            if let Err(error) = self.read_some(&mut rest, plain) {
                result = Err(error);
                break;
            }
            if rest.is_empty() {
                break;
            }
        }
        self.collect(out);
        let step = result.map(|()| match (self.conn.is_handshaking(), self.peer_closed) {
            (true, _) => Step::Blocked,
            (false, false) => Step::Open,
            (false, true) => Step::PeerClosed,
        });
        (incoming.len(), step)
    }

    pub(super) fn encrypt(&mut self, data: &[u8], out: &mut Fill) -> Result<(), Error> {
        let before = out.len();
        self.conn.writer().write_all(data).map_err(|_| Error::EncryptError)?;
        self.collect(out);
        // At the end of what a key may encrypt, rustls 0.23 drops in TLS 1.2 what was written, says that it took it, and
        // says close_notify in its place: the peer would take a stream with a hole for a whole one.
        let dropped = self.conn.protocol_version() == Some(ProtocolVersion::TLSv1_2)
            && out.filled().get(before) == Some(&ALERT);
        if dropped {
            out.truncate(before);
            return Err(Error::EncryptError);
        }
        Ok(())
    }

    pub(super) fn close_notify(&mut self, out: &mut Fill) -> Result<(), Error> {
        self.conn.send_close_notify();
        self.collect(out);
        Ok(())
    }

    pub(super) fn renew_key(&mut self, out: &mut Fill) -> Result<(), Error> {
        self.conn.refresh_traffic_keys()?;
        self.collect(out);
        Ok(())
    }

    pub(super) fn common(&self) -> &CommonState {
        &self.conn
    }

    pub(super) fn export(&self, value: &mut [u8], label: &[u8], context: Option<&[u8]>) -> Result<(), Error> {
        self.conn.export_keying_material(value, label, context).map(|_| ())
    }

    fn read_some(&mut self, rest: &mut &[u8], plain: &mut Fill) -> Result<(), Error> {
        if !rest.is_empty() && self.conn.read_tls(rest).is_err() {
            // Only a handshake message without end fills it: plaintext is taken out at once.
            return Err(InvalidMessage::HandshakePayloadTooLarge.into());
        }
        let processed = self.conn.process_new_packets();
        // What came before a bad record is the peer's word, and goes to the program.
        self.take_plain(plain)?;
        self.peer_closed |= processed?.peer_has_closed();
        if self.peer_closed {
            // RFC 9846 §6.1: data after close_notify is ignored.
            *rest = &[];
        }
        Ok(())
    }

    fn take_plain(&mut self, plain: &mut Fill) -> Result<(), Error> {
        loop {
            match self.conn.reader().read(plain.spare(RECORD)) {
                Ok(0) => return Ok(()),
                Ok(count) => plain.advance(count),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(Error::General(format!("rustls' reader: {e}"))),
            }
        }
    }

    fn collect(&mut self, out: &mut Fill) {
        while self.conn.wants_write() {
            if self.conn.write_tls(out).is_err() {
                return;
            }
        }
    }
}
