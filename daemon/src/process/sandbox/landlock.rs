//! Landlock: the places of a part, no TCP that it does not need, and nothing to processes outside.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Feature, Kernel, May, Part, Reach, Settings, places};

/// The newest interface that these rules were tried with. The worker and the keyholder, which may nothing, take the newest
/// that there is a name for.
const TRIED: ABI = ABI::V7;
const NEWEST: ABI = ABI::V9;

/// The rules of a part, made and not yet in force. `None`: this kernel has no landlock, or nothing is to bind it.
pub(super) struct Rules(Option<RulesetCreated>);

impl Rules {
    /// Makes them. Opens the places, so it is to be called with the rights to do so.
    pub(super) fn new(part: Part, settings: &Settings, kernel: Kernel) -> io::Result<Self> {
        if !kernel.has(Feature::Files) || settings.reach == Reach::User {
            return Ok(Self(None));
        }
        let files = AccessFs::from_all(interface(part).min(ABI::from(kernel.landlock)));
        let mut rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
        rules = rules.handle_access(files).map_err(io::Error::other)?;
        if kernel.has(Feature::Tcp) {
            rules = rules.handle_access(tcp(part, settings)).map_err(io::Error::other)?;
        }
        if kernel.has(Feature::Scopes) && !scopes(part).is_empty() {
            rules = rules.scope(scopes(part)).map_err(io::Error::other)?;
        }
        let mut rules = rules.create().map_err(io::Error::other)?;
        for place in places::of(part, settings) {
            // What is not there is left out: a host has one name service or another.
            let allowed = path_beneath_rules([&place.path], rights(place.may) & files);
            rules = rules.add_rules(allowed).map_err(io::Error::other)?;
        }
        Ok(Self(Some(rules)))
    }

    /// Rules that bind nothing.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Puts them in force for this thread and those that it starts, for good.
    pub(super) fn enforce(self) -> io::Result<()> {
        let Some(rules) = self.0 else { return Ok(()) };
        match rules.restrict_self().map_err(io::Error::other)?.ruleset {
            RulesetStatus::NotEnforced => Err(io::Error::other("the kernel did not take the rules")),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }
}

fn interface(part: Part) -> ABI {
    match part {
        Part::Worker | Part::Keyholder => NEWEST,
        // Connecting to Unix sockets by path comes under the rules with the ninth: not tried yet, so not asked for.
        Part::Supervisor | Part::Dialer | Part::Token => TRIED,
    }
}

/// What is forbidden of TCP.
fn tcp(part: Part, settings: &Settings) -> BitFlags<AccessNet> {
    match part {
        Part::Worker | Part::Keyholder => AccessNet::BindTcp | AccessNet::ConnectTcp,
        Part::Token if !settings.network => AccessNet::BindTcp | AccessNet::ConnectTcp,
        // The dialer connects, and what the supervisor may not its parts may not.
        Part::Supervisor | Part::Dialer | Part::Token => AccessNet::BindTcp.into(),
    }
}

fn scopes(part: Part) -> BitFlags<Scope> {
    // A service manager may want to be told on an abstract socket.
    let told_abstractly = || {
        std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| path.as_encoded_bytes().first() == Some(&b'@'))
    };
    match part {
        // Its first keyholder is started before its rules are made, and yet is its to end.
        Part::Supervisor if told_abstractly() => BitFlags::EMPTY,
        Part::Supervisor => Scope::AbstractUnixSocket.into(),
        _ => Scope::Signal | Scope::AbstractUnixSocket,
    }
}

fn rights(may: May) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match may {
        May::Read => read,
        May::Run => read | AccessFs::Execute,
        May::Write => read | AccessFs::WriteFile | AccessFs::Truncate,
        // A socket is made beside its place, locked with a file, and renamed into it.
        May::Listen => {
            read | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::MakeSock
                | AccessFs::RemoveFile
                | AccessFs::ResolveUnix
        }
        May::Change => {
            AccessFs::from_all(NEWEST)
                & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::Execute | AccessFs::IoctlDev)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_lets_write_lets_run() {
        for may in [May::Read, May::Run, May::Write, May::Listen, May::Change] {
            let rights = rights(may);
            assert!(!(rights.contains(AccessFs::WriteFile) && rights.contains(AccessFs::Execute)), "{may:?}");
            assert!(!rights.contains(AccessFs::MakeBlock) && !rights.contains(AccessFs::MakeChar), "{may:?}");
        }
    }

    #[test]
    fn only_the_dialer_and_who_starts_it_connect() {
        let settings = Settings::default();
        let connects = |part| !tcp(part, &settings).contains(AccessNet::ConnectTcp);
        let parts: Vec<Part> = Part::ALL.into_iter().filter(|part| connects(*part)).collect();
        assert_eq!(parts, [Part::Supervisor, Part::Dialer]);
        assert!(Part::ALL.into_iter().all(|part| tcp(part, &settings).contains(AccessNet::BindTcp)));
    }

    #[test]
    fn rules_are_made_for_every_part_on_every_kernel() {
        for landlock in [0, 1, 2, 3, 4, 5, 6, 7] {
            let kernel = Kernel { landlock: landlock.min(Kernel::probe().landlock), ..Kernel::probe() };
            for part in Part::ALL {
                let rules = Rules::new(part, &Settings::default(), kernel).expect("rules");
                assert_eq!(rules.0.is_some(), kernel.landlock > 0, "{part} with {landlock}");
            }
        }
    }
}
