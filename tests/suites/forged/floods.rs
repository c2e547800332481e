//! After a session is open: peers that break the rules inside the encryption, or only take.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tlsify_client::{Blame, Code, Ended, Established, How, Party};
use tlsifyd_tests::figures::show;
use tlsifyd_tests::forger::Forger;
use tlsifyd_tests::handover::{Open, begin, open};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{End, running};

use super::Bystander;

/// Content types (RFC 8446 section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// More of anything than honest peers have to say, and far more than the limits.
const FLOOD: usize = 20_000;

/// A session whose peer is about to break the rules.
fn open_forged(bystander: &Bystander) -> (Established, UnixStream, Forger) {
    let (pending, socket) = begin(&bystander.client, |request| request);
    let mut peer = Forger::prepare(socket);
    peer.handshake().expect("it plays by the rules so far");
    let mut established = pending.wait().expect("it plays by the rules so far");
    let plain = UnixStream::from(established.plain.take().expect("a plain descriptor came"));
    plain.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    (established, plain, Forger::from(peer))
}

fn ended(established: &Established) -> Ended {
    let ended = established.session.ended_within(LIMIT).expect("the control connection is open");
    ended.unwrap_or_else(|| panic!("the session goes on after {LIMIT:?}"))
}

/// How a session has to end whose peer sends this again and again.
struct Rule {
    what: &'static str,
    content_type: u8,
    content: &'static [u8],
    padding: usize,
    /// The alert that ends it; without one, it is an error and the peer's fault.
    alert: Option<(u8, Party)>,
}

#[test]
fn whoever_breaks_the_rules_inside_the_encryption_loses_its_own_session() {
    let rule =
        |what, content_type, content, padding, alert| Rule { what, content_type, content, padding, alert };
    let rules = [
        rule("empty records", DATA, b"", 0, None),
        rule("records of padding", DATA, b"", 16_000, None),
        rule("records without a type", 0, b"", 16_000, None),
        // user_canceled, the one warning that TLS 1.3 ignores.
        rule("warnings", ALERT, &[1, 90], 0, None),
        // no_renegotiation: whatever level it says it has, it is fatal (RFC 8446 section 6).
        rule("other warnings", ALERT, &[1, 100], 0, Some((100, Party::Peer))),
        rule("records that are too long", DATA, &[7; 16_385], 0, Some((22, Party::Us))),
        rule("records of no known type", 99, b"x", 0, Some((50, Party::Us))),
        // The keys do not change with it, so the next record does not decrypt.
        rule("key_updates under the old keys", HANDSHAKE, &[24, 0, 0, 1, 1], 0, Some((20, Party::Us))),
    ];
    let bystander = Bystander::new("");
    for Rule { what, content_type, content, padding, alert } in rules {
        let (established, mut plain, mut forger) = open_forged(&bystander);
        // Until we do not listen any more.
        let sent = (0..FLOOD).take_while(|_| forger.send(content_type, content, padding).is_ok()).count();
        let ended = ended(&established);
        show(&format!("{what}: {sent} sent, {:?}", ended.text));
        let (how, code) = match alert {
            Some(_) => (How::Alert, None),
            None => (How::Error, Some((Code::ProtocolViolation, Blame::Peer))),
        };
        let told = (ended.how, ended.alert.map(|alert| (alert.description, alert.from)));
        assert_eq!(told, (how, alert), "{what}: {ended:?}");
        assert_eq!(ended.code.zip(ended.blame), code, "{what}: {ended:?}");
        assert!(!ended.text.expect("a reason").contains("plain text"), "{what}: the session was open");
        assert_eq!(plain.read_to_end(&mut Vec::new()).expect("an end of file"), 0, "{what}");
    }
    bystander.unharmed(4096);
}

