//! The session machine: what may happen now. No I/O, no clock, no task.
//!
//! ```text
//!  bytes from the peer ──handle_net──▶ ┌─────────┐ ──▶ plaintext for the program (a Fill)
//!                                      │ Session │
//!  bytes of the program ─handle_plain▶ └─────────┘ ──▶ records for the peer (a Fill)
//! ```
//!
//! The relay moves the bytes and hands in what happened (`handle_*`); it asks [`Session::state`]
//! what to wait for. A session at rest owns rustls' connection and nothing else: a record that
//! came only in part is kept ([`Session::rest`]) until it is whole.
//!
//! The key that a session sends with is replaced when it has done enough (`key_age`).
//!
//! Verification is not here: [`crate::tls`] prepares the configuration, its verifiers write what
//! they saw into the [`Witness`], and this room reads it.

mod alert;
mod buffered;
mod connection;
mod facts;
mod fill;
mod hello;
mod key_age;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Instant;

use rustls::Error;
use rustls::pki_types::ServerName;
use tlsify_protocol::{Blame, Code, Party};

use crate::tls::{Failure, KeyLimits, Resuming, Returning, ServerProfile, ServerResumption, Witness};

use connection::{Connection, Step};
pub use facts::Facts;
pub use fill::Fill;
use hello::Hello;
use key_age::KeyAge;
pub use state::{Half, SessionState};

/// A peer may keep this much of an unfinished handshake message or record with us: rustls takes
/// handshake messages of up to 64 KiB, each in records that add a little. Less would refuse long
/// but honest certificate chains, more would let a silent peer hold more memory.
pub const MAX_REST: usize = 96 * 1024;

/// One TLS session, from the first byte to the last alert.
pub struct Session {
    stage: Stage,
    state: SessionState,
    rest: Vec<u8>,
    witness: Option<Arc<Witness>>,
    resumes: Option<Box<Resumes>>,
    /// Whether it may be established at all.
    opens: bool,
    /// Of the key that we send with.
    key: KeyAge,
}

/// What a session that resumes, or may, needs beside its connection.
enum Resumes {
    /// The tickets of a client.
    Client(Resuming),
    /// A server's checks of a client that comes back, until the handshake is done.
    Server(Returning),
}

#[allow(clippy::large_enum_variant, reason = "the large variant is the one that lives")]
enum Stage {
    /// The ClientHello has to be seen before a configuration can be chosen.
    Hello(Box<Hello>),
    Running(Connection),
    /// It is a stand-in.
    Away,
}

impl Session {
    /// A TLS client's session. `exports` says whether [`Session::export`] will be asked; `resuming` came with the
    /// configuration, if it may resume.
    ///
    /// # Errors
    /// A [`Failure`] of ours or of the caller: rustls refuses the combination.
    pub fn client(
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
        witness: Arc<Witness>,
        exports: bool,
        resuming: Option<Resuming>,
    ) -> Result<Self, Failure> {
        let connect = || Connection::client(config, name, exports);
        let connection = match &resuming {
            None => connect(),
            Some(resuming) => resuming.at_work(0, true, connect),
        };
        let connection = connection.map_err(|error| Failure::from_rustls(&error, &witness))?;
        let resumes = resuming.map(|resuming| Box::new(Resumes::Client(resuming)));
        Ok(Self { resumes, ..Self::with(Stage::Running(connection), witness) })
    }

    /// A TLS client's session that learns who the server is, with a configuration of
    /// [`ClientProfile::learning_config`](crate::tls::ClientProfile::learning_config). It fails, always, and is never
    /// established, whatever its configuration is.
    ///
    /// # Errors
    /// As [`Session::client`].
    pub fn learner(
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
        witness: Arc<Witness>,
    ) -> Result<Self, Failure> {
        Ok(Self { opens: false, ..Self::client(config, name, witness, false, None)? })
    }

