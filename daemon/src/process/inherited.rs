//! Sockets that the process was started with: the service manager's (LISTEN_FDS) and a parent's (`--private FD`).
//!
//! Each is looked at before it is used, because a unit file or a script can pass anything. The variables stay in the
//! environment: they name our process id, so no child takes them for its own, and the descriptors are close-on-exec.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::net::{AddressFamily, SocketType, getpeername, sockopt};

use super::socket::Listener;
use crate::sys::{Inherited, inherit_descriptor};

/// Takes the listening sockets that the service manager passed; empty when it passed none. To be called once, before
/// the process opens descriptors of its own.
///
/// # Errors
/// A descriptor is not what `ListenSequentialPacket=` makes. The ones before it are closed.
pub fn inherited_listeners() -> Result<Vec<Listener>, InheritError> {
    let passed = sd_notify::listen_fds().map_err(InheritError::Variables)?;
    passed.map(|fd| inherit_descriptor(fd).map_err(InheritError::Taking).and_then(listener)).collect()
}

/// Takes the one control connection of `--private FD`.
///
/// # Errors
/// The descriptor is not a connected AF_UNIX SOCK_SEQPACKET socket.
pub fn private_control(fd: RawFd) -> Result<OwnedFd, InheritError> {
    inherit_descriptor(fd).map_err(InheritError::Taking).and_then(connected)
}

/// Why an inherited descriptor cannot be used. Whoever started the process has to act: the operator for LISTEN_FDS,
/// the caller for `--private`.
#[derive(Debug)]
pub enum InheritError {
    /// LISTEN_FDS or LISTEN_PID cannot be read.
    Variables(io::Error),
    /// The number cannot be taken.
    Taking(Inherited),
    /// It is something else.
    Unfit {
        /// Its number.
        fd: RawFd,
        /// What it has to be.
        wanted: Wanted,
        /// What it is.
        found: String,
    },
}

/// What an inherited descriptor has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A socket to accept callers on.
    Listening,
    /// One caller.
    Connected,
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InheritError::Variables(cause) => {
                write!(f, "cannot read LISTEN_FDS and LISTEN_PID: {}", super::reason(cause))
            }
            InheritError::Taking(cause) => cause.fmt(f),
            InheritError::Unfit { fd, wanted: Wanted::Listening, found } => write!(
                f,
                "descriptor {fd} from LISTEN_FDS is {found}, expected a listening AF_UNIX SOCK_SEQPACKET socket \
                 (ListenSequentialPacket= in the socket unit)"
            ),
            InheritError::Unfit { fd, wanted: Wanted::Connected, found } => write!(
                f,
                "descriptor {fd} from --private is {found}, expected a connected AF_UNIX SOCK_SEQPACKET socket \
                 (one end of a socketpair)"
            ),
        }
    }
}

impl std::error::Error for InheritError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InheritError::Variables(cause) => Some(cause),
            InheritError::Taking(cause) => Some(cause),
            InheritError::Unfit { .. } => None,
        }
    }
}

fn listener(fd: OwnedFd) -> Result<Listener, InheritError> {
    let unfit = |found| InheritError::Unfit { fd: fd.as_raw_fd(), wanted: Wanted::Listening, found };
    if !sequential_unix(&fd).map_err(unfit)? {
        return Err(unfit("not listening".to_owned()));
    }
    // The service manager only polls its copy, so the flag on the shared description is ours to set.
    rustix::io::ioctl_fionbio(&fd, true)
        .map_err(|cause| unfit(format!("not usable: {}", super::reason(&cause.into()))))?;
    Ok(Listener::inherited(fd))
}

fn connected(fd: OwnedFd) -> Result<OwnedFd, InheritError> {
    let unfit = |found| InheritError::Unfit { fd: fd.as_raw_fd(), wanted: Wanted::Connected, found };
    if sequential_unix(&fd).map_err(unfit)? {
        return Err(unfit("listening".to_owned()));
    }
    if getpeername(&fd).is_err() {
        return Err(unfit("not connected".to_owned()));
    }
    Ok(fd)
}

