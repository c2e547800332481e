//! Tools that count at processes that run already: strace, and perf for the kernel's counters.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsifyd_tests::TempDir;
use tlsifyd_tests::tools::find;
use tlsifyd_tests::wait::{LIMIT, until};

use super::Counts;

/// From when perf has opened its counters to when they count.
const ENABLED: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// System calls.
    Strace,
    /// Instructions.
    Perf,
}

/// One that counts. Dropped, it is killed, and the processes run on.
pub(super) struct Attached {
    tool: Tool,
    child: Child,
    dir: TempDir,
}

impl Attached {
    /// Counts at all threads of these processes, and at those that they start.
    ///
    /// # Errors
    /// The tool is not here, or may not.
    pub(super) fn start(tool: Tool, pids: &[u32]) -> Result<Self, String> {
        let dir = TempDir::new("counts");
        let words: &[&str] = match tool {
            Tool::Strace => &["strace", "-f", "-c", "-o"],
            Tool::Perf => &["perf", "stat", "-x", ",", "-e", "instructions:u,instructions:k", "-o"],
        };
        let program = find(words[0]).ok_or_else(|| format!("{} is not here", words[0]))?;
        let mut command = Command::new(program);
        command.args(&words[1..]).arg(dir.path().join("table"));
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        match tool {
            Tool::Strace => command.args(pids.iter().flat_map(|pid| ["-p", pid])),
            Tool::Perf => command.args(["-p", &pids.join(",")]),
        };
        let said = fs::File::create(dir.path().join("said")).expect("the temporary folder can be written");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn();
        let child = child.map_err(|error| format!("{}: {error}", words[0]))?;
        let mut attached = Self { tool, child, dir };
        let ready = until(LIMIT, || match attached.child.try_wait() {
            Ok(None) => attached.counts_at(&pids).then_some(Ok(())),
            Ok(Some(status)) => Some(Err(format!("{} ended ({status}): {}", words[0], attached.said()))),
            Err(error) => Some(Err(error.to_string())),
        });
        ready.unwrap_or_else(|| Err(format!("{} does not count after {LIMIT:?}", words[0])))?;
        if tool == Tool::Perf {
            thread::sleep(ENABLED);
        }
        Ok(attached)
    }

    /// What it counted.
    ///
    /// # Errors
    /// It does not end, or wrote what is no table.
    pub(super) fn stop(mut self) -> Result<Counts, String> {
        let id = self.child.id();
        let _ = kill(Pid::from_raw(id.try_into().expect("a process id fits")), Signal::SIGINT);
        let ended = until(LIMIT, || self.child.try_wait().ok().flatten());
        ended.ok_or_else(|| format!("{:?} runs on after {LIMIT:?}", self.tool))?;
        let table = fs::read_to_string(self.dir.path().join("table")).unwrap_or_default();
        let counts = match self.tool {
            Tool::Strace => calls(&table),
            Tool::Perf => instructions(&table),
        };
        if counts.is_empty() {
            return Err(format!("{:?} counted nothing: {} {}", self.tool, self.said(), one_line(&table)));
        }
        Ok(counts)
    }

    /// Whether it has come to all threads.
    fn counts_at(&self, pids: &[String]) -> bool {
        match self.tool {
            Tool::Strace => {
                let tracer = format!("TracerPid:\t{}\n", self.child.id());
                let tasks = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
                tasks.flatten().flatten().all(|task| {
                    // A thread that has ended since needs no tracer.
                    fs::read_to_string(task.path().join("status")).map_or(true, |text| text.contains(&tracer))
                })
            }
            Tool::Perf => {
                let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten();
                let mut open = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
                open.any(|file| file.to_string_lossy().contains("perf_event"))
            }
        }
    }

    fn said(&self) -> String {
        one_line(&fs::read_to_string(self.dir.path().join("said")).unwrap_or_default())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Not an error when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of a table of `strace -c`: `% time, seconds, usecs/call, calls, errors or nothing, syscall`.
fn calls(table: &str) -> Counts {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let count = words.get(3).filter(|_| words.len() > 4)?.parse().ok()?;
        let name = words.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), count))
    };
    table.lines().filter_map(line).collect()
}

/// Of lines of `perf stat -x ,`: `count, unit, event, …`, where the count can be a reason why there is none.
fn instructions(table: &str) -> Counts {
    let line = |line: &str| {
        let mut words = line.split(',');
        let count = words.next()?.parse().ok()?;
        let name = match words.nth(1)? {
            "instructions:u" => "user",
            "instructions:k" => "kernel",
            _ => return None,
        };
        Some((name.to_owned(), count))
    };
    table.lines().filter_map(line).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
