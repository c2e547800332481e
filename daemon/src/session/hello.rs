//! Seeing the ClientHello before the configuration is chosen: for a server that goes on without
//! ALPN when nothing matches, which rustls can only do with a configuration that has none.

use std::sync::Arc;

use rustls::server::Acceptor;
use tlsify_protocol::Code;

use super::connection::Connection;
use super::fill::Fill;
use crate::tls::{Failure, Roots, ServerProfile, Witness};

pub(super) struct Hello {
    acceptor: Acceptor,
    /// Bytes of the ClientHello that the acceptor has seen; all of them stay in the session's rest.
    seen: usize,
    profile: Arc<ServerProfile>,
    system: Option<Roots>,
    exports: bool,
}

impl Hello {
    pub(super) fn new(profile: Arc<ServerProfile>, system: Option<Roots>, exports: bool) -> Self {
        Self { acceptor: Acceptor::default(), seen: 0, profile, system, exports }
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
                return Err(Failure::new(Code::ProtocolViolation, "the ClientHello is too long".to_owned()));
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let matches = self.profile.alpn_matches(accepted.client_hello().alpn());
                    let config = self.profile.session_config(witness, self.system.as_ref(), !matches)?;
                    return Connection::server(config, self.exports)
                        .map(Some)
                        .map_err(|error| Failure::from_rustls(&error, witness));
                }
                Err((error, mut alert)) => {
                    // Writing into a Fill cannot fail.
                    let _ = alert.write_all(out);
                    return Err(Failure::from_rustls(&error, witness));
                }
            }
        }
        Ok(None)
    }
}
