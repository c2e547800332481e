//! What is done to a caller's socket leaves it as it was.

use super::*;
use rustix::net::{bind, getsockname, listen, socket};
use std::net::{Ipv4Addr, TcpListener};

fn tcp() -> OwnedFd {
    socket(AddressFamily::INET, SocketType::STREAM, None).expect("a descriptor is free")
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    (listener, address)
}

fn attempt(socket: &Arc<OwnedFd>, to: SocketAddr, fast_open: bool) -> Result<bool, Errno> {
    begin(socket, to, fast_open, false).expect("a thread").blocking_recv().expect("an answer")
}

/// The attempt to its end.
fn connects(socket: &Arc<OwnedFd>, to: SocketAddr) -> bool {
    let begun = attempt(socket, to, false);
    if begun != Ok(false) {
        return begun == Ok(true);
    }
    let mut fds = [PollFd::new(&**socket, PollFlags::OUT)];
    let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1));
    outcome(socket) == Ok(true)
}

#[test]
fn flags_are_as_before_whatever_comes_of_it() {
    let (_listener, there) = listener();
    let nowhere = listener().1;
    for nonblocking in [false, true] {
        for to in [there, nowhere, "[::1]:9".parse().unwrap()] {
            for fast_open in [false, true] {
                let socket = Arc::new(tcp());
                let mut flags = fcntl_getfl(&*socket).unwrap();
                flags.set(OFlags::NONBLOCK, nonblocking);
                fcntl_setfl(&*socket, flags).unwrap();
                let before = fcntl_getfl(&*socket).unwrap();
                let _ = attempt(&socket, to, fast_open);
                assert_eq!(fcntl_getfl(&*socket).unwrap(), before, "{to} {nonblocking}");
                put_back(&socket, fast_open);
                assert_eq!(fcntl_getfl(&*socket).unwrap(), before, "{to} {nonblocking}, put back");
            }
        }
    }
}

#[test]
fn a_socket_that_was_put_back_connects_again_and_keeps_what_it_was_bound_to() {
    let (_listener, there) = listener();
    let nowhere = listener().1;
    let socket = Arc::new(tcp());
    // A port that bind was left to choose is the kernel's, and may change with each attempt: this one is ours.
    let own = SocketAddr::from(([127, 0, 0, 9], listener().1.port()));
    bind(&*socket, &own).unwrap();
    let bound = getsockname(&*socket).unwrap();
    for to in [nowhere, there, nowhere, there] {
        assert_eq!(connects(&socket, to), to == there);
        assert_eq!(getsockname(&*socket).unwrap(), bound);
        put_back(&socket, false);
        assert!(matches!(unconnected_tcp(&*socket), Ok(Family::V4)));
    }
}

#[test]
fn only_a_tcp_socket_at_rest_can_be_connected() {
    let (listener, there) = listener();
    let kind = |fd: &dyn AsFd| match unconnected_tcp(fd.as_fd()) {
        Err(DescriptorError::Kind { is, .. }) => is,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(&listener), "a listening socket");
    assert_eq!(kind(&std::net::TcpStream::connect(there).unwrap()), "a connected socket");
    assert_eq!(kind(&std::net::UdpSocket::bind("127.0.0.1:0").unwrap()), "a socket of another type");
    let unix = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    assert_eq!(kind(&unix), "a Unix socket");
    assert_eq!(kind(&std::fs::File::open("/dev/null").unwrap()), "not a socket");
    // Nobody takes from this queue, so what follows the first ones stays on its way.
    let full = tcp();
    bind(&full, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&full, 0).unwrap();
    let to = SocketAddr::try_from(getsockname(&full).unwrap()).unwrap();
    let waiting: Vec<OwnedFd> = (0..4).map(|_| tcp()).collect();
    for socket in &waiting {
        let _ = connect_without_waiting(socket, to);
    }
    assert_eq!(kind(waiting.last().unwrap()), "a socket that is being connected");
}

#[test]
fn one_socket_given_twice_is_seen() {
    let (one, other) = (tcp(), tcp());
    assert!(is_same_socket(&one, one.try_clone().unwrap()));
    assert!(!is_same_socket(&one, &other));
}
