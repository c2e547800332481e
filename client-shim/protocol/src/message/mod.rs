//! What can be said: the messages as types. Every text borrows the packet it was parsed from, or what the writer was
//! given.
//!
//! Nothing here is a default of the daemon: `None` and an empty list say that the key was not given.

mod answers;
mod requests;

pub use answers::{Answer, ClientHello, Defined, Ended, Established, Failed, Hello, Refused, StatusAnswer};
pub use requests::{Choice, Choose, Define, Forget, Request, Start, StatusQuery, TlsKeys};
