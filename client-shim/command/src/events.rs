//! `--control FD`: what the daemon said, as it said it. Each event is the packet's lines, the peer's certificates in PEM
//! if it brought them, and an empty line; so a shell's `read` loop can follow it.

use rustix::fd::{BorrowedFd, OwnedFd};

use crate::say::{self, Why};
use crate::status::{self, Stop};
use crate::sys;

/// Where the events go, if anywhere.
#[derive(Clone, Copy)]
pub(crate) struct Events(Option<BorrowedFd<'static>>);

impl Events {
    /// `number` is `--control`'s.
    pub(crate) fn open(number: Option<i32>) -> Result<Self, Stop> {
        let Some(number) = number else { return Ok(Self(None)) };
        match sys::inherited(number) {
            Some(fd) => Ok(Self(Some(fd))),
            None => {
                say::line(format_args!("descriptor {number} is not open, where the events should go"));
                Err(Stop(status::USAGE))
            }
        }
    }

    /// Writes one event.
    pub(crate) fn tell(&self, packet: &[u8], chain: Option<&OwnedFd>) -> Result<(), Stop> {
        let Some(to) = self.0 else { return Ok(()) };
        self.write(to, packet, chain).map_err(|error| {
            say::line(format_args!("cannot write an event: {}", Why(error)));
            Stop(status::SYSTEM)
        })
    }

    fn write(&self, to: BorrowedFd<'_>, packet: &[u8], chain: Option<&OwnedFd>) -> rustix::io::Result<()> {
        say::write_all(to, packet)?;
        if let Some(chain) = chain {
            let mut bytes = [0; 4096];
            let mut at = 0;
            loop {
                let count = rustix::io::retry_on_intr(|| rustix::io::pread(chain, &mut bytes, at))?;
                if count == 0 {
                    break;
                }
                say::write_all(to, bytes.get(..count).unwrap_or_default())?;
                at += count as u64;
            }
        }
        say::write_all(to, b"\n")
    }
}