/// Whether an AF_UNIX SOCK_SEQPACKET socket is listening, or what the descriptor is instead.
fn sequential_unix(fd: &OwnedFd) -> Result<bool, String> {
    let Ok(domain) = sockopt::socket_domain(fd) else {
        return Err("no socket".to_owned());
    };
    if domain != AddressFamily::UNIX {
        return Err(match domain {
            AddressFamily::INET | AddressFamily::INET6 => "an IP socket".to_owned(),
            other => format!("a socket of family {}", other.as_raw()),
        });
    }
    match sockopt::socket_type(fd) {
        Ok(SocketType::SEQPACKET) => {}
        Ok(SocketType::STREAM) => return Err("a SOCK_STREAM socket".to_owned()),
        Ok(SocketType::DGRAM) => return Err("a SOCK_DGRAM socket".to_owned()),
        _ => return Err("a socket of another type".to_owned()),
    }
    sockopt::socket_acceptconn(fd).map_err(|cause| format!("unreadable: {}", super::reason(&cause.into())))
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    use rustix::net::{SocketAddrUnix, SocketFlags, bind, listen, socket, socketpair};

    use super::*;

    fn sequential() -> OwnedFd {
        socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap()
    }

    fn listening() -> OwnedFd {
        let fd = sequential();
        let name = format!("tlsifyd-inherited-{}-{}", std::process::id(), fd.as_raw_fd());
        bind(&fd, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        listen(&fd, 1).unwrap();
        fd
    }

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_listening_sequential_socket_is_taken_and_made_non_blocking() {
        let listener = listener(listening()).unwrap();
        assert_eq!(listener.path(), None);
        assert!(rustix::fs::fcntl_getfl(&listener).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn one_end_of_a_pair_is_a_control_connection_and_no_listener() {
        let (here, there) = pair();
        assert!(connected(here).is_ok());
        let refused = listener(there).unwrap_err().to_string();
        assert!(refused.contains("is not listening, expected a listening"), "{refused}");
    }

    #[test]
    fn anything_else_is_refused_by_what_it_is() {
        let cases: Vec<(OwnedFd, &str)> = vec![
            (std::fs::File::open("/dev/null").unwrap().into(), "no socket"),
            (std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(), "an IP socket"),
            (UnixStream::pair().unwrap().0.into(), "a SOCK_STREAM socket"),
            (UnixDatagram::unbound().unwrap().into(), "a SOCK_DGRAM socket"),
        ];
        for (fd, what) in cases {
            let copy = fd.try_clone().unwrap();
            for refused in [connected(fd).unwrap_err(), listener(copy).unwrap_err()] {
                assert!(refused.to_string().contains(&format!("is {what}, expected")), "{refused}");
            }
        }
        assert!(connected(listening()).unwrap_err().to_string().contains("is listening"));
        assert!(connected(sequential()).unwrap_err().to_string().contains("is not connected"));
    }

    #[test]
    fn a_listener_of_the_wrong_type_names_the_line_of_the_unit() {
        let path = env::temp_dir().join(format!("tlsifyd-stream-{}", std::process::id()));
        let stream = UnixListener::bind(&path).unwrap();
        let refused = listener(stream.into()).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(refused.contains("SOCK_STREAM") && refused.contains("ListenSequentialPacket="), "{refused}");
    }

    /// Says which part of the next two tests a child process is to play.
    const PART: &str = "TLSIFYD_TEST_PART";

    /// Starts this test again in a process that has `passed` as descriptor 3; whether it ends well.
    fn in_a_child(test: &str, passed: OwnedFd) -> bool {
        let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --exact \"$1\" --quiet 3<&0";
        Command::new("sh")
            .args(["-c", script])
            .arg(env::current_exe().unwrap())
            .arg(format!("process::inherited::tests::{test}"))
            .env(PART, "child")
            .stdin(passed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    fn is_child() -> bool {
        env::var_os(PART).is_some()
    }

    #[test]
    fn the_service_managers_sockets_arrive_and_go_to_no_child() {
        if is_child() {
            let listeners = inherited_listeners().unwrap();
            assert_eq!(listeners.len(), 1);
            assert_eq!(listeners[0].as_raw_fd(), 3);
            let flags = rustix::io::fcntl_getfd(&listeners[0]).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            // Taking them twice would make two owners of one number.
            assert!(matches!(inherited_listeners(), Err(InheritError::Taking(_))));
            return;
        }
        let name = "the_service_managers_sockets_arrive_and_go_to_no_child";
        assert!(in_a_child(name, listening()));
        assert!(!in_a_child(name, pair().0), "a connected socket is no listener");
    }

    #[test]
    fn a_parents_socket_arrives_and_goes_to_no_child() {
        if is_child() {
            let control = private_control(3).unwrap();
            let flags = rustix::io::fcntl_getfd(&control).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            assert!(private_control(999).is_err(), "a number that is not open");
            return;
        }
        let name = "a_parents_socket_arrives_and_goes_to_no_child";
        let (here, _there) = pair();
        assert!(in_a_child(name, here));
        assert!(!in_a_child(name, listening()), "a listener is no control connection");
    }
}
