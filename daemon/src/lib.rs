//! The daemon.
pub mod tls;
