//! One connection to a cache: made, greeted, and served until something ends it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::codec::{Asked, Broken, Dialect, MAX_ANSWER, Reply, redis};
use super::jobs::Jobs;
use super::named::Cache;
use crate::config::CachePlace;
use crate::io::Outside;

/// How long a connection may take to come about, and an answer to come, before the connection is given up. No session waits
/// so long: this is when a cache that is slow becomes one that is away.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that was made.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// What came and is no whole answer yet, at the front of room for the longest.
    buffer: Box<[u8]>,
    filled: usize,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Connect(String),
    #[error("it closed the connection")]
    Closed,
    #[error("it does not answer")]
    Silent,
    #[error("{0}")]
    Broken(Broken),
    #[error("it refuses: {0}")]
    Refused(String),
}

impl Connection {
    /// Connects, says who we are if that is wanted, and hears that somebody is there.
    ///
    /// # Errors
    /// [`Lost`], in [`PATIENCE`] at most.
    pub(super) async fn open(cache: &Cache, outside: &Outside, uid: u32) -> Result<Self, Lost> {
        let opened = timeout(PATIENCE, async {
            let stream = connect(cache, outside, uid).await?;
            let mut connection = Self { stream, buffer: vec![0; MAX_ANSWER].into(), filled: 0 };
            connection.greet(cache).await?;
            Ok(connection)
        });
        opened.await.unwrap_or(Err(Lost::Silent))
    }

    async fn greet(&mut self, cache: &Cache) -> Result<(), Lost> {
        let dialect = cache.dialect();
        let mut out = zeroize::Zeroizing::new(Vec::new());
        let mut asked = Vec::new();
        if let Some(password) = &cache.password {
            // Large enough from the start: a buffer that grows leaves a copy behind.
            out.reserve(password.len() + 1024);
            redis::auth(&mut out, cache.user.as_deref(), password);
            asked.push(Asked::Setup);
        }
        if cache.address.database != 0 {
            redis::select(&mut out, cache.address.database);
            asked.push(Asked::Setup);
        }
        dialect.probe(&mut out);
        asked.push(Asked::Probe);
        let mut rest = out.as_slice();
        for asked in asked {
            self.expect(dialect, asked, &mut rest).await?;
        }
        Ok(())
    }

    /// Sends the rest, and waits for one answer.
    async fn expect(&mut self, dialect: Dialect, asked: Asked<'_>, rest: &mut &[u8]) -> Result<(), Lost> {
        loop {
            match dialect.read(&self.buffer[..self.filled], asked).map_err(Lost::Broken)? {
                Some((Reply::Refused(why), _)) => return Err(Lost::Refused(readable(why))),
                Some((_, used)) => {
                    self.forget(used);
                    return Ok(());
                }
                None => {}
            }
            let ready = self.ready(!rest.is_empty()).await?;
            if ready.is_writable() {
                *rest = &rest[self.write(rest)?..];
            }
            self.read()?;
        }
    }

    /// Sends what there is to send, and reads what has come, as far as it goes now.
    ///
    /// # Errors
    /// [`Lost`].
    pub(super) fn turn(&mut self, dialect: Dialect, jobs: &mut Jobs) -> Result<(), Lost> {
        let sent = self.write(jobs.out())?;
        jobs.sent(sent);
        if self.read()? {
            let used = jobs.read(dialect, &self.buffer[..self.filled]).map_err(Lost::Broken)?;
            self.forget(used);
        }
        Ok(())
    }

    /// Waits until more can be done.
    pub(super) async fn ready(&self, to_send: bool) -> io::Result<Ready> {
        let interest = if to_send { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        match &self.stream {
            Stream::Tcp(stream) => stream.ready(interest).await,
            Stream::Unix(stream) => stream.ready(interest).await,
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let written = match &self.stream {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// Whether anything came. There is always room: the longest answer has it, and a longer one is no answer.
    fn read(&mut self) -> Result<bool, Lost> {
        let room = &mut self.buffer[self.filled..];
        let read = match &self.stream {
            Stream::Tcp(stream) => stream.try_read(room),
            Stream::Unix(stream) => stream.try_read(room),
        };
        match read {
            Ok(0) => Err(Lost::Closed),
            Ok(count) => {
                self.filled += count;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&mut self, used: usize) {
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
    }
}

async fn connect(cache: &Cache, outside: &Outside, uid: u32) -> Result<Stream, Lost> {
    let place = &cache.address.place;
    let socket = outside.connect_cache(place, uid).await.map_err(Lost::Connect)?;
    Ok(match place {
        CachePlace::Path(_) => Stream::Unix(UnixStream::from_std(socket.into())?),
        _ => Stream::Tcp(TcpStream::from_std(socket.into())?),
    })
}

/// A line of theirs that a log can take.
fn readable(line: &[u8]) -> String {
    const MOST: usize = 120;
    let plain = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' };
    line.iter().take(MOST).map(plain).collect()
}

impl Lost {
    /// For the log: without the number that the system adds.
    pub(super) fn reason(&self) -> String {
        let text = self.to_string();
        text.split(" (os error").next().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cache_says_cannot_add_lines_to_the_log() {
        assert_eq!(readable(b"WRONG\r\n\x1b[31m"), "WRONG???[31m");
        assert_eq!(readable(&[b'x'; 1000]).len(), 120);
    }
}
