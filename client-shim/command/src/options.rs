//! The command line, read once into [`Options`]. Most options are keys of the request and their values are passed on as
//! they are: what they mean, and which of them go together, is the daemon's to say, in one place for every caller.

use core::ffi::CStr;

use tlsify_protocol::{MAX_ALLOWS, MAX_ALPN, MAX_NAMES, MAX_PINS, Role};

use crate::few::Few;
use crate::sys::Strings;
use crate::usage::Wrong;

/// Identities in one request: 64 descriptors travel with a packet, and an identity takes up to three.
const MAX_IDENTITIES: usize = 16;
/// Lines of a request that come from options: everything repeatable as often as the protocol takes it, and the rest.
const MAX_LINES: usize = MAX_NAMES + MAX_PINS + MAX_ALLOWS + 16;

/// What the command line asks for.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a process, on the stack, and no allocator to box it"
)]
pub(crate) enum Command {
    /// `connect`, `accept`
    Session(Options),
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// Everything about one session.
pub(crate) struct Options {
    pub(crate) role: Role,
    pub(crate) net: Net,
    /// What is passed on, in the order of the command line.
    pub(crate) lines: Few<Line, MAX_LINES>,
    pub(crate) alpn: Few<&'static [u8], MAX_ALPN>,
    pub(crate) trust: Option<&'static CStr>,
    pub(crate) identities: Few<Identity, MAX_IDENTITIES>,
    /// `--timeout` in milliseconds.
    pub(crate) timeout: Option<u32>,
    pub(crate) idle_timeout: Option<u32>,
    pub(crate) fast_open: bool,
    pub(crate) hold: bool,
    pub(crate) control: Option<i32>,
    pub(crate) handoff: bool,
    pub(crate) ucspi: bool,
    pub(crate) allow_truncation: bool,
    pub(crate) daemon: Daemon,
    pub(crate) quiet: bool,
    /// What comes after `--`.
    pub(crate) program: Option<Strings>,
}

/// A key of the request and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) key: &'static str,
    pub(crate) value: &'static [u8],
}

/// The network side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Net {
    /// A socket that whoever started us has opened.
    Given(i32),
    /// HOST:PORT, for sockets that we make and the daemon connects.
    To(&'static [u8]),
}

/// Who we are: files that are opened here.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: Option<&'static CStr>,
    pub(crate) key: Option<&'static CStr>,
    pub(crate) ocsp: Option<&'static CStr>,
}

/// Which daemon is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Daemon {
    /// The running one, else one of our own.
    Any,
    /// `--no-fallback`
    Running,
    /// `--private`
    Private,
}

/// Every option without its `--`.
pub(crate) const NAMES: &[&str] = &[
    "fd",
    "name",
    "server-name",
    "trust",
    "pin",
    "cert",
    "key",
    "ocsp",
    "profile",
    "min",
    "max",
    "alpn",
    "client-certificate",
    "allow",
    "resume",
    "fast-open",
    "timeout",
    "idle-timeout",
    "hold",
    "handoff",
    "ucspi",
    "control",
    "allow-truncation",
    "no-fallback",
    "private",
    "quiet",
    "help",
    "version",
];

impl Options {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            net: Net::Given(0),
            lines: Few::new(Line { key: "", value: b"" }),
            alpn: Few::new(b""),
            trust: None,
            identities: Few::new(Identity { certificate: None, key: None, ocsp: None }),
            timeout: None,
            idle_timeout: None,
            fast_open: false,
            hold: false,
            control: None,
            handoff: false,
            ucspi: false,
            allow_truncation: false,
            daemon: Daemon::Any,
            quiet: false,
            program: None,
        }
    }

    /// Whether the plaintext is our standard input and output, and the session ends when we do.
    pub(crate) fn is_filter(&self) -> bool {
        self.program.is_none() && !self.handoff
    }

    /// Whether this key is passed on.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.lines.as_slice().iter().any(|line| line.key == key)
    }

    /// Adds a part of an identity: to the last one if that has none of the kind yet, else to a new one. So a
    /// certificate may come before its key or after it. False when there are too many.
    fn identity(
        &mut self,
        part: fn(&mut Identity) -> &mut Option<&'static CStr>,
        file: &'static CStr,
    ) -> bool {
        if let Some(last) = self.identities.last_mut()
            && let slot @ None = part(last)
        {
            *slot = Some(file);
            return true;
        }
        let mut identity = Identity::default();
        *part(&mut identity) = Some(file);
        self.identities.push(identity)
    }
}

/// Reads the command line, the program's own name first.
pub(crate) fn parse(mut arguments: Strings) -> Result<Command, Wrong> {
    arguments.next();
    let role = match arguments.next().map(CStr::to_bytes) {
        Some(b"connect") => Role::Client,
        Some(b"accept") => Role::Server,
        Some(b"--help" | b"-h") => return Ok(Command::Help),
        Some(b"--version" | b"-V") => return Ok(Command::Version),
        Some(other) => return Err(Wrong::Verb(other)),
        None => return Err(Wrong::NoVerb),
    };
    let mut reading = Reading { options: Options::new(role), arguments, fd: None, positional: None };
    match reading.all()? {
        Some(command) => Ok(command),
        None => reading.finish().map(Command::Session),
    }
}

/// The command line while it is read.
struct Reading {
    options: Options,
    arguments: Strings,
    fd: Option<i32>,
    positional: Option<&'static [u8]>,
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
            "no-fallback" => options.daemon = Daemon::Running,
            "private" => options.daemon = Daemon::Private,
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
            "cert" => options.identity(|identity| &mut identity.certificate, value),
            "key" => options.identity(|identity| &mut identity.key, value),
            "ocsp" => options.identity(|identity| &mut identity.ocsp, value),
            "alpn" => bytes.split(|&byte| byte == b',').all(|protocol| options.alpn.push(protocol)),
            key => options.lines.push(Line { key, value: bytes }),
        };
        if fits { Ok(()) } else { Err(Wrong::TooMany(name)) }
    }

    /// What the whole of it means.
    fn finish(self) -> Result<Options, Wrong> {
        let Self { mut options, fd, positional, .. } = self;
        match (options.role, fd, positional) {
            (Role::Server, fd, None) => options.net = Net::Given(fd.unwrap_or(0)),
            (Role::Server, _, Some(text)) => return Err(Wrong::Argument(text)),
            (Role::Client, Some(fd), name) => {
                options.net = Net::Given(fd);
                options.expect(name);
            }
            (Role::Client, None, Some(target)) => {
                options.net = Net::To(target);
                options.expect(Some(host(target)?));
            }
            (Role::Client, None, None) => return Err(Wrong::NoTarget),
        }
        for identity in options.identities.as_slice() {
            match identity {
                Identity { certificate: None, .. } => return Err(Wrong::Half("key", "cert")),
                Identity { key: None, .. } => return Err(Wrong::Half("cert", "key")),
                _ => {}
            }
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
        Ok(options)
    }
}

impl Options {
    /// Whom to expect unless `--name` or a profile says it. There is room for it: nothing else was pushed as a name.
    pub(crate) fn expect(&mut self, name: Option<&'static [u8]>) {
        if let Some(name) = name
            && !self.has("name")
            && !self.has("profile")
        {
            self.lines.push(Line { key: "name", value: name });
        }
    }
}

/// The host of HOST:PORT, as a reference identifier.
fn host(target: &'static [u8]) -> Result<&'static [u8], Wrong> {
    let colon = target.iter().rposition(|&byte| byte == b':').ok_or(Wrong::Target(target))?;
    let host = target.get(..colon).unwrap_or_default();
    let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
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
