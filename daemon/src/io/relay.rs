//! The only loop: four arms around one session, always in the same order.
//!
//! ```text
//!            1 plain out ◀── held plaintext ◀──┐            ┌──▶ held records ──▶ 2 net out
//!  program                                    Session                                       peer
//!            3 plain in ──▶ handle_plain ─────┘            └───── handle_net ◀── 4 net in
//! ```
//!
//! A turn does each arm once at most, so a bulk session goes to the back of the queue after one read
//! of each side. An arm that would add to bytes already refused does not run: that is the
//! back-pressure, in both directions, and the bound on memory (one read of each side).
//!
//! How a session ended is decided here ([`Outcome`]): close_notify, a bare FIN, a reset, an alert and
//! the program's own end are told apart, and close_notify is said only when the program ended its
//! stream without an error.

mod arms;
mod aside;
mod closing;
mod ending;
mod waiting;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tlsify_protocol::OutboundEnd;

use super::end::{End, Plain};
use super::held::Held;
use super::linger::Linger;
use super::poller::{Poller, Readiness, Token, Which};
use super::scratch::{READ, Scratch};
use crate::session::{Session, SessionState};
use crate::tls::Failure;
pub use aside::{Done, Step};
pub use ending::Outcome;
use waiting::Waits;

/// Records held for a peer that does not read, above which nothing more is read from it. One read of
/// the program is at most a quarter of this, so honest traffic in both directions never gets here;
/// a peer that makes us answer (key_update) without reading does.
const MAX_ANSWERS: usize = 4 * READ;

/// Limits on waiting.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the hand-over to `established`.
    pub handshake: Duration,
    /// Without a byte in either direction; `None` waits for ever.
    pub idle: Option<Duration>,
    /// For the peer's end, after ours.
    pub linger: Duration,
}

/// What to do after a turn.
#[derive(Debug)]
pub enum Turn {
    /// Wait for the poller.
    Wait,
    /// There is more to do at once; others first.
    Again,
    /// This is to be done on a thread beside the loop, and to come [`Relay::back`].
    Aside(Box<Step>),
    /// The handshake is done: [`Relay::open`] is due.
    Established,
    /// The session is over. Reported once; then [`Relay::close_plain`], and more turns until
    /// [`Turn::Gone`].
    Over(Outcome),
    /// Nothing is left to wait for.
    Gone,
}

/// What a session starts with.
pub struct Start {
    /// The TLS side.
    pub session: Session,
    /// A connected stream socket, checked.
    pub net: OwnedFd,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// The socket is not connected yet: its SYN goes out with the first bytes (RFC 7413).
    pub deferred: bool,
    /// When the peer hears that the program's stream has ended.
    pub outbound_end: OutboundEnd,
    /// Somebody else's signer has our key: the handshake's steps are for a thread beside the loop.
    pub waits_for_signer: bool,
}

/// A session between its two sides.
pub struct Relay {
    /// Its stand-in while it is aside.
    session: Session,
    waits_for_signer: bool,
    is_aside: bool,
    /// On its way there.
    step: Option<Box<Step>>,
    token: Token,
    awaited: Awaited,
    net: OwnedFd,
    net_ready: Readiness,
    /// How often what is read from the network at once has doubled: a byte, because a
    /// session at rest has none to spare.
    doubled: u8,
    /// Writing to the peer failed; what it said before may still be read.
    net_broken: bool,
    /// Everything that the peer sent was read, up to its FIN.
    net_at_end: bool,
    /// We have said FIN.
    net_finished: bool,
    plain: Option<Plain>,
    inbound_ready: Readiness,
    outbound_ready: Readiness,
    inbound: Inbound,
    /// Bytes of the peer were thrown away.
    lost: bool,
    /// The program's stream has ended.
    outbound_ended: bool,
    /// It has, and the peer is told only behind its own end.
    end_held: bool,
    outbound_end: OutboundEnd,
    to_program: Held,
    to_peer: Held,
    linger: Option<Box<Linger>>,
    waits: Waits,
    /// Nothing has come from the peer since its SYN went out with the first bytes.
    deferred: bool,
    /// What writing failed with in that time: the kernel says it once.
    syn_error: Option<Errno>,
    /// A failure that waits until the program has what came before it.
    pending: Option<Box<Outcome>>,
    started: Instant,
    progress: Instant,
    now: Instant,
    bytes_in: u64,
    bytes_out: u64,
    deadline: Option<Instant>,
}