    /// A TLS server's session under `profile`. `system` is the system's CA pool, for a profile that
    /// checks client certificates against it; `resume` what the session may resume with, if it may.
    ///
    /// # Errors
    /// A [`Failure`] of ours or of the operator: rustls refuses the configuration.
    pub fn server(
        profile: &Arc<ServerProfile>,
        system: Option<&crate::tls::Roots>,
        witness: Arc<Witness>,
        exports: bool,
        resume: Option<&ServerResumption>,
    ) -> Result<Self, Failure> {
        let stage = if profile.needs_hello() {
            let hello = Hello::new(Arc::clone(profile), system.cloned(), exports, resume.cloned());
            Stage::Hello(Box::new(hello))
        } else {
            let config = server_config(profile, &witness, system, false, resume)?;
            let connection = Connection::server(config, exports)
                .map_err(|error| Failure::from_rustls(&error, &witness))?;
            Stage::Running(connection)
        };
        let resumes = match resume {
            None => None,
            Some(_) => {
                profile.returning(&witness, system)?.map(|returning| Box::new(Resumes::Server(returning)))
            }
        };
        Ok(Self { resumes, ..Self::with(stage, witness) })
    }

    fn with(stage: Stage, witness: Arc<Witness>) -> Self {
        Self {
            stage,
            state: SessionState::Handshaking,
            rest: Vec::new(),
            witness: Some(witness),
            resumes: None,
            opens: true,
            key: KeyAge::Endless,
        }
    }

    /// The same session, which replaces the key that it sends with when `limits` say so, in TLS 1.3. It began at `since`.
    #[must_use]
    pub fn with_key_limits(self, limits: KeyLimits, since: Instant) -> Self {
        Self { key: KeyAge::new(limits, since), ..self }
    }

    /// A handshaking session that does nothing, to be asked in this one's place while it is elsewhere: it has the same
    /// notebook, and so the same facts.
    #[must_use]
    pub fn stand_in(&self) -> Self {
        Self {
            stage: Stage::Away,
            state: self.state,
            rest: Vec::new(),
            witness: self.witness.clone(),
            resumes: None,
            opens: false,
            key: KeyAge::Endless,
        }
    }

