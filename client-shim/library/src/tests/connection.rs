//! One connection, many requests: who gets which answer, and what happens to those nobody waits for.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::net::{sendmsg, socketpair};

use super::{Fake, HELLO, LIMIT, Waiting, accept, pair, socket, within};
use crate::{Client, Code, Error, How, Scope, Version, fdpass};

#[test]
fn the_greeting_is_kept() {
    let (client, _fake) = pair();
    assert_eq!(client.hello().daemon, "fake/1");
    assert_eq!(client.hello().features, ["accept", "connect"]);
    assert_eq!(client.hello().max_sessions, 100);
    assert_eq!(client.floor(), Version::Tls12);
}

#[test]
fn a_daemon_that_takes_no_more_callers_is_believed() {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let fake = Fake(theirs);
    fake.say("tlsify/1 refused\ncode=quota\nblame=caller\ntext=uid 1000 has 64 control connections\n", &[]);
    drop(fake);
    let error = Client::from_socket(ours).unwrap_err();
    assert_eq!(error.code(), Some(Code::Quota));
}

#[test]
fn plaintext_flows_and_the_end_is_told() {
    let (client, fake) = pair();
    let daemon = within(move || {
        let (text, fds) = fake.hear();
        assert_eq!(text, "tlsify/1 accept\nid=1\nfds=net\nprofile=shop\n");
        assert_eq!(fds.len(), 1);
        let mut plain = fake.establish(1);
        plain.write_all(b"hello").unwrap();
        drop(plain);
        fake.end(1);
        fake
    });
    let open = client.accept(&accept()).unwrap();
    let _fake = daemon.join();
    assert_eq!(open.facts.protocol, "TLSv1.3");
    let mut text = String::new();
    UnixStream::from(open.plain.unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    for _ in 0..2 {
        let ended = open.session.ended().unwrap();
        assert_eq!((ended.how, ended.bytes_in, ended.bytes_out), (How::CloseNotify, 5, 7));
    }
}

#[test]
fn answers_out_of_order_find_their_threads() {
    const COUNT: usize = 16;
    let (client, fake) = pair();
    let callers: Vec<_> = (0..COUNT)
        .map(|_| {
            let client = client.clone();
            within(move || {
                let open = client.accept(&accept()).unwrap();
                let mut said = [0; 8];
                let mut plain = UnixStream::from(open.plain.unwrap());
                plain.read_exact(&mut said).unwrap();
                plain.write_all(&said).unwrap();
                open.session.ended().unwrap();
            })
        })
        .collect();
    let ids: Vec<u64> = (0..COUNT).map(|_| fake.id()).collect();
    let mut plains: Vec<_> = ids.iter().rev().map(|id| (*id, fake.establish(*id))).collect();
    for (id, plain) in &mut plains {
        plain.write_all(&id.to_be_bytes()).unwrap();
        let mut said = [0; 8];
        plain.read_exact(&mut said).unwrap();
        assert_eq!(u64::from_be_bytes(said), *id);
    }
    // The first to ask is the last to end, so that the one that reads changes all the time.
    plains.sort_by_key(|(id, _)| id % 5);
    for (id, _) in &plains {
        fake.end(*id);
    }
    callers.into_iter().for_each(Waiting::join);
}

#[test]
fn one_thread_can_have_many_requests_under_way() {
    let (client, fake) = pair();
    let pending: Vec<_> = (0..3).map(|_| client.start_accept(&accept()).unwrap()).collect();
    let ids: Vec<u64> = (0..3).map(|_| fake.id()).collect();
    for id in ids.iter().rev() {
        fake.say(&format!("tlsify/1 refused\nid={id}\ncode=quota\nblame=caller\ntext=request {id}\n"), &[]);
    }
    let texts: Vec<_> = pending.into_iter().map(|pending| pending.wait().unwrap_err().to_string()).collect();
    assert_eq!(
        texts,
        ["refused (quota): request 1", "refused (quota): request 2", "refused (quota): request 3"]
    );
}

#[test]
fn an_answer_for_an_unknown_id_is_discarded_and_its_descriptors_closed() {
    let (client, fake) = pair();
    let mut stray = fake.establish(99);
    fake.end(98);
    let pending = client.start_accept(&accept()).unwrap();
    let _plain = fake.establish(fake.id());
    pending.wait().unwrap();
    assert_eq!(stray.read(&mut [0]).unwrap(), 0, "the stray descriptor is still open");
}

#[test]
fn a_dropped_pending_closes_what_comes_for_it() {
    let (client, fake) = pair();
    // Dropped before its answer came.
    drop(client.start_accept(&accept()).unwrap());
    let mut early = fake.establish(fake.id());
    // Dropped after its answer was put aside by a thread that waited for another one.
    let late = client.start_accept(&accept()).unwrap();
    let mut kept = fake.establish(fake.id());
    let last = client.start_accept(&accept()).unwrap();
    let _plain = fake.establish(fake.id());
    let open = last.wait().unwrap();
    assert_eq!(early.read(&mut [0]).unwrap(), 0, "the descriptor of the first request is still open");
    kept.set_nonblocking(true).unwrap();
    assert!(kept.read(&mut [0]).is_err(), "the answer that can still be fetched was dropped");
    kept.set_nonblocking(false).unwrap();
    drop(late);
    assert_eq!(kept.read(&mut [0]).unwrap(), 0, "the descriptor of the second request is still open");
    drop(open);
}

#[test]
fn everybody_wakes_when_the_daemon_goes_away() {
    let (client, fake) = pair();
    let pending: Vec<_> = (0..4)
        .map(|_| {
            let pending = client.start_accept(&accept()).unwrap();
            within(move || pending.wait())
        })
        .collect();
    let open = client.start_accept(&accept()).unwrap();
    (0..4).for_each(|_| drop(fake.hear()));
    let _plain = fake.establish(fake.id());
    let session = open.wait().unwrap().session;
    let ended = within(move || session.ended());
    // Some of the threads wait by now, and some come only after the end: both have to hear of it.
    thread::sleep(Duration::from_millis(20));
    drop(fake);
    for waiting in pending {
        assert!(matches!(waiting.join(), Err(Error::Gone)));
    }
    assert!(matches!(ended.join(), Err(Error::Gone)));
    assert!(matches!(client.accept(&accept()), Err(Error::Gone)));
    assert!(matches!(client.status(Scope::Own, false), Err(Error::Gone)));
}

#[test]
fn an_answer_that_was_there_before_the_daemon_went_is_still_given() {
    let (client, fake) = pair();
    let pending = client.start_accept(&accept()).unwrap();
    let _plain = fake.establish(fake.id());
    drop(fake);
    let open = pending.wait().unwrap();
    assert!(matches!(open.session.ended(), Err(Error::Gone)));
}

#[test]
fn a_refusal_without_an_id_reaches_all_who_wait() {
    let (client, fake) = pair();
    let pending = client.start_accept(&accept()).unwrap();
    fake.say("tlsify/1 refused\ncode=malformed\nblame=caller\ntext=no first line\n", &[]);
    assert_eq!(pending.wait().unwrap_err().code(), Some(Code::Malformed));
    assert_eq!(client.accept(&accept()).unwrap_err().code(), Some(Code::Malformed));
}

#[test]
fn an_answer_that_makes_no_sense_ends_the_connection_in_words() {
    for (text, fds) in
        [("tlsify/1 established\nid=1\nwhat=ever\n", 0), ("nonsense\n", 0), (HELLO, 0), (HELLO, 1)]
    {
        let (client, fake) = pair();
        let pending = client.start_accept(&accept()).unwrap();
        let fd = socket();
        fake.say(text, &vec![fd.as_fd(); fds]);
        assert!(matches!(pending.wait(), Err(Error::Protocol(_))), "{text}");
    }
}

#[test]
fn more_or_fewer_descriptors_than_named_is_an_error_and_leaks_none() {
    for count in [0, 2] {
        let (client, fake) = pair();
        let pending = client.start_accept(&accept()).unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let text = "tlsify/1 established\nid=1\nfds=plain\nprotocol=TLSv1.3\n\
             cipher=TLS_AES_128_GCM_SHA256\nresumed=no\n";
        fake.say(text, &vec![theirs.as_fd(); count]);
        drop(theirs);
        assert!(matches!(pending.wait(), Err(Error::Protocol(_))), "{count} descriptors");
        ours.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap(), 0, "a descriptor is still open");
    }
}

