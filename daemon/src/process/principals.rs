//! Names of users and groups become numbers once, when the file is loaded: a caller is known by its numbers.

use super::gather::Sources;
use crate::config::Principal;
use crate::policy::Grant;

/// Who may use a profile.
///
/// # Errors
/// A user or group is not known here.
pub(super) fn grant(
    users: &[Principal],
    groups: &[Principal],
    sources: &dyn Sources,
) -> Result<Grant, String> {
    if users.contains(&Principal::Everyone) {
        return Ok(Grant::everyone());
    }
    let uids: Vec<u32> = users.iter().map(|user| uid(user, sources)).collect::<Result<_, _>>()?;
    let gids: Vec<u32> = groups.iter().map(|group| gid(group, sources)).collect::<Result<_, _>>()?;
    Ok(Grant::to(uids, gids))
}

/// The number of a user.
///
/// # Errors
/// The user is not known here, or the user database does not answer.
pub(super) fn uid(who: &Principal, sources: &dyn Sources) -> Result<u32, String> {
    match who {
        Principal::Id(uid) => Ok(*uid),
        Principal::Name(name) => sources.user(name),
        Principal::Everyone => Err("\"*\" is no single user".to_owned()),
    }
}

fn gid(which: &Principal, sources: &dyn Sources) -> Result<u32, String> {
    match which {
        Principal::Id(gid) => Ok(*gid),
        Principal::Name(name) => sources.group(name),
        Principal::Everyone => Err("\"*\" is no single group".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::CallerCred;
    use crate::process::gather::Disk;

    #[test]
    fn names_are_looked_up_and_unknown_ones_are_errors() {
        let name = |name: &str| Principal::Name(name.to_owned());
        let granted = grant(&[name("root"), Principal::Id(33)], &[name("root")], &Disk::default()).unwrap();
        for (uid, gid, allowed) in [(0, 5, true), (33, 5, true), (5, 0, true), (5, 5, false)] {
            let caller = CallerCred { uid, gid, groups: Vec::new(), pid: 1 };
            assert_eq!(granted.allows(&caller), allowed, "{uid}:{gid}");
        }
        let unknown = grant(&[name("no-such-user-here")], &[], &Disk::default()).unwrap_err();
        assert_eq!(unknown, "there is no user named \"no-such-user-here\"");
        let unknown = grant(&[], &[name("no-such-group-here")], &Disk::default()).unwrap_err();
        assert_eq!(unknown, "there is no group named \"no-such-group-here\"");
    }

    #[test]
    fn a_star_is_everybody() {
        assert_eq!(grant(&[Principal::Everyone], &[], &Disk::default()).unwrap(), Grant::everyone());
    }
}
