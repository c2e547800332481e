//! The descriptors of a packet, by name.

use std::os::fd::OwnedFd;

use tlsify_protocol::{Code, FdName, Words};

use super::refusal::Refusal;
use crate::io::{Ends, Family, connected_stream, is_at_hand, is_same_socket, unconnected_tcp};

/// The descriptors of a packet, by name, in their order. Closing one can wait for a file system in user space, or for a
/// peer: whoever does not use one leaves it here, and it is closed beside the loop with the others that are left.
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

    /// Whether there is one of this name.
    pub(super) fn has(&self, name: FdName) -> bool {
        self.0.iter().any(|(other, _)| *other == name)
    }

    /// Checks that the first of this name is a connected stream socket, and leaves it here.
    pub(super) fn inspect(&self, name: FdName) -> Result<Ends, Refusal> {
        match self.0.iter().find(|(other, _)| *other == name) {
            Some((_, fd)) => connected_stream(fd).map_err(|error| Refusal::descriptor(name.as_str(), &error)),
            // The parser has seen to it that there is one.
            None => {
                let text = format!("the request has no \"{}\" descriptor", name.as_str());
                Err(Refusal::new(Code::MissingKey, Some("fds"), text))
            }
        }
    }

    /// Checks that each `net` can be connected, and leaves them here. Their families, in their order.
    pub(super) fn inspect_unconnected(&self) -> Result<Vec<Family>, Refusal> {
        let nets: Vec<&OwnedFd> =
            self.0.iter().filter(|part| part.0 == FdName::Net).map(|part| &part.1).collect();
        let mut families = Vec::with_capacity(nets.len());
        for (at, fd) in nets.iter().enumerate() {
            let family = unconnected_tcp(fd);
            families.push(family.map_err(|error| Refusal::descriptor(FdName::Net.as_str(), &error))?);
            if nets[..at].iter().any(|earlier| is_same_socket(earlier, fd)) {
                let text = "two descriptors \"net\" are the same socket, which can be connected once";
                return Err(Refusal::new(Code::DescriptorKind, Some("net"), text.to_owned()));
            }
        }
        Ok(families)
    }

    /// Checks that no data descriptor is a network socket: plaintext would go to the peer as it is, and records of the
    /// peer be taken for what the program says.
    pub(super) fn inspect_data(&self) -> Result<(), Refusal> {
        let data = |name| matches!(name, FdName::Plain | FdName::Inbound | FdName::Outbound);
        for (name, fd) in self.0.iter().filter(|(name, _)| data(*name)) {
            let mut nets = self.0.iter().filter(|(name, _)| *name == FdName::Net);
            if nets.any(|(_, net)| is_same_socket(net, fd)) {
                let text = format!("the descriptors \"net\" and \"{}\" are the same socket", name.as_str());
                return Err(Refusal::new(Code::DescriptorKind, Some(name.as_str()), text));
            }
        }
        Ok(())
    }

    /// Takes what a profile is made of.
    pub(super) fn take_files(&mut self) -> Self {
        let is_file = |(name, _): &(FdName, OwnedFd)| {
            !matches!(
                name,
                FdName::Net | FdName::Plain | FdName::Inbound | FdName::Outbound | FdName::Tickets
            )
        };
        Self(self.0.extract_if(.., |part| is_file(part)).collect())
    }

    /// Whether looking at them all cannot wait for anybody else's file system.
    pub(super) fn are_at_hand(&self) -> bool {
        self.0.iter().all(|(_, fd)| is_at_hand(fd))
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
