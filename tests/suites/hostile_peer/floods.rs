//! After a session is open.
