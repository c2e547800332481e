//! A real `tlsifyd` process for a test: started in a folder of its own, watched from outside, never left behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, thread};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;
use tlsify_client::Client;

use crate::built;
use crate::family;
use crate::fds::Census;
use crate::temp::TempDir;
use crate::wait::{LIMIT, until};

/// How long descriptors must stay the same to be called at rest: many times what closing one takes.
const REST: Duration = Duration::from_millis(30);

/// A daemon of this test alone. Dropped, it is killed and its folder removed; when the test fails, what the daemon
/// said is printed.
#[derive(Debug)]
pub struct TestDaemon {
    child: Mutex<Child>,
    pid: u32,
    /// Its other processes, as far as they were seen.
    seen: Mutex<BTreeSet<u32>>,
    /// Everything is in one process.
    single: bool,
    dir: TempDir,
    /// Of a private daemon: the one control connection there is.
    private: Option<Client>,
}

/// What a daemon of a test is started with besides its socket.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The text of its configuration file; empty without it, so that no file of the host is read.
    pub config: Option<String>,
    /// Its environment, which is otherwise empty but for `TLSIFYD_LOG` and `RUST_BACKTRACE` of the test's own.
    pub env: Vec<(String, String)>,
    /// More arguments.
    pub args: Vec<String>,
    /// A program that runs the daemon in its own process, with its arguments: a tool that counts. No private daemon has one.
    pub under: Vec<String>,
}

impl TestDaemon {
    /// A daemon with its defaults.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// A daemon with this configuration file.
    pub fn with_config(config: impl Into<String>) -> Self {
        Self::with(Options { config: Some(config.into()), ..Options::default() })
    }

    /// A daemon with all of this, ready for its first caller.
    ///
    /// # Panics
    /// When it is not ready in time or ends before, with what it said.
    pub fn with(options: Options) -> Self {
        let dir = TempDir::new("daemon");
        let mut command = match options.under.split_first() {
            Some((tool, words)) => {
                let mut command = Command::new(tool);
                command.args(words).arg(built::daemon());
                command
            }
            None => Command::new(built::daemon()),
        };
        command.arg("--socket").arg(dir.path().join("sock")).stdin(Stdio::null());
        let daemon = Self::spawn(command, options, dir);
        let ready = until(LIMIT, || {
            if let Some(status) = daemon.poll() {
                panic!("tlsifyd ended ({status}) before it was ready, and said:\n{}", daemon.log());
            }
            Client::connect_to(daemon.socket()).ok()
        });
        let Some(ready) = ready else {
            panic!("tlsifyd is not ready after {LIMIT:?}, and said:\n{}", daemon.log());
        };
        // A daemon at rest does not have the connection that showed that it is ready: it is waited for, because on a
        // busy machine its end may come later than a test's first count.
        let with_it = daemon.fds().count();
        drop(ready);
        until(LIMIT, || (daemon.fds().count() < with_it).then_some(()));
        daemon
    }

    /// `tlsifyd --private FD`: the daemon of one caller, on a socketpair. [`TestDaemon::client`] gives clones of that
    /// caller's client.
    pub fn private() -> Self {
        Self::private_with(Options::default())
    }

    /// The daemon of one caller with all of this.
    ///
    /// # Panics
    /// When it is not ready in time or ends before, with what it said.
    pub fn private_with(options: Options) -> Self {
        let (ours, theirs) = seqpacket_pair();
        // The descriptor travels as the standard input: that needs no code between fork and exec. The shell moves it
        // to another number, as a caller's own would be, and becomes the daemon.
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("exec 3<&0 0</dev/null; exec \"$0\" --private 3 \"$@\"").arg(built::daemon());
        command.stdin(theirs);
        let mut daemon = Self::spawn(command, options, TempDir::new("private"));
        match Client::from_socket(ours) {
            Ok(client) => {
                daemon.private = Some(client);
                daemon.look();
            }
            Err(error) => panic!("tlsifyd --private does not greet ({error}), and said:\n{}", daemon.log()),
        }
        daemon
    }

