//! What the kernel can be asked to forbid, and what is lost where it cannot.

use std::fmt;

use super::Part;
use crate::sys;

/// Something that the sandbox is built of and that not every kernel has. Ordered as they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A list of system calls, and death for all others.
    SystemCalls,
    /// Rules for files.
    Files,
    /// Rules for cutting files short.
    Truncation,
    /// Rules for TCP ports.
    Tcp,
    /// No signals and no abstract sockets out of a part.
    Scopes,
    /// No memory that is written and run.
    WritableCode,
}

impl Feature {
    const ALL: [Self; 6] =
        [Self::SystemCalls, Self::Files, Self::Truncation, Self::Tcp, Self::Scopes, Self::WritableCode];

    /// The kernel's name for it, and since when it is there.
    pub fn name(self) -> &'static str {
        match self {
            Self::SystemCalls => "seccomp filters that kill (Linux 4.14)",
            Self::Files => "landlock (Linux 5.13)",
            Self::Truncation => "landlock's right to truncate files (Linux 6.2)",
            Self::Tcp => "landlock's rules for TCP (Linux 6.7)",
            Self::Scopes => "landlock's scopes for signals and abstract sockets (Linux 6.12)",
            Self::WritableCode => "PR_SET_MDWE (Linux 6.3)",
        }
    }

    /// What it would have given, and whom.
    pub fn lost(self) -> &'static str {
        match self {
            Self::SystemCalls => "every part can make every system call that its user may make",
            Self::Files => {
                "the worker and the keyholder are kept from files by their list of system calls alone, the other \
                 parts by the rights of their users alone"
            }
            Self::Truncation => {
                "the supervisor, the dialer and the tokens can truncate files that their users may write"
            }
            Self::Tcp => {
                "the worker and the keyholder are kept from connecting by their list of system calls alone, the \
                 others not at all"
            }
            Self::Scopes => {
                "the dialer and the tokens can reach abstract sockets and, as the same user, other processes' signals"
            }
            Self::WritableCode => {
                "the worker and the keyholder are kept from making code of data by their list of system calls \
                 alone, the others not at all"
            }
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What this kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Version of landlock's interface; 0 is none.
    pub(super) landlock: i32,
    pub(super) system_calls: bool,
    pub(super) writable_code: bool,
}

/// In debug builds, a kernel that lacks something: `landlock=3`, `seccomp=no` and `mdwe=no`, with spaces between them.
#[cfg(debug_assertions)]
const PRETENDED: &str = "TLSIFYD_TEST_KERNEL";

impl Kernel {
    /// Asks the kernel.
    pub fn probe() -> Self {
        let kernel = Self {
            landlock: sys::landlock_version(),
            system_calls: sys::can_kill_by_system_call(),
            writable_code: sys::can_deny_writable_code(),
        };
        #[cfg(debug_assertions)]
        if let Ok(less) = std::env::var(PRETENDED) {
            return kernel.without(&less);
        }
        kernel
    }

    /// The same, without what `less` says.
    #[cfg(debug_assertions)]
    fn without(mut self, less: &str) -> Self {
        for word in less.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("landlock", version)) => self.landlock = version.parse().unwrap_or(0),
                Some(("seccomp", _)) => self.system_calls = false,
                Some(("mdwe", _)) => self.writable_code = false,
                _ => {}
            }
        }
        self
    }

    /// Whether it has this.
    pub fn has(self, feature: Feature) -> bool {
        match feature {
            Feature::SystemCalls => self.system_calls,
            Feature::WritableCode => self.writable_code,
            Feature::Files => self.landlock >= 1,
            Feature::Truncation => self.landlock >= 3,
            Feature::Tcp => self.landlock >= 4,
            Feature::Scopes => self.landlock >= 6,
        }
    }

    /// What it lacks. Without landlock, its parts are not counted.
    pub fn lacks(self) -> Vec<Feature> {
        let parts = [Feature::Truncation, Feature::Tcp, Feature::Scopes];
        let counts = |feature: &Feature| self.has(Feature::Files) || !parts.contains(feature);
        Feature::ALL.into_iter().filter(|feature| !self.has(*feature)).filter(counts).collect()
    }

    /// Says in the log what it lacks, one line for each. For the supervisor, once at its start.
    pub fn tell(self) {
        for feature in self.lacks() {
            tracing::warn!("this kernel has no {feature}: {}", feature.lost());
        }
        tracing::debug!(
            landlock = self.landlock,
            parts = Part::ALL.len(),
            "looked at what the kernel can forbid"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Kernel = Kernel { landlock: 7, system_calls: true, writable_code: true };

    #[test]
    fn a_kernel_that_has_everything_lacks_nothing() {
        assert_eq!(WHOLE.lacks(), []);
    }

    #[test]
    fn each_version_lacks_what_came_after_it() {
        let lacks = |landlock| Kernel { landlock, ..WHOLE }.lacks();
        assert_eq!(lacks(0), [Feature::Files]);
        assert_eq!(lacks(1), [Feature::Truncation, Feature::Tcp, Feature::Scopes]);
        assert_eq!(lacks(3), [Feature::Tcp, Feature::Scopes]);
        assert_eq!(lacks(5), [Feature::Scopes]);
        assert_eq!(lacks(6), []);
    }

    #[test]
    fn an_older_kernel_can_be_pretended() {
        let old = WHOLE.without("landlock=0 seccomp=no mdwe=no nonsense");
        assert_eq!(old.lacks(), [Feature::SystemCalls, Feature::Files, Feature::WritableCode]);
        assert_eq!(WHOLE.without(""), WHOLE);
    }

    #[test]
    fn the_kernel_that_runs_the_tests_is_asked_and_answers_the_same_twice() {
        assert_eq!(Kernel::probe(), Kernel::probe());
        assert!(Kernel::probe().has(Feature::SystemCalls), "every kernel since 2017");
    }
}
