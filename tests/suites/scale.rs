//! Many sessions in one daemon, all open at once.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use tlsify_client::{Accept, How, Profile, Scope};
use tlsifyd_tests::figures::{allow_descriptors, show};
use tlsifyd_tests::handover::{Open, client_peer};
use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, KeyKind, Peer, TestDaemon, pki, running, tcp_pair};

const SESSIONS: usize = 5_000;
const THREADS: usize = 4;
/// Two descriptors at each end of a session, and some for the rest.
const DESCRIPTORS: u64 = 2 * SESSIONS as u64 + 1_500;
/// What the prototype of this design needed is 3.6 KiB; a session with a buffer of its own for one record needs more than
/// 16 KiB in each direction.
const IDLE_KIB: f64 = 12.0;

#[test]
fn five_thousand_sessions_are_open_at_once_and_each_still_speaks() {
    allow_descriptors(DESCRIPTORS);
    let daemon = Arc::new(TestDaemon::start());
    let client = daemon.client();
    let fds = daemon.baseline();
    let server = pki().server(KeyKind::EcdsaP256);
    client
        .define(&Profile::server("server").certificate(server.certificate_fd()).key(server.key_fd()))
        .unwrap();
    let config = Arc::new(client_config(pki().ca.roots(), BOTH_VERSIONS, None));
    let open = move |client: &tlsify_client::Client, config: &Arc<rustls::ClientConfig>| {
        let (near, far) = tcp_pair();
        let pending = client.start_accept(&Accept::new(far).profile("server")).unwrap();
        Open::complete(pending, Peer::client(near, Arc::clone(config), SERVER_NAME))
    };
    // What the first ones cost the process is not what each costs.
    let warm: Vec<Open> = (0..50).map(|_| open(&client, &config)).collect();
    let before = daemon.private_kib();
    let began = Instant::now();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (client, config) = (client.clone(), Arc::clone(&config));
            running("opening", move || {
                (0..(SESSIONS - 50) / THREADS + 1).map(|_| open(&client, &config)).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut sessions: Vec<Open> =
        threads.into_iter().flat_map(|thread| thread.join_within(6 * LIMIT)).collect();
    let count = sessions.len();
    let took = began.elapsed();
    let each = (daemon.private_kib().saturating_sub(before)) as f64 / count as f64;
    show(&format!("{count} sessions opened in {took:.1?}; {each:.1} KiB of private memory for each at rest"));
    sessions.extend(warm);
    assert!(sessions.len() >= SESSIONS);
    let status = client.status(Scope::Own, false).unwrap();
    assert_eq!((status.sessions, status.handshakes), (sessions.len() as u64, 0));

    for (number, open) in sessions.iter_mut().enumerate() {
        let message = format!("message {number}");
        open.peer.write_all(message.as_bytes()).unwrap();
        let mut got = vec![0; message.len()];
        open.plain.read_exact(&mut got).unwrap();
        open.plain.write_all(&got).unwrap();
        assert_eq!(open.peer.read_exact(got.len()).unwrap(), message.as_bytes());
    }
    assert!(each < IDLE_KIB, "{each:.1} KiB for each session at rest");

    // All say goodbye before the first is answered.
    for open in &sessions {
        open.plain.shutdown(Shutdown::Write).unwrap();
    }
    for open in &mut sessions {
        assert_eq!(open.peer.read_to_end().unwrap(), (vec![], End::CloseNotify));
        open.peer.half_close().unwrap();
    }
    for mut open in sessions {
        assert_eq!(open.plain.read(&mut [0]).unwrap(), 0);
        let ended = open.established.session.ended_within(LIMIT).unwrap().expect("it ends");
        assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
        assert_eq!(ended.bytes_in, ended.bytes_out);
    }
    daemon.settled_fds(&fds);
    let gone = until(2 * LIMIT, || (client.status(Scope::Own, false).unwrap().sessions == 0).then_some(()));
    assert!(gone.is_some(), "sessions are left over");
    // And the daemon goes on.
    let (near, far) = tcp_pair();
    let pending = client.start_accept(&Accept::new(far).profile("server")).unwrap();
    client_peer(near).handshake().unwrap();
    pending.wait().unwrap();
}