    fn spawn(mut command: Command, options: Options, dir: TempDir) -> Self {
        if let Some(config) = &options.config {
            let file = dir.path().join("tlsifyd.toml");
            fs::write(&file, config).expect("the temporary folder can be written");
            command.arg("--config").arg(file);
        }
        let log = File::create(dir.path().join("log")).expect("the temporary folder can be written");
        let kept =
            ["RUST_LOG", "RUST_BACKTRACE"].into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
        let single = options.args.iter().any(|word| word == "--single-process");
        command.args(options.args).env_clear().envs(kept).envs(options.env);
        command.stdout(log.try_clone().expect("a descriptor is free")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { pid: child.id(), child: Mutex::new(child), seen: Mutex::default(), single, dir, private: None }
    }

    /// A new control connection; for a private daemon, the one that there is.
    ///
    /// # Panics
    /// When the daemon takes none.
    pub fn client(&self) -> Client {
        match &self.private {
            Some(client) => client.clone(),
            None => {
                Client::connect_to(self.socket()).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
            }
        }
    }

    /// Closes the one control connection of a private daemon, when no clone is left.
    pub fn hang_up(&mut self) {
        self.private = None;
    }

    /// The path of its socket, for callers that are processes: `TLSIFY_SOCK`.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Its folder, with `sock`, `log` and `tlsifyd.toml`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the configuration file. [`TestDaemon::signal`] with SIGHUP has it read.
    pub fn write_config(&self, config: &str) {
        fs::write(self.dir.path().join("tlsifyd.toml"), config).expect("the temporary folder can be written");
    }

    /// The daemon's process: the supervisor, which started the others ([`TestDaemon::parts`]).
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it was started with `--single-process`.
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The descriptors that its processes hold now.
    pub fn fds(&self) -> Census {
        Census::of_all(&self.look())
    }

    /// The descriptors that it holds at rest: once they no longer change. What [`TestDaemon::settled_fds`] is given
    /// later.
    ///
    /// # Panics
    /// When it has ended, and when it comes to no rest.
    pub fn baseline(&self) -> Census {
        let mut last = self.fds();
        until(LIMIT, || {
            thread::sleep(REST);
            let before = std::mem::replace(&mut last, self.fds());
            (before == last).then_some(before)
        })
        .unwrap_or_else(|| panic!("tlsifyd's descriptors change for {LIMIT:?}: {last:?}"))
    }

    /// Waits until it holds as many descriptors as in this census.
    ///
    /// # Panics
    /// When it still holds more or fewer after 5 s, with what is different.
    pub fn settled_fds(&self, baseline: &Census) {
        baseline.settled_by("tlsifyd", || self.fds());
    }

    /// The resident memory of its processes, in KiB.
    pub fn rss_kib(&self) -> u64 {
        let kib =
            |pid| family::status(pid, "VmRSS").trim_end_matches(" kB").parse::<u64>().expect("a number");
        self.pids().into_iter().map(kib).sum()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        self.look();
        kill(self.nix_pid(), signal)
            .unwrap_or_else(|error| panic!("{signal} cannot be sent to tlsifyd: {error}"));
    }

    /// SIGTERM: drain.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGKILL: as if it crashed.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not after the rig's time limit.
    pub fn wait(&self) -> ExitStatus {
        let status = until(LIMIT, || self.poll())
            .unwrap_or_else(|| panic!("tlsifyd runs on after {LIMIT:?}\n{}", self.log()));
        self.wait_for_parts();
        status
    }

    /// All its processes, and remembers those that it started.
    fn look(&self) -> Vec<u32> {
        let pids = self.pids();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(&pids[1..]);
        pids
    }

    /// Its other processes end with it, and that takes a moment.
    fn wait_for_parts(&self) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        until(LIMIT, || (!seen.iter().any(|pid| family::runs(*pid))).then_some(()))
            .unwrap_or_else(|| panic!("parts of tlsifyd run on after {LIMIT:?}: {seen:?}\n{}", self.log()));
    }

    /// Its exit status, if it has ended.
    pub fn poll(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().expect("our own child can be waited for")
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.pid.try_into().expect("a process id fits"))
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        self.look();
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Not an error when it has ended already; after the wait its number may be somebody else's.
        let _ = child.kill();
        let _ = child.wait();
        if !thread::panicking() {
            self.wait_for_parts();
        }
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the harness shows it with the test that failed")]
            {
                eprintln!("--- tlsifyd {} said:\n{}---", self.pid, self.log());
            }
        }
    }
}

/// An operator's server profile in the words of a configuration, for those that `who` names: `users = ["*"]`.
pub fn server_profile(name: &str, who: &str, certificate: &Path, key: &Path) -> String {
    format!(
        "[[profile]]\nname = \"{name}\"\nrole = \"server\"\n{who}\n[[profile.identity]]\n\
         certificate = \"{}\"\nkey = \"{}\"\n",
        certificate.display(),
        key.display()
    )
}

/// Two ends of a control connection that nobody listens on.
pub fn seqpacket_pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .expect("a descriptor is free")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use tlsify_client::Error;

    #[test]
    fn a_caller_that_came_and_went_is_not_counted() {
        let daemon = TestDaemon::start();
        let before = daemon.baseline();
        let clients = [daemon.client(), daemon.client()];
        assert_eq!(clients[0].hello(), clients[1].hello());
        assert!(daemon.rss_kib() > 0);
        drop(clients);
        daemon.settled_fds(&before);
    }

    #[test]
    fn a_private_daemon_ends_with_its_caller() {
        let mut daemon = TestDaemon::private();
        assert!(daemon.client().hello().versions.contains(&1));
        daemon.hang_up();
        assert!(daemon.wait().success(), "{}", daemon.log());
    }

    #[test]
    fn a_daemon_that_is_killed_is_told_from_one_that_ends() {
        let daemon = TestDaemon::start();
        daemon.kill();
        assert_eq!(daemon.wait().signal(), Some(9));
        assert!(matches!(Client::connect_to(daemon.socket()), Err(Error::NoDaemon { .. })));
    }

    #[test]
    fn nothing_is_left_of_a_daemon_that_was_dropped() {
        let daemon = TestDaemon::start();
        let (pids, folder) = (daemon.pids(), daemon.dir().to_owned());
        assert!(pids.len() >= 3, "supervisor, keyholder and worker: {pids:?}");
        drop(daemon);
        assert!(!pids.into_iter().any(family::runs), "a process is still there");
        assert!(!folder.exists(), "{} is still there", folder.display());
    }
}
