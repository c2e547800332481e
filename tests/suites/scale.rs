//! Thousands of sessions in one process, each of them at rest for almost nothing.
#![expect(clippy::print_stdout, reason = "figures, for whoever runs the suite with --nocapture")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tlsify_client::{Accept, Client, How, Profile, Scope, Session};
use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{End, KeyKind, Peer, TestDaemon, pki, tcp_pair};

const SESSIONS: usize = 5000;

/// Descriptors of a process that are not of sessions, and then some.
const SPARE: usize = 200;

/// What a session at rest may cost: far below what a thread or a buffer for it would.
const MAX_KIB_EACH: f64 = 16.0;

struct Open {
    session: Session,
    plain: UnixStream,
    peer: Peer,
}

/// As many sessions as this process and the daemon may have descriptors for, two each at both.
fn affordable() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("every process has limits");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be raised");
    let descriptors = usize::try_from(hard).unwrap_or(usize::MAX);
    let sessions = SESSIONS.min(descriptors.saturating_sub(SPARE) / 2);
    if sessions < SESSIONS {
        println!(
            "{sessions} sessions instead of {SESSIONS}: at most {descriptors} descriptors are allowed here"
        );
    }
    sessions
}

fn open_all(client: &Client, count: usize) -> Vec<Open> {
    let server = pki().server(KeyKind::EcdsaP256);
    let profile = Profile::server("scale").certificate(server.certificate_fd()).key(server.key_fd());
    client.define(&profile).expect("the certificate is good");
    let config = Arc::new(client_config(pki().ca.roots(), BOTH_VERSIONS, None));
    let open = |_| {
        let (ours, theirs) = tcp_pair();
        let request = Accept::new(theirs).profile("scale");
        let pending = client.start_accept(&request).expect("the daemon takes requests");
        drop(request);
        let mut peer = Peer::client(ours, Arc::clone(&config), SERVER_NAME);
        peer.handshake().expect("the session opens");
        let established = pending.wait().expect("the session opens");
        let plain = UnixStream::from(established.plain.expect("a plain descriptor came"));
        plain.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
        Open { session: established.session, plain, peer }
    };
    (0..count).map(open).collect()
}

#[test]
fn thousands_of_sessions_rest_for_little_and_all_answer() {
    let count = affordable();
    let daemon = TestDaemon::with_config("[limits]\nsessions = 6000\ntotal-sessions = 6000\n");
    let client = daemon.client();
    let before = daemon.baseline();
    // The first ones bring what is made once.
    drop(open_all(&client, 20));
    daemon.settled_fds(&before);
    let memory = daemon.private_kib();

    let begun = Instant::now();
    let mut all = open_all(&client, count);
    println!("{count} sessions opened in {:?}", begun.elapsed());
    let status = client.status(Scope::Own, true).expect("the daemon answers");
    assert_eq!((status.sessions, status.handshakes), (count as u64, 0));
    assert_eq!(status.list_text().expect("a list was asked for").lines().count(), count);
    let each = (daemon.private_kib() as f64 - memory as f64) / count as f64;
    println!("{each:.1} KiB of private memory for each session at rest");
    assert!(each < MAX_KIB_EACH, "{each:.1} KiB for each session at rest");

    // All speak before the first is heard, so that all of them have something under way at once.
    for (number, open) in all.iter_mut().enumerate() {
        open.plain.write_all(&(number as u64).to_be_bytes()).expect("the session is open");
        open.peer.write_all(&(!number as u64).to_be_bytes()).expect("the session is open");
    }
    for (number, open) in all.iter_mut().enumerate() {
        assert_eq!(open.peer.read_exact(8).expect("the session is open"), (number as u64).to_be_bytes());
        let mut said = [0; 8];
        open.plain.read_exact(&mut said).expect("the session is open");
        assert_eq!(said, (!number as u64).to_be_bytes());
    }
    let each = (daemon.private_kib() as f64 - memory as f64) / count as f64;
    println!("{each:.1} KiB for each after all have spoken");
    assert!(each < MAX_KIB_EACH, "{each:.1} KiB for each session that has spoken");

    for open in &mut all {
        open.plain.shutdown(Shutdown::Write).expect("the session is open");
    }
    for open in &mut all {
        assert_eq!(open.peer.read_to_end().expect("it ends"), (vec![], End::CloseNotify));
        open.peer.half_close().expect("the session is open");
    }
    for mut open in all {
        assert_eq!(open.plain.read(&mut [0]).expect("an end of file"), 0);
        let ended = open.session.ended_within(LIMIT).expect("it is told").expect("it ends");
        assert_eq!((ended.how, ended.bytes_in, ended.bytes_out), (How::CloseNotify, 8, 8));
    }
    daemon.settled_fds(&before);
}
