//! The process around the engine, end to end with the real program: where it listens, what it inherits, what its exit
//! status and its words say, signals, and the log.

mod inherit;
mod lifecycle;
mod logs;
mod private;
mod record;
mod socket;
mod start;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use tlsify_client::Client;
use tlsifyd_tests::built;
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::wait::{LIMIT, until};

/// `tlsifyd` with nothing from the environment of whoever runs the tests.
fn tlsifyd(args: &[&str]) -> Command {
    let mut command = Command::new(built::daemon());
    command.env_clear().args(args);
    command
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().expect("our own folders have plain names")
}

/// A configuration with one profile that everybody may use, and what else is said before it.
fn with_profile(before: &str, name: &str, identity: &Identity) -> String {
    let profile = server_profile(name, "users = [\"*\"]", &identity.certificate_file, &identity.key_file);
    format!("{before}\n{profile}")
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
