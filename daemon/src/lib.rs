//! The daemon.

pub mod cli;
pub mod config;
pub mod policy;
pub mod process;
pub mod sys;
pub mod tls;
