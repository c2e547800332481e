//! Doors and connections, on real sockets.

use std::os::fd::AsFd;

use super::*;
use crate::io::agent::wire::{Answer, Extension, Reply, Request, Uses};
use crate::io::sealed_memfd;

struct Bench {
    door: Option<Channel>,
    served: thread::JoinHandle<()>,
}

fn holder() -> Bench {
    let (door, theirs) = Channel::pair().expect("pair");
    let theirs = Channel::new(theirs).expect("channel");
    let holder = Holder::new(None, Memory::Unkept).expect("threads");
    Bench { door: Some(door), served: thread::spawn(move || holder.keep(&theirs)) }
}

fn knock(door: &Channel) -> Stream {
    let (ours, theirs) = Stream::pair().expect("pair");
    door.send(&Knock::Connect, &[theirs.as_fd()]).expect("room");
    ours
}

impl Bench {
    fn worker(&self) -> Channel {
        let (ours, theirs) = Channel::pair().expect("pair");
        let door = self.door.as_ref().expect("not ended");
        door.send(&Knock::Door("worker".to_owned()), &[theirs.as_fd()]).expect("room");
        ours
    }

    fn end(mut self) {
        self.door = None;
        self.served.join().expect("no panic");
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn listed(stream: &mut Stream) -> usize {
    let ask = Request::Identities.framed().expect("short");
    match Answer::parse(&stream.ask(&ask, &[], soon()).expect("an answer")) {
        Ok(Answer::Identities(listed)) => listed.len(),
        other => panic!("{other:?}"),
    }
}

fn add(stream: &mut Stream) {
    let pem = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let file = sealed_memfd("key", pem.as_bytes()).expect("memfd");
    let extension = Extension::AddDescriptor { uses: Uses::ALL, life: None, purpose: "a profile" };
    let ask = Request::Extension(extension).framed().expect("short");
    let answer = stream.ask(&ask, &[file.as_fd()], soon()).expect("an answer");
    assert!(matches!(Answer::parse(&answer), Ok(Answer::Extension(Reply::Added { .. }))));
}

fn closed(stream: &mut Stream) -> bool {
    matches!(stream.receive(Some(soon()), PACE), Err(StreamError::Gone))
}

#[test]
fn keys_of_a_worker_are_forgotten_when_its_door_closes_and_the_operators_stay() {
    let holder = holder();
    let mut operator = knock(holder.door.as_ref().expect("open"));
    add(&mut operator);
    let (one, other) = (holder.worker(), holder.worker());
    let (mut ones, mut others) = (knock(&one), knock(&other));
    add(&mut ones);
    assert_eq!((listed(&mut ones), listed(&mut others), listed(&mut operator)), (2, 1, 1));
    drop(one);
    // Its connection is open still, for nobody's keys but the operator's.
    while listed(&mut ones) == 2 {
        thread::yield_now();
    }
    assert_eq!((listed(&mut ones), listed(&mut others), listed(&mut operator)), (1, 1, 1));
    holder.end();
}

#[test]
fn half_a_message_holds_up_nobody_else() {
    let holder = holder();
    let worker = holder.worker();
    let (mut stuck, mut other) = (knock(&worker), knock(&worker));
    stuck.send(&[0, 0, 1, 0, 11], &[], None).expect("room");
    assert_eq!(listed(&mut other), 0);
    holder.end();
}

#[test]
fn a_worker_that_talks_nonsense_loses_its_door_and_no_other_does() {
    let holder = holder();
    let mut others = knock(&holder.worker());
    let (_, theirs) = Stream::pair().expect("pair");
    for nonsense in 0..3 {
        let worker = holder.worker();
        let sent = match nonsense {
            0 => worker.send(&Knock::Door("mine".to_owned()), &[theirs.as_fd()]),
            1 => worker.send(&Knock::Connect, &[]),
            _ => worker.send(&77_u64, &[theirs.as_fd()]),
        };
        sent.expect("room");
        let gone = worker.receive_by::<()>(Some(soon()));
        assert!(matches!(gone, Err(ChannelError::Gone)), "{nonsense}");
    }
    assert_eq!(listed(&mut others), 0);
    holder.end();
}

#[test]
fn connections_are_bounded_and_their_places_given_back() {
    let shared = Shared::new(None, Memory::Unkept);
    let open = Arc::new(AtomicUsize::new(0));
    let connect = || {
        let (ours, theirs) = Stream::pair().expect("pair");
        talk(&shared, &open, 2, theirs, Who::User { uid: 0, pid: 1 }, None);
        ours
    };
    let (mut one, mut two, mut three) = (connect(), connect(), connect());
    assert!(closed(&mut three));
    assert_eq!(listed(&mut one) + listed(&mut two), 0);
    drop(one);
    while open.load(Ordering::Relaxed) == 2 {
        thread::yield_now();
    }
    assert_eq!(listed(&mut connect()), 0);
}

#[test]
fn who_asks_nothing_for_too_long_is_closed() {
    let (mut ours, theirs) = Stream::pair().expect("pair");
    let shared = Shared::new(None, Memory::Unkept);
    let idle = Some(Duration::from_millis(10));
    talk(&shared, &Arc::default(), 1, theirs, Who::User { uid: 0, pid: 1 }, idle);
    assert!(closed(&mut ours));
}

#[test]
fn a_key_is_wiped_at_its_end_also_when_nobody_asks() {
    let shared = Shared::new(None, Memory::Unkept);
    let clock = shared.clone();
    spawn("clock", move || clock.keep_time()).expect("a thread");
    let pem = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let key = crate::tls::HolderKey::from_pem(pem.as_bytes()).expect("a key");
    let new = super::super::table::New {
        origin: super::super::table::Origin::Added,
        blob: b"blob".to_vec(),
        pin: [7; 32],
        uses: Uses::ALL,
        label: String::new(),
        life: Some(0),
        key: super::super::table::Key::Here(key),
    };
    shared.add(new).expect("room");
    while shared.table().next_end().is_some() {
        thread::yield_now();
    }
}
