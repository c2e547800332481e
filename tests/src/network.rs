//! A network of a test's own: loopback and nothing else, with its own names. What runs in it, daemons and sockets, is of
//! that network; the rest of the machine is not touched.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket};

use crate::program::Program;
use crate::temp::TempDir;
use crate::tools::tool;
use crate::wait::until;

/// The network that a test is in.
#[derive(Debug)]
pub struct Network {
    dir: TempDir,
}

/// Does `work` in a network of its own, where this process can make one; otherwise one line says that `what` is skipped.
///
/// # Panics
/// When `work` does.
pub fn alone(what: &str, work: impl FnOnce(&Network) + Send) {
    if !may_unshare() {
        // Past the test harness, which keeps what a test that passes prints to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {what} needs root, for a network of its own");
        return;
    }
    let Some(ip) = tool("ip") else { return };
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Of this thread alone, and of the processes and threads that it starts.
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root may");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("root may");
            Program::run(Command::new(ip).args(["link", "set", "lo", "up"])).ok();
            let network = Network { dir: TempDir::new("network") };
            network.replace("hosts", "127.0.0.1 localhost\n::1 localhost\n");
            network.replace("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n");
            network.replace("nsswitch.conf", "hosts: files dns\n");
            work(&network);
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Whether this process may make networks: root may, but not in every container.
fn may_unshare() -> bool {
    let tried = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).is_ok());
    tried.join().unwrap_or(false)
}

impl Network {
    /// Adds names to those of `/etc/hosts`, for daemons that are started later or look names up later.
    pub fn hosts(&self, names: &[(&str, &[&str])]) {
        let mut text = fs::read_to_string("/etc/hosts").expect("it is our own");
        for (name, addresses) in names {
            for address in *addresses {
                let _ = writeln!(text, "{address} {name}");
            }
        }
        fs::write(self.dir.path().join("hosts"), text).expect("the temporary folder can be written");
    }

    /// A name server on 127.0.0.1 that knows nothing: `empty.*` exists without addresses, `broken.*` is answered with
    /// a failure, `slow.*` never, and other names do not exist. It ends with the test's process.
    pub fn name_server(&self) {
        let server = UdpSocket::bind("127.0.0.1:53").expect("it is our own network");
        thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((size, from)) = server.recv_from(&mut packet) {
                // RFC 1035 section 4.1: a header of 12 bytes, then the question, whose first label has its length in
                // front. The code is the low half of the fourth byte.
                let code = match &packet[12..size] {
                    [_, b's', b'l', b'o', b'w', ..] => continue,
                    [_, b'e', b'm', b'p', b't', b'y', ..] => 0,
                    [_, b'b', b'r', b'o', b'k', b'e', b'n', ..] => 2,
                    _ => 3,
                };
                (packet[2], packet[3]) = (0x84, 0x80 | code);
                // No extra records come back.
                packet[10..12].fill(0);
                let _ = server.send_to(&packet[..question_end(&packet[..size])], from);
            }
        });
    }

    /// Sets a parameter of this network's kernel, by its path below `/proc/sys/net`.
    pub fn set(&self, parameter: &str, value: &str) {
        fs::write(Path::new("/proc/sys/net").join(parameter), value).expect("it is our own network");
    }

    /// A counter of this network's kernel, as in `/proc/net/netstat`.
    ///
    /// # Panics
    /// When the kernel does not count that.
    pub fn counter(&self, name: &str) -> u64 {
        let text = fs::read_to_string("/proc/thread-self/net/netstat").expect("it is our own network");
        let lines: Vec<&str> = text.lines().collect();
        let pairs = lines.chunks(2).flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')));
        let (_, value) = pairs.into_iter().find(|(key, _)| *key == name).expect("the kernel counts it");
        value.parse().expect("a number")
    }

    fn replace(&self, name: &str, text: &str) {
        let file = self.dir.path().join(name);
        fs::write(&file, text).expect("the temporary folder can be written");
        let place = fs::canonicalize(Path::new("/etc").join(name)).expect("every host has it");
        mount_bind(&file, place).expect("root may");
    }
}

/// A TCP address that takes no connection and refuses none: a listener whose queue is full, so that the kernel drops
/// what comes. To be kept for as long as it is to be silent.
#[derive(Debug)]
pub struct BlackHole {
    _listener: OwnedFd,
    _waiting: Vec<OwnedFd>,
    address: std::net::SocketAddr,
}

impl BlackHole {
    /// One at this address; with port 0 at any port of it.
    ///
    /// # Panics
    /// When the address is in use.
    pub fn at(address: impl Into<std::net::SocketAddr>) -> Self {
        let address = address.into();
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let tcp = || socket(family, SocketType::STREAM, None).expect("a descriptor is free");
        let listener = tcp();
        // Connections of an earlier listener may still be there.
        set_socket_reuseaddr(&listener, true).expect("a socket takes it");
        bind(&listener, &address).expect("the address is free");
        listen(&listener, 0).expect("it is bound");
        let address = getsockname(&listener).expect("it is bound").try_into().expect("an address");
        let mut waiting = Vec::new();
        let full = until(crate::wait::LIMIT, || {
            let socket = tcp();
            rustix::io::ioctl_fionbio(&socket, true).expect("a socket takes it");
            let _ = connect(&socket, &address);
            waiting.push(socket);
            // Enough when the last one is not let in: on loopback that takes no time.
            thread::sleep(std::time::Duration::from_millis(5));
            rustix::net::getpeername(waiting.last()?).is_err().then_some(())
        });
        assert!(full.is_some(), "{address} takes everybody");
        Self { _listener: listener, _waiting: waiting, address }
    }

    /// Where it is.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

/// Where the one question of a packet ends.
fn question_end(packet: &[u8]) -> usize {
    let mut at = 12;
    while packet.get(at).is_some_and(|length| *length != 0) {
        at += 1 + usize::from(packet[at]);
    }
    (at + 5).min(packet.len())
}
