//! The calling convention of BusyBox' `ssl_client`, which its `wget` starts for https: when we are started under that
//! name, we are that program, with checking on.

use core::ffi::CStr;

use tlsify_protocol::Role;

use crate::options::{Command, Net, Options};
use crate::reading::{Buffer, begin, decimal};
use crate::sys::Strings;
use crate::usage::Wrong;

/// Reads `ssl_client [-e] [-i] [-I] -s FD [-r FD] [-n SNI]`.
pub(crate) fn parse(mut arguments: Strings, buffer: Buffer) -> Result<Command, Wrong> {
    let request = begin(Role::Client, buffer)?;
    let mut options = Options::new(Role::Client);
    // wget sends its request and then waits: a server must not take that for a farewell.
    options.hold = true;
    let mut socket = None;
    arguments.next();
    while let Some(argument) = arguments.next() {
        let text = argument.to_bytes();
        let (letter, glued) = match text {
            [b'-', letter, ..] => (*letter, argument.to_bytes_with_nul().get(2..)),
            _ => return Err(Wrong::Argument(text)),
        };
        let mut value = |name| {
            let glued = glued.and_then(|rest| CStr::from_bytes_with_nul(rest).ok());
            let value = glued.filter(|rest| !rest.is_empty()).or_else(|| arguments.next());
            value.and_then(|value| value.to_str().ok()).ok_or(Wrong::NoValue(name))
        };
        match letter {
            b's' => socket = decimal(value("s")?.as_bytes()).and_then(|number| i32::try_from(number).ok()),
            _ => return Err(Wrong::unknown(text)),
        }
    }
    options.net = Net::Given(socket.ok_or(Wrong::NoValue("s"))?);
    Ok(Command::Session(options, request))
}