/// Where the poller tells of room to write.
#[derive(Default)]
struct Awaited {
    net: bool,
    program: bool,
}

/// The direction to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inbound {
    Open,
    /// Ended cleanly; a pump still delivers.
    Flushing,
    /// Ended cleanly and delivered.
    Finished,
    /// The program does not read any more: what comes is dropped.
    Dropped,
}

/// An arm of the turn; an error is the session's end.
type Arm = Result<(), Outcome>;

impl Relay {
    /// A relay at its start; [`Relay::watch`] and [`Relay::begin`] are next. `since` is when the session was handed over.
    #[must_use]
    pub fn new(start: Start, since: Instant) -> Self {
        Self {
            session: start.session,
            waits_for_signer: start.waits_for_signer,
            is_aside: false,
            step: None,
            token: Token::default(),
            awaited: Awaited::default(),
            net: start.net,
            // The first bytes are often there already; a read that finds nothing costs one call.
            net_ready: Readiness { readable: true, writable: true, ..Readiness::default() },
            doubled: 0,
            net_broken: false,
            net_at_end: false,
            net_finished: false,
            plain: None,
            inbound_ready: Readiness::default(),
            outbound_ready: Readiness::default(),
            inbound: Inbound::Open,
            lost: false,
            outbound_ended: false,
            end_held: false,
            outbound_end: start.outbound_end,
            to_program: Held::default(),
            to_peer: Held::default(),
            linger: None,
            waits: Waits::new(&start.timeouts),
            deferred: start.deferred,
            syn_error: None,
            pending: None,
            started: since,
            progress: since,
            now: since,
            bytes_in: 0,
            bytes_out: 0,
            deadline: None,
        }
    }

    /// Registers the network socket. Once, and before anything else.
    ///
    /// # Errors
    /// The system's, when it cannot be polled.
    pub fn watch(&mut self, poller: &Poller, token: Token) -> std::io::Result<()> {
        poller.add(&self.net, token, Which::Net)?;
        self.token = token;
        Ok(())
    }

    /// Starts the handshake: a client says hello, and `received`, which the caller had read from
    /// the socket before it handed it over, is processed first.
    pub fn begin(&mut self, received: &[u8], scratch: &mut Scratch) -> Turn {
        scratch.net_in.clear();
        scratch.net_in.extend(received);
        let processed = self.process(scratch);
        self.begun(processed)
    }

    /// What a step of the handshake leads to.
    fn begun(&mut self, processed: Arm) -> Turn {
        match processed {
            Err(outcome) => self.over(outcome),
            Ok(()) => match self.step.take() {
                Some(step) => Turn::Aside(step),
                None if self.is_handshaking() => Turn::Again,
                None => Turn::Established,
            },
        }
    }

    /// The session opens: this is where the program's side is.
    ///
    /// # Errors
    /// The system's, when it cannot be polled; the session then has to be aborted.
    pub fn open(&mut self, plain: Plain, poller: &Poller) -> std::io::Result<()> {
        if let Some(end) = plain.inbound() {
            poller.add(end.as_fd(), self.token, Which::Inbound)?;
        }
        if let Plain::Split { outbound: Some(end), .. } = &plain {
            poller.add(end.as_fd(), self.token, Which::Outbound)?;
        }
        self.inbound_ready.writable = true;
        // Nobody has written yet into a pair that was just made.
        self.outbound_ready.readable = !plain.outbound().is_some_and(End::is_ours_alone);
        // Idle begins now: connecting and shaking hands had a limit of their own.
        self.progress = self.now;
        self.plain = Some(plain);
        Ok(())
    }

    /// The session's place, since [`Relay::watch`].
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// The TLS side, for its facts.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Version and cipher suite; `-` before they are agreed on.
    #[must_use]
    pub fn agreed(&self) -> (&'static str, &'static str) {
        self.session.agreed()
    }

