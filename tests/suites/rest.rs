//! A daemon whose sessions all wait for something uses no processor time: no state of a session spins.

use std::fs;
use std::io::{self, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use tlsify_client::Client;
use tlsifyd_tests::figures::show;
use tlsifyd_tests::handover::{self, Open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TestDaemon, outgoing};

/// How long is looked.
const WHILE: Duration = Duration::from_millis(1000);
/// Clock ticks (10 ms) that may pass in that time; one session that spins uses all 100 of them.
const TICKS: u64 = 30;

/// User and system time of a daemon's processes, in ticks.
fn ticks(daemon: &TestDaemon) -> u64 {
    daemon.pids().into_iter().map(ticks_of).sum()
}

fn ticks_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the daemon runs");
    // The name may have spaces and ends with the last parenthesis; utime and stime are the 14th and 15th field.
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// Each state that a session can stay in, by the name of what it waits for.
fn waiting(client: &Client) -> Vec<(&'static str, Box<dyn std::any::Any>)> {
    let mut all: Vec<(&'static str, Box<dyn std::any::Any>)> = Vec::new();
    let piece = vec![0; 64 * 1024];

    all.push(("a byte, as server", Box::new(handover::open(client))));
    all.push(("a byte, as client", Box::new(outgoing::open(client))));
    all.push(("a ClientHello", Box::new(handover::begin(client, |accept| accept))));
    all.push(("a ServerHello", Box::new(outgoing::begin(client, |connect| connect))));

    let (pending, mut socket) = handover::begin(client, |accept| accept);
    socket.write_all(&[22, 3, 1, 2]).unwrap();
    all.push(("the rest of a record", Box::new((pending, socket))));

    let open = handover::open(client);
    open.plain.shutdown(Shutdown::Write).unwrap();
    all.push(("the peer's goodbye", Box::new(open)));

    let mut open = handover::open(client);
    open.peer.half_close().unwrap();
    all.push(("the program's end", Box::new(open)));

    // The peer's end waits behind bytes that the program does not read.
    let mut open = handover::open(client);
    for _ in 0..8 {
        open.peer.write_all(&piece).unwrap();
    }
    open.peer.half_close().unwrap();
    all.push(("the program's reading", Box::new(open)));
    let mut open = handover::open(client);
    for _ in 0..8 {
        open.peer.write_all(&piece).unwrap();
    }
    open.peer.truncate().unwrap();
    all.push(("the program's reading, before a bare FIN", Box::new(open)));

    // And the other way round, with the program gone.
    for leaves in [false, true] {
        let Open { established, plain, peer } = handover::open(client);
        plain.set_nonblocking(true).unwrap();
        let mut writer = &plain;
        while until(Duration::from_millis(100), || writer.write(&piece).ok()).is_some() {}
        let plain = if leaves { None } else { Some(plain) };
        all.push(("the peer's reading", Box::new((established, plain, peer))));
    }

    // A bad record, and a peer that hears the alert and does not close.
    let Open { established, plain, peer } = handover::open(client);
    let mut socket = peer.stall();
    socket.write_all(b"\x17\x03\x03\x00\x20no record of this session at all").unwrap();
    established.session.ended_within(LIMIT).unwrap().expect("it ends");
    all.push(("the peer's close", Box::new((plain, socket))));

    // Pipes: one whose reader has gone, and no other direction.
    let (reader, writer) = io::pipe().unwrap();
    let session = handover::open_with(client, |accept| accept.inbound(writer));
    drop(reader);
    all.push(("bytes for a pipe without a reader", Box::new(session)));
    let (reader, writer) = io::pipe().unwrap();
    let session = handover::open_with(client, |accept| accept.outbound(reader));
    all.push(("bytes from a pipe", Box::new((session, writer))));
    all
}

#[test]
fn sessions_that_wait_use_no_processor() {
    let daemon = TestDaemon::with_config("[timeouts]\nlinger = \"1m\"\nhandshake = \"1m\"\n");
    let client = daemon.client();
    let sessions = waiting(&client);
    // What has just been opened settles first.
    thread::sleep(Duration::from_millis(200));
    let before = ticks(&daemon);
    thread::sleep(WHILE);
    let used = ticks(&daemon) - before;
    show(&format!("{} sessions that wait used {used} ticks of 10 ms in {WHILE:?}", sessions.len()));
    let names: Vec<_> = sessions.iter().map(|(name, _)| *name).collect();
    assert!(used < TICKS, "{used} ticks; one of these spins: {names:?}");
}