#[test]
fn truncated_descriptors_are_an_error_of_their_request_and_leak_none() {
    // More than the receiver has room for: what the kernel does as well when no descriptor number is free.
    const COUNT: usize = 80;
    let (client, fake) = pair();
    let pending = client.start_accept(&accept()).unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let text = b"tlsify/1 established\nid=1\nfds=plain\nprotocol=TLSv1.3\ncipher=TLS_AES_128_GCM_SHA256\nresumed=no\n";
    let fds = [theirs.as_fd(); COUNT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&fake.0, &[IoSlice::new(text)], &mut control, SendFlags::empty()).unwrap();
    drop(theirs);
    let error = pending.wait().unwrap_err();
    assert!(matches!(error, Error::DescriptorsTruncated), "{error}");
    ours.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap(), 0, "a descriptor is still open");
    // The connection is as good as before.
    let pending = client.start_accept(&accept()).unwrap();
    let _plain = fake.establish(2);
    pending.wait().unwrap();
}

#[test]
fn waiting_no_time_gives_what_is_there() {
    let (client, fake) = pair();
    let mut pending = client.start_accept(&accept()).unwrap();
    assert!(pending.wait_within(Duration::ZERO).unwrap().is_none());
    assert!(pending.wait_within(Duration::from_millis(5)).unwrap().is_none());
    let _plain = fake.establish(fake.id());
    let open = pending.wait_within(Duration::ZERO).unwrap().expect("the answer is there");
    assert!(open.session.ended_within(Duration::ZERO).unwrap().is_none());
    fake.end(1);
    assert!(open.session.ended_within(Duration::ZERO).unwrap().is_some());
}

