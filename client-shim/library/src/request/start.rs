//! What `accept` and `connect` share: the sockets and the session's own options.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tlsify_protocol::{Bind, FdName, OutboundEnd};

use super::{Accept, Connect};

/// What `accept` and `connect` share.
pub(crate) struct Start {
    /// One, or with `to` as many as there are.
    pub(crate) nets: Vec<OwnedFd>,
    pub(crate) plain: Vec<(FdName, OwnedFd)>,
    pub(crate) profile: Option<String>,
    pub(crate) resume: Option<String>,
    pub(crate) tickets: Option<OwnedFd>,
    pub(crate) bind: Bind,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) chain: bool,
    pub(crate) exports: Vec<(String, Option<Vec<u8>>, u8)>,
    pub(crate) channel_binding: bool,
    pub(crate) received: Option<Vec<u8>>,
    pub(crate) outbound_end: OutboundEnd,
}

impl Start {
    pub(super) fn new(nets: Vec<OwnedFd>) -> Self {
        Self {
            nets,
            plain: Vec::new(),
            profile: None,
            resume: None,
            tickets: None,
            bind: Bind::Descriptors,
            handshake_timeout: None,
            idle_timeout: None,
            chain: false,
            exports: Vec::new(),
            channel_binding: false,
            received: None,
            outbound_end: OutboundEnd::default(),
        }
    }
}

/// Bytes already received are the conversation's, not a log's.
impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("nets", &self.nets)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// The methods that set [`Start`].
macro_rules! start_options {
    ($builder:ty) => {
        impl $builder {
            /// Uses this profile: one defined on this control connection, or else one of the operator's. TLS options
            /// beside a profile are refused.
            pub fn profile(mut self, name: impl Into<String>) -> Self {
                self.start.profile = Some(name.into());
                self
            }

            /// The program's side: a connected stream socket that carries both directions. Without it (and without
            /// [`Self::inbound`] and [`Self::outbound`]) the daemon makes a socketpair.
            pub fn plain(mut self, socket: impl Into<OwnedFd>) -> Self {
                self.start.plain.push((FdName::Plain, socket.into()));
                self
            }

            /// Where plaintext from the peer is written: a pipe, a file, a terminal, a socket.
            pub fn inbound(mut self, to: impl Into<OwnedFd>) -> Self {
                self.start.plain.push((FdName::Inbound, to.into()));
                self
            }

            /// Where plaintext for the peer is read: a pipe, a file, a terminal, a socket.
            pub fn outbound(mut self, from: impl Into<OwnedFd>) -> Self {
                self.start.plain.push((FdName::Outbound, from.into()));
                self
            }

            /// How long the session lives: as long as its descriptors, which is the default, or at most as long as
            /// this control connection.
            pub fn bind(mut self, bind: Bind) -> Self {
                self.start.bind = bind;
                self
            }

            /// How long the handshake may take, in whole milliseconds.
            pub fn handshake_timeout(mut self, limit: Duration) -> Self {
                self.start.handshake_timeout = Some(limit);
                self
            }

            /// Ends the session when no byte moved for so long. Without it an idle session stays.
            pub fn idle_timeout(mut self, limit: Duration) -> Self {
                self.start.idle_timeout = Some(limit);
                self
            }

            /// Asks for the peer's certificate chain with the answer.
            pub fn chain(mut self) -> Self {
                self.start.chain = true;
                self
            }

            /// Asks for an exporter value (RFC 9846 section 7.5) of 1 to 255 bytes. TLS 1.2 then takes the extended
            /// master secret (RFC 7627 section 5.4).
            pub fn export(mut self, label: impl Into<String>, context: Option<&[u8]>, length: u8) -> Self {
                self.start.exports.push((label.into(), context.map(<[u8]>::to_vec), length));
                self
            }

            /// Asks for the `tls-exporter` channel binding (RFC 9266).
            pub fn channel_binding(mut self) -> Self {
                self.start.channel_binding = true;
                self
            }

            /// Bytes that were already read from the network socket and belong to TLS: at most 16,384.
            pub fn received(mut self, bytes: impl Into<Vec<u8>>) -> Self {
                self.start.received = Some(bytes.into());
                self
            }

            /// Says close_notify only after the peer has, for peers that take ours as the end of both directions:
            /// without it the peer hears at once that the program has ended its stream.
            pub fn hold(mut self) -> Self {
                self.start.outbound_end = OutboundEnd::Hold;
                self
            }

            /// The network sockets back, for a program that goes on with them after a refusal: one, or those that
            /// were to be connected.
            pub fn into_nets(self) -> Vec<OwnedFd> {
                self.start.nets
            }
        }
    };
}

start_options!(Accept);
start_options!(Connect);
