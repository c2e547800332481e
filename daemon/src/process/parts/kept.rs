//! One part that is kept running.

use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Part;
use super::restart::Restarts;
use super::spawn::{Cause, Running};
use crate::io::between::{Channel, ChannelError};

/// How long a part that has closed its channel may take to end.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// A part, its channel, and its crashes; `M` is what it says.
#[derive(Debug)]
pub(crate) struct Kept<M> {
    part: Part,
    state: State,
    restarts: Restarts,
    brought: Vec<OwnedFd>,
    says: PhantomData<fn() -> M>,
}

#[derive(Debug)]
enum State {
    Running(Running),
    /// It has ended, and what it said at last may still lie there.
    Over(Arc<Channel>, Cause),
    /// Until then; [`Happened::Due`] is said once.
    Away(Option<Instant>),
}

/// Something happened to the part.
#[derive(Debug)]
pub(crate) enum Happened<M> {
    /// It said something. Descriptors that came with it are closed, unless they are fetched with [`Kept::take_brought`].
    Said(M),
    /// It is no more: everything that it said before was told.
    Died(Cause),
    /// The pause after a crash is over: [`Kept::start`].
    Due,
}

impl<M: DeserializeOwned> Kept<M> {
    /// One that was started just now.
    pub(crate) fn new(part: Part, running: Running) -> Self {
        Self {
            part,
            state: State::Running(running),
            restarts: Restarts::default(),
            brought: Vec::new(),
            says: PhantomData,
        }
    }

    /// It was started again.
    pub(crate) fn start(&mut self, running: Running) {
        self.state = State::Running(running);
    }

    /// Which part it is.
    pub(crate) fn part(&self) -> Part {
        self.part
    }

    /// Whether it runs, as far as we know.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Whether it has ended, or is in the pause after a crash: something will happen.
    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.state, State::Over(..) | State::Away(Some(_)))
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<i32> {
        match &self.state {
            State::Running(running) => Some(running.life.pid()),
            State::Over(..) | State::Away(_) => None,
        }
    }

    /// Says something to it, if it runs. A part that does not take it is killed: its end is told as any other.
    ///
    /// Returns whether it was said.
    pub(crate) fn tell(&self, message: &impl Serialize) -> bool {
        self.tell_with(message, &[])
    }

    /// The same with copies of these descriptors.
    pub(crate) fn tell_with(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> bool {
        let State::Running(running) = &self.state else { return false };
        match running.channel.send(message, fds) {
            Ok(()) => true,
            Err(error) => {
                // Gone: its end is on its way to us.
                if error.is_late() {
                    tracing::error!(part = %self.part, "it does not take what it is told and is killed");
                    running.life.kill();
                }
                false
            }
        }
    }

    /// Kills it, if it runs; its end is told as any other.
    pub(crate) fn kill(&self) {
        if let State::Running(running) = &self.state {
            running.life.kill();
        }
    }

    /// Waits for what happens next. Dropping the future loses nothing.
    pub(crate) async fn happened(&mut self) -> Happened<M> {
        if let State::Running(running) = &mut self.state {
            let cause = tokio::select! {
                said = running.channel.next::<M>() => match said {
                    Ok((message, fds)) => {
                        self.brought = fds;
                        return Happened::Said(message);
                    }
                    Err(error) => last(running, &error).await,
                },
                cause = running.life.ended() => cause,
            };
            let State::Running(Running { channel, .. }) =
                std::mem::replace(&mut self.state, State::Away(None))
            else {
                return Happened::Died(cause);
            };
            self.state = State::Over(channel, cause);
        }
        match &mut self.state {
            State::Over(channel, cause) => match channel.receive() {
                Ok((message, fds)) => {
                    self.brought = fds;
                    Happened::Said(message)
                }
                Err(error) => {
                    let nonsense = matches!(error, ChannelError::Nonsense);
                    let cause = if nonsense { Cause::Nonsense } else { cause.clone() };
                    self.state = State::Away(None);
                    Happened::Died(cause)
                }
            },
            State::Running(_) | State::Away(None) => std::future::pending().await,
            State::Away(Some(due)) => {
                tokio::time::sleep_until((*due).into()).await;
                self.state = State::Away(None);
                Happened::Due
            }
        }
    }

    /// The descriptors that came with what it said last.
    pub(crate) fn take_brought(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.brought)
    }

    /// Notes that it crashed, after [`Happened::Died`]: how long until [`Happened::Due`], or `None` when it has crashed too
    /// often.
    pub(crate) fn crashed(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let pause = self.restarts.after_crash(now)?;
        self.state = State::Away(Some(now + pause));
        Some(pause)
    }

    /// Its channel, while it runs.
    pub(crate) fn channel(&self) -> Option<&Channel> {
        match &self.state {
            State::Running(running) => Some(&running.channel),
            State::Over(..) | State::Away(_) => None,
        }
    }
}

/// The channel has ended: so has the part, or it is ended.
async fn last(running: &mut Running, error: &ChannelError) -> Cause {
    if !matches!(error, ChannelError::Gone) {
        running.life.kill();
        running.life.ended().await;
        return Cause::Nonsense;
    }
    if let Ok(cause) = tokio::time::timeout(LAST_BREATH, running.life.ended()).await {
        return cause;
    }
    running.life.kill();
    running.life.ended().await;
    Cause::Mute
}

#[cfg(test)]
mod tests {
    use super::super::spawn::thread;
    use super::*;

    fn kept(body: impl FnOnce(&Channel) + Send + 'static) -> Kept<u8> {
        let running = thread(Part::Worker, |channel| body(&Channel::new(channel).expect("a channel")));
        Kept::new(Part::Worker, running.expect("a thread"))
    }

    #[tokio::test]
    async fn the_last_words_of_a_part_come_before_its_end() {
        let mut part = kept(|channel| (1..=3_u8).for_each(|word| channel.send(&word, &[]).expect("room")));
        for word in 1..=3 {
            assert!(matches!(part.happened().await, Happened::Said(said) if said == word), "{word}");
        }
        assert!(matches!(part.happened().await, Happened::Died(Cause::Status(0))));
        assert!(!part.tell(&1_u8) && part.pid().is_none());
    }

    #[tokio::test]
    async fn nonsense_is_an_end_and_a_crash_has_its_pause() {
        let mut part = kept(|channel| channel.send(&(1_u8, 2_u8), &[]).expect("room"));
        assert!(matches!(part.happened().await, Happened::Died(Cause::Nonsense)));
        let before = Instant::now();
        let pause = part.crashed().expect("the first");
        assert!(matches!(part.happened().await, Happened::Due));
        assert!(before.elapsed() >= pause);
        part.start(thread(Part::Worker, drop).expect("a thread"));
        assert!(matches!(part.happened().await, Happened::Died(_)));
        let pauses = std::iter::from_fn(|| part.crashed()).count();
        assert_eq!(pauses, super::super::CRASHES - 1);
    }
}
