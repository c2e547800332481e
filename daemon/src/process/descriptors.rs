//! How many descriptors the process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number now in force (RLIMIT_NOFILE's soft limit); `u64::MAX` when there is none.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit as far as we may, and says what it is now. The usual soft limit of 1024 is there for programs
/// that use select(2); we do not, and children of ours should be started with the old one, which is returned second.
pub fn raise() -> (u64, u64) {
    let before = getrlimit(Resource::Nofile);
    // Failure leaves the old limit, which the quotas then follow.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    (limit(), before.current.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_never_lowers() {
        let before = limit();
        let (now, old) = raise();
        assert!(now >= before && old == before);
        assert_eq!(limit(), now);
    }
}