    /// Key-exchange group and application protocol; none before they are agreed on.
    #[must_use]
    pub fn chosen(&self) -> (Option<&'static str>, Option<&[u8]>) {
        self.session.chosen()
    }

    /// Whether one direction has ended and the other has not.
    #[must_use]
    pub fn is_half_closed(&self) -> bool {
        matches!(self.session.state(), SessionState::Closing(_))
    }

    /// Plaintext bytes that the program got, and that it sent.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }

    /// How often the key that we send with was replaced.
    #[must_use]
    pub fn key_updates(&self) -> u32 {
        self.session.key_updates()
    }

    /// When the session was handed over.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether the handshake still runs.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.session.state().is_handshaking()
    }

    /// Whether the session was reported and only its socket is still being closed.
    #[must_use]
    pub fn is_lingering(&self) -> bool {
        self.linger.is_some()
    }

    /// Notes what the poller saw.
    pub fn ready(&mut self, which: Which, seen: Readiness) {
        let note = |mine: &mut Readiness| {
            mine.readable |= seen.readable | seen.ended;
            mine.writable |= seen.writable;
            mine.ended |= seen.ended;
            mine.hung_up |= seen.hung_up;
        };
        match which {
            Which::Net => note(&mut self.net_ready),
            Which::Inbound => {
                note(&mut self.inbound_ready);
                if matches!(self.plain, Some(Plain::Socket(_))) {
                    note(&mut self.outbound_ready);
                }
            }
            Which::Outbound => note(&mut self.outbound_ready),
        }
    }

    /// One turn.
    pub fn turn(&mut self, scratch: &mut Scratch, poller: &Poller, now: Instant) -> Turn {
        let turn = match &mut self.linger {
            Some(linger) => linger.turn(&self.net, &mut self.net_ready, &mut self.to_peer, scratch),
            None => {
                self.now = now;
                match self.arms(scratch, poller) {
                    Err(outcome) => self.over(outcome),
                    Ok(()) if self.step.is_some() => self.begun(Ok(())),
                    Ok(()) if self.plain.is_none() && !self.is_handshaking() => Turn::Established,
                    Ok(()) if self.has_more() => Turn::Again,
                    Ok(()) => Turn::Wait,
                }
            }
        };
        match self.await_room(poller) {
            Ok(()) => turn,
            Err(_) if self.linger.is_some() => Turn::Gone,
            Err(error) => self.broken_by_us(Failure::internal(format!("waiting for room to write: {error}"))),
        }
    }

    fn arms(&mut self, scratch: &mut Scratch, poller: &Poller) -> Arm {
        self.plain_out()?;
        self.net_out()?;
        self.plain_in(scratch)?;
        self.net_in(scratch)?;
        self.peer_left(scratch)?;
        self.tell_held_end(scratch)?;
        self.settle(poller)
    }

    /// Has the poller speak of room where something is held, and only there.
    fn await_room(&mut self, poller: &Poller) -> std::io::Result<()> {
        // TCP speaks of room only after it refused something: once asked for, it costs nothing more.
        if !self.awaited.net && !self.to_peer.is_empty() {
            poller.await_room(&self.net, self.token, Which::Net, true)?;
            self.awaited.net = true;
        }
        let held = !self.to_program.is_empty();
        if self.awaited.program != held
            && let Some(end) = self.plain.as_ref().and_then(Plain::inbound)
        {
            poller.await_room(end.as_fd(), self.token, Which::Inbound, held)?;
            self.awaited.program = held;
        }
        Ok(())
    }

    fn may_receive(&self) -> bool {
        self.to_program.is_empty() && self.to_peer.len() <= MAX_ANSWERS && !self.is_aside
    }

    fn may_send(&self) -> bool {
        self.plain.is_some() && self.session.state().may_send() && self.to_peer.is_empty() && !self.net_broken
    }

    fn has_more(&self) -> bool {
        let net = self.net_ready.readable && self.may_receive();
        let program = self.outbound_ready.readable && self.may_send();
        net || program
    }
}

#[cfg(test)]
mod tests;
