//! Seeing the ClientHello before the configuration is chosen: for a server that goes on without
//! ALPN when nothing matches, which rustls can only do with a configuration that has none.

use std::sync::Arc;

use rustls::server::Acceptor;
use tlsify_protocol::{Code, Party};

use super::connection::Connection;
use super::fill::Fill;
use super::server_config;
use crate::tls::{Failure, Roots, ServerProfile, ServerResumption, Witness};

/// RFC 9846 §6.2: the alert for a message that cannot be taken apart.
const DECODE_ERROR: u8 = 50;

pub(super) struct Hello {
    acceptor: Acceptor,
    /// Bytes of the ClientHello that the acceptor has seen; all of them stay in the session's rest.
    seen: usize,
    profile: Arc<ServerProfile>,
    system: Option<Roots>,
    exports: bool,
    resume: Option<ServerResumption>,
}

impl Hello {
    pub(super) fn new(
        profile: Arc<ServerProfile>,
        system: Option<Roots>,
        exports: bool,
        resume: Option<ServerResumption>,
    ) -> Self {
        Self { acceptor: Acceptor::default(), seen: 0, profile, system, exports, resume }
    }

    /// Looks at the bytes so far, none of which are used up. `Some` when the ClientHello is whole:
    /// the connection then reads all of them.
    pub(super) fn read(
        &mut self,
        incoming: &[u8],
        witness: &Arc<Witness>,
        out: &mut Fill,
    ) -> Result<Option<Connection>, Failure> {
        let mut fresh = &incoming[self.seen.min(incoming.len())..];
        self.seen = incoming.len();
        while !fresh.is_empty() {
            if self.acceptor.read_tls(&mut fresh).is_err() {
                let mut failure =
                    Failure::new(Code::ProtocolViolation, "the ClientHello is too long".to_owned());
                failure.alert = Some((DECODE_ERROR, Party::Us));
                return Err(say(failure, out));
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let matches = self.profile.alpn_matches(accepted.client_hello().alpn());
                    let (system, resume) = (self.system.as_ref(), self.resume.as_ref());
                    let config = server_config(&self.profile, witness, system, !matches, resume)?;
                    return Connection::server(config, self.exports)
                        .map(Some)
                        .map_err(|error| Failure::from_rustls(&error, witness));
                }
                Err((error, mut alert)) => {
                    let before = out.len();
                    // Writing into a Fill cannot fail.
                    let _ = alert.write_all(out);
                    let failure = Failure::from_rustls(&error, witness);
                    return Err(if out.len() > before { failure } else { say(failure, out) });
                }
            }
        }
        Ok(None)
    }
}

/// The acceptor is silent about a first message that is no handshake message, where a connection is not. Before the
/// ServerHello everything is in the clear, an alert too: level fatal, version as in every record (RFC 9846 §5.1).
fn say(failure: Failure, out: &mut Fill) -> Failure {
    if let Some((alert, Party::Us)) = failure.alert {
        out.extend(&[21, 3, 3, 0, 2, 2, alert]);
    }
    failure
}
