//! Wall time and CPU time of everybody who takes part in a piece of work: this thread, the programs that it starts, what
//! those leave behind, and the daemon. The peer takes part in none of it.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use tlsifyd_tests::TestDaemon;
use tlsifyd_tests::figures::table::Cost;
use tlsifyd_tests::wait::{LIMIT, until};

/// Counts CPU time.
pub(crate) struct Meter<'a> {
    /// The daemon that runs all the time.
    daemon: &'a TestDaemon,
}

impl<'a> Meter<'a> {
    /// Also makes orphans ours: a private daemon outlives the command that started it.
    pub(crate) fn new(daemon: &'a TestDaemon) -> Self {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("Linux has subreapers");
        Self { daemon }
    }

    /// What one of `count` pieces of `work` costs. `settle` waits for what goes on after the last one: its CPU time
    /// counts, its wall time does not.
    ///
    /// # Errors
    /// The first piece that failed.
    pub(crate) fn measure(
        &self,
        count: u32,
        work: &mut dyn FnMut() -> Result<(), String>,
        settle: &mut dyn FnMut(),
    ) -> Result<Cost, String> {
        let cpu = self.cpu();
        let began = Instant::now();
        for _ in 0..count {
            work()?;
        }
        let wall = began.elapsed();
        // What the wait itself costs is nobody's.
        let mine = thread();
        settle();
        self.reap();
        let idle = thread() - mine;
        let cpu = self.cpu() - cpu - idle;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(count);
        Ok(Cost { wall: each(wall), cpu: each(cpu) })
    }

    fn cpu(&self) -> Duration {
        let daemon = self.daemon.cpu();
        let children = getrusage(UsageWho::RUSAGE_CHILDREN).expect("a process may ask about its children");
        let spent = children.user_time() + children.system_time();
        let children = Duration::from_micros(spent.num_microseconds().try_into().unwrap_or(0));
        daemon + children + thread()
    }

    /// Waits until the daemon is our only child.
    fn reap(&self) {
        let alone = until(LIMIT, || {
            while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                if status == WaitStatus::StillAlive {
                    break;
                }
            }
            children().iter().all(|child| child.as_raw().unsigned_abs() == self.daemon.pid()).then_some(())
        });
        alone.expect("what the programs left behind ends by itself");
    }
}

/// CPU time of this thread.
fn thread() -> Duration {
    clock(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id).map_or_else(|error| panic!("{id:?}: {}", Errno::desc(error)), Duration::from)
}

/// The processes whose parent we are.
fn children() -> Vec<Pid> {
    let us = std::process::id();
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| parent(*pid) == Some(us)).map(Pid::from_raw).collect()
}

fn parent(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; then the state, then the parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
