//! What a caller shares with the daemon stays as the caller has it: status flags, offsets, terminal modes. They belong
//! to the open file description, so a change would be felt on the caller's side, and by the shell that it came from.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tlsify_client::{Client, Connect, Profile, Trust};
use tlsifyd_tests::handover::{accept, begin, client_peer};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{KeyKind, TempDir, TestDaemon, exclusive, pki, tcp_pair};

/// A description that the caller shares, and the flags that it had.
struct Shared {
    what: &'static str,
    fd: OwnedFd,
    flags: OFlags,
}

/// Keeps a copy of what is about to be given away, with O_NONBLOCK on or off.
fn share(what: &'static str, fd: &impl AsFd, nonblocking: bool) -> Shared {
    let fd = fd.as_fd().try_clone_to_owned().unwrap();
    let before = fcntl_getfl(&fd).unwrap();
    fcntl_setfl(&fd, if nonblocking { before | OFlags::NONBLOCK } else { before - OFlags::NONBLOCK })
        .unwrap();
    let flags = fcntl_getfl(&fd).unwrap();
    Shared { what, fd, flags }
}

#[track_caller]
fn untouched(shared: &[Shared], when: &str) {
    for Shared { what, fd, flags } in shared {
        assert_eq!(fcntl_getfl(fd).unwrap(), *flags, "{what}, {when}");
    }
}

/// The program's side in each kind, as (what, inbound, outbound).
fn sides(dir: &TempDir) -> Vec<(&'static str, OwnedFd, OwnedFd)> {
    let both = |file: File| (file.try_clone().unwrap().into(), OwnedFd::from(file));
    let path = dir.path().join("file");
    std::fs::write(&path, "some bytes").unwrap();
    let rw = |path: &std::path::Path| File::options().read(true).write(true).open(path).unwrap();
    let (a, b) = both(rw("/dev/null".as_ref()));
    let (c, d) = both(rw(&path));
    let (e, f) = both(File::options().read(true).append(true).open(&path).unwrap());
    let (from, to) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let (_person, terminal) = super::data::terminal();
    let (g, h) = both(terminal.into());
    // Ends whose other side is closed are at their end at once, so each session ends by itself.
    vec![
        ("/dev/null", a, b),
        ("a file", c, d),
        ("a file that is appended to", e, f),
        ("pipes", to.1.into(), from.0.into()),
        ("a terminal", g, h),
    ]
}

#[test]
fn flags_are_as_they_were_when_a_session_goes_well_and_when_it_fails() {
    let mut fds = exclusive();
    pki();
    fds.rebase();
    {
        let daemon = TestDaemon::start();
        let client = daemon.client();
        for nonblocking in [false, true] {
            for goes_well in [true, false] {
                one_way(&client, nonblocking, goes_well);
                both_ways(&client, nonblocking, goes_well);
            }
        }
    }
    fds.settled();
}

fn one_way(client: &Client, nonblocking: bool, goes_well: bool) {
    let dir = TempDir::new("flags");
    for (what, inbound, outbound) in sides(&dir) {
        let shared = [share(what, &inbound, nonblocking), share(what, &outbound, nonblocking)];
        session(client, &shared, goes_well, |request| request.inbound(inbound).outbound(outbound));
    }
}

fn both_ways(client: &Client, nonblocking: bool, goes_well: bool) {
    let (_near, given) = UnixStream::pair().unwrap();
    let shared = [share("a Unix socket", &given, nonblocking)];
    session(client, &shared, goes_well, |request| request.plain(given));
    let (_near, given) = tcp_pair();
    let shared = [share("a TCP socket", &given, nonblocking)];
    session(client, &shared, goes_well, |request| request.plain(given));
}

/// A session that opens, or whose peer goes away; flags are looked at on the way and at the end.
fn session(
    client: &Client,
    shared: &[Shared],
    goes_well: bool,
    options: impl FnOnce(tlsify_client::Accept) -> tlsify_client::Accept,
) {
    let (ours, theirs) = tcp_pair();
    let net = [share("net", &theirs, shared[0].flags.contains(OFlags::NONBLOCK))];
    let request = options(accept(theirs));
    let pending = client.start_accept(&request).unwrap();
    drop(request);
    if goes_well {
        let mut peer = client_peer(ours);
        peer.handshake().unwrap();
        let established = pending.wait().unwrap();
        untouched(shared, "while the session is open");
        untouched(&net, "while the session is open");
        drop(peer);
        established.session.cancel().unwrap();
        established.session.ended_within(LIMIT).unwrap().expect("it ends");
    } else {
        drop(ours);
        pending.wait().unwrap_err();
    }
    untouched(shared, "afterwards");
    untouched(&net, "afterwards");
}

#[test]
fn a_failed_handshake_takes_nothing_from_a_file_that_was_to_be_sent() {
    let _fds = exclusive();
    let daemon = TestDaemon::start();
    let dir = TempDir::new("flags");
    let path = dir.path().join("file");
    std::fs::write(&path, "for a peer that is verified").unwrap();
    let mut file = File::open(&path).unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    let outbound = file.try_clone().unwrap();
    let (pending, socket) = begin(&daemon.client(), |accept| accept.outbound(outbound));
    drop(socket);
    pending.wait().unwrap_err();
    assert_eq!(file.stream_position().unwrap(), 4);
}

#[test]
fn certificates_keys_and_authorities_are_read_from_their_start_and_their_offsets_stay() {
    let _fds = exclusive();
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let server = pki().server(KeyKind::EcdsaP256);
    let open = |path: &std::path::Path| {
        let mut file = File::open(path).unwrap();
        file.seek(SeekFrom::Start(7)).unwrap();
        file
    };
    let mut files = [open(&server.certificate_file), open(&server.key_file), open(&pki().ca.file)];
    let copy = |file: &File| file.try_clone().unwrap();
    let profile = Profile::server("p").certificate(copy(&files[0])).key(copy(&files[1]));
    client.define(&profile).unwrap();
    let profile = Profile::client("c").trust(Trust::ca(copy(&files[2])));
    client.define(&profile).unwrap();
    // Refused, which leaves them alone as well.
    let swapped = Profile::server("q").certificate(copy(&files[1])).key(copy(&files[0]));
    client.define(&swapped).unwrap_err();
    let (net, far) = tcp_pair();
    drop(far);
    client.connect_tls(&Connect::new(net).name(SERVER_NAME).profile("c")).unwrap_err();
    for file in &mut files {
        assert_eq!(file.stream_position().unwrap(), 7);
    }
}
