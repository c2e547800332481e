//! The servers that the load goes to: each is one or two programs on a core of their own.
//!
//! ```text
//!  tlsifyd       load ──TLS──▶ tlsifyd ◀── socket, plaintext ──▶ back end      the socket is accepted by the back end
//!  one process   the same with --single-process: no keyholder, no sandbox
//!  inside        load ──TLS──▶ tokio-rustls in the server
//!  nginx https   load ──TLS──▶ nginx, which answers itself
//!  the others    load ──TLS──▶ nginx stream, haproxy, hitch, stunnel ──TCP──▶ back end
//! ```
//!
//! All have the same certificate, group and suite, one process or thread for the work, and no logs.

mod process;
mod programs;

use std::net::SocketAddr;
use std::time::Duration;

use tlsifyd_tests::figures::{cpu, private_kib};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, Options, TestDaemon, pki};

use crate::servers::Served;
use process::Process;
use programs::{Front, program};

/// In the order of the report.
pub(crate) const NAMES: [&str; 8] =
    ["tlsifyd", "one process", "inside", "nginx https", "nginx stream", "haproxy", "hitch", "stunnel"];

/// The version that is spoken, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    V12,
    V13,
}

/// The group of the key exchange, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    X25519,
    Hybrid,
}

/// What a site is beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// Ours, debugged.
    OneProcess,
    InProcess,
    Itself,
    Proxy,
}

/// What a site is started with.
#[derive(Clone, Debug)]
pub(crate) struct SiteOptions {
    pub(crate) version: Tls,
    pub(crate) group: Group,
    /// Sessions can be resumed.
    pub(crate) tickets: bool,
    /// Where all its processes run.
    pub(crate) core: Option<usize>,
    /// A tool that counts, with its arguments: it runs each of our programs in its own process.
    pub(crate) under: Vec<String>,
}

impl SiteOptions {
    /// For the servers that are this program.
    fn served(&self) -> Served {
        let identity = pki().server(KeyKind::EcdsaP256);
        Served {
            tls12: self.version == Tls::V12,
            hybrid: self.group == Group::Hybrid,
            certificate: identity.certificate_file.display().to_string(),
            key: identity.key_file.display().to_string(),
            tickets: self.tickets,
        }
    }
}

/// A site that runs. Dropped, its processes are killed.
pub(crate) struct Site {
    kind: Kind,
    address: SocketAddr,
    processes: Vec<Process>,
    daemon: Option<TestDaemon>,
    /// Every process whose time counts.
    pids: Vec<u32>,
    /// Those of them that do TLS.
    tls: Vec<u32>,
}

impl Site {
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processes that do TLS, and those behind them if there are any.
    pub(crate) fn sides(&self) -> Vec<(&'static str, Vec<u32>)> {
        let behind: Vec<u32> = self.pids.iter().copied().filter(|pid| !self.tls.contains(pid)).collect();
        let sides = [("TLS", self.tls.clone()), ("back end", behind)];
        sides.into_iter().filter(|(_, pids)| !pids.is_empty()).collect()
    }

    /// Has all its processes end in order, as a tool wants it that writes what it counted at the end.
    ///
    /// # Errors
    /// One does not end in time.
    pub(crate) fn end(mut self) -> Result<(), String> {
        self.processes.iter_mut().try_for_each(Process::terminate)?;
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        if daemon.poll().is_none() {
            daemon.terminate();
        }
        until(LIMIT, || daemon.poll())
            .map(drop)
            .ok_or_else(|| format!("tlsifyd runs on after {LIMIT:?}: {}", daemon.log()))
    }

    /// Of all its processes so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.pids.iter().map(|pid| cpu(*pid)).sum()
    }

    /// Of the processes that do TLS.
    pub(crate) fn tls_private_kib(&self) -> u64 {
        self.tls.iter().map(|pid| private_kib(*pid)).sum()
    }
}

/// Memory of the kernel that sessions can grow: its objects, page tables and stacks, and what sockets hold.
pub(crate) fn kernel_kib() -> u64 {
    process::kernel_kib()
}

/// Starts one, ready for the first client.
///
/// # Errors
/// Why it cannot be: a program that is not there, or one that does not know what is asked for.
pub(crate) fn start(name: &str, options: &SiteOptions) -> Result<Site, String> {
    match name {
        "tlsifyd" => tlsifyd(Kind::Ours, options),
        "one process" => tlsifyd(Kind::OneProcess, options),
        "inside" => {
            let mut words = vec!["inside".to_owned()];
            words.extend(options.served().words());
            let (server, address) = Process::server(&words, &options.under, options.core)?;
            Ok(site(Kind::InProcess, address, server, Vec::new()))
        }
        other => fronted(program(other).ok_or_else(|| format!("{other} is no site"))?, options),
    }
}

fn site(kind: Kind, address: SocketAddr, tls: Process, behind: Vec<Process>) -> Site {
    let of_tls = tls.pids();
    let pids = of_tls.iter().copied().chain(behind.iter().flat_map(Process::pids)).collect();
    let processes = std::iter::once(tls).chain(behind).collect();
    Site { kind, address, processes, daemon: None, pids, tls: of_tls }
}

/// The daemon as everybody has it, but for room for 8,000 sessions of one user and a quiet log, and the back end that hands
/// its connections over.
fn tlsifyd(kind: Kind, options: &SiteOptions) -> Result<Site, String> {
    let config = "[limits]\nsessions = 9000\ntotal-sessions = 9700\n[log]\nlevel = \"warn\"\n".to_owned();
    let daemon = process::on_core(options.core, || {
        // A tool that runs a program in its own process does not follow into others.
        let one = kind == Kind::OneProcess || !options.under.is_empty();
        let args = if one { vec!["--single-process".to_owned()] } else { Vec::new() };
        let under = options.under.clone();
        TestDaemon::with(Options { config: Some(config), under, args, ..Options::default() })
    });
    let mut words = vec!["handover".to_owned(), daemon.socket().display().to_string()];
    words.extend(options.served().words());
    let (server, address) = Process::server(&words, &options.under, options.core)?;
    let mut site = site(kind, address, server, Vec::new());
    site.pids.extend(daemon.pids());
    site.tls = daemon.pids();
    site.daemon = Some(daemon);
    Ok(site)
}

/// A server of somebody else, with the back end behind it if it is a proxy.
fn fronted(front: &'static Front, options: &SiteOptions) -> Result<Site, String> {
    if !options.under.is_empty() {
        return Err("only programs of ours are run under a tool".to_owned());
    }
    let ready = front.prepare(options)?;
    let mut behind = Vec::new();
    let mut back = None;
    if front.kind() == Kind::Proxy {
        let (server, address) = Process::server(&["plain".to_owned()], &[], options.core)?;
        behind.push(server);
        back = Some(address);
    }
    let (process, address) = ready.start(back, options.core)?;
    Ok(site(front.kind(), address, process, behind))
}

impl Drop for Site {
    /// The back end goes before the daemon that it has sessions with.
    fn drop(&mut self) {
        self.processes.clear();
        self.daemon = None;
    }
}
