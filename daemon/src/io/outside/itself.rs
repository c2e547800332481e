//! Everything in this process: where there is one process for everything, and in those that others ask.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use tokio::net::TcpStream;

use crate::config::CachePlace;
use crate::io::connect_path;
use crate::io::dial::{Dial, Dialed, Family, Resolver, State};
use crate::tls::Failure;

/// Does it here.
#[derive(Debug, Default)]
pub struct Itself {
    /// One for all: what a dead resolver can hold is bounded for the whole process.
    resolver: Arc<Resolver>,
}

impl Itself {
    /// As [`super::Outside::dial`].
    pub(super) async fn dial<S>(
        &self,
        dial: Dial,
        uid: u32,
        state: &State,
        stop: impl Future<Output = S>,
    ) -> Result<Result<Dialed, Failure>, S> {
        tokio::select! {
            biased;
            stopped = stop => Err(stopped),
            dialed = dial.connect(&self.resolver, uid, state) => Ok(dialed),
        }
    }

    /// As [`super::Outside::connect_cache`].
    pub(in crate::io) async fn connect_cache(&self, place: &CachePlace, uid: u32) -> Result<OwnedFd, String> {
        let (name, port) = match place {
            CachePlace::Path(path) => return connect_cache_at(path),
            CachePlace::Address(address) => return tcp(*address).await.map_err(reason),
            CachePlace::Name(name, port) => (name, *port),
        };
        let found = self.resolver.look_up(uid, name, port, &[Family::V6, Family::V4]).await;
        let found = found.map_err(|failure| format!("its name cannot be looked up: {}", failure.text))?;
        let mut last = "it has no address".to_owned();
        for address in found {
            match tcp(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = reason(error),
            }
        }
        Err(last)
    }

    /// Who looks names up.
    pub(in crate::io) fn resolver(&self) -> &Resolver {
        &self.resolver
    }
}

/// To a cache at a path of this host: a stream socket that does not block. Tried once, without waiting.
///
/// # Errors
/// A sentence.
pub fn connect_cache_at(path: &Path) -> Result<OwnedFd, String> {
    connect_path(path).map_err(|errno| match errno {
        Errno::AGAIN => "nobody accepts there, and its queue is full".to_owned(),
        Errno::ACCESS => {
            "permission denied: make its socket writable for the user or a group of the daemon; \
                          one that was started as root has no right beyond these"
                .to_owned()
        }
        errno => reason(errno.into()),
    })
}

async fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let stream = TcpStream::connect(address).await?;
    // A command waits for no acknowledgement of the one before it.
    stream.set_nodelay(true)?;
    stream.into_std().map(OwnedFd::from)
}

/// For the log: without the number that the system adds.
fn reason(error: io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// As [`super::Outside::executable`].
pub(super) fn executable(process: BorrowedFd<'_>) -> io::Result<PathBuf> {
    // fs/pidfd.c: only a pidfd has this line. It is 0 or less where the process is in another world than this one.
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()))?;
    let pid = told.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok());
    let Some(pid @ 1..) = pid else { return Err(Errno::SRCH.into()) };
    let path = std::fs::read_link(format!("/proc/{pid}/exe"))?;
    // While it has not ended, its number is nobody else's, before and now.
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    retry_on_intr(|| poll(&mut polled, Some(&now)))?;
    if polled[0].revents().is_empty() { Ok(path) } else { Err(Errno::SRCH.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn a_program_is_known_while_its_process_lives_and_no_other_descriptor_means_one() {
        let us = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).unwrap();
        assert_eq!(executable(us.as_fd()).unwrap(), std::env::current_exe().unwrap());
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert!(executable(process.as_fd()).is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(executable(process.as_fd()).is_err());
        let memory = crate::io::sealed_memfd("Pid:\t1", b"Pid:\t1\n").unwrap();
        assert!(executable(memory.as_fd()).is_err());
    }
}
