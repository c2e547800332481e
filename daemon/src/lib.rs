//! The daemon.

pub mod cli;
pub mod config;
pub mod demo;
pub mod engine;
pub mod io;
pub mod policy;
pub mod process;
pub mod session;
pub mod sys;
pub mod tls;
