//! Private keys, in a process that does nothing else.
