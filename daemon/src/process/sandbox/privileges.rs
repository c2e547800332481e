//! Limits, users and capabilities: what a process has by who it is, and gives up.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Ids, Part};
use crate::process::descriptors;

/// What a supervisor that was started as root keeps, and why. Each is a way to much of the rest, so it parses nothing that
/// came from the network, and the places and system calls it has left are few.
const KEPT: [(Capability, &str); 5] = [
    (Capability::CAP_SETUID, "parts become their own users"),
    (Capability::CAP_SETGID, "and their own groups, and leave root's other groups"),
    (Capability::CAP_SETPCAP, "parts empty their bounding sets, which nobody may without it"),
    (Capability::CAP_KILL, "parts are other users then, and end when the supervisor says so or dies"),
    (
        Capability::CAP_DAC_READ_SEARCH,
        "keys and certificates that the configuration names may belong to others",
    ),
];

/// And this one, where a rule asks what callers run: the kernel tells that of other users' processes to nobody else. It opens
/// other processes' memory as well, so it is not kept for a rule that may come with a reload.
const KEPT_TO_LOOK: Capability = Capability::CAP_SYS_PTRACE;

/// Memory is written to no file when a process crashes, and it may open as many descriptors as its hard limit says. The hard
/// limit stays: without CAP_SYS_RESOURCE nobody raises it.
pub(super) fn limits() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    descriptors::raise();
    Ok(())
}

/// No core file, and no ptrace and no look into memory or descriptors by processes of the same user.
pub(super) fn hide() -> io::Result<()> {
    Ok(prctl::set_dumpable(false)?)
}

/// Capabilities, groups and user, in this order: without the capabilities nobody changes user, and without
/// being root nobody empties the bounding set.
pub(super) fn give_up(part: Part, ids: Option<Ids>, looks: bool) -> io::Result<()> {
    let kept: CapsHashSet = match part {
        Part::Supervisor => {
            let kept = KEPT.iter().map(|(capability, _)| *capability);
            kept.chain(looks.then_some(KEPT_TO_LOOK)).collect()
        }
        _ => CapsHashSet::new(),
    };
    let effective = caps::read(None, CapSet::Effective).map_err(other)?;
    if effective.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding).map_err(other)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(other)?;
        }
    }
    // Nothing comes back by an exec: not by files, not by inheritance.
    caps::clear(None, CapSet::Ambient).or_else(without_ambient)?;
    caps::clear(None, CapSet::Inheritable).map_err(other)?;
    if let Some(ids) = ids.filter(|_| part != Part::Supervisor) {
        become_user(ids)?;
    }
    let permitted = caps::read(None, CapSet::Permitted).map_err(other)?;
    let left: CapsHashSet = permitted.intersection(&kept).copied().collect();
    // The change of user took them all, unless there was none.
    caps::set(None, CapSet::Effective, &left).map_err(other)?;
    caps::set(None, CapSet::Permitted, &left).map_err(other)?;
    Ok(())
}

/// For good: real, effective and saved, and no group but its own.
fn become_user(ids: Ids) -> io::Result<()> {
    // The kernel forgets this signal with the change, and a part is not to outlive its supervisor.
    let at_death = prctl::get_pdeathsig()?;
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    prctl::set_pdeathsig(at_death)?;
    let users = nix::unistd::getresuid()?;
    let groups = nix::unistd::getresgid()?;
    let is = [users.real, users.effective, users.saved].iter().all(|is| *is == uid)
        && [groups.real, groups.effective, groups.saved].iter().all(|is| *is == gid);
    if is { Ok(()) } else { Err(io::Error::other("the change of user did not happen")) }
}

/// Kernels before 4.3 have no ambient set, and nothing in it.
fn without_ambient(error: caps::errors::CapsError) -> io::Result<()> {
    match caps::runtime::ambient_set_supported() {
        Ok(()) => Err(other(error)),
        Err(_) => Ok(()),
    }
}

fn other(error: caps::errors::CapsError) -> io::Error {
    io::Error::other(error.to_string())
}

/// What a supervisor that is root keeps, as /proc shows it.
#[cfg(test)]
pub(super) fn kept_mask() -> u64 {
    KEPT.iter().map(|(capability, why)| if why.is_empty() { 0 } else { capability.bitmask() }).sum()
}
