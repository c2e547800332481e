//! A server that gives tickets, and counts those that clients show.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::peer::server_config;
use crate::pki::Identity;

/// A configuration with tickets on, two for each session of TLS 1.3.
#[derive(Clone, Debug)]
pub struct TicketServer {
    /// For [`crate::Peer::server`].
    pub config: Arc<ServerConfig>,
    counting: Arc<Counting>,
}

#[derive(Debug)]
struct Counting {
    inner: Arc<dyn ProducesTickets>,
    padding: usize,
    shown: AtomicUsize,
}

impl TicketServer {
    /// With this identity, for these versions.
    pub fn new(identity: &Identity, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::padded(identity, versions, 0)
    }

    /// The same with tickets that are longer than they need to be, by so many bytes.
    ///
    /// # Panics
    /// When there is no randomness for the keys.
    pub fn padded(
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
        padding: usize,
    ) -> Self {
        let inner = Ticketer::new().expect("there is randomness");
        let counting = Arc::new(Counting { inner, padding, shown: AtomicUsize::new(0) });
        let mut config = server_config(identity, versions);
        config.ticketer = counting.clone();
        config.send_tls13_tickets = 2;
        Self { config: Arc::new(config), counting }
    }

    /// The same keys for tickets, and another configuration around them.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        change(&mut config);
        Self { config: Arc::new(config), counting: Arc::clone(&self.counting) }
    }

    /// Tickets that clients have shown since the last call.
    pub fn shown(&self) -> usize {
        self.counting.shown.swap(0, Ordering::Relaxed)
    }
}

impl ProducesTickets for Counting {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = self.inner.encrypt(plain)?;
        ticket.resize(ticket.len() + self.padding, 0);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.shown.fetch_add(1, Ordering::Relaxed);
        self.inner.decrypt(&ticket[..ticket.len().checked_sub(self.padding)?])
    }
}
