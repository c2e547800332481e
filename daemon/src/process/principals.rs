//! Names of users and groups become numbers once, when the file is loaded: a caller is known by its numbers.

use nix::unistd::{Group, User};

use crate::config::Principal;
use crate::policy::Grant;

/// Who may use a profile.
///
/// # Errors
/// A user or group is not known here.
pub(super) fn grant(users: &[Principal], groups: &[Principal]) -> Result<Grant, String> {
    if users.contains(&Principal::Everyone) {
        return Ok(Grant::everyone());
    }
    let uids: Vec<u32> = users.iter().map(uid).collect::<Result<_, _>>()?;
    let gids: Vec<u32> = groups.iter().map(gid).collect::<Result<_, _>>()?;
    Ok(Grant::to(uids, gids))
}

/// The number of a user.
///
/// # Errors
/// The user is not known here, or the user database does not answer.
pub(super) fn uid(who: &Principal) -> Result<u32, String> {
    match who {
        Principal::Id(uid) => Ok(*uid),
        Principal::Name(name) => match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(format!("there is no user named \"{name}\"")),
            Err(error) => Err(format!("cannot look up the user \"{name}\": {}", error.desc())),
        },
        Principal::Everyone => Err("\"*\" is no single user".to_owned()),
    }
}

fn gid(which: &Principal) -> Result<u32, String> {
    match which {
        Principal::Id(gid) => Ok(*gid),
        Principal::Name(name) => match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(format!("there is no group named \"{name}\"")),
            Err(error) => Err(format!("cannot look up the group \"{name}\": {}", error.desc())),
        },
        Principal::Everyone => Err("\"*\" is no single group".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::CallerCred;

    #[test]
    fn names_are_looked_up_and_unknown_ones_are_errors() {
        let name = |name: &str| Principal::Name(name.to_owned());
        let granted = grant(&[name("root"), Principal::Id(33)], &[name("root")]).unwrap();
        for (uid, gid, allowed) in [(0, 5, true), (33, 5, true), (5, 0, true), (5, 5, false)] {
            let caller = CallerCred { uid, gid, groups: Vec::new(), pid: 1 };
            assert_eq!(granted.allows(&caller), allowed, "{uid}:{gid}");
        }
        let unknown = grant(&[name("no-such-user-here")], &[]).unwrap_err();
        assert_eq!(unknown, "there is no user named \"no-such-user-here\"");
        let unknown = grant(&[], &[name("no-such-group-here")]).unwrap_err();
        assert_eq!(unknown, "there is no group named \"no-such-group-here\"");
    }

    #[test]
    fn a_star_is_everybody() {
        assert_eq!(grant(&[Principal::Everyone], &[]).unwrap(), Grant::everyone());
    }
}
