//! From what the person asked for to one packet with its descriptors: the first of a session's stops. Files are opened
//! here, with the rights of whoever started us; the daemon gets descriptors and never a path.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tlsify_protocol::keys::Verb;
use tlsify_protocol::text::{TextWriter, Unfit};
use tlsify_protocol::{FdName, MAX_DESCRIPTORS, Role};

use crate::few::Few;
use crate::options::{Identity, Line, Net, Options};
use crate::packet::{self, Lost};
use crate::place::variable;
use crate::say::{self, Shown, Why};
use crate::status::{self, Stop};
use crate::stdio::Data;
use crate::sys::{self, Strings};

/// The id of our only request.
pub(crate) const ID: &str = "1";

/// A request that is ready to be sent: what it says stays in the buffer, what it brings is held here. Dropped, our copies
/// of the sockets and files are closed; what we were given stays open.
pub(crate) struct Ask {
    length: usize,
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
    /// Opens what has to be opened, and writes the request into `buffer`. `data` is for the daemon to read and write;
    /// without it, it makes a socketpair.
    pub(crate) fn prepare(
        options: &Options,
        environment: Strings,
        data: Option<Data>,
        terminal: Option<OwnedFd>,
        buffer: &mut [u8],
    ) -> Result<Self, Stop> {
        let mut ask =
            Self { length: 0, names: Few::new(FdName::Net), fds: [const { None }; MAX_DESCRIPTORS] };
        ask.net(options)?;
        match (data, terminal) {
            (None, _) => {}
            (Some(Data::Socket(fd)), _) => ask.push(FdName::Plain, Part::Given(fd)),
            (Some(Data::Split { input, output }), terminal) => {
                if let Some(output) = output {
                    ask.push(FdName::Inbound, Part::Given(output));
                }
                if let Some(input) = terminal.map(Part::Ours).or(input.map(Part::Given)) {
                    ask.push(FdName::Outbound, input);
                }
            }
        }
        for identity in options.identities.as_slice() {
            ask.identity(identity)?;
        }
        if !options.has("profile") && options.identities.is_empty() {
            ask.identity(&Identity {
                certificate: variable(environment, "CERTFILE"),
                key: variable(environment, "KEYFILE"),
                ocsp: None,
            })?;
        }
        let trust = ask.trust(options, environment)?;
        ask.write(options, trust, buffer)?;
        Ok(ask)
    }

    /// Sends it.
    pub(crate) fn send(&self, to: &OwnedFd, buffer: &[u8]) -> Result<(), Lost> {
        let mut fds = [to.as_fd(); MAX_DESCRIPTORS];
        let mut count = 0;
        for (slot, part) in fds.iter_mut().zip(self.fds.iter().flatten()) {
            *slot = part.as_fd();
            count += 1;
        }
        packet::send(to, buffer.get(..self.length).unwrap_or_default(), fds.get(..count).unwrap_or_default())
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
        let wanted =
            !options.has("profile") && (options.role == Role::Client || options.has("client-certificate"));
        let default = || variable(environment, "CADIR").or_else(|| variable(environment, "CAFILE"));
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
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        match rustix::fs::open(path, flags, Mode::empty()) {
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

    fn write(
        &mut self,
        options: &Options,
        trust: Option<&'static [u8]>,
        buffer: &mut [u8],
    ) -> Result<(), Stop> {
        match self.lines(options, trust, buffer) {
            Ok(length) => {
                self.length = length;
                Ok(())
            }
            Err((key, Unfit::Value)) => {
                say::line(format_args!("the value for {key} is empty or has a control character in it"));
                Err(Stop(status::USAGE))
            }
            Err((_, Unfit::NoRoom)) => {
                say::line(format_args!("the options are longer than one request may be"));
                Err(Stop(status::USAGE))
            }
        }
    }

    fn lines(
        &self,
        options: &Options,
        trust: Option<&'static [u8]>,
        buffer: &mut [u8],
    ) -> Result<usize, (&'static str, Unfit)> {
        let verb = match options.role {
            Role::Client => Verb::Connect,
            Role::Server => Verb::Accept,
        };
        let mut packet = TextWriter::begin(buffer, verb.as_str()).map_err(|unfit| ("", unfit))?;
        let names = self.names.as_slice().iter().map(|name| name.as_str().as_bytes());
        packet.words("fds", names).map_err(|unfit| ("fds", unfit))?;
        for (key, millis) in [("handshake-timeout", options.timeout), ("idle-timeout", options.idle_timeout)]
        {
            if let Some(millis) = millis {
                packet.number(key, millis).map_err(|unfit| (key, unfit))?;
            }
        }
        if !options.alpn.is_empty() {
            packet.words("alpn", options.alpn.as_slice().iter().copied()).map_err(|unfit| ("alpn", unfit))?;
        }
        let mut line =
            |key: &'static str, value: &[&[u8]]| packet.line(key, value).map_err(|unfit| (key, unfit));
        line("id", &[ID.as_bytes()])?;
        if let Net::To(target) = options.net {
            line("to", &[target])?;
        }
        if options.fast_open {
            line("fast-open", &[b"yes"])?;
        }
        if options.hold {
            line("outbound-end", &[b"hold"])?;
        }
        if options.is_filter() {
            // A filter's session ends with the filter; one that is left to the daemon or a program does not.
            line("bind", &[b"control"])?;
        }
        if options.control.is_some() {
            line("chain", &[b"yes"])?;
        }
        if let Some(trust) = trust {
            line("trust", &[trust])?;
        }
        for Line { key, value } in options.lines.as_slice() {
            match value.strip_prefix(b"sha256:") {
                // Of the public key: as RFC 7469 means it, and as the hint after a failure says it.
                Some(hash) if matches!(*key, "pin" | "allow") => line(key, &[b"spki-sha256:", hash])?,
                _ => line(key, &[value])?,
            }
        }
        Ok(packet.finish())
    }
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
