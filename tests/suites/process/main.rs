//! The process around the engine, end to end with the real program: where it listens, what it inherits, what its exit
//! status and its words say, signals, and the log.

mod inherit;
mod lifecycle;
mod logs;
mod socket;
mod start;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use tlsify_client::{Accept, Client, Established};
use tlsifyd_tests::daemon::binary;
use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Peer, pki, tcp_pair};

/// `tlsifyd` with nothing from the environment of whoever runs the tests.
fn tlsifyd(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().args(args);
    command
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().expect("our own folders have plain names")
}

/// A configuration with one profile that everybody may use, and what else is said before it.
fn with_profile(before: &str, name: &str, identity: &Identity) -> String {
    format!(
        "{before}\n[[profile]]\nname = \"{name}\"\nrole = \"server\"\nusers = [\"*\"]\n\
         [[profile.identity]]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        identity.certificate_file.display(),
        identity.key_file.display()
    )
}

/// A session under way: what the program holds, and the far end.
struct Open {
    session: Established,
    plain: UnixStream,
    peer: Peer,
}

/// Opens a session as the server with this profile.
fn open(client: &Client, profile: &str) -> Open {
    let (ours, theirs) = tcp_pair();
    let pending = client.start_accept(&Accept::new(theirs).profile(profile)).expect("the daemon listens");
    let config = client_config(pki().ca.roots(), BOTH_VERSIONS, None);
    let mut peer = Peer::client(ours, config, SERVER_NAME);
    peer.handshake().expect("the profile is good");
    let mut session = pending.wait().expect("the profile is good");
    let plain = UnixStream::from(session.plain.take().expect("a plaintext descriptor came"));
    plain.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    Open { session, plain, peer }
}

impl Open {
    /// Bytes go both ways.
    fn assert_alive(&mut self) {
        use io::{Read, Write};
        self.plain.write_all(b"to the peer").expect("the session is open");
        assert_eq!(self.peer.read_exact(11).expect("the session is open"), b"to the peer");
        self.peer.write_all(b"to the program").expect("the session is open");
        let mut said = [0; 14];
        self.plain.read_exact(&mut said).expect("the session is open");
        assert_eq!(&said, b"to the program");
    }
}

/// Waits until a daemon answers there.
fn wait_for(socket: &Path) -> Client {
    until(LIMIT, || Client::connect_to(socket).ok())
        .unwrap_or_else(|| panic!("nobody answers at {}", socket.display()))
}

/// A listening SOCK_SEQPACKET socket at this path, as a service manager makes it.
fn listening(path: &Path) -> OwnedFd {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .expect("a descriptor is free");
    bind(fd.as_raw_fd(), &UnixAddr::new(path).expect("a short path")).expect("the folder is ours");
    listen(&fd, Backlog::new(8).expect("a small number")).expect("it is bound");
    fd
}
