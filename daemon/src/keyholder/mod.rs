//! Private keys, in a process that does nothing else.

pub mod foreign;
pub mod token;
