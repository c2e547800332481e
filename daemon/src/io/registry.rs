//! Which sessions there are, where a process that outlives their worker can read it: what their callers are told of
//! them when the worker dies.
//!
//! ```text
//!  worker: adopt, established, each turn, gone ──(a few stores)──▶ shared memory ◀── supervisor: read once, after the worker's end
//! ```
//!
//! A row for each place of each core's sessions, four numbers long, so that nothing has to be found or kept to write one:
//! a session at rest costs no private memory here, and a turn no system call. The worker is the only one who writes, and it
//! may be in somebody else's hands: what is read is as much worth as what it could have said to its callers itself.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::poller::Token;
use crate::sys::SharedCells;

/// Numbers of a row: connection and state, id, bytes to the program, bytes to the peer.
const ROW: usize = 4;
const OPENING: u64 = 1 << 32;
const OPEN: u64 = 2 << 32;
/// The connection's number is the lower half.
const CONNECTION: u64 = u32::MAX as u64;

/// The rows of all cores.
#[derive(Debug)]
pub struct Registry {
    cells: SharedCells,
    /// Sessions that each core has rows for.
    rows: usize,
}

/// A session that there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its control connection's number.
    pub connection: u32,
    /// The caller's.
    pub id: u64,
    /// Whether `established` was said.
    pub open: bool,
    /// Bytes of plaintext that went to the program, up to its last turn.
    pub bytes_in: u64,
    /// Bytes of plaintext that came from it.
    pub bytes_out: u64,
}

impl Registry {
    /// The memory for so many cores with so many sessions each, all of it untouched.
    ///
    /// # Errors
    /// The system's.
    pub fn memory(cores: usize, sessions: u32) -> io::Result<OwnedFd> {
        let fd = memfd_create("tlsify-sessions", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let rows = cores.max(1) as u64 * u64::from(sessions.max(1));
        ftruncate(&fd, rows * (ROW * size_of::<AtomicU64>()) as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(fd)
    }

    /// Maps what [`Registry::memory`] made, for the same number of cores.
    ///
    /// # Errors
    /// It is something else, or the system's.
    pub fn map(memory: &OwnedFd, cores: usize) -> io::Result<Self> {
        let cells = SharedCells::map(memory)?;
        let rows = cells.cells().len() / ROW / cores.max(1);
        Ok(Self { cells, rows })
    }

    /// A session has got its place.
    pub fn enter(&self, core: usize, token: Token, connection: u32, id: u64) {
        let Some([state, its, bytes_in, bytes_out]) = self.row(core, token) else { return };
        its.store(id, Ordering::Relaxed);
        bytes_in.store(0, Ordering::Relaxed);
        bytes_out.store(0, Ordering::Relaxed);
        // Last: a row that is in use is whole.
        state.store(OPENING | u64::from(connection), Ordering::Release);
    }

    /// It was told `established`.
    pub fn opened(&self, core: usize, token: Token) {
        let Some([state, ..]) = self.row(core, token) else { return };
        state.store(OPEN | (state.load(Ordering::Relaxed) & CONNECTION), Ordering::Release);
    }

    /// What it has moved so far.
    pub fn moved(&self, core: usize, token: Token, (inbound, outbound): (u64, u64)) {
        let Some([_, _, bytes_in, bytes_out]) = self.row(core, token) else { return };
        bytes_in.store(inbound, Ordering::Relaxed);
        bytes_out.store(outbound, Ordering::Relaxed);
    }

    /// Its last word was said.
    pub fn leave(&self, core: usize, token: Token) {
        let Some([state, ..]) = self.row(core, token) else { return };
        state.store(0, Ordering::Release);
    }

    /// All sessions that there are. Meant for when nobody writes any more.
    pub fn sessions(&self) -> impl Iterator<Item = Row> + '_ {
        self.cells.cells().chunks_exact(ROW).filter_map(|row| {
            let state = row[0].load(Ordering::Acquire);
            let number = |at: usize| row[at].load(Ordering::Relaxed);
            (state & !CONNECTION != 0).then(|| Row {
                // The mask leaves what fits.
                connection: (state & CONNECTION) as u32,
                id: number(1),
                open: state & !CONNECTION == OPEN,
                bytes_in: number(2),
                bytes_out: number(3),
            })
        })
    }

    /// None for a place behind the last row: there are as many as there may be sessions.
    fn row(&self, core: usize, token: Token) -> Option<&[AtomicU64; ROW]> {
        let slot = token.slot as usize;
        if slot >= self.rows {
            return None;
        }
        let at = (core * self.rows + slot) * ROW;
        self.cells.cells().get(at..at + ROW)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u32) -> Token {
        Token { slot, life: 1 }
    }

    #[test]
    fn what_was_open_is_read_by_the_other_process_and_what_has_ended_is_not() {
        let memory = Registry::memory(2, 3).expect("memory");
        let (worker, supervisor) = (Registry::map(&memory, 2), Registry::map(&memory, 2));
        let (worker, supervisor) = (worker.expect("map"), supervisor.expect("map"));
        worker.enter(0, token(2), u32::MAX, u64::MAX);
        worker.enter(1, token(0), 7, 1);
        worker.opened(1, token(0));
        worker.moved(1, token(0), (10, 20));
        worker.enter(1, token(1), 7, 2);
        worker.leave(1, token(1));
        let first = Row { connection: u32::MAX, id: u64::MAX, open: false, bytes_in: 0, bytes_out: 0 };
        let second = Row { connection: 7, id: 1, open: true, bytes_in: 10, bytes_out: 20 };
        assert_eq!(supervisor.sessions().collect::<Vec<_>>(), [first, second]);
        // The place is somebody else's now, who has moved nothing yet.
        worker.leave(1, token(0));
        worker.enter(1, token(0), 8, 3);
        let third = Row { connection: 8, id: 3, open: false, bytes_in: 0, bytes_out: 0 };
        assert_eq!(supervisor.sessions().nth(1), Some(third));
    }

    #[test]
    fn a_place_that_has_no_row_writes_into_nobody_elses() {
        let memory = Registry::memory(2, 2).expect("memory");
        let registry = Registry::map(&memory, 2).expect("map");
        registry.enter(0, token(2), 1, 1);
        registry.enter(2, token(0), 1, 1);
        registry.opened(7, token(9));
        assert_eq!(registry.sessions().count(), 0);
    }
}
