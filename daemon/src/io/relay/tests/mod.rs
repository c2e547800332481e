//! A relay without a daemon: its descriptors are ends of socket pairs, and the clock is turned by hand.

mod aside;
mod data;
mod endings;
mod holding;
mod pressure;
mod rig;
mod split;
mod waiting;