    /// Where the session stands.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.state
    }

    /// The partial record that stands in front of what comes next: [`Session::handle_net`] wants a
    /// copy of it before the bytes that came after it.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Starts a client's handshake, or processes what came from the peer: `incoming` is
    /// [`Session::rest`] and what was received after it. Plaintext is appended to `plain`, bytes for the peer to `out`.
    ///
    /// # Errors
    /// A [`Failure`] ends the session; the alert that tells the peer is in `out` and is to be sent.
    pub fn handle_net(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Fill,
        out: &mut Fill,
    ) -> Result<(), Failure> {
        debug_assert!(incoming.starts_with(&self.rest), "the rest was not put in front");
        if self.state.is_over() {
            return Ok(());
        }
        if let Stage::Hello(hello) = &mut self.stage {
            let Some(witness) = &self.witness else { return Ok(()) };
            match hello.read(incoming, witness, out) {
                Ok(Some(connection)) => self.stage = Stage::Running(connection),
                Ok(None) => return self.keep(incoming),
                Err(failure) => return Err(self.fail(failure)),
            }
        }
        let Stage::Running(connection) = &mut self.stage else { return Ok(()) };
        let (said, told) = (out.len(), plain.len());
        if incoming.len() > self.rest.len() {
            self.key.heard(false);
        }
        let resuming = client(&self.resumes);
        let (used, result) = match resuming {
            None => connection.process(incoming, plain, out),
            Some(resuming) => {
                let (arrived, whole) =
                    (incoming.len() - self.rest.len(), connection.holds_nothing(&self.rest));
                resuming.at_work(arrived, whole, || connection.process(incoming, plain, out))
            }
        };
        let handshaking = connection.common().is_handshaking();
        let shows_ticket = self.state.is_handshaking()
            && result.is_ok()
            && resuming.is_some_and(|resuming| resuming.would_show_a_ticket(connection.common()));
        if plain.len() > told {
            self.key.heard(true);
        }
        if shows_ticket {
            out.truncate(said);
            let text = "the peer asks for a second ClientHello, which would show it a ticket outside of the encrypted one; \
                        the ticket is forgotten, try again";
            return Err(self.fail(Failure::new(Code::NoSharedParameters, text.to_owned())));
        }
        let step = match result {
            Ok(step) => step,
            Err(error) => return Err(self.broken(&error, out, said, handshaking)),
        };
        if self.state.is_handshaking() && !handshaking {
            self.opened(plain)?;
        }
        if step == Step::PeerClosed {
            return self.peer_closed();
        }
        self.keep(&incoming[used..])
    }

    /// rustls' handshake is done: the session opens if it may, and if what was resumed is still good.
    fn opened(&mut self, plain: &mut Fill) -> Result<(), Failure> {
        if !self.opens {
            // The configuration sees to it that nobody gets here; this does not rely on that.
            plain.clear();
            let text = "a session opened that was to learn and nothing else".to_owned();
            return Err(self.fail(Failure::internal(text)));
        }
        let Stage::Running(connection) = &self.stage else { return Ok(()) };
        let common = connection.common();
        let confirmed = match self.resumes.as_deref() {
            Some(Resumes::Client(resuming)) => resuming.confirm(common),
            Some(Resumes::Server(returning)) => returning.confirm(common),
            None => Ok(()),
        };
        self.resumes.take_if(|resumes| matches!(**resumes, Resumes::Server(_)));
        if let Err(error) = confirmed {
            // What came with the Finished is of somebody who is not let in.
            plain.clear();
            // rustls is content, and there is no way to say an alert of ours past it.
            let failure = Failure { alert: None, ..self.failure(&error) };
            return Err(self.fail(failure));
        }
        self.state.on_established();
        Ok(())
    }

    /// What came is wrong, or there is no answer to it. From `said` on, `out` has what rustls had to say about it, in which
    /// an alert may be put right.
    fn broken(&mut self, error: &Error, out: &mut Fill, said: usize, handshaking: bool) -> Failure {
        let mut failure = self.failure(error);
        if failure.is_unsigned() {
            alert::say_unsigned(out, said);
        }
        let said = &mut out.filled_mut()[said..];
        if failure.code == Code::NotTls && !handshaking {
            // It has spoken TLS for a whole handshake: this is no wrong port.
            failure.code = Code::ProtocolViolation;
            failure.text = "the peer sent a record of a kind that TLS does not have".to_owned();
        }
        alert::correct(failure.code, said);
        if !matches!(failure.alert, Some((_, Party::Peer))) {
            failure.alert =
                alert::said_in(said, failure.alert, error, handshaking).map(|alert| (alert, Party::Us));
        }
        self.fail(failure)
    }

    /// Encrypts what the program wrote, with a new key if it is time for one. To be called only while
    /// [`SessionState::may_send`].
    ///
    /// # Errors
    /// The keys' limit is reached, or rustls is in a state that it cannot leave.
    pub fn handle_plain(&mut self, data: &[u8], now: Instant, out: &mut Fill) -> Result<(), Failure> {
        debug_assert!(self.state.may_send(), "the program may not send now");
        let Stage::Running(connection) = &mut self.stage else { return Ok(()) };
        let mut renewed = Ok(());
        if self.key.is_due(now) {
            renewed = renew(&mut self.key, connection, &mut self.rest, now, out);
        }
        self.key.sent(data.len());
        renewed.and_then(|()| connection.encrypt(&mut self.rest, data, out)).map_err(|error| {
            let failure = self.failure(&error);
            self.fail(failure)
        })
    }

    /// The program sends nothing more: close_notify goes out, and the other half stays open.
    ///
    /// # Errors
    /// As [`Session::handle_plain`].
    pub fn handle_plain_end(&mut self, out: &mut Fill) -> Result<(), Failure> {
        if !self.state.may_send() {
            return Ok(());
        }
        let Stage::Running(connection) = &mut self.stage else { return Ok(()) };
        connection.close_notify(&mut self.rest, out).map_err(|error| {
            let failure = self.failure(&error);
            self.fail(failure)
        })?;
        self.state.on_closed(Half::Outbound);
        Ok(())
    }

    /// Something outside TLS ended the session: no close_notify will be said.
    pub fn handle_failure(&mut self, blame: Blame) {
        if let Some(resuming) = client(&self.resumes)
            && self.state.is_handshaking()
            && blame == Blame::Peer
        {
            resuming.gave_up();
        }
        self.state.on_failed(blame);
        self.rest = Vec::new();
    }

    /// What was agreed on, or what was seen of the peer if the handshake failed. To be asked once:
    /// it frees what only the handshake needed.
    #[must_use]
    pub fn take_facts(&mut self) -> Facts {
        let seen = self.witness.take().map(|witness| witness.take()).unwrap_or_default();
        match &self.stage {
            Stage::Running(connection) if !connection.common().is_handshaking() => {
                Facts::agreed(connection.common(), seen)
            }
            Stage::Running(connection) => {
                let alpn = connection.common().alpn_protocol().map(<[u8]>::to_vec);
                Facts { alpn, ..Facts::seen(seen) }
            }
            _ => Facts::seen(seen),
        }
    }

    /// Version and cipher suite by their names; `-` before the handshake is done.
    #[must_use]
    pub fn agreed(&self) -> (&'static str, &'static str) {
        match &self.stage {
            Stage::Running(connection) if !connection.common().is_handshaking() => {
                facts::agreed(connection.common())
            }
            _ => ("-", "-"),
        }
    }

    /// Key-exchange group and application protocol; none before the handshake is done.
    #[must_use]
    pub fn chosen(&self) -> (Option<&'static str>, Option<&[u8]>) {
        match &self.stage {
            Stage::Running(connection) if !connection.common().is_handshaking() => {
                facts::chosen(connection.common())
            }
            _ => (None, None),
        }
    }

    /// How often the key that we send with was replaced before its end.
    #[must_use]
    pub fn key_updates(&self) -> u32 {
        self.key.updates()
    }

    /// An exporter value (RFC 5705; RFC 9846 §7.5) for a session made with `exports`.
    ///
    /// # Errors
    /// Daemon's: the value cannot be had, for instance because the handshake is not done.
    pub fn export(&self, value: &mut [u8], label: &[u8], context: Option<&[u8]>) -> Result<(), Failure> {
        let Stage::Running(connection) = &self.stage else {
            return Err(Failure::internal("no exporter before the handshake".to_owned()));
        };
        connection
            .export(value, label, context)
            .map_err(|error| Failure::internal(format!("exporting key material: {error}")))
    }

    fn peer_closed(&mut self) -> Result<(), Failure> {
        if self.state.is_handshaking() {
            // A goodbye in the middle of a handshake is no end of anything that began.
            let failure = Failure::new(
                Code::ClosedByPeer,
                "the peer said close_notify before the handshake was done".to_owned(),
            );
            return Err(self.fail(failure));
        }
        self.state.on_closed(Half::Inbound);
        // What had come in part is whole now, and what comes after the goodbye is nothing.
        self.rest = Vec::new();
        Ok(())
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), Failure> {
        if rest.len() > MAX_REST {
            let text = format!("the peer's message is longer than {MAX_REST} bytes");
            return Err(self.fail(Failure::new(Code::ProtocolViolation, text)));
        }
        self.rest = rest.to_vec();
        Ok(())
    }

    fn failure(&self, error: &Error) -> Failure {
        match &self.witness {
            Some(witness) => Failure::from_rustls(error, witness),
            None => Failure::from_rustls(error, &Witness::new()),
        }
    }

    fn fail(&mut self, failure: Failure) -> Failure {
        self.handle_failure(failure.blame);
        failure
    }
}

