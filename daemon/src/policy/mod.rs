//! Who asks, what they may use, and how much of it.
//!
//! ```text
//!  CallerCred ──▶ Grant::allows      may this user use that profile of the operator's?
//!       ├──▶ Rules::of ──▶ Ruling     which rule is about this caller, and what follows
//!       └─ uid, rule ─▶ Ledger::account ─▶ Account ──session(), handshake(), …──▶ a slot, given back when it is dropped
//!                                                                      └──▶ QuotaExceeded, with a sentence
//! ```
//!
//! Pure: nothing here makes a system call or looks a name up. Decisions are by uid and gid alone, as the kernel gave
//! them when the caller connected; a pid is decoration, because it can be anybody's by the time it is looked at.

mod ledger;
mod limits;
mod rate;
mod rules;

pub use ledger::{
    Account, ConnectionSlot, HandshakeSlot, Ledger, ProfileBytes, ProfileSlot, SessionSlot, Usage,
};
pub use limits::{Limits, Quota, QuotaExceeded};
pub use rate::Rate;
pub use rules::{Forbidden, Matter, Rule, Rules, Ruling, StoreUse};

/// Who is at the other end of a control connection, frozen when it was made (SO_PEERCRED, SO_PEERGROUPS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerCred {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Process, for logs only: it may be another one by now, and is 0 across process namespaces.
    pub pid: i32,
}

/// Who may use a profile of the operator's.
///
/// Root is not special here: a profile that does not name root is not root's. (Who is root can change the file, so
/// this is no barrier, but it keeps a root-run cron job from serving with the wrong certificate by mistake.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    everyone: bool,
    uids: Vec<u32>,
    gids: Vec<u32>,
}

impl Grant {
    /// Every local user.
    pub fn everyone() -> Self {
        Grant { everyone: true, ..Grant::default() }
    }

    /// These users, and the members of these groups; nobody when both are empty.
    pub fn to(uids: impl IntoIterator<Item = u32>, gids: impl IntoIterator<Item = u32>) -> Self {
        Grant { everyone: false, uids: uids.into_iter().collect(), gids: gids.into_iter().collect() }
    }

    /// Whether the caller is one of them.
    pub fn allows(&self, caller: &CallerCred) -> bool {
        self.everyone
            || self.uids.contains(&caller.uid)
            || self.gids.contains(&caller.gid)
            || caller.groups.iter().any(|group| self.gids.contains(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, gid: u32, groups: &[u32]) -> CallerCred {
        CallerCred { uid, gid, groups: groups.to_vec(), pid: 1 }
    }

    #[test]
    fn a_grant_is_to_those_it_names_and_nobody_else() {
        let grant = Grant::to([33], [100]);
        assert!(grant.allows(&caller(33, 33, &[])));
        assert!(grant.allows(&caller(1000, 100, &[])), "primary group");
        assert!(grant.allows(&caller(1000, 1000, &[4, 100])), "supplementary group");
        assert!(!grant.allows(&caller(100, 33, &[33])), "a gid is no uid, a uid no gid");
        assert!(!grant.allows(&caller(0, 0, &[])), "root was not named");
    }

    #[test]
    fn an_empty_grant_lets_nobody_in() {
        assert!(!Grant::default().allows(&caller(0, 0, &[0])));
        assert!(Grant::everyone().allows(&caller(65534, 65534, &[])));
    }
}
