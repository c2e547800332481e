//! The daemon.

pub mod config;
pub mod policy;
pub mod process;
pub mod sys;
