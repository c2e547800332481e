//! The process of one token: started when it is asked for, given its PIN, started again after a pause.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::oneshot;
use zeroize::Zeroize;

use super::pin::Pin;
use crate::config;
use crate::io::between::Channel;
use crate::keyholder::token::Place;
use crate::keyholder::token::link::{Order, Said};
use crate::process::files;
use crate::process::logs::LogChoice;
use crate::process::parts::{self, Life, Restarts, TokenStart};
use crate::process::sandbox::Settings;

/// A token whose process crashes again and again is tried as often as one whose device is broken. Others are served
/// meanwhile, so the daemon goes on.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One token's process, and what is remembered of those before.
pub(super) struct Running {
    name: String,
    token: config::Token,
    log: LogChoice,
    sandbox: Option<Settings>,
    pin: Pin,
    state: State,
    restarts: Restarts,
}

enum State {
    /// Not asked for yet, or ended by us.
    Idle,
    Alive {
        channel: Arc<Channel>,
        /// Dropped or told: it is ended.
        end: oneshot::Sender<()>,
    },
    /// It has ended like this, and is not started before.
    Paused(Instant, String),
}

impl Running {
    pub(super) fn new(
        name: &str,
        token: config::Token,
        log: LogChoice,
        sandbox: Option<Settings>,
    ) -> Rc<RefCell<Self>> {
        let (pin, state, restarts) = (Pin::default(), State::Idle, Restarts::default());
        Rc::new(RefCell::new(Self { name: name.to_owned(), token, log, sandbox, pin, state, restarts }))
    }

    pub(super) fn pin_refused(&self) -> bool {
        matches!(self.pin, Pin::Refused(_))
    }

    /// Ends the process, and starts no other.
    pub(super) fn end(&mut self) {
        if let State::Alive { end, .. } = std::mem::replace(&mut self.state, State::Idle) {
            let _ = end.send(());
        }
    }

    /// It asks for the PIN: for each login anew, so that it need not be kept anywhere.
    fn lend_pin(&mut self) -> Order {
        let Some(file) = &self.token.pin_file else {
            return Order::NoPin("there is no \"pin-file\"".to_owned());
        };
        if let Err(refused) = self.pin.ask() {
            tracing::error!(signer = self.name, "{}", refused.text());
            return Order::NoPin(refused.text().to_owned());
        }
        match files::read_password(file) {
            Ok(pin) => Order::Pin(pin.to_vec()),
            Err(why) => {
                self.pin.untried();
                tracing::error!(signer = self.name, "{why}");
                Order::PinLater(why)
            }
        }
    }
}

/// One end of a new connection to the token's process, which is started if it is not there.
///
/// # Errors
/// A sentence for the keyholder's log.
pub(super) fn start(running: &Rc<RefCell<Running>>) -> Result<OwnedFd, String> {
    let mut inner = running.borrow_mut();
    let channel = match &inner.state {
        State::Alive { channel, .. } => Arc::clone(channel),
        State::Paused(until, how) if Instant::now() < *until => {
            let left = until.saturating_duration_since(Instant::now()).as_secs_f32();
            return Err(format!("its process {how}, and is started again in {left:.1} s"));
        }
        State::Idle | State::Paused(..) => {
            let parts::Running { channel, life } =
                started(&inner.name, &inner.token, &inner.log, inner.sandbox.as_ref())?;
            let (end, ended) = oneshot::channel();
            inner.state = State::Alive { channel: Arc::clone(&channel), end };
            tokio::task::spawn_local(keep(Rc::clone(running), Arc::clone(&channel), life, ended));
            channel
        }
    };
    connection(&channel)
}

/// One end of a new connection to the process behind this channel.
///
/// # Errors
/// A sentence.
pub(super) fn connection(channel: &Channel) -> Result<OwnedFd, String> {
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(|error| format!("no connection can be made: {error}"))?;
    let sent = channel.send(&Order::Serve, &[theirs.as_fd()]);
    sent.map_err(|error| format!("its process takes no connection: {error}"))?;
    Ok(ours)
}

/// The process of a token, with what it has to know on its way. It ends when the channel is closed.
///
/// # Errors
/// A sentence.
pub(super) fn started(
    name: &str,
    token: &config::Token,
    log: &LogChoice,
    sandbox: Option<&Settings>,
) -> Result<parts::Running, String> {
    let started = parts::spawn_token(name, &token.environment);
    let started = started.map_err(|error| format!("its process cannot be started: {error}"))?;
    let place = Place {
        name: name.to_owned(),
        module: token.module.clone(),
        token: token.token.clone(),
        pin: token.pin_file.is_some(),
    };
    let sandbox = sandbox.cloned().unwrap_or_default();
    let (paths, network) = (token.paths.clone(), token.network);
    let start = TokenStart { log: log.clone(), sandbox, place, paths, network };
    let sent = started.channel.send(&start, &[]);
    sent.map_err(|error| format!("its process cannot be started: {error}"))?;
    tracing::info!(signer = name, pid = started.life.pid(), "started the process with the token");
    Ok(started)
}

/// Until the process ends, or is to end.
async fn keep(
    running: Rc<RefCell<Running>>,
    channel: Arc<Channel>,
    mut life: Life,
    mut end: oneshot::Receiver<()>,
) {
    let cause = loop {
        tokio::select! {
            said = channel.next::<Said>() => match said {
                Ok((Said::WantsPin, _)) => {
                    let mut order = running.borrow_mut().lend_pin();
                    let sent = channel.send(&order, &[]);
                    if let Order::Pin(pin) = &mut order {
                        pin.zeroize();
                    }
                    if sent.is_err() {
                        // It was lent or not, nobody knows: that counts as a try.
                        life.kill();
                    }
                }
                Ok((Said::Judged(verdict), _)) => running.borrow_mut().pin.judged(verdict),
                // What it said makes no sense, or it ends.
                Err(_) => {
                    life.kill();
                    break life.ended().await;
                }
            },
            cause = life.ended() => break cause,
            _ = &mut end => {
                life.kill();
                life.ended().await;
                return;
            }
        }
    };
    // Also what it said at last counts.
    while let Ok((said, _)) = channel.receive::<Said>() {
        if let Said::Judged(verdict) = said {
            running.borrow_mut().pin.judged(verdict);
        }
    }
    let mut inner = running.borrow_mut();
    let now = Instant::now();
    let pause = inner.restarts.after_crash(now).unwrap_or(LONGEST_PAUSE);
    tracing::error!(signer = inner.name, "the process with the token {cause}");
    inner.state = State::Paused(now + pause, cause.to_string());
}
