//! Both roles of this room against each other, in memory.

mod client_certificates;
mod identities;
mod names;
mod negotiation;
mod raw_keys;
mod revocation;
mod servers;
pub(crate) mod staples;