#[test]
fn a_peer_that_asks_for_new_keys_all_the_time_is_thrown_out() {
    let bystander = Bystander::new("");
    let Open { established, plain, mut peer } = open(&bystander.client);
    for _ in 0..100 {
        peer.tls.refresh_traffic_keys().expect("TLS 1.3 has this");
        // It may be out already.
        let _ = peer.write_all(b"");
    }
    let ended = ended(&established);
    let told = (ended.how, ended.code, ended.blame);
    assert_eq!(told, (How::Error, Some(Code::ProtocolViolation), Some(Blame::Peer)), "{ended:?}");
    drop((plain, peer));
    bystander.unharmed(4096);
}

#[test]
fn answers_that_a_peer_does_not_read_do_not_pile_up() {
    let bystander = Bystander::new("");
    let Open { established, plain, mut peer } = open(&bystander.client);
    let mut reader = plain.try_clone().expect("a descriptor is free");
    let reading = running("program", move || {
        let mut count = 0;
        let mut some = [0; 4096];
        while let Ok(more @ 1..) = reader.read(&mut some) {
            count += more;
        }
        count
    });
    // Each wants an answer, and with a byte between them it is no flood.
    for _ in 0..FLOOD {
        peer.tls.refresh_traffic_keys().expect("TLS 1.3 has this");
        peer.write_all(b"x").expect("the daemon reads on");
    }
    let growth = bystander.growth();
    show(&format!("{growth} KiB after {FLOOD} key_updates to a peer that does not read"));
    assert!(growth < 4096, "the daemon keeps {growth} KiB of answers");
    peer.half_close().expect("the session is open");
    assert_eq!(reading.join(), FLOOD);
    drop(plain);
    // All answers were for this peer, and in order.
    assert_eq!(peer.read_to_end().expect("it ends"), (vec![], End::CloseNotify));
    assert_eq!(ended(&established).how, How::CloseNotify);
    bystander.unharmed(4096);
}

#[test]
fn peers_that_never_read_cost_a_bounded_amount_each() {
    const GREEDY: usize = 20;
    let bystander = Bystander::new("[timeouts]\nlinger = \"100ms\"\n");
    let mut stuck = Vec::new();
    let greedy: Vec<_> = (0..GREEDY)
        .map(|_| {
            let Open { established, mut plain, peer } = open(&bystander.client);
            plain.set_write_timeout(Some(Duration::from_millis(500))).expect("a limit that is not zero");
            stuck.push(running("program", move || {
                let written = plain.write_all(&vec![7; 64 << 20]);
                assert!(written.is_err(), "64 MiB went to a peer that does not read");
                plain
            }));
            (established, peer)
        })
        .collect();
    let programs: Vec<_> = stuck.into_iter().map(tlsifyd_tests::Running::join).collect();
    let growth = bystander.growth();
    show(&format!("{growth} KiB for {GREEDY} peers that never read"));
    // One read of the program each, and what of it is records.
    assert!(growth < GREEDY as u64 * 600, "the daemon keeps {growth} KiB for {GREEDY} peers");
    for (established, _) in &greedy {
        established.session.cancel().expect("the control connection is open");
        assert_eq!(ended(established).how, How::Cancelled);
    }
    drop((programs, greedy));
    bystander.unharmed(GREEDY as u64 * 600);
}

#[test]
fn a_peer_that_talks_on_after_our_alert_is_cut_off() {
    let bystander = Bystander::new("[timeouts]\nlinger = \"1h\"\n");
    let (established, plain, mut forger) = open_forged(&bystander);
    forger.socket.set_write_timeout(Some(LIMIT)).expect("a limit that is not zero");
    let talking = running("peer", move || {
        let record = [&[23, 3, 3, 0x40, 0][..], &[7; 16_384]].concat();
        // Far more than anybody reads who does not listen.
        (0..4096).find_map(|_| forger.socket.write_all(&record).err()).map(|error| error.kind())
    });
    assert_eq!(ended(&established).how, How::Alert);
    let cut = talking.join().expect("64 MiB were taken after the end");
    assert!(matches!(cut, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{cut:?}");
    drop(plain);
    bystander.unharmed(4096);
}
