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
        self.worker_of(None)
    }

    fn worker_of(&self, number: Option<u64>) -> Channel {
        let (ours, theirs) = Channel::pair().expect("pair");
        let door = self.door.as_ref().expect("not ended");
        let knock = Knock::Door { name: "worker".to_owned(), number };
        door.send(&knock, &[theirs.as_fd()]).expect("room");
        ours
    }

    fn permit(&self, number: u64, pins: &[[u8; 32]]) {
        let list = sealed_memfd("list", pins.as_flattened()).expect("memfd");
        let door = self.door.as_ref().expect("not ended");
        door.send(&Knock::Permit(number), &[list.as_fd()]).expect("room");
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
    // Its connection is open still, for nobody's keys.
    while listed(&mut ones) > 0 {
        thread::yield_now();
    }
    assert_eq!((listed(&mut ones), listed(&mut others), listed(&mut operator)), (0, 1, 1));
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

/// Its public half, and its hash as the supervisor has it.
fn add_known(stream: &mut Stream) -> (Vec<u8>, [u8; 32]) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let file = sealed_memfd("key", key.serialize_pem().as_bytes()).expect("memfd");
    let extension = Extension::AddDescriptor { uses: Uses::SERVER, life: None, purpose: "a profile" };
    let ask = Request::Extension(extension).framed().expect("short");
    let answer = stream.ask(&ask, &[file.as_fd()], soon()).expect("an answer");
    match Answer::parse(&answer) {
        Ok(Answer::Extension(Reply::Added { blob, spki, .. })) => (blob.to_vec(), crate::tls::sha256(spki)),
        other => panic!("{other:?}"),
    }
}

/// Whether it signs a server's TLS 1.3 CertificateVerify with this key.
fn signs(stream: &mut Stream, blob: &[u8]) -> bool {
    let data = [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat();
    let ask = Request::Sign { blob, data: &data, flags: 0 }.framed().expect("short");
    let answer = stream.ask(&ask, &[], soon()).expect("an answer");
    matches!(Answer::parse(&answer), Ok(Answer::Signature(_)))
}

#[test]
fn another_users_key_is_not_signed_with_through_a_door_that_is_not_its_own() {
    let holder = holder();
    let mut operator = knock(holder.door.as_ref().expect("open"));
    let (shop, mail) = (add_known(&mut operator), add_known(&mut operator));
    let (www, postfix) = (holder.worker_of(Some(33)), holder.worker_of(Some(100)));
    let (mut wwws, mut postfixes) = (knock(&www), knock(&postfix));
    assert!(!signs(&mut wwws, &shop.0), "nobody has said yet that it may");
    holder.permit(33, &[shop.1]);
    holder.permit(100, &[mail.1]);
    holder.permit(7, &[shop.1, mail.1]);
    // The supervisor's door is one queue: who is answered behind the lists knows that they are in use.
    assert_eq!(listed(&mut knock(holder.door.as_ref().expect("open"))), 2);
    assert!(signs(&mut wwws, &shop.0) && !signs(&mut wwws, &mail.0));
    assert!(signs(&mut postfixes, &mail.0) && !signs(&mut postfixes, &shop.0));
    assert_eq!((listed(&mut wwws), listed(&mut postfixes)), (1, 1), "nor does it show");
    // A reload that takes the profile away.
    holder.permit(33, &[]);
    assert_eq!(listed(&mut knock(holder.door.as_ref().expect("open"))), 2);
    assert!(!signs(&mut wwws, &shop.0) && signs(&mut postfixes, &mail.0));
    holder.end();
}

#[test]
fn one_users_worker_cannot_take_all_connections() {
    let holder = holder();
    let greedy = holder.worker_of(Some(1));
    let mut open: Vec<Stream> = (0..=MAX_OF_ONE).map(|_| knock(&greedy)).collect();
    let mut last = open.pop().expect("one more than it may");
    assert!(closed(&mut last));
    assert_eq!(listed(&mut open[0]), 0);
    assert_eq!(listed(&mut knock(&holder.worker_of(Some(2)))), 0, "another is served");
    holder.end();
}

#[test]
fn a_worker_that_talks_nonsense_loses_its_door_and_no_other_does() {
    let holder = holder();
    let mut others = knock(&holder.worker());
    let (_, theirs) = Stream::pair().expect("pair");
    for nonsense in 0..4 {
        let worker = holder.worker();
        let sent = match nonsense {
            0 => worker.send(&Knock::Door { name: "mine".to_owned(), number: None }, &[theirs.as_fd()]),
            2 => worker.send(&Knock::Permit(1), &[theirs.as_fd()]),
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
        talk(&shared, &open, 2, theirs, Who::User { uid: 0, pid: 1 }, None, None);
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
    talk(&shared, &Arc::default(), 1, theirs, Who::User { uid: 0, pid: 1 }, idle, None);
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
