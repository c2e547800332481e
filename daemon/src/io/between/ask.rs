//! Questions of one process to another, any number at the same time: each brings the socket for its answer.
//!
//! No numbers to match answers with questions, and giving up is closing: who asked drops its [`Pending`], and who answers
//! may notice ([`Reply::given_up`]) or have its answer go nowhere.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::channel::{Channel, ChannelError};

/// Who asks. Shared by all threads of its process.
#[derive(Debug)]
pub struct Asker(Channel);

impl Asker {
    /// A pair: ours, and the end that becomes a [`Desk`] in the other process.
    ///
    /// # Errors
    /// The system's: out of descriptors.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = Channel::pair()?;
        Ok((Self(ours), theirs))
    }

    /// Takes our end of a pair.
    ///
    /// # Errors
    /// The system's.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Channel::new(fd).map(Self)
    }

    /// Asks. The descriptors stay the asker's: the other process gets copies.
    ///
    /// # Errors
    /// [`ChannelError::Late`] when so many questions wait that there is no room for one more, [`ChannelError::Gone`].
    pub fn ask<A>(
        &self,
        question: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Pending<A>, ChannelError> {
        let (ours, theirs) = Channel::pair()?;
        let all: Vec<BorrowedFd<'_>> = std::iter::once(theirs.as_fd()).chain(fds.iter().copied()).collect();
        self.0.send(question, &all)?;
        Ok(Pending { channel: ours, answer: PhantomData })
    }
}

/// An answer that is waited for. Dropped: given up.
#[derive(Debug)]
pub struct Pending<A> {
    channel: Channel,
    answer: PhantomData<fn() -> A>,
}

impl<A: DeserializeOwned> Pending<A> {
    /// Waits on this thread, until `deadline` if there is one.
    ///
    /// # Errors
    /// [`ChannelError`]: [`ChannelError::Gone`] also when the other process has no answer.
    pub fn wait(self, deadline: Option<Instant>) -> Result<(A, Vec<OwnedFd>), ChannelError> {
        self.channel.receive_by(deadline)
    }

    /// The next of several answers, as a task waits for it. Dropping the future loses none.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub async fn heard(&self) -> Result<(A, Vec<OwnedFd>), ChannelError> {
        self.channel.next().await
    }

    /// Tells the other process that no answer is needed any more but the last: it notices as when this is dropped.
    pub fn stop(&self) {
        // Who is gone has stopped.
        let _ = self.channel.send(&true, &[]);
    }

    /// Waits as a task does.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub async fn answered(self) -> Result<(A, Vec<OwnedFd>), ChannelError> {
        self.channel.next().await
    }
}

/// Where questions arrive.
#[derive(Debug)]
pub struct Desk(Channel);

/// A question, its descriptors, and where the answer goes.
#[derive(Debug)]
pub struct Asked<Q> {
    /// What is asked.
    pub question: Q,
    /// What came with it; the receiver's own.
    pub fds: Vec<OwnedFd>,
    /// For the answer.
    pub reply: Reply,
}

impl Desk {
    /// Takes the end that [`Asker::pair`] made for it.
    ///
    /// # Errors
    /// The system's.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Channel::new(fd).map(Self)
    }

    /// The next question, waited for on this thread.
    ///
    /// # Errors
    /// [`ChannelError::Gone`] when nobody can ask any more, [`ChannelError::Nonsense`].
    pub fn wait<Q: DeserializeOwned>(&self) -> Result<Asked<Q>, ChannelError> {
        self.0.receive_by(None).and_then(asked)
    }

    /// The next question, as a task waits for it. Dropping the future loses none.
    ///
    /// # Errors
    /// As [`Desk::wait`].
    pub async fn next<Q: DeserializeOwned>(&self) -> Result<Asked<Q>, ChannelError> {
        self.0.next().await.and_then(asked)
    }
}

fn asked<Q>((question, mut fds): (Q, Vec<OwnedFd>)) -> Result<Asked<Q>, ChannelError> {
    if fds.is_empty() {
        return Err(ChannelError::Nonsense);
    }
    let reply = Reply(Channel::new(fds.remove(0))?);
    Ok(Asked { question, fds, reply })
}

/// Where one answer goes. Dropped without one, the asker hears [`ChannelError::Gone`].
#[derive(Debug)]
pub struct Reply(Channel);

impl Reply {
    /// Answers, with copies of these descriptors.
    ///
    /// # Errors
    /// [`ChannelError::Gone`]: it was given up. That is nobody's fault.
    pub fn answer(self, answer: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        self.0.send(answer, fds)
    }

    /// One of several answers, that is not the last.
    ///
    /// # Errors
    /// As [`Reply::answer`].
    pub fn tell(&self, answer: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        self.0.send(answer, fds)
    }

    /// Whether the asker has given up by now.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        !matches!(self.0.receive::<bool>(), Err(ChannelError::Late))
    }

    /// Waits until the asker has given up.
    pub async fn given_up(&self) {
        self.0.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_questions_in_any_order() {
        let (asker, desk) = Asker::pair().expect("pair");
        let desk = Desk::new(desk).expect("desk");
        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        let first = asker.ask::<u32>(&1_u32, &[reader.as_fd()]).expect("room");
        let second = asker.ask::<u32>(&2_u32, &[]).expect("room");
        let asked: Vec<Asked<u32>> = (0..2).map(|_| desk.wait().expect("question")).collect();
        assert_eq!(asked.iter().map(|asked| asked.fds.len()).collect::<Vec<_>>(), [1, 0]);
        for Asked { question, reply, .. } in asked.into_iter().rev() {
            reply.answer(&(question * 10), &[]).expect("waited for");
        }
        assert_eq!(first.wait(None).expect("answer").0, 10);
        assert_eq!(second.wait(None).expect("answer").0, 20);
    }

    #[tokio::test]
    async fn who_gives_up_is_noticed_and_who_has_no_answer_too() {
        let (asker, desk) = Asker::pair().expect("pair");
        let desk = Desk::new(desk).expect("desk");
        let pending = asker.ask::<u32>(&1_u32, &[]).expect("room");
        let Asked { reply, .. } = desk.next::<u32>().await.expect("question");
        drop(pending);
        reply.given_up().await;
        assert!(matches!(reply.answer(&1_u32, &[]), Err(ChannelError::Gone)));
        let pending = asker.ask::<u32>(&2_u32, &[]).expect("room");
        drop(desk.next::<u32>().await.expect("question").reply);
        assert!(matches!(pending.answered().await, Err(ChannelError::Gone)));
        drop(desk);
        assert!(matches!(asker.ask::<u32>(&3_u32, &[]), Err(ChannelError::Gone)));
    }
}
