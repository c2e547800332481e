//! What connecting came to when nothing connected: which code, and what a person is told.

use std::fmt::Write as _;
use std::net::SocketAddr;

use rustix::io::Errno;
use tlsify_protocol::{Blame, Code};

use crate::tls::Failure;

/// Addresses that a sentence names; more would not be read.
const MAX_NAMED: usize = 4;

/// Every address that was tried came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// In the order in which they came to nothing.
    pub(super) tried: Vec<Tried>,
    /// The deadline passed.
    pub(super) late: bool,
}

/// One attempt that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    to: SocketAddr,
    /// None: there was no answer.
    error: Option<Errno>,
}

impl Tried {
    pub(super) fn failed(to: SocketAddr, error: Errno) -> Self {
        Self { to, error: Some(error) }
    }

    pub(super) fn silent(to: SocketAddr) -> Self {
        Self { to, error: None }
    }

    fn code(&self) -> Code {
        self.error.map_or(Code::ConnectTimeout, connect_code)
    }
}

impl Lost {
    /// With the most telling of the codes: that somebody is there and refuses says more than silence, and silence more
    /// than having no way to one of the families, which is so on every host with only one of them.
    pub(super) fn failure(&self, target: &str) -> Failure {
        const MOST_TELLING: [Code; 4] =
            [Code::ConnectionRefused, Code::ConnectTimeout, Code::Unreachable, Code::NetworkError];
        let told = |code: &Code| self.tried.iter().any(|tried| tried.code() == *code);
        let late = self.late.then_some(Code::ConnectTimeout);
        let code = late.or_else(|| MOST_TELLING.into_iter().find(told)).unwrap_or(Code::Unreachable);
        let mut failure = Failure::new(code, self.text(target));
        if code == Code::NetworkError && self.tried.iter().any(|tried| tried.error.is_some_and(is_callers)) {
            failure.blame = Blame::Caller;
        }
        failure
    }

    fn text(&self, target: &str) -> String {
        let mut text = format!("cannot connect to {target}");
        let mut between = ": ";
        for Tried { to, error } in self.tried.iter().take(MAX_NAMED) {
            // Writing to a String cannot fail.
            let _ = match error {
                Some(error) => write!(text, "{between}{to}: {}", describe(*error)),
                None => write!(text, "{between}{to}: no answer"),
            };
            between = ", ";
        }
        if let Some(more @ 1..) = self.tried.len().checked_sub(MAX_NAMED) {
            let _ = write!(text, ", and {more} more");
        }
        text
    }
}

/// What an error of connecting is called. Also of a handshake whose SYN went out with its first bytes.
pub(in crate::io) fn connect_code(error: Errno) -> Code {
    match error {
        Errno::CONNREFUSED => Code::ConnectionRefused,
        Errno::TIMEDOUT => Code::ConnectTimeout,
        // No route, no address to come from, forbidden by the host's or a router's packet filter.
        Errno::NETUNREACH
        | Errno::HOSTUNREACH
        | Errno::NETDOWN
        | Errno::HOSTDOWN
        | Errno::NONET
        | Errno::ADDRNOTAVAIL
        | Errno::ACCESS
        | Errno::PERM
        | Errno::INVAL => Code::Unreachable,
        _ => Code::NetworkError,
    }
}

/// The caller used its copy of the socket while we connected it.
fn is_callers(error: Errno) -> bool {
    matches!(error, Errno::ISCONN | Errno::ALREADY)
}

fn describe(error: Errno) -> String {
    match error {
        Errno::CONNREFUSED => "connection refused".to_owned(),
        Errno::NETUNREACH => "no route to its network".to_owned(),
        Errno::HOSTUNREACH => "no route to the host".to_owned(),
        Errno::TIMEDOUT => "no answer".to_owned(),
        Errno::ADDRNOTAVAIL => "no local address to connect from".to_owned(),
        Errno::ACCESS | Errno::PERM => "not permitted, by a packet filter perhaps".to_owned(),
        Errno::INVAL => "not to be reached from the address that the socket is bound to".to_owned(),
        Errno::ISCONN | Errno::ALREADY => {
            "the caller connected the socket itself, or gave it twice".to_owned()
        }
        other => std::io::Error::from(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(errors: &[Option<Errno>], late: bool) -> Lost {
        let to = "127.0.0.1:1".parse().unwrap();
        Lost { tried: errors.iter().map(|error| Tried { to, error: *error }).collect(), late }
    }

    #[test]
    fn the_most_telling_of_several_reasons_is_told() {
        let cases: [(&[Option<Errno>], Code); 6] = [
            (&[Some(Errno::CONNREFUSED), Some(Errno::CONNREFUSED)], Code::ConnectionRefused),
            (&[Some(Errno::NETUNREACH), Some(Errno::CONNREFUSED), None], Code::ConnectionRefused),
            (&[Some(Errno::NETUNREACH), None], Code::ConnectTimeout),
            (&[Some(Errno::HOSTUNREACH), Some(Errno::TIMEDOUT)], Code::ConnectTimeout),
            (&[Some(Errno::ADDRNOTAVAIL), Some(Errno::PERM)], Code::Unreachable),
            (&[Some(Errno::NOBUFS)], Code::NetworkError),
        ];
        for (errors, code) in cases {
            assert_eq!(lost(errors, false).failure("a:1").code, code, "{errors:?}");
        }
        assert_eq!(lost(&[Some(Errno::CONNREFUSED), None], true).failure("a:1").code, Code::ConnectTimeout);
    }

    #[test]
    fn a_socket_that_its_caller_used_meanwhile_is_the_callers_fault() {
        let failure = lost(&[Some(Errno::ISCONN)], false).failure("a:1");
        assert_eq!((failure.code, failure.blame), (Code::NetworkError, Blame::Caller));
    }

    #[test]
    fn a_name_of_many_addresses_makes_no_endless_sentence() {
        let failure = lost(&[Some(Errno::CONNREFUSED); 30], false).failure("many.example:443");
        assert!(
            failure.text.starts_with("cannot connect to many.example:443: 127.0.0.1:1: connection refused, ")
        );
        assert!(failure.text.ends_with(", and 26 more"), "{}", failure.text);
    }
}
