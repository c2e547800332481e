//! Programs that a test starts: curl, a server in Python, something just compiled. They have time limits, what they
//! say is kept, and none is left behind.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::temp::TempDir;
use crate::wait::{LIMIT, until};

/// A program under way. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    dir: TempDir,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote to standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// What it wrote to standard error; bytes that are no UTF-8 are replaced.
    pub stderr: String,
}

impl Program {
    /// Starts it. Its input is `/dev/null` unless the command says otherwise.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let dir = TempDir::new("program");
        let file = |name| File::create(dir.path().join(name)).expect("the temporary folder can be written");
        let name = command.get_program().to_string_lossy().into_owned();
        // Files, not pipes: nothing has to read for the program to go on.
        command.stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { name, child, dir }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started, and when it takes longer than the rig's time limit.
    pub fn run(command: &mut Command) -> Output {
        Self::start(command.stdin(Stdio::null())).wait()
    }

    /// Waits for a line on standard output or standard error that has `text` in it, and gives that line.
    ///
    /// # Panics
    /// When the program ends before, or the line does not come in time.
    pub fn line_with(&mut self, text: &str) -> String {
        let found = until(LIMIT, || {
            // Looked at first, so that the last words of a program that has just ended are seen.
            let ended = self.poll();
            let said = self.stdout() + &self.stderr();
            // A line that is still being written has no end yet.
            let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            match whole.map(str::trim_end).find(|line| line.contains(text)) {
                Some(line) => Some(line.to_owned()),
                None if ended.is_some() => {
                    panic!("{} ended without saying \"{text}\":\n{said}", self.name)
                }
                None => None,
            }
        });
        found.unwrap_or_else(|| {
            panic!("{} does not say \"{text}\":\n{}{}", self.name, self.stdout(), self.stderr())
        })
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it takes longer than the rig's time limit.
    pub fn wait(mut self) -> Output {
        let status = until(LIMIT, || self.poll())
            .unwrap_or_else(|| panic!("{} runs on:\n{}{}", self.name, self.stdout(), self.stderr()));
        Output { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. Nothing happens when it has ended.
    pub fn signal(&mut self, signal: Signal) {
        // Only while it is not waited for is the number certainly its own.
        if self.poll().is_none() {
            let pid = Pid::from_raw(self.child.id().try_into().expect("a process id fits"));
            let _ = kill(pid, signal);
        }
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.said("stdout")
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.said("stderr")
    }

    /// Its status, if it has ended.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    fn said(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Output {
    /// Its standard output, if it ended well.
    ///
    /// # Panics
    /// When its status is not 0, with all that it said.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{}:\n{}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Not an error when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_kept_and_its_status_told() {
        let output = Program::run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
        assert_eq!(
            (output.status.code(), output.stdout.as_str(), output.stderr.as_str()),
            (Some(3), "out\n", "err\n")
        );
    }

    #[test]
    fn a_program_that_is_dropped_is_gone() {
        let mut program = Program::start(Command::new("sh").args(["-c", "echo ready; exec sleep 60"]));
        assert_eq!(program.line_with("ready"), "ready");
        let path = format!("/proc/{}", program.pid());
        drop(program);
        assert!(!fs::exists(path).unwrap());
    }

    #[test]
    #[should_panic(expected = "sh ended without saying \"ready\"")]
    fn a_program_that_ends_before_it_is_ready_is_told_with_its_words() {
        Program::start(Command::new("sh").args(["-c", "echo broken"])).line_with("ready");
    }
}
