//! Descriptors: whose they are, what becomes of them, and that none is left over on any path.
//!
//! Every test here counts descriptors of this process too, so each takes [`exclusive`](tlsifyd_tests::exclusive)
//! first.

mod accounting;
mod data;
mod flags;
mod kinds;
mod packets;
