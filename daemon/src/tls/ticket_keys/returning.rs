//! A client that comes back with a ticket to a server that asks for certificates: nothing is believed because a ticket says
//! it.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{CommonState, Error, HandshakeKind};

use crate::tls::presented::PresentedIds;
use crate::tls::verify_client::ClientVerifier;

/// What is checked of the client of one session, if it resumes: the same as in a full handshake but for the signature,
/// which stands for a key that the client had when the ticket was made.
pub struct Returning {
    verifier: ClientVerifier,
    time: Arc<dyn TimeProvider>,
}

impl Returning {
    pub(in crate::tls) fn new(verifier: ClientVerifier, time: Arc<dyn TimeProvider>) -> Self {
        Self { verifier, time }
    }

    /// The handshake is done. If a ticket was used, rustls has not asked whether the client's certificates are good: they
    /// are checked here, and the session's notebook gets what was found. A client that had shown none comes back as
    /// nobody, where that is allowed.
    ///
    /// # Errors
    /// As of a full handshake. Most tickets that would come to this do not open, so it takes a clock that was set back,
    /// certificates that end in this very second, or an authority or a revocation list past its own end.
    pub(crate) fn confirm(&self, common: &CommonState) -> Result<(), Error> {
        if common.handshake_kind() != Some(HandshakeKind::Resumed) {
            return Ok(());
        }
        let Some((first, rest)) = common.peer_certificates().and_then(<[_]>::split_first) else {
            return if self.verifier.mandatory { Err(Error::NoCertificatesPresented) } else { Ok(()) };
        };
        let now = self.time.current_time().ok_or(Error::FailedToGetCurrentTime)?;
        self.verifier.verify_client_cert(first, rest, now).map(|_| ())
    }
}

/// When the first of these certificates ends, in seconds since 1970. One that cannot be read has ended; without any there
/// is no end.
pub(super) fn end(chain: &[CertificateDer<'_>]) -> u64 {
    let ends = chain.iter().map(|certificate| PresentedIds::read(certificate).map_or(0, |ids| ids.not_after));
    ends.min().unwrap_or(u64::MAX)
}

/// No rules, no names.
impl fmt::Debug for Returning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returning").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, date_time_ymd};

    use super::*;
    use crate::tls::pair::{Authority, params};

    #[test]
    fn the_certificate_that_ends_first_counts_and_garbage_has_ended() {
        let ca = Authority::new("ca");
        let chain = |year| {
            let mut params = params(&["me.example"]);
            params.not_after = date_time_ymd(year, 1, 1);
            ca.issue(&KeyPair::generate().unwrap(), params).chain().to_vec()
        };
        let (late, early) = (chain(2031), chain(2030));
        assert_eq!((end(&late), end(&early)), (1_924_992_000, 1_893_456_000));
        assert_eq!(end(&[&late[..], &early[..]].concat()), end(&early));
        assert_eq!(end(&[late[0].clone(), vec![0x30].into()]), 0);
        assert_eq!(end(&[]), u64::MAX);
    }
}
