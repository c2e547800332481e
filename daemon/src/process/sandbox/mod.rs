//! What each of the daemon's processes gives away for good before it does its work. It does not decide what a part does,
//! or start one: a part calls [`confine`] once, when it has what it needs and has no second thread yet.
//!
//! ```text
//!  started ─▶ limits ─▶ not dumpable ─▶ capabilities ─▶ own user ─▶ not dumpable, again ─▶ no new privileges
//!                                                                                              │
//!             ready ◀── list of system calls ◀── files, TCP, scopes (landlock) ◀── no code from data ◀┘
//! ```
//!
//! The order has its reasons. Landlock's folders are opened first, with the rights that the part still has. The
//! bounding set can be emptied only while there is CAP_SETPCAP, which goes with the change of user; that change also
//! makes a process dumpable by the host's setting, so it is taken back after it. Landlock and seccomp want
//! no_new_privs. The list of system calls comes last because it forbids everything that was done before it.
//!
//! | part | user, when started as root | capabilities | files | network | other calls |
//! | --- | --- | --- | --- | --- | --- |
//! | supervisor | root | those of `privileges.rs` | the places it was configured with | no bind | refused |
//! | keyholder | its own | none | none | none | killed |
//! | token | its own | none | its module, and what `paths` names | none, or what the module needs | refused |
//! | dialer | its own | none | what the name service reads | connect | refused |
//! | worker | its own | none | none | none | killed |
//!
//! What a part may do is in tables, each line with its reason: system calls in `seccomp`, places in `places`.

mod beside;
mod error;
#[cfg(debug_assertions)]
mod escape;
mod kernel;
mod landlock;
mod places;
mod privileges;
mod seccomp;
mod users;

use std::fs;

use serde::{Deserialize, Serialize};

pub use beside::Beside;
pub use error::SandboxError;
#[cfg(debug_assertions)]
pub use escape::Escape;
pub use kernel::{Feature, Kernel};
pub use places::{May, Place};
pub use users::{Ids, Users};

use crate::config::SandboxMode;

/// One of the daemon's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// Configuration, listening sockets, the CA pool, and the others' life and death.
    Supervisor,
    /// Private keys.
    Keyholder,
    /// A PKCS#11 module, which is somebody else's code.
    Token,
    /// Name look-ups and connections.
    Dialer,
    /// TLS, and nothing else.
    Worker,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Supervisor, Self::Keyholder, Self::Token, Self::Dialer, Self::Worker];

    /// Its name in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Keyholder => "keyholder",
            Self::Token => "token",
            Self::Dialer => "dialer",
            Self::Worker => "worker",
        }
    }

    /// Whether code of others runs in it that nobody here has read: modules of the name service, of PKCS#11. What such
    /// code tries and may not is refused, so that it can go on without; in the other parts it can only be an intruder,
    /// and the process ends.
    pub fn has_foreign_code(self) -> bool {
        match self {
            Self::Supervisor | Self::Token | Self::Dialer => true,
            Self::Keyholder | Self::Worker => false,
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a part reaches into the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Its places; the worker and the keyholder have none.
    #[default]
    Places,
    /// As far as its user: the supervisor of a private daemon, which has one caller, of the same user.
    User,
}

/// What a part is to know about its confinement, and cannot find out by itself. The supervisor makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether a kernel that lacks a feature will do.
    pub mode: SandboxMode,
    /// Who the part becomes; `None`: it stays who it is, because the daemon was not started as root.
    pub ids: Option<Ids>,
    /// Whether places bound it.
    pub reach: Reach,
    /// Where it may do what in the file system. Not for the worker and the keyholder, which may nothing anywhere.
    pub places: Vec<Place>,
    /// Token: whether its module may open connections over the network, as those of network HSMs do.
    pub network: bool,
    /// Supervisor: whether a rule asks which programs callers run.
    pub programs: bool,
}

/// What was done, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose it is.
    pub part: Part,
    /// What this kernel could not be asked for.
    pub lacking: Vec<Feature>,
    /// Filters of system calls that are in force, this part's own only.
    pub filters: usize,
}

