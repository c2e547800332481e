//! The web server's process, seen from outside: started with nothing, listened to, ended by its number.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::error::DemoError;
use crate::cli;

/// How long it may take to notice that it is over.
const GRACE: Duration = Duration::from_secs(2);

/// Dropped, the process is ended and waited for.
pub(super) struct Website {
    child: Child,
    /// It ends when this closes, and that happens also when we are killed.
    leash: Option<ChildStdin>,
}

/// What it says, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It listens.
    Ready { port: u16 },
    /// It cannot go on.
    Broken { in_use: bool, why: String },
    /// A session did not open.
    Failed { peer: String, why: String },
    /// A session has ended.
    Ended(Visit),
}

/// One session, as the server saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) peer: String,
    pub(super) protocol: String,
    pub(super) cipher: String,
    pub(super) how: String,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Website {
    /// Starts it. It knows where the daemon listens and on which port it is to listen, and nothing else.
    pub(super) fn start(socket: &Path, port: u16, tell: UnboundedSender<News>) -> Result<Self, DemoError> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("tlsifyd").args([cli::DEMO_SERVER, &port.to_string()]);
        command.env_clear().env("TLSIFY_SOCK", socket).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C in a terminal reaches this process alone, which then ends the other in order.
        command.process_group(0);
        let mut child = command.spawn().map_err(DemoError::system("start the web server"))?;
        let (leash, said) = (child.stdin.take(), child.stdout.take());
        let website = Self { child, leash };
        if let Some(said) = said {
            thread::Builder::new()
                .name("website".to_owned())
                .spawn(move || listen(said, &tell))
                .map_err(DemoError::system("start a thread"))?;
        }
        Ok(website)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it.
    pub(super) fn end(self) {
        drop(self);
    }
}

impl Drop for Website {
    fn drop(&mut self) {
        self.leash = None;
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        // Not an error when it has ended already; until it is waited for, its number is its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(said: ChildStdout, tell: &UnboundedSender<News>) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        let Some(news) = News::parse(&line) else {
            tracing::warn!("the web server said something else: {line}");
            continue;
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

impl News {
    /// The line of one piece of news: a word, then `key=value` separated by tabs.
    pub(super) fn line(&self) -> String {
        let clean = |text: &str| text.replace(['\t', '\n'], " ");
        match self {
            Self::Ready { port } => format!("ready\tport={port}"),
            Self::Broken { in_use, why } => format!("broken\tin-use={in_use}\twhy={}", clean(why)),
            Self::Failed { peer, why } => format!("failed\tpeer={peer}\twhy={}", clean(why)),
            Self::Ended(visit) => format!(
                "ended\tpeer={}\tprotocol={}\tcipher={}\thow={}\tin={}\tout={}",
                visit.peer, visit.protocol, visit.cipher, visit.how, visit.bytes_in, visit.bytes_out
            ),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split('\t');
        let verb = words.next()?;
        let keys: HashMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
        let text = |key: &str| keys.get(key).map(|value| (*value).to_owned());
        match verb {
            "ready" => Some(Self::Ready { port: keys.get("port")?.parse().ok()? }),
            "broken" => Some(Self::Broken { in_use: *keys.get("in-use")? == "true", why: text("why")? }),
            "failed" => Some(Self::Failed { peer: text("peer")?, why: text("why")? }),
            "ended" => Some(Self::Ended(Visit {
                peer: text("peer")?,
                protocol: text("protocol")?,
                cipher: text("cipher")?,
                how: text("how")?,
                bytes_in: keys.get("in")?.parse().ok()?,
                bytes_out: keys.get("out")?.parse().ok()?,
            })),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_arrive_as_they_were_sent() {
        let visit = Visit {
            peer: "127.0.0.1:5".to_owned(),
            protocol: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_128_GCM_SHA256".to_owned(),
            how: "close-notify".to_owned(),
            bytes_in: 5,
            bytes_out: 18,
        };
        let why = "cannot listen: a=b".to_owned();
        let all = [
            News::Ready { port: 8443 },
            News::Broken { in_use: true, why: why.clone() },
            News::Broken { in_use: false, why: why.clone() },
            News::Failed { peer: "[::1]:7".to_owned(), why },
            News::Ended(visit),
        ];
        for news in all {
            assert_eq!(News::parse(&news.line()), Some(news));
        }
    }

    #[test]
    fn a_peers_words_cannot_become_news_of_their_own() {
        let failed = |why: &str| News::Failed { peer: "somebody".to_owned(), why: why.to_owned() };
        let line = failed("x\nready\tport=1").line();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(News::parse(&line), Some(failed("x ready port=1")));
        assert_eq!(News::parse("hello"), None);
    }
}