#[test]
fn a_cancel_that_crosses_the_end_changes_nothing() {
    let (client, fake) = pair();
    let pending = client.start_accept(&accept()).unwrap();
    let _plain = fake.establish(fake.id());
    let open = pending.wait().unwrap();
    open.session.cancel().unwrap();
    assert_eq!(fake.hear().0, "tlsify/1 cancel\nid=1\n");
    fake.end(1);
    fake.say("tlsify/1 refused\nid=1\ncode=unknown-id\nblame=caller\ntext=no such session\n", &[]);
    assert_eq!(open.session.ended().unwrap().how, How::CloseNotify);
}

#[test]
fn a_daemon_that_does_not_read_until_it_is_read_does_not_hang_us() {
    let (client, fake) = pair();
    // Fill both directions: its answers lie unread, and so do our requests.
    let answer = "tlsify/1 refused\nid=999999\ncode=quota\nblame=caller\ntext=stray\n";
    while fdpass::send(&fake.0, answer.as_bytes(), &[]).is_ok() {}
    let daemon = within(move || {
        // It reads only what it must, and only once its own answers have gone.
        assert!(fdpass::wait(&fake.0, false, true, Some(LIMIT)).unwrap(), "the client reads nothing");
        let mut requests = 0;
        while requests < 2000 {
            let id = fake.id();
            requests += 1;
            if id == 2000 {
                fake.say(&format!("tlsify/1 refused\nid={id}\ncode=quota\nblame=caller\ntext=last\n"), &[]);
            }
        }
    });
    let caller = within(move || {
        let accept = accept();
        let mut last = None;
        for _ in 0..2000 {
            last = Some(client.start_accept(&accept).unwrap());
        }
        last.unwrap().wait().unwrap_err().code()
    });
    assert_eq!(caller.join(), Some(Code::Quota));
    daemon.join();
}

#[test]
fn the_client_may_go_to_any_thread() {
    fn goes_anywhere<T: Send + Sync>() {}
    goes_anywhere::<Client>();
    goes_anywhere::<crate::Pending>();
    goes_anywhere::<crate::Session>();
    goes_anywhere::<Error>();
}
