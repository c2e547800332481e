//! The command line, read once: into [`Options`], and into the request itself. Most options are keys of the request, and
//! their values go into it as they are: what they mean, and which of them go together, is the daemon's to say, in one
//! place for every caller.

use core::ffi::CStr;

use tlsify_protocol::keys::Verb;
use tlsify_protocol::text::{TextWriter, Unfit};
use tlsify_protocol::{MAX_PACKET, Role};

use crate::options::{Command, Daemon, Identity, NAMES, Net, Options};
use crate::sys::Strings;
use crate::usage::Wrong;

/// The buffer in which the request is written.
pub(crate) type Buffer = &'static mut [u8; MAX_PACKET];

/// Reads the command line, the program's own name first.
pub(crate) fn parse(mut arguments: Strings, buffer: Buffer) -> Result<Command, Wrong> {
    arguments.next();
    let verb = arguments.next().map(CStr::to_bytes);
    let role = match verb {
        Some(b"connect" | b"pin") => Role::Client,
        Some(b"accept") => Role::Server,
        Some(b"--help" | b"-h") => return Ok(Command::Help),
        Some(b"--version" | b"-V") => return Ok(Command::Version),
        Some(other) => return Err(Wrong::Verb(other)),
        None => return Err(Wrong::NoVerb),
    };
    let request = begin(role, buffer)?;
    let mut reading = Reading {
        options: Options::new(role),
        request,
        arguments,
        fd: None,
        positional: None,
        running: false,
        private: false,
    };
    reading.options.learn = verb == Some(b"pin");
    match reading.all()? {
        Some(command) => Ok(command),
        None => reading.finish(),
    }
}

/// The request's first line.
pub(crate) fn begin(role: Role, buffer: Buffer) -> Result<TextWriter<'static>, Wrong> {
    let verb = match role {
        Role::Client => Verb::Connect,
        Role::Server => Verb::Accept,
    };
    TextWriter::begin(buffer, verb.as_str()).map_err(|_| Wrong::TooLong)
}

/// The command line while it is read.
struct Reading {
    options: Options,
    request: TextWriter<'static>,
    arguments: Strings,
    fd: Option<i32>,
    positional: Option<&'static [u8]>,
    /// `--no-fallback`
    running: bool,
    /// `--private`
    private: bool,
}

impl Reading {
    /// Up to the end or `--`; a command when an option is one by itself.
    fn all(&mut self) -> Result<Option<Command>, Wrong> {
        while let Some(argument) = self.arguments.next() {
            match argument.to_bytes() {
                b"--" => {
                    self.options.program = Some(self.arguments);
                    if self.arguments.next().is_none() {
                        return Err(Wrong::NoProgram);
                    }
                    break;
                }
                b"--help" | b"-h" => return Ok(Some(Command::Help)),
                b"--version" | b"-V" => return Ok(Some(Command::Version)),
                text if text.starts_with(b"--") => self.option(argument)?,
                text if text.starts_with(b"-") && text.len() > 1 => return Err(Wrong::unknown(text)),
                text if self.positional.is_some() => return Err(Wrong::Argument(text)),
                text => self.positional = Some(text),
            }
        }
        Ok(None)
    }

    fn option(&mut self, argument: &'static CStr) -> Result<(), Wrong> {
        let text = argument.to_bytes();
        let (name, value) = match text.iter().position(|&byte| byte == b'=') {
            // What follows the `=`, with the NUL that ends it.
            Some(at) => (text.get(2..at), argument.to_bytes_with_nul().get(at + 1..)),
            None => (text.get(2..), None),
        };
        let value = value.and_then(|value| CStr::from_bytes_with_nul(value).ok());
        let Some(&known) = NAMES.iter().find(|known| Some(known.as_bytes()) == name) else {
            return Err(Wrong::unknown(text));
        };
        if self.flag(known) {
            return if value.is_some() { Err(Wrong::NoValueTaken(known)) } else { Ok(()) };
        }
        let value = value.or_else(|| self.arguments.next()).ok_or(Wrong::NoValue(known))?;
        self.valued(known, value)
    }

    /// Whether the option stands alone; then it has been taken.
    fn flag(&mut self, name: &str) -> bool {
        let options = &mut self.options;
        match name {
            "fast-open" => options.fast_open = true,
            "hold" => options.hold = true,
            "handoff" => options.handoff = true,
            "ucspi" => options.ucspi = true,
            "allow-truncation" => options.allow_truncation = true,
            "no-fallback" => self.running = true,
            "private" => self.private = true,
            "quiet" => options.quiet = true,
            _ => return false,
        }
        true
    }

