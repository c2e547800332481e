//! The calling convention of `ssl_client`, which BusyBox' and Alpine's `wget` start for https: when we are started under
//! that name, we are that program.
//!
//! ```text
//!  wget ── one end of a socketpair, as 0 and 1 ──▶ ssl_client -s3 -n HOST [-e] [-I] ── 3, connected ──▶ server
//! ```
//!
//! One thing differs: `-I` does not turn checking off. Nothing here does.

use core::ffi::CStr;

use tlsify_protocol::Role;

use crate::options::{Command, Net, Options};
use crate::reading::{Buffer, begin, decimal};
use crate::say;
use crate::stdio;
use crate::sys::{self, Strings};
use crate::usage::Wrong;

/// Reads `ssl_client [-e] [-I] [-i] -s FD [-r FD] -n NAME`: letters together or apart, values glued on or not.
pub(crate) fn parse(mut arguments: Strings, buffer: Buffer) -> Result<Command, Wrong> {
    let mut request = begin(Role::Client, buffer)?;
    let mut options = Options::new(Role::Client);
    // wget closes its half behind the request and reads on: there are servers that take that for a farewell.
    options.hold = true;
    let (mut write, mut read, mut name) = (None, None, None);
    arguments.next();
    while let Some(argument) = arguments.next() {
        let mut letters = match argument.to_bytes_with_nul() {
            [b'-', letters @ ..] if letters != b"\0" && letters != b"-\0" => letters,
            _ => return Err(Wrong::Argument(argument.to_bytes())),
        };
        while let [letter, rest @ ..] = letters {
            let mut value = |option| {
                let glued = CStr::from_bytes_with_nul(rest).ok().filter(|rest| !rest.is_empty());
                glued.or_else(|| arguments.next()).map(CStr::to_bytes).ok_or(Wrong::NoValue(option))
            };
            match letter {
                b'\0' => break,
                b's' => write = Some(descriptor("s", value("s")?)?),
                b'r' => read = Some(descriptor("r", value("r")?)?),
                b'n' => name = Some(value("n")?),
                b'e' => options.hold = false,
                b'i' | b'I' => options.declines_insecure = true,
                b'h' => return Ok(Command::Help),
                _ => return Err(Wrong::unknown(argument.to_bytes())),
            }
            letters = if matches!(letter, b's' | b'r' | b'n') { b"" } else { rest };
        }
    }
    let socket = write.or(read).ok_or(Wrong::Missing("-s FD, the connected socket"))?;
    if read.is_some_and(|read| !is_same(socket, read)) {
        return Err(Wrong::TwoSockets);
    }
    options.net = Net::Given(socket);
    let name = name.ok_or(Wrong::Missing("-n NAME, whom to expect"))?;
    request.line("name", &[name]).map_err(|_| Wrong::Value {
        option: "n",
        value: name,
        expected: "a host's name or an address",
    })?;
    Ok(Command::Session(options, request))
}

/// Says what was asked for and is not done.
pub(crate) fn decline_insecure() {
    say::line(format_args!("-I is not followed: the certificate is checked all the same"));
    say::hint(format_args!("CAFILE=FILE in the environment names the certificates to trust"));
}

fn descriptor(option: &'static str, value: &'static [u8]) -> Result<i32, Wrong> {
    let number = decimal(value).and_then(|number| i32::try_from(number).ok());
    number.ok_or(Wrong::Value { option, value, expected: "a descriptor's number" })
}

/// Whether two numbers are one socket. One that is not open is said later, by number.
fn is_same(one: i32, other: i32) -> bool {
    one == other
        || match (sys::inherited(one), sys::inherited(other)) {
            (Some(one), Some(other)) => stdio::is_one_socket(one, other),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::string::{String, ToString};

    use tlsify_protocol::MAX_PACKET;

    use super::*;

    fn session(words: &[&'static CStr]) -> Result<(Options, String), Wrong> {
        let buffer = Box::leak(Box::new([0; MAX_PACKET]));
        match parse(Strings::of(&[&[c"ssl_client"], words].concat()), buffer)? {
            Command::Session(options, request) => {
                Ok((options, String::from_utf8(request.written().to_vec()).unwrap()))
            }
            _ => panic!("{words:?} is a session"),
        }
    }

    #[test]
    fn the_line_that_wget_writes_is_a_session_that_holds_its_end() {
        let lines: [&[&CStr]; 4] = [
            &[c"-s3", c"-n", c"x.example"],
            &[c"-nx.example", c"-s", c"3"],
            &[c"-r3", c"-s3", c"-n", c"x.example"],
            &[c"-n", c"x.example", c"-r", c"3"],
        ];
        for words in lines {
            let (options, request) = session(words).unwrap();
            assert_eq!(
                (options.net, request.as_str()),
                (Net::Given(3), "tlsify/1 connect\nname=x.example\n")
            );
            assert!(options.hold && !options.declines_insecure && options.is_filter(), "{words:?}");
        }
        let (options, _) = session(&[c"-s3", c"-n", c"x.example", c"-e"]).unwrap();
        assert!(!options.hold);
    }

    #[test]
    fn no_spelling_turns_checking_off() {
        let (_, plain) = session(&[c"-s3", c"-n", c"x.example"]).unwrap();
        let lines: [&[&CStr]; 4] = [
            &[c"-I", c"-s3", c"-n", c"x.example"],
            &[c"-i", c"-s3", c"-n", c"x.example"],
            &[c"-eIs3", c"-n", c"x.example"],
            &[c"-Iis", c"3", c"-nx.example"],
        ];
        for words in lines {
            let (options, request) = session(words).unwrap();
            assert!(options.declines_insecure, "{words:?}");
            assert_eq!(request, plain, "{words:?}");
        }
    }

    #[test]
    fn nobody_is_asked_without_a_name_to_expect() {
        let wrong = |words: &[&'static CStr]| session(words).err().unwrap();
        assert_eq!(wrong(&[c"-s3"]), Wrong::Missing("-n NAME, whom to expect"));
        assert_eq!(wrong(&[c"-n", c"x.example"]), Wrong::Missing("-s FD, the connected socket"));
        assert!(matches!(wrong(&[c"-s3", c"-n", c"a\nname=b"]), Wrong::Value { .. }));
        assert_eq!(wrong(&[c"-s3", c"-n"]), Wrong::NoValue("n"));
        assert_eq!(wrong(&[c"-s3", c"x.example:443"]), Wrong::Argument(b"x.example:443"));
        assert_eq!(wrong(&[c"-s3", c"-n", c"x.example", c"-"]), Wrong::Argument(b"-"));
        assert!(matches!(wrong(&[c"-sx", c"-n", c"x.example"]), Wrong::Value { option: "s", .. }));
        // 990 and 991 are open nowhere, and so not known to be one.
        assert_eq!(wrong(&[c"-s990", c"-r991", c"-n", c"x.example"]), Wrong::TwoSockets);
        assert!(matches!(wrong(&[c"-s3", c"-nx.example", c"-x"]), Wrong::Unknown { .. }));
        let said = ToString::to_string(&wrong(&[c"-s", c"0x3", c"-nx.example"]));
        assert_eq!(said, "bad value \"0x3\" of -s: expected a descriptor's number");
    }
}
