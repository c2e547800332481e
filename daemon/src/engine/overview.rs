//! What `status` tells: of this engine, and of others beside it where each user has a process of its own.

use std::collections::HashMap;
use std::mem;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::callers::Census;
use super::command::Command;
use super::shared::Shared;

/// Which lists are wanted, beside the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// A line for each session.
    pub sessions: bool,
    /// A line for each store of tickets and of their keys.
    pub stores: bool,
    /// A line for each process that asks for something.
    pub callers: bool,
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Control connections.
    pub callers: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Handshakes in flight.
    pub handshakes: u64,
    /// Callers' profiles.
    pub profiles: u64,
}

/// What there is. A list that was not wanted is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The numbers.
    pub counts: Counts,
    /// Lines of sessions.
    pub sessions: String,
    /// Lines of stores.
    pub stores: String,
    /// Lines of callers.
    pub callers: String,
}

impl Overview {
    /// Takes another engine's in.
    pub fn add(&mut self, other: &Self) {
        let Counts { callers, sessions, handshakes, profiles } = &mut self.counts;
        let more = other.counts;
        // The other process may be in somebody else's hands: its numbers are any.
        *callers = callers.saturating_add(more.callers);
        *sessions = sessions.saturating_add(more.sessions);
        *handshakes = handshakes.saturating_add(more.handshakes);
        *profiles = profiles.saturating_add(more.profiles);
        self.sessions += &other.sessions;
        self.stores += &other.stores;
        self.callers += &other.callers;
    }

    /// Keeps of a list, which another process has made, what is about this user, and may stand in an answer: a process that
    /// serves one user has nothing to say of another.
    #[must_use]
    pub fn lines_of(uid: u32, list: &[u8]) -> String {
        let start = format!("uid={uid} ");
        let lines = list.split_inclusive(|byte| *byte == b'\n').filter(|line| {
            let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
            line.ends_with(b"\n") && line.iter().all(printable)
        });
        let lines = lines.filter_map(|line| str::from_utf8(line).ok());
        lines.filter(|line| line.starts_with(&start)).collect()
    }
}

/// An observer wants to know of the others. Whoever gets this answers, with nothing if there is nothing.
#[derive(Debug)]
pub struct AskOthers {
    /// Which lists.
    pub wanted: Wanted,
    /// Where the answers go, one for each of the others.
    pub reply: oneshot::Sender<Vec<Overview>>,
}

/// The way to ask.
pub(super) type Others = mpsc::UnboundedSender<AskOthers>;

/// Questions on their way, and what has come of each.
#[derive(Debug, Default)]
pub struct Asked {
    last: u64,
    open: HashMap<u64, Question>,
}

#[derive(Debug)]
struct Question {
    wanted: Wanted,
    reply: oneshot::Sender<Vec<Overview>>,
    answers: Vec<Overview>,
}

impl Asked {
    /// Another question: its number.
    pub fn begin(&mut self, wanted: Wanted, reply: oneshot::Sender<Vec<Overview>>) -> u64 {
        self.last += 1;
        self.open.insert(self.last, Question { wanted, reply, answers: Vec::new() });
        self.last
    }

    /// What was asked under this number, while it is.
    pub fn wanted(&self, number: u64) -> Option<Wanted> {
        self.open.get(&number).map(|question| question.wanted)
    }

    /// One of the others has answered.
    pub fn more(&mut self, number: u64, overview: Overview) {
        if let Some(question) = self.open.get_mut(&number) {
            question.answers.push(overview);
        }
    }

    /// That was all.
    pub fn end(&mut self, number: u64) {
        if let Some(Question { reply, answers, .. }) = self.open.remove(&number) {
            // Nobody waits any more: the caller left.
            let _ = reply.send(answers);
        }
    }
}

impl Shared {
    /// Of one uid, or of all that are served here.
    pub(super) async fn overview(&self, wanted: Wanted, uid: Option<u32>) -> Overview {
        let usage = uid.map_or_else(|| self.ledger.usage(), |uid| self.ledger.usage_of(uid));
        let counts = Counts {
            callers: usage.connections,
            sessions: usage.sessions - usage.handshakes.min(usage.sessions),
            handshakes: usage.handshakes,
            profiles: usage.profiles,
        };
        let mut overview = Overview { counts, ..Overview::default() };
        if wanted.sessions {
            overview.sessions = self.inventory(uid).await;
        }
        if wanted.stores {
            overview.stores = self.tickets.inventory(uid) + &self.ticket_keys.inventory(uid);
        }
        if wanted.callers {
            overview.callers = self.census(uid).await;
        }
        overview
    }

    /// What is served elsewhere, by those who can be asked.
    pub(super) async fn overview_of_others(&self, wanted: Wanted) -> Vec<Overview> {
        let Some(others) = &self.others else { return Vec::new() };
        let (reply, answers) = oneshot::channel();
        if others.send(AskOthers { wanted, reply }).is_err() {
            return Vec::new();
        }
        answers.await.unwrap_or_default()
    }

    async fn inventory(&self, uid: Option<u32>) -> String {
        let mut text = String::new();
        for reply in self.ask_all(|reply| Command::Inventory { uid, reply }) {
            // A worker that ended in between has no sessions.
            text.extend(reply.await.unwrap_or_default());
        }
        text
    }

    async fn census(&self, uid: Option<u32>) -> String {
        let mut census = Census::new(uid);
        for reply in self.ask_all(|reply| Command::Census { uid, reply }) {
            // A worker that ended in between has nobody.
            if let Ok(part) = reply.await {
                census.add(part);
            }
        }
        census.lines()
    }

    /// Asks each worker, all at the same time.
    fn ask_all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<oneshot::Receiver<T>> {
        let asked = self.workers.iter().filter_map(|seat| {
            let (reply, answer) = oneshot::channel();
            seat.commands.send(command(reply)).is_ok().then_some(answer)
        });
        asked.collect()
    }
}

impl Overview {
    /// Its lists, taken out, in the order of [`Wanted`].
    pub fn take_lists(&mut self) -> [String; 3] {
        [mem::take(&mut self.sessions), mem::take(&mut self.stores), mem::take(&mut self.callers)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_serves_one_user_tells_nothing_of_another() {
        let list = b"uid=33 pid=1 a=b\nuid=0 pid=1 forged=yes\nuid=33 \x1b[2J\nuid=333 pid=2\nuid=33 cut";
        assert_eq!(Overview::lines_of(33, list), "uid=33 pid=1 a=b\n");
        assert_eq!(Overview::lines_of(3, list), "");
    }

    #[test]
    fn an_answer_to_a_question_that_nobody_asks_any_more_is_dropped() {
        let mut asked = Asked::default();
        let (reply, mut answer) = oneshot::channel();
        let number = asked.begin(Wanted::default(), reply);
        asked.more(number + 1, Overview::default());
        asked.more(number, Overview::default());
        assert!(answer.try_recv().is_err(), "not before all have answered");
        asked.end(number);
        assert_eq!(answer.try_recv().map(|all| all.len()), Ok(1));
        asked.more(number, Overview::default());
        asked.end(number);
        assert!(asked.open.is_empty());
    }

    #[test]
    fn numbers_of_a_process_that_lies_do_not_wrap() {
        let mut one = Overview::default();
        one.counts.sessions = 1;
        let mut other = Overview::default();
        other.counts.sessions = u64::MAX;
        one.add(&other);
        assert_eq!(one.counts.sessions, u64::MAX);
    }
}
