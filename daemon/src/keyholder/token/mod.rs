//! A token behind a PKCS #11 module, in a process of its own.

mod policy;
