//! From what the person asked for to one packet with its descriptors: the first of a session's stops. Files are opened
//! here, with the rights of whoever started us; the daemon gets descriptors and never a path.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tlsify_protocol::text::{TextWriter, Unfit};
use tlsify_protocol::{FdName, MAX_DESCRIPTORS, Role};

use crate::few::Few;
use crate::options::{Identity, Net, Options};
use crate::packet::{self, Lost};
use crate::say::{self, Shown, Why};
use crate::status::{self, Stop};
use crate::stdio::Data;
use crate::sys::{self, Strings};

/// The id of our only request.
pub(crate) const ID: &str = "1";

/// What a request brings. Dropped, our copies of the sockets and files are closed; what we were given stays open.
pub(crate) struct Ask {
    names: Few<FdName, MAX_DESCRIPTORS>,
    fds: [Option<Part>; MAX_DESCRIPTORS],
}

enum Part {
    Ours(OwnedFd),
    Given(BorrowedFd<'static>),
}

impl AsFd for Part {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ours(fd) => fd.as_fd(),
            Self::Given(fd) => *fd,
        }
    }
}

impl Ask {
    /// Opens what has to be opened, and completes the request. `data` is for the daemon to read and write; without it, it
    /// makes a socketpair.
    pub(crate) fn prepare(
        options: &Options,
        request: &mut TextWriter<'_>,
        environment: Strings,
        data: Option<Data>,
        terminal: Option<OwnedFd>,
    ) -> Result<Self, Stop> {
        let mut ask = Self { names: Few::new(FdName::Net), fds: [const { None }; MAX_DESCRIPTORS] };
        ask.net(options)?;
        match (data, terminal) {
            (None, _) => {}
            (Some(Data::Socket(fd)), _) => ask.push(FdName::Plain, Part::Given(fd)),
            (Some(Data::Split { input, output }), terminal) => {
                ask.push(FdName::Inbound, Part::Given(output));
                ask.push(FdName::Outbound, terminal.map_or(Part::Given(input), Part::Ours));
            }
        }
        for identity in options.identities.as_slice() {
            ask.identity(identity)?;
        }
        if !options.has_profile && options.identities.is_empty() {
            ask.identity(&default_identity(environment)?)?;
        }
        let trust = ask.trust(options, environment)?;
        if let Some(tickets) = options.tickets {
            ask.open(FdName::Tickets, tickets)?;
        }
        match ask.write(request, options, trust) {
            Ok(()) => Ok(ask),
            Err((key, unfit)) => {
                let why = match unfit {
                    Unfit::NoRoom => "longer than one request may be",
                    Unfit::Value => "empty, or with a control character in it",
                };
                say::line(format_args!("cannot ask for this {key}: {why}"));
                Err(Stop(status::USAGE))
            }
        }
    }

    /// Sends it.
    pub(crate) fn send(&self, to: &OwnedFd, request: &[u8]) -> Result<(), Lost> {
        let mut fds = [to.as_fd(); MAX_DESCRIPTORS];
        let mut count = 0;
        for (slot, part) in fds.iter_mut().zip(self.fds.iter().flatten()) {
            *slot = part.as_fd();
            count += 1;
        }
        packet::send(to, request, fds.get(..count).unwrap_or_default())
    }

    /// The network side: the given socket, or one that is not connected for each family that may be wanted.
    fn net(&mut self, options: &Options) -> Result<(), Stop> {
        let target = match options.net {
            Net::Given(number) => {
                let Some(fd) = sys::inherited(number) else {
                    say::line(format_args!("descriptor {number} is not open, where the socket should be"));
                    return Err(Stop(status::USAGE));
                };
                self.push(FdName::Net, Part::Given(fd));
                return Ok(());
            }
            Net::To(target) => target,
        };
        let mut failure = Errno::AFNOSUPPORT;
        for family in families(target) {
            match socket_with(*family, SocketType::STREAM, SocketFlags::CLOEXEC, None) {
                Ok(socket) => self.push(FdName::Net, Part::Ours(socket)),
                // A host without one of the families has the other.
                Err(error) => failure = error,
            }
        }
        if self.names.is_empty() {
            say::line(format_args!("cannot make a socket to connect to {}: {}", Shown(target), Why(failure)));
            return Err(Stop(status::SYSTEM));
        }
        Ok(())
    }

    fn identity(&mut self, identity: &Identity) -> Result<(), Stop> {
        let files = [
            (FdName::Certificate, identity.certificate),
            (FdName::Key, identity.key),
            (FdName::Ocsp, identity.ocsp),
        ];
        for (name, path) in files {
            if let Some(path) = path {
                self.open(name, path)?;
            }
        }
        Ok(())
    }