/// Confines this process, which is this part, for good. To be called once, before a second thread.
///
/// # Errors
/// [`SandboxError`]: the process may then be confined in part, and has to end.
pub fn confine(part: Part, settings: &Settings) -> Result<Report, SandboxError> {
    let kernel = kernel(settings)?;
    // With the rights that it still has.
    let rules = || landlock::Rules::new(part, settings, kernel);
    let rules = lower(part, settings, kernel, rules)?;
    enforce(part, settings, kernel, rules)
}

/// The supervisor, with its privileges given up and without a list of places and system calls yet.
#[derive(Clone, Copy, Debug)]
pub struct Lowered(Kernel);

/// The supervisor's first half: everything that binds a process with its later threads. To be called before it has a second
/// thread.
///
/// # Errors
/// As [`confine`].
pub fn lower_supervisor(settings: &Settings) -> Result<Lowered, SandboxError> {
    let kernel = kernel(settings)?;
    lower(Part::Supervisor, settings, kernel, || Ok(()))?;
    Ok(Lowered(kernel))
}

impl Lowered {
    /// The second half, when its sockets are made and its places known. Threads that it has already, and those that
    /// [`Beside`] starts, are bound to its system calls and not to its places.
    ///
    /// # Errors
    /// As [`confine`].
    pub fn confine(self, settings: &Settings) -> Result<(Report, Beside), SandboxError> {
        let part = Part::Supervisor;
        let beside = Beside::start().map_err(SandboxError::step(part, "starting a thread"))?;
        let rules = landlock::Rules::new(part, settings, self.0);
        let rules = rules.map_err(SandboxError::step(part, "preparing its rules for files"))?;
        Ok((enforce(part, settings, self.0, rules)?, beside))
    }

    /// The same for the supervisor of a private daemon, which no places bind: it needs no threads for that.
    ///
    /// # Errors
    /// As [`confine`].
    pub fn confine_freely(self, settings: &Settings) -> Result<Report, SandboxError> {
        enforce(Part::Supervisor, settings, self.0, landlock::Rules::none())
    }
}

fn kernel(settings: &Settings) -> Result<Kernel, SandboxError> {
    let kernel = Kernel::probe();
    let lacking = kernel.lacks();
    match settings.mode {
        SandboxMode::Required if !lacking.is_empty() => Err(SandboxError::Lacking(lacking)),
        SandboxMode::Required | SandboxMode::BestEffort => Ok(kernel),
    }
}

/// Everything but the rules for files and the list of system calls. `before` runs with the rights that are given up.
fn lower<T>(
    part: Part,
    settings: &Settings,
    kernel: Kernel,
    before: impl FnOnce() -> std::io::Result<T>,
) -> Result<T, SandboxError> {
    let threads = threads().map_err(SandboxError::step(part, "counting its threads"))?;
    if threads != 1 {
        return Err(SandboxError::Threads { part, threads });
    }
    let step = |doing| SandboxError::step(part, doing);
    privileges::limits().map_err(step("setting its limits"))?;
    privileges::hide().map_err(step("hiding its memory"))?;
    let before = before().map_err(step("preparing its rules for files"))?;
    privileges::give_up(part, settings.ids, settings.programs).map_err(step("giving up its privileges"))?;
    // A change of user leaves it as the host's fs.suid_dumpable says.
    privileges::hide().map_err(step("hiding its memory"))?;
    nix::sys::prctl::set_no_new_privs().map_err(|error| step("forbidding new privileges")(error.into()))?;
    if kernel.has(Feature::WritableCode) {
        crate::sys::deny_writable_code().map_err(step("forbidding code in writable memory"))?;
    }
    Ok(before)
}

fn enforce(
    part: Part,
    settings: &Settings,
    kernel: Kernel,
    rules: landlock::Rules,
) -> Result<Report, SandboxError> {
    rules.enforce().map_err(SandboxError::step(part, "giving up the file system"))?;
    let filters = match kernel.has(Feature::SystemCalls) {
        true => seccomp::install(part, settings),
        false => Ok(0),
    };
    let filters = filters.map_err(SandboxError::step(part, "giving up system calls"))?;
    Ok(Report { part, lacking: kernel.lacks(), filters })
}

/// The system calls of a part by name, each with its reason, as its tables have them.
pub fn system_calls(part: Part) -> impl Iterator<Item = (&'static str, &'static str)> {
    seccomp::lines(part)
}

/// Threads of this process.
fn threads() -> std::io::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| std::io::Error::other("/proc/self/status does not say how many threads there are"))
}

#[cfg(test)]
mod tests;