    fn valued(&mut self, name: &'static str, value: &'static CStr) -> Result<(), Wrong> {
        let options = &mut self.options;
        let bytes = value.to_bytes();
        let wrong = |expected| Wrong::Value { option: name, value: bytes, expected };
        let number = |slot: &mut Option<i32>| {
            let number = decimal(bytes).and_then(|number| i32::try_from(number).ok());
            once(slot, number.ok_or(wrong("a descriptor's number"))?, name)
        };
        let time = |slot: &mut Option<u32>| {
            once(slot, millis(bytes).ok_or(wrong("seconds, such as 10 or 2.5"))?, name)
        };
        let fits = match name {
            "fd" => return number(&mut self.fd),
            "control" => return number(&mut options.control),
            "timeout" => return time(&mut options.timeout),
            "idle-timeout" => return time(&mut options.idle_timeout),
            "trust" if bytes.is_empty() => return Err(wrong("system, pins, store:NAME, a file or a folder")),
            "trust" => return once(&mut options.trust, value, name),
            "tickets" => return once(&mut options.tickets, value, name),
            "cert" => options.identity(|identity| &mut identity.certificate, value),
            "key" => options.identity(|identity| &mut identity.key, value),
            "ocsp" => options.identity(|identity| &mut identity.ocsp, value),
            "alpn" if bytes.split(|&byte| byte == b',').any(<[u8]>::is_empty) => {
                return Err(wrong("a name, or several with commas between"));
            }
            "alpn" => bytes.split(|&byte| byte == b',').all(|protocol| options.alpn.push(protocol)),
            key => return self.pass_on(key, bytes),
        };
        if fits { Ok(()) } else { Err(Wrong::TooMany(name)) }
    }

    /// An option that is a key of the request.
    fn pass_on(&mut self, key: &'static str, value: &'static [u8]) -> Result<(), Wrong> {
        match key {
            "name" => self.options.has_name = true,
            "profile" => self.options.has_profile = true,
            "client-certificate" => self.options.asks_for_certificate = true,
            // A raw public key has no names: where it was reached is none to expect.
            "certificate-type" => self.options.has_name |= value == b"raw-public-key",
            _ => {}
        }
        let written = match value.strip_prefix(b"sha256:") {
            // Of the public key: as RFC 7469 means it, and as the hint after a failure says it.
            Some(hash) if matches!(key, "pin" | "allow") => self.request.line(key, &[b"spki-sha256:", hash]),
            _ => self.request.line(key, &[value]),
        };
        written.map_err(|unfit| match unfit {
            Unfit::NoRoom => Wrong::TooLong,
            Unfit::Value => {
                Wrong::Value { option: key, value, expected: "something without control characters" }
            }
        })
    }

    /// What the whole of it means.
    fn finish(mut self) -> Result<Command, Wrong> {
        match (self.options.role, self.fd, self.positional) {
            (Role::Server, fd, None) => self.options.net = Net::Given(fd.unwrap_or(0)),
            (Role::Server, _, Some(text)) => return Err(Wrong::Argument(text)),
            (Role::Client, Some(fd), name) => {
                self.options.net = Net::Given(fd);
                self.expect(name)?;
            }
            (Role::Client, None, Some(target)) => {
                self.options.net = Net::To(target);
                self.expect(Some(host(target)?))?;
            }
            (Role::Client, None, None) => return Err(Wrong::NoTarget),
        }
        let mut options = self.options;
        for identity in options.identities.as_slice() {
            match identity {
                Identity { certificate: None, ocsp: Some(_), .. } => return Err(Wrong::Half("ocsp", "cert")),
                Identity { key: None, .. } => return Err(Wrong::Half("cert", "key")),
                _ => {}
            }
        }
        options.daemon = match (self.running, self.private) {
            (true, true) => return Err(Wrong::Both("private", "--no-fallback")),
            (true, false) => Daemon::Running,
            (false, true) => Daemon::Private,
            (false, false) => Daemon::Any,
        };
        if options.learn && options.program.is_some() {
            return Err(Wrong::Argument(b"--"));
        }
        if options.handoff && options.program.is_some() {
            return Err(Wrong::Both("handoff", "-- PROGRAM"));
        }
        if options.ucspi && options.program.is_none() {
            return Err(Wrong::NoProgram);
        }
        if options.program.is_none() && matches!(options.net, Net::Given(0..=1)) {
            return Err(Wrong::NoRoom);
        }
        Ok(Command::Session(options, self.request))
    }

    /// Whom to expect, unless `--name` or a profile says it.
    fn expect(&mut self, name: Option<&'static [u8]>) -> Result<(), Wrong> {
        match name {
            Some(name) if !self.options.has_name && !self.options.has_profile => self.pass_on("name", name),
            _ => Ok(()),
        }
    }
}

/// The host of HOST:PORT, as a reference identifier.
fn host(target: &'static [u8]) -> Result<&'static [u8], Wrong> {
    let colon = target.iter().rposition(|&byte| byte == b':').ok_or(Wrong::Target(target))?;
    let host = target.get(..colon).unwrap_or_default();
    let bare = match host.strip_prefix(b"[") {
        Some(rest) => rest.strip_suffix(b"]").ok_or(Wrong::Target(target))?,
        None => host,
    };
    // A scope says where to go, not who is there.
    Ok(bare.split(|&byte| byte == b'%').next().unwrap_or(bare))
}

/// A decimal number.
pub(crate) fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u32, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Milliseconds of seconds with up to three decimals, at least one.
fn millis(text: &[u8]) -> Option<u32> {
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let whole = decimal(parts.next()?)?.checked_mul(1000)?;
    let part = match parts.next() {
        None => 0,
        Some(part) => {
            let scale = match part.len() {
                1 => 100,
                2 => 10,
                3 => 1,
                _ => return None,
            };
            decimal(part)? * scale
        }
    };
    whole.checked_add(part).filter(|&millis| millis > 0)
}

fn once<T>(slot: &mut Option<T>, value: T, name: &'static str) -> Result<(), Wrong> {
    if slot.replace(value).is_some() { Err(Wrong::Twice(name)) } else { Ok(()) }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
