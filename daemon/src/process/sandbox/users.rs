//! Who the parts are when the daemon was started as root: each somebody who is nobody else.

use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use super::Part;
use crate::config::{Principal, Sandbox};

/// A user and its group, as numbers. Names are looked up by the supervisor: a part has no user database to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Each part, the name that packages make for it (tlsifyd.sysusers), and the number it has without. No distribution gives
/// such numbers to people or to services with a name; systemd's DynamicUser= takes from that range, which is why the log
/// asks for real users.
const DEFAULTS: [(Part, &str, u32); 4] = [
    (Part::Worker, "tlsifyd-worker", 61_950),
    (Part::Keyholder, "tlsifyd-keys", 61_951),
    (Part::Dialer, "tlsifyd-dialer", 61_952),
    (Part::Token, "tlsifyd-token", 61_953),
];

/// Who each part becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    worker: Ids,
    keyholder: Ids,
    dialer: Ids,
    token: Ids,
}

impl Users {
    /// Chooses for a daemon that is root; `None` for any other, which cannot change who it is. The second is a line for the
    /// log. Looks names up, which may block.
    ///
    /// # Errors
    /// A sentence for the operator: a user that is configured is not known here, or is one that a part must not be.
    pub fn choose(said: &Sandbox) -> Result<Option<(Self, Option<String>)>, String> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        Self::for_root(said).map(Some)
    }

    /// Chooses as for a daemon that is root, whoever we are.
    ///
    /// # Errors
    /// As [`Users::choose`].
    pub fn for_root(said: &Sandbox) -> Result<(Self, Option<String>), String> {
        Self::choose_by(said, find)
    }

    fn choose_by(
        said: &Sandbox,
        find: impl Fn(&Principal) -> Found,
    ) -> Result<(Self, Option<String>), String> {
        let mut numbers = Vec::new();
        let mut chosen = Vec::new();
        for (part, name, number) in DEFAULTS {
            let (key, said) = match part {
                Part::Worker => ("worker-user", &said.worker_user),
                Part::Keyholder => ("keyholder-user", &said.keyholder_user),
                Part::Dialer => ("dialer-user", &said.dialer_user),
                _ => ("token-user", &said.token_user),
            };
            let ids = match said {
                Some(who) => {
                    find(who)?.ok_or_else(|| format!("[sandbox] {key}: there is no user named {who}"))?
                }
                None => find(&Principal::Name(name.to_owned()))?.unwrap_or_else(|| {
                    numbers.push(format!("{number} ({key}, \"{name}\")"));
                    Ids { uid: number, gid: number }
                }),
            };
            // A token's device may be root's alone, and its module is the operator's choice.
            if ids.uid == 0 && part != Part::Token {
                return Err(format!("[sandbox] {key}: the {part} cannot be root"));
            }
            let same = chosen.iter().find(|(_, other): &&(Part, Ids)| other.uid == ids.uid && ids.uid != 0);
            if let Some((other, _)) = same {
                return Err(format!("[sandbox] {key}: the {part} cannot be the same user as the {other}"));
            }
            chosen.push((part, ids));
        }
        let of = |part| chosen.iter().find(|(whose, _)| *whose == part).map(|(_, ids)| *ids);
        match (of(Part::Worker), of(Part::Keyholder), of(Part::Dialer), of(Part::Token)) {
            (Some(worker), Some(keyholder), Some(dialer), Some(token)) => {
                Ok((Self { worker, keyholder, dialer, token }, note(&numbers)))
            }
            _ => Err("a part has no user".to_owned()),
        }
    }

    /// Who this part becomes; `None` for the supervisor, which stays who it is.
    pub fn of(&self, part: Part) -> Option<Ids> {
        match part {
            Part::Supervisor => None,
            Part::Worker => Some(self.worker),
            Part::Keyholder => Some(self.keyholder),
            Part::Dialer => Some(self.dialer),
            Part::Token => Some(self.token),
        }
    }
}

fn note(numbers: &[String]) -> Option<String> {
    let numbers = (!numbers.is_empty()).then(|| numbers.join(", "))?;
    Some(format!("parts without a user of the package run as {numbers}; [sandbox] can name users"))
}

type Found = Result<Option<Ids>, String>;

/// By the user database. A number that has no entry is its own group.
fn find(who: &Principal) -> Found {
    let found = match who {
        Principal::Name(name) => User::from_name(name),
        Principal::Id(uid) => User::from_uid(Uid::from_raw(*uid)),
        Principal::Everyone => return Ok(None),
    };
    let found = found.map_err(|error| format!("cannot look up the user {who}: {}", error.desc()))?;
    let ids = found.map(|user| Ids { uid: user.uid.as_raw(), gid: user.gid.as_raw() });
    Ok(match (ids, who) {
        (None, Principal::Id(uid)) => Some(Ids { uid: *uid, gid: *uid }),
        (ids, _) => ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(who: &Principal) -> Found {
        let ids = |uid| Some(Ids { uid, gid: uid + 1 });
        Ok(match who {
            Principal::Name(name) if name == "tlsifyd-worker" => ids(500),
            Principal::Name(name) if name == "alone" => ids(501),
            Principal::Name(name) if name == "root" => Some(Ids { uid: 0, gid: 0 }),
            Principal::Id(uid) => Some(Ids { uid: *uid, gid: *uid }),
            _ => None,
        })
    }

    fn name(name: &str) -> Option<Principal> {
        Some(Principal::Name(name.to_owned()))
    }

    #[test]
    fn without_a_word_they_are_the_packages_users_or_numbers_that_the_log_tells() {
        let (users, note) = Users::choose_by(&Sandbox::default(), known).expect("users");
        assert_eq!(users.of(Part::Worker), Some(Ids { uid: 500, gid: 501 }));
        assert_eq!(users.of(Part::Keyholder), Some(Ids { uid: 61_951, gid: 61_951 }));
        assert_eq!(users.of(Part::Supervisor), None);
        let expected = "parts without a user of the package run as 61951 (keyholder-user, \"tlsifyd-keys\"), \
                        61952 (dialer-user, \"tlsifyd-dialer\"), 61953 (token-user, \"tlsifyd-token\"); [sandbox] can name \
                        users";
        assert_eq!(note.as_deref(), Some(expected));
    }

    #[test]
    fn no_part_is_root_or_another_part_or_somebody_unknown() {
        let refused = |sandbox: Sandbox| Users::choose_by(&sandbox, known).expect_err("refused");
        let worker = |worker_user| Sandbox { worker_user, ..Sandbox::default() };
        assert!(refused(worker(name("root"))).contains("worker-user: the worker cannot be root"));
        assert!(refused(worker(name("nobody-here"))).contains("no user named \"nobody-here\""));
        let same = Sandbox { worker_user: name("alone"), dialer_user: name("alone"), ..Sandbox::default() };
        assert!(refused(same).contains("dialer-user: the dialer cannot be the same user as the worker"));
        let same = Sandbox { token_user: Some(Principal::Id(500)), ..Sandbox::default() };
        assert!(refused(same).contains("token-user: the token cannot be the same user as the worker"));
    }

    #[test]
    fn a_token_may_be_root_where_its_device_asks_for_it() {
        let sandbox = Sandbox { token_user: name("root"), ..Sandbox::default() };
        let (users, _) = Users::choose_by(&sandbox, known).expect("users");
        assert_eq!(users.of(Part::Token), Some(Ids { uid: 0, gid: 0 }));
    }
}
