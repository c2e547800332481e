//! Which descriptors go together, and in which order.

use super::{Checked, bad};
use crate::error::Flaw;
use crate::list::Words;
use crate::value::{Code, FdName};

/// What the `fds` of a request name.
#[derive(Default)]
pub(super) struct Fds {
    pub(super) nets: usize,
    pub(super) plain: bool,
    pub(super) inbound: bool,
    pub(super) outbound: bool,
    pub(super) ca: bool,
    pub(super) crl: bool,
    pub(super) tickets: bool,
    pub(super) identities: usize,
    /// Those of them that are a key alone.
    pub(super) raw_keys: usize,
}

impl Fds {
    pub(super) fn look(names: Words<'_, FdName>) -> Result<Self, Flaw<'static>> {
        let mut fds = Self::default();
        let mut before = None;
        for name in names {
            if before == Some(FdName::Certificate) && name != FdName::Key {
                return Err(Flaw::about(Code::BadValue, "fds", "key right after its certificate"));
            }
            let slot = match name {
                FdName::Net => {
                    fds.nets += 1;
                    &mut false
                }
                FdName::Plain => &mut fds.plain,
                FdName::Inbound => &mut fds.inbound,
                FdName::Outbound => &mut fds.outbound,
                FdName::Ca => &mut fds.ca,
                FdName::Crl => &mut fds.crl,
                FdName::Tickets => &mut fds.tickets,
                FdName::Certificate => {
                    fds.identities += 1;
                    &mut false
                }
                FdName::Key if before == Some(FdName::Certificate) => &mut false,
                FdName::Ocsp if before == Some(FdName::Key) && fds.raw_keys == 0 => &mut false,
                FdName::Key => {
                    fds.identities += 1;
                    fds.raw_keys += 1;
                    &mut false
                }
                FdName::Ocsp => {
                    return Err(Flaw::about(Code::BadValue, "fds", "certificate and key right before ocsp"));
                }
                FdName::Chain | FdName::Sessions | FdName::Stores | FdName::Callers => {
                    return Err(Flaw::about(
                        Code::BadValue,
                        "fds",
                        "no chain, sessions and stores: the daemon sends them",
                    ));
                }
            };
            if core::mem::replace(slot, true) {
                return Err(Flaw::about(
                    Code::BadValue,
                    "fds",
                    "plain, inbound, outbound, ca, crl and tickets once at most",
                ));
            }
            before = Some(name);
        }
        if before == Some(FdName::Certificate) {
            return Err(Flaw::about(Code::BadValue, "fds", "key right after its certificate"));
        }
        if fds.raw_keys > 0 && fds.raw_keys < fds.identities {
            return Err(Flaw::about(
                Code::BadValue,
                "fds",
                "each key right after its certificate, or keys alone (raw public keys)",
            ));
        }
        Ok(fds)
    }
}

/// Each of `allowed` at most once, and nothing else.
pub(super) fn answer_fds(names: Words<'_, FdName>, allowed: &[FdName]) -> Checked {
    let often = |name: FdName| names.iter().filter(|&other| other == name).count();
    if names.iter().all(|name| allowed.contains(&name) && often(name) == 1) {
        Ok(())
    } else {
        bad("fds", "each descriptor of this answer once at most")
    }
}
