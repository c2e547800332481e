//! Processes of a site: on their core, ended by their number, with their time and memory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsifyd_tests::TempDir;
use tlsifyd_tests::wait::{LIMIT, until};

/// One program with whatever it starts. Dropped, all of it is killed.
pub(super) struct Process {
    child: Child,
    /// Those that it has started, since it was ready.
    children: Vec<u32>,
    /// Its configuration.
    _dir: Option<TempDir>,
}

impl Process {
    /// This program as one of its servers, in the process of a tool that counts if there is one.
    ///
    /// # Errors
    /// It ended instead of saying where it listens.
    pub(super) fn server(
        words: &[String],
        under: &[String],
        core: Option<usize>,
    ) -> Result<(Self, SocketAddr), String> {
        let program = std::env::current_exe().expect("a process knows its program").display().to_string();
        let line: Vec<&String> = under.iter().chain([&program]).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg("--serve").args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = on_core(core, || command.spawn()).map_err(|error| format!("{command:?}: {error}"))?;
        let mut line = String::new();
        let said = child.stdout.take().map(BufReader::new).expect("it was piped").read_line(&mut line);
        let process = Self { child, children: Vec::new(), _dir: None };
        match (said, line.trim().parse()) {
            (Ok(_), Ok(address)) => Ok((process, address)),
            _ => Err(format!("the server {} did not start", words[0])),
        }
    }

    /// A program of somebody else, ready when something listens at `address`.
    ///
    /// # Errors
    /// It ended, with what it said, or does not listen in time.
    pub(super) fn front(
        mut command: Command,
        address: SocketAddr,
        dir: TempDir,
        core: Option<usize>,
    ) -> Result<Self, String> {
        let log = dir.path().join("said");
        let file = fs::File::create(&log).expect("the temporary folder can be written");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a descriptor is free")).stderr(file);
        let child = on_core(core, || command.spawn()).map_err(|error| format!("{command:?}: {error}"))?;
        let mut process = Self { child, children: Vec::new(), _dir: Some(dir) };
        let said = || {
            fs::read_to_string(&log)
                .unwrap_or_default()
                .split('\n')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let ready = until(LIMIT, || match process.child.try_wait() {
            Ok(None) => TcpStream::connect(address).ok().map(|_| Ok(())),
            Ok(Some(status)) => Some(Err(format!("it ended ({status}): {}", said()))),
            Err(error) => Some(Err(error.to_string())),
        });
        ready.unwrap_or_else(|| Err(format!("it does not listen after {LIMIT:?}: {}", said())))?;
        process.children = descendants(process.child.id());
        Ok(process)
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// It does not end in time.
    pub(super) fn terminate(&mut self) -> Result<(), String> {
        let _ = kill(pid(self.child.id()), Signal::SIGTERM);
        let ended = until(LIMIT, || self.child.try_wait().ok().flatten());
        ended.map(drop).ok_or_else(|| format!("process {} runs on after {LIMIT:?}", self.child.id()))
    }

    /// All of it.
    pub(super) fn pids(&self) -> Vec<u32> {
        std::iter::once(self.child.id()).chain(self.children.iter().copied()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Those that it started first: a master would start them again.
        let _ = kill(pid(self.child.id()), Signal::SIGSTOP);
        for child in descendants(self.child.id()) {
            let _ = kill(pid(child), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts something that is to run on this core, as everything that it starts itself.
pub(super) fn on_core<T>(core: Option<usize>, start: impl FnOnce() -> T) -> T {
    let Some(core) = core else { return start() };
    let me = Pid::from_raw(0);
    let before = sched_getaffinity(me).expect("a process may ask where it runs");
    let mut there = CpuSet::new();
    there.set(core).expect("a core that exists");
    sched_setaffinity(me, &there).expect("a process may move itself");
    let started = start();
    sched_setaffinity(me, &before).expect("a process may move itself");
    started
}

/// See [`super::kernel_kib`].
pub(super) fn kernel_kib() -> u64 {
    const FIELDS: [&str; 4] = ["Slab:", "KernelStack:", "PageTables:", "Percpu:"];
    let text = fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
    let fields = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let fields = fields.filter(|(name, _)| FIELDS.contains(name));
    let objects: u64 =
        fields.filter_map(|(_, value)| value.trim().trim_end_matches(" kB").parse::<u64>().ok()).sum();
    objects + socket_pages() * 4
}

/// What TCP holds in queues, in pages of 4 KiB.
fn socket_pages() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").expect("/proc is mounted");
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    tcp.rsplit(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

fn descendants(of: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|word| word.parse().ok());
    children.flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process.try_into().expect("a process id fits"))
}
