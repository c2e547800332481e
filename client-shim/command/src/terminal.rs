//! A terminal as standard input is read here and not by the daemon: only a process of the terminal's foreground job may
//! read it, and one that was stopped with Ctrl-Z must not go on taking what is typed for the shell.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair};

/// A line of a terminal (N_TTY_BUF_SIZE): one read gives no more.
const LINE: usize = 4096;

/// What is typed, on its way to the daemon.
pub(crate) struct Typed {
    terminal: BorrowedFd<'static>,
    /// None after the end of the input, or when the daemon takes no more.
    to: Option<OwnedFd>,
}

impl Typed {
    /// With the end that the daemon gets.
    pub(crate) fn new(terminal: BorrowedFd<'static>) -> Result<(Self, OwnedFd), Errno> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Self { terminal, to: Some(ours) }, theirs))
    }

    /// Passes on what is typed until there is something to receive on `control`.
    pub(crate) fn until_news(&mut self, control: &OwnedFd) -> Result<(), Errno> {
        let mut line = [0; LINE];
        // What the daemon has not taken yet; nothing more is read while there is something.
        let mut waiting = 0..0;
        loop {
            let mut fds = [
                PollFd::new(control, PollFlags::IN),
                match &self.to {
                    Some(to) if !waiting.is_empty() => PollFd::new(to, PollFlags::OUT),
                    Some(_) => PollFd::new(&self.terminal, PollFlags::IN),
                    None => PollFd::new(control, PollFlags::IN),
                },
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            let [news, ready] = fds.map(|fd| !fd.revents().is_empty());
            if news {
                // What is waiting is lost with a session that is over; nothing else ends this.
                return Ok(());
            }
            if ready && waiting.is_empty() {
                waiting = 0..self.read(&mut line)?;
            } else if ready {
                let passed = self.pass(line.get(waiting.clone()).unwrap_or_default());
                waiting.start += passed;
            }
        }
    }

    /// Bytes that were typed; none when there are none yet, and at the end.
    fn read(&mut self, line: &mut [u8]) -> Result<usize, Errno> {
        match rustix::io::read(self.terminal, line) {
            // Ctrl-D; or the terminal was closed.
            Ok(0) | Err(Errno::IO) => {
                self.end();
                Ok(0)
            }
            Ok(count) => Ok(count),
            Err(Errno::INTR | Errno::AGAIN) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// How many bytes the daemon took.
    fn pass(&mut self, waiting: &[u8]) -> usize {
        let Some(to) = &self.to else { return waiting.len() };
        match send(to.as_fd(), waiting, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => 0,
            // The daemon takes no more: what it says next tells why.
            Err(_) => {
                self.to = None;
                waiting.len()
            }
        }
    }

    /// The daemon is told that nothing more comes.
    fn end(&mut self) {
        if let Some(to) = self.to.take() {
            let _ = shutdown(&to, Shutdown::Write);
        }
    }
}
