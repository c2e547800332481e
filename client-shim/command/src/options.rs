//! What a command line asks for, as [`crate::reading`] finds it there.

use core::ffi::CStr;

use tlsify_protocol::text::TextWriter;
use tlsify_protocol::{MAX_ALPN, Role};

use crate::few::Few;
use crate::sys::Strings;

/// Identities in one request: 64 descriptors travel with a packet, and an identity takes up to three.
pub(crate) const MAX_IDENTITIES: usize = 16;

/// What the command line asks for.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a process, on the stack, and no allocator to box it"
)]
pub(crate) enum Command {
    /// `connect`, `accept`, `pin`: with the request, as far as options say it.
    Session(Options, TextWriter<'static>),
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// Everything about one session.
pub(crate) struct Options {
    pub(crate) role: Role,
    pub(crate) net: Net,
    /// `pin`: nothing is opened, and the peer's key is printed.
    pub(crate) learn: bool,
    /// Whether `--name` is in the request, or nothing is to be; and `--profile`, `--client-certificate`.
    pub(crate) has_name: bool,
    pub(crate) has_profile: bool,
    pub(crate) asks_for_certificate: bool,
    pub(crate) alpn: Few<&'static [u8], MAX_ALPN>,
    pub(crate) trust: Option<&'static CStr>,
    pub(crate) tickets: Option<&'static CStr>,
    pub(crate) crl: Option<&'static CStr>,
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
    /// Of `ssl_client`: whether somebody asked not to check, and is to be told that we do.
    pub(crate) declines_insecure: bool,
    /// What comes after `--`.
    pub(crate) program: Option<Strings>,
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
    "crl",
    "crl-check",
    "crl-unknown",
    "crl-stale",
    "stapled-ocsp",
    "profile",
    "min",
    "max",
    "level",
    "ech-config",
    "ech",
    "alpn",
    "client-certificate",
    "allow",
    "certificate-type",
    "resume",
    "tickets",
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
            learn: false,
            has_name: false,
            has_profile: false,
            asks_for_certificate: false,
            alpn: Few::new(b""),
            trust: None,
            tickets: None,
            crl: None,
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
            declines_insecure: false,
            program: None,
        }
    }

    /// Whether the plaintext is our standard input and output, and the session ends when we do.
    pub(crate) fn is_filter(&self) -> bool {
        self.program.is_none() && !self.handoff && !self.learn
    }

    /// Adds a part of an identity: to the last one if that has none of the kind yet, else to a new one. So a
    /// certificate may come before its key or after it. False when there are too many.
    pub(crate) fn identity(
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

#[cfg(test)]
mod tests {
    use tlsify_protocol::keys::Verb;

    use super::*;

    /// Said by another option, or by none: what goes with being this command.
    const OURS: &[&str] =
        &["id", "fds", "to", "bind", "outbound-end", "batch", "handshake-timeout", "chain", "learn"];

    /// For an operator's `--profile`: who chooses single parameters chooses them for more than one command line.
    const PROFILES: &[&str] = &[
        "ciphers",
        "groups",
        "signature-schemes",
        "alpn-mismatch",
        "max-fragment",
        "extended-master-secret",
        "unknown-name",
        "key-update-bytes",
        "key-update-interval",
    ];

    /// For programs that speak the protocol: they take or give what no command line does.
    const PROGRAMS: &[&str] = &["export", "channel-binding", "received", "ask", "ask-timeout", "ask-default"];

    #[test]
    fn a_key_of_the_protocol_is_an_option_or_left_out_on_purpose() {
        for key in Verb::Accept.all_keys() {
            let places = [NAMES, OURS, PROFILES, PROGRAMS].map(|names| names.contains(&key.name));
            assert_eq!(places.iter().filter(|&&there| there).count(), 1, "{}", key.name);
        }
    }
}
