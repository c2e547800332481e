//! The descriptors of a packet, by name.

use std::os::fd::OwnedFd;

use tlsify_protocol::{FdName, Words};

use super::refusal::Refusal;

/// The descriptors of a packet, by name, in their order.
#[derive(Debug)]
pub(super) struct Parts(Vec<(FdName, OwnedFd)>);

/// Gives each descriptor its name. On a refusal all of them stay in `fds`.
pub(super) fn split(names: &Words<'_, FdName>, fds: &mut Vec<OwnedFd>) -> Result<Parts, Refusal> {
    let named = names.len();
    if named != fds.len() {
        return Err(Refusal::descriptor_mismatch(named, fds.len()));
    }
    Ok(Parts(names.iter().zip(std::mem::take(fds)).collect()))
}

impl Parts {
    /// The first of this name.
    pub(super) fn take(&mut self, name: FdName) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.remove(at).1)
    }

    /// Undoes [`Parts::take`], for somebody else to close it.
    pub(super) fn put_back(&mut self, name: FdName, fd: OwnedFd) {
        self.0.push((name, fd));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that are left, in order.
    pub(super) fn into_named(self) -> Vec<(FdName, OwnedFd)> {
        self.0
    }

    /// All that are left, to be closed.
    pub(super) fn into_rest(self) -> Vec<OwnedFd> {
        self.0.into_iter().map(|(_, fd)| fd).collect()
    }
}