fn client(resumes: &Option<Box<Resumes>>) -> Option<&Resuming> {
    match resumes.as_deref() {
        Some(Resumes::Client(resuming)) => Some(resuming),
        _ => None,
    }
}

/// Replaces the key that we send with, unless now is not the time.
fn renew(
    key: &mut KeyAge,
    connection: &mut Connection,
    rest: &mut [u8],
    now: Instant,
    out: &mut Fill,
) -> Result<(), Error> {
    if !connection.has_key_updates() {
        key.give_up();
        return Ok(());
    }
    // RFC 9846 §5.1: a change of keys is not for the middle of a message; rustls looks at those of the peer, too, and
    // would end the session.
    if key.may_ask(now) && connection.is_between_messages(rest) {
        connection.renew_key(rest, out)?;
        key.renewed(now);
    }
    Ok(())
}

/// The configuration of a server's session, which resumes or does not.
fn server_config(
    profile: &ServerProfile,
    witness: &Arc<Witness>,
    system: Option<&crate::tls::Roots>,
    without_alpn: bool,
    resume: Option<&ServerResumption>,
) -> Result<Arc<rustls::ServerConfig>, Failure> {
    match resume {
        None => profile.session_config(witness, system, without_alpn),
        Some(resume) => profile.resuming_config(witness, system, without_alpn, resume),
    }
}