    /// Where trust comes from: its word, and its descriptor if it has one.
    fn trust(&mut self, options: &Options, environment: Strings) -> Result<Option<&'static [u8]>, Stop> {
        // A server that asks nobody for a certificate has nobody to trust, and a profile says it itself.
        let wanted = !options.has_profile && (options.role == Role::Client || options.asks_for_certificate);
        let default = || environment.variable(c"CADIR").or_else(|| environment.variable(c"CAFILE"));
        let Some(trust) = options.trust.or_else(|| default().filter(|_| wanted)) else { return Ok(None) };
        match trust.to_bytes() {
            word @ (b"system" | b"pins") => Ok(Some(word)),
            word if word.starts_with(b"store:") => Ok(Some(word)),
            _ => {
                self.open(FdName::Ca, trust)?;
                Ok(Some(b"descriptor"))
            }
        }
    }

    fn open(&mut self, name: FdName, path: &'static CStr) -> Result<(), Stop> {
        // NONBLOCK: opening a named pipe must not wait for somebody to write; the daemon says that it is no file.
        let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = |how| rustix::fs::open(path, flags | how, Mode::empty());
        // A server's keys are replaced in their file, where that may be written.
        let opened = if name == FdName::Tickets { open(OFlags::RDWR) } else { Err(Errno::ACCESS) };
        match opened.or_else(|_| open(OFlags::RDONLY)) {
            Ok(fd) => {
                self.push(name, Part::Ours(fd));
                Ok(())
            }
            Err(error) => {
                say::line(format_args!(
                    "cannot open {} as the {name}: {}",
                    Shown(path.to_bytes()),
                    Why(error)
                ));
                Err(Stop(status::SYSTEM))
            }
        }
    }

    /// What the options can give always fits: two sockets, two data descriptors, 16 identities of three, one store.
    fn push(&mut self, name: FdName, part: Part) {
        if let Some(slot) = self.fds.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(part);
            self.names.push(name);
        }
    }

    /// The lines that no option says by itself.
    fn write(
        &self,
        request: &mut TextWriter<'_>,
        options: &Options,
        trust: Option<&'static [u8]>,
    ) -> Result<(), (&'static str, Unfit)> {
        let named = |key| move |unfit| (key, unfit);
        let names = self.names.as_slice().iter().map(|name| name.as_str().as_bytes());
        request.words("fds", names).map_err(named("fds"))?;
        for (key, millis) in [("handshake-timeout", options.timeout), ("idle-timeout", options.idle_timeout)]
        {
            if let Some(millis) = millis {
                request.number(key, millis).map_err(named(key))?;
            }
        }
        if !options.alpn.is_empty() {
            request.words("alpn", options.alpn.as_slice().iter().copied()).map_err(named("alpn"))?;
        }
        let target = match options.net {
            Net::To(target) => Some(target),
            Net::Given(_) => None,
        };
        let lines = [
            ("id", Some(ID.as_bytes())),
            ("to", target),
            ("fast-open", options.fast_open.then_some(b"yes".as_slice())),
            ("outbound-end", options.hold.then_some(b"hold".as_slice())),
            // A filter's session ends with the filter; one that is left to the daemon or a program does not.
            ("bind", options.is_filter().then_some(b"control".as_slice())),
            ("chain", options.control.map(|_| b"yes".as_slice())),
            ("trust", trust),
            ("learn", options.learn.then_some(b"yes".as_slice())),
        ];
        lines
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .try_for_each(|(key, value)| request.line(key, &[value]).map_err(named(key)))
    }
}

/// Who we are unless options say it.
fn default_identity(environment: Strings) -> Result<Identity, Stop> {
    let [certificate, key] = [c"CERTFILE", c"KEYFILE"].map(|name| environment.variable(name));
    let missing = match (certificate, key) {
        (Some(_), None) => "CERTFILE is set and KEYFILE is not",
        (None, Some(_)) => "KEYFILE is set and CERTFILE is not",
        _ => return Ok(Identity { certificate, key, ocsp: None }),
    };
    say::line(format_args!("{missing}: a certificate and its key go together"));
    Err(Stop(status::USAGE))
}

/// The families of the addresses that a target can have.
fn families(target: &[u8]) -> &'static [AddressFamily] {
    match target {
        [b'[', ..] => &[AddressFamily::INET6],
        _ if target.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':')) => {
            &[AddressFamily::INET]
        }
        _ => &[AddressFamily::INET6, AddressFamily::INET],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_socket_of_its_own_family_and_a_name_of_both() {
        let both: &[_] = &[AddressFamily::INET6, AddressFamily::INET];
        let cases: [(&[u8], &[_]); 5] = [
            (b"[2001:db8::1]:443", &[AddressFamily::INET6]),
            (b"192.0.2.1:443", &[AddressFamily::INET]),
            (b"db.example:443", both),
            (b"1and1.example:443", both),
            // A name that only looks like an address is one for the daemon to refuse.
            (b"1.2:443", &[AddressFamily::INET]),
        ];
        for (target, expected) in cases {
            assert_eq!(families(target), expected, "{}", Shown(target));
        }
    }

    #[test]
    fn half_an_identity_in_the_environment_is_none() {
        let identity = |variables: &[&'static CStr]| default_identity(Strings::of(variables));
        let both = identity(&[c"KEYFILE=k", c"CERTFILE=c"]).unwrap();
        assert_eq!((both.certificate, both.key), (Some(c"c"), Some(c"k")));
        assert_eq!(identity(&[c"KEYFILE=", c"CERTFILE="]), Ok(Identity::default()));
        say::set_quiet(true);
        for half in [c"KEYFILE=k", c"CERTFILE=c"] {
            assert_eq!(identity(&[half]), Err(Stop(status::USAGE)));
        }
    }
}
