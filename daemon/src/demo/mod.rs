//! `tlsifyd demo`: a verified TLS round trip through handed-over sockets, for somebody who has one minute.
//!
//! ```text
//!  this process                                   the same binary again, in a process of its own
//!  ┌──────────────────────────────────────┐       ┌──────────────────────────────┐
//!  │ engine: CA, certificate and key      │◀─sock─│ web server: accept, hand     │◀── curl, a browser
//!  │         in memory, TLS of both sides │─plain▶│ over, serve plaintext        │
//!  │ fetch:  a client that connects, hands│       └──────────────────────────────┘
//!  │         over, reads plaintext        │         no key, no TLS, an empty environment
//!  └──────────────────────────────────────┘
//! ```
//!
//! The engine is the real one, with the operator's defaults and one profile, "demo", whose key the web server could
//! not read if it wanted to. Nothing is kept: the key never touches a file, the folder with the CA's certificate and
//! the socket goes at the end, and the web server ends when this process does, however that happens.
//!
//! What it does not do: it decides nothing about TLS, and takes no short cut. Client and server speak to the engine
//! over its socket with the library that everybody has.

mod error;
mod fetch;
mod folder;
mod host;
mod identity;
mod server;
mod transcript;
mod website;

pub use error::DemoError;
pub use server::{ServerError, serve};

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use fetch::Fetched;
use folder::Folder;
use host::Host;
use transcript::Transcript;
use website::{News, Website};

/// The name that the round trip is for.
const NAME: &str = "localhost";

/// The operator's profile that the web server uses.
const PROFILE: &str = "demo";

/// What the command line said.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// End after one round trip.
    pub once: bool,
    /// Where the web server listens; 0 is any free port.
    pub port: u16,
    /// Worker threads; `None` is one for each core.
    pub workers: Option<usize>,
}

/// Runs the demonstration and writes its transcript to `out`. Ends after the round trip with `once`, and at SIGINT or
/// SIGTERM without it. The web server has ended and the folder is gone when this returns.
///
/// # Errors
/// [`DemoError`]: something in the round trip failed, or it could not begin.
pub fn run(options: Options, out: &mut dyn Write) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DemoError::system("start"))?;
    runtime.block_on(demonstrate(options, Transcript::new(out)))
}

async fn demonstrate(options: Options, mut transcript: Transcript<'_>) -> Result<(), DemoError> {
    // Before anything is there that a signal would leave behind.
    let mut stop = Stop::new()?;
    let folder = Folder::new()?;
    let (ca, host) = Host::start(&folder, options.workers)?;
    let result = on_the_stage(options, &folder, &ca, &mut stop, &mut transcript).await;
    host.end().await;
    drop(folder);
    if result.is_ok() {
        transcript.gone()?;
    }
    result
}

/// Everything while the engine runs; the web server has ended when this returns.
async fn on_the_stage(
    options: Options,
    folder: &Folder,
    ca: &str,
    stop: &mut Stop,
    transcript: &mut Transcript<'_>,
) -> Result<(), DemoError> {
    let (tell, mut news) = mpsc::unbounded_channel();
    let website = Website::start(&folder.socket(), options.port, tell)?;
    let port = tokio::select! {
        port = ready(&mut news, options.port) => port?,
        () = stop.asked() => return Err(DemoError::Interrupted),
    };
    transcript.cast(folder, website.pid(), port)?;
    let fetched = tokio::select! {
        fetched = fetch(folder.socket(), ca.to_owned(), port) => fetched?,
        () = stop.asked() => return Err(DemoError::Interrupted),
    };
    let other_side = tokio::select! {
        other_side = other_side(&mut news, fetched.local) => other_side?,
        () = stop.asked() => return Err(DemoError::Interrupted),
    };
    fetched.check(&other_side)?;
    transcript.round_trip(&fetched, &other_side)?;
    if !options.once {
        transcript.invitation(folder, port)?;
        loop {
            tokio::select! {
                () = stop.asked() => break,
                line = news.recv() => match line {
                    Some(News::Failed { peer, why }) => transcript.visitor_failed(&peer, &why)?,
                    Some(News::Ended(visit)) => transcript.visitor(&visit)?,
                    Some(News::Ready { .. } | News::Broken { .. }) => {}
                    None => return Err(DemoError::WebsiteGone),
                },
            }
        }
    }
    website.end();
    Ok(())
}

/// The port, once the web server listens.
async fn ready(news: &mut mpsc::UnboundedReceiver<News>, port: u16) -> Result<u16, DemoError> {
    match news.recv().await {
        Some(News::Ready { port }) => Ok(port),
        Some(News::Broken { in_use: true, .. }) => Err(DemoError::PortInUse(port)),
        Some(News::Broken { why, .. }) => Err(DemoError::Website(why)),
        _ => Err(DemoError::WebsiteGone),
    }
}

/// What the web server says about the session that came from `local`: others may visit at the same time.
async fn other_side(
    news: &mut mpsc::UnboundedReceiver<News>,
    local: SocketAddr,
) -> Result<website::Visit, DemoError> {
    let local = local.to_string();
    loop {
        match news.recv().await {
            Some(News::Ended(visit)) if visit.peer == local => return Ok(visit),
            Some(News::Failed { peer, why }) if peer == local => return Err(DemoError::Website(why)),
            Some(News::Broken { why, .. }) => return Err(DemoError::Website(why)),
            Some(News::Ended(_) | News::Failed { .. } | News::Ready { .. }) => {}
            None => return Err(DemoError::WebsiteGone),
        }
    }
}

/// The client's work waits as any small program's does, so it has a thread.
async fn fetch(socket: PathBuf, ca: String, port: u16) -> Result<Fetched, DemoError> {
    let (tell, told) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .name("fetch".to_owned())
        .spawn(move || {
            // Whoever waits for it may have been told to stop.
            let _ = tell.send(fetch::fetch(&socket, &ca, port));
        })
        .map_err(DemoError::system("start a thread"))?;
    told.await.unwrap_or_else(|_| Err(DemoError::Wrong("the fetching thread panicked".to_owned())))
}

/// SIGINT (Ctrl-C) and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self, DemoError> {
        let watching = |kind| signal(kind).map_err(DemoError::system("watch for signals"));
        Ok(Self {
            interrupt: watching(SignalKind::interrupt())?,
            terminate: watching(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
