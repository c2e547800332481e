//! The client against a scripted daemon on a socketpair: who gets which answer, and what happens to those nobody
//! waits for.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::net::{sendmsg, socketpair};

use crate::fdpass::{self, MAX_PACKET};
use crate::{
    Accept, AccessRule, Client, ClientCertificate, Code, Connect, Error, How, Matched, Pin, Profile,
};
use crate::{Scope, Sha256, Trust, Version, Would, pem_fd};

const LIMIT: Duration = Duration::from_secs(10);
const HELLO: &str = "tlsify/1 hello\nversions=1\ndaemon=fake/1\nfeatures=accept connect\nmax-packet=65536\n\
    max-descriptors=64\nmax-sessions=100\nmax-handshakes=100\nmax-profiles=100\nfloor=1.2\n";

/// The daemon's end, driven by a test.
struct Fake(OwnedFd);

impl Fake {
    fn hear(&self) -> (String, Vec<OwnedFd>) {
        let mut buffer = vec![0; MAX_PACKET];
        assert!(fdpass::wait(&self.0, true, false, Some(LIMIT)).unwrap(), "no request came");
        let packet = fdpass::receive(&self.0, &mut buffer).unwrap().expect("the client went away");
        (String::from_utf8(packet.text.to_vec()).unwrap(), packet.fds)
    }

    /// The next request's id.
    fn id(&self) -> u64 {
        let (text, _) = self.hear();
        text.lines().find_map(|line| line.strip_prefix("id=")).unwrap().parse().unwrap()
    }

    fn say(&self, text: &str, fds: &[BorrowedFd<'_>]) {
        fdpass::send(&self.0, text.as_bytes(), fds).unwrap();
    }

    /// Opens a session: its plaintext's other end.
    fn establish(&self, id: u64) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let text = format!(
            "tlsify/1 established\nid={id}\nfds=plain\nprotocol=TLSv1.3\n\
             cipher=TLS_AES_128_GCM_SHA256\nresumed=no\n"
        );
        self.say(&text, &[theirs.as_fd()]);
        ours.set_read_timeout(Some(LIMIT)).unwrap();
        ours
    }

    fn end(&self, id: u64) {
        self.say(&format!("tlsify/1 ended\nid={id}\nhow=close-notify\nin=5\nout=7\n"), &[]);
    }
}

fn pair() -> (Client, Fake) {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let fake = Fake(theirs);
    fake.say(HELLO, &[]);
    (Client::from_socket(ours).unwrap(), fake)
}

fn socket() -> OwnedFd {
    UnixStream::pair().unwrap().0.into()
}

fn accept() -> Accept {
    Accept::new(socket()).profile("shop")
}

/// A thread's result, or a failure that says so instead of a test that hangs.
fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Waiting<T> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let _ = tell.send(work());
    });
    Waiting { told, thread }
}

struct Waiting<T> {
    told: mpsc::Receiver<T>,
    thread: JoinHandle<()>,
}

impl<T> Waiting<T> {
    fn join(self) -> T {
        let result = self.told.recv_timeout(LIMIT).expect("a waiting thread never woke, or panicked");
        self.thread.join().unwrap();
        result
    }
}

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
fn every_option_is_written_as_the_protocol_has_it() {
    let (client, fake) = pair();
    let hash = Sha256([7; 32]);
    let pem = || pem_fd("pem").unwrap();
    let profile = Profile::server("shop")
        .certificate(pem())
        .key(pem())
        .ocsp(pem())
        .alpn(["h2", "a%b"])
        .min_version(Version::Tls13)
        .trust(Trust::ca(pem()))
        .client_certificate(ClientCertificate::Required)
        .allow(AccessRule::Dns("client.example".into()))
        .allow(AccessRule::Pin(Pin::Spki(hash)));
    let daemon = within(move || {
        let (text, fds) = fake.hear();
        fake.say("tlsify/1 defined\nid=1\nprofile=shop\nwarning=it expires tomorrow\n", &[]);
        (text, fds.len(), fake)
    });
    let defined = client.define(&profile).unwrap();
    assert_eq!(defined.warnings, ["it expires tomorrow"]);
    let (text, fds, fake) = daemon.join();
    assert_eq!(fds, 4);
    for line in [
        "tlsify/1 define",
        "profile=shop",
        "role=server",
        "fds=certificate key ocsp ca",
        "alpn=h2 a%25b",
        "min=1.3",
        "trust=descriptor",
        "client-certificate=required",
        "allow=dns:client.example",
        &format!("allow=spki-sha256:{hash}"),
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }

    let _pending = client.start_accept(&Accept::new(socket()).profile("shop").resume("web")).unwrap();
    let (text, _) = fake.hear();
    assert!(text.starts_with("tlsify/1 accept\n") && text.contains("\nresume=web\n"), "{text}");

    let keys = File::open("/dev/null").unwrap();
    let _pending = client.start_accept(&Accept::new(socket()).profile("shop").resume_file(keys)).unwrap();
    let (text, fds) = fake.hear();
    assert!(text.contains("\nfds=net tickets\n") && fds.len() == 2, "{text}");

    let store = File::open("/").unwrap();
    let connect = Connect::new(socket()).name("example.org").resume_file(store.try_clone().unwrap());
    let _pending = client.start_connect_tls(&connect).unwrap();
    let (text, fds) = fake.hear();
    assert!(text.contains("\nfds=net tickets\n") && fds.len() == 2, "{text}");

    let connect = Connect::new(socket())
        .name("example.org")
        .name("192.0.2.1")
        .no_server_name()
        .inbound(File::open("/dev/null").unwrap())
        .outbound(File::open("/dev/null").unwrap())
        .handshake_timeout(Duration::from_secs(2))
        .idle_timeout(Duration::from_millis(1500))
        .chain()
        .export("EXPERIMENT", Some(b"x"), 32)
        .channel_binding()
        .received([22, 3, 1]);
    let _pending = client.start_connect_tls(&connect).unwrap();
    let (text, fds) = fake.hear();
    assert_eq!(fds.len(), 3);
    for line in [
        "tlsify/1 connect",
        "fds=net inbound outbound",
        "name=example.org",
        "name=192.0.2.1",
        "server-name=none",
        "handshake-timeout=2000",
        "idle-timeout=1500",
        "chain=yes",
        "export=EXPERIMENT:eA==:32",
        "channel-binding=tls-exporter",
        "received=FgMB",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn what_is_to_be_connected_is_written_with_its_sockets() {
    let (client, fake) = pair();
    let here = Connect::to("example.org:443").unwrap().name("example.org").fast_open().resume("web").hold();
    let _pending = client.start_connect_tls(&here).unwrap();
    let (text, fds) = fake.hear();
    let families: Vec<_> =
        fds.iter().map(|fd| rustix::net::sockopt::socket_domain(fd).unwrap().as_raw()).collect();
    assert!(families.contains(&AddressFamily::INET.as_raw()), "{families:?}");
    let named = format!("fds={}", vec!["net"; fds.len()].join(" "));
    for line in ["to=example.org:443", "fast-open=yes", "resume=web", "outbound-end=hold", &named] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }
    let with = Connect::to_with("[::1]:4433", [socket(), socket()]).name("localhost");
    let _pending = client.start_connect_tls(&with).unwrap();
    let (text, fds) = fake.hear();
    assert!(text.contains("\nto=[::1]:4433\n") && text.contains("\nfds=net net\n"), "{text}");
    assert_eq!((fds.len(), with.into_nets().len()), (2, 2));
    assert!(
        !text.contains("fast-open") && !text.contains("resume") && !text.contains("outbound-end"),
        "{text}"
    );
}

#[test]
fn a_value_that_cannot_be_written_is_not_sent() {
    let (client, fake) = pair();
    for wrong in [
        client.start_accept(&Accept::new(socket()).profile("two\nlines")).err(),
        client.start_connect_tls(&Connect::new(socket()).name("a\nprofile=other")).err(),
        client.start_accept(&Accept::new(socket()).profile("shop").received(vec![0; 70_000])).err(),
        client.define(&Profile::server("shop").alpn([""])).err(),
        client.start_connect_tls(&Connect::to_with("example.org", [socket()]).name("a")).err(),
        client.start_connect_tls(&Connect::to_with("example.org:0", [socket()]).name("a")).err(),
        client.start_connect_tls(&Connect::new(socket()).name("a").resume("a/b")).err(),
        client.start_accept(&Accept::new(socket()).profile("shop").resume("a/b")).err(),
    ] {
        assert!(matches!(wrong, Some(Error::Unwritable(_))), "{wrong:?}");
    }
    let mut many = Profile::server("shop");
    for _ in 0..33 {
        many = many.certificate(pem_fd("pem").unwrap()).key(pem_fd("pem").unwrap());
    }
    assert!(matches!(client.define(&many), Err(Error::Unwritable(_))));
    assert!(!fdpass::wait(&fake.0, true, false, Some(Duration::ZERO)).unwrap(), "something was sent");
}

#[test]
fn a_failure_brings_what_can_be_pinned() {
    let (client, fake) = pair();
    let pending = client.start_connect_tls(&Connect::new(socket()).name("example.org")).unwrap();
    fake.hear();
    let hash = Sha256([9; 32]);
    let chain = pem_fd("the chain").unwrap();
    let text = format!(
        "tlsify/1 failed\nid=1\ncode=unknown-issuer\nblame=peer\nsocket=closed\nalert=48 unknown_ca\nalert-from=us\n\
         spki-sha256={hash}\nfds=chain\ntext=nobody vouches for it\n"
    );
    fake.say(&text, &[chain.as_fd()]);
    let Err(Error::Failed(failed)) = pending.wait() else { panic!("it failed") };
    assert_eq!((failed.code, failed.spki_sha256), (Code::UnknownIssuer, Some(hash)));
    assert_eq!(failed.alert.unwrap().name(), "unknown_ca");
    let mut text = String::new();
    File::from(failed.chain.unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "the chain");
}

#[test]
fn what_matched_and_exported_is_owned_and_secrets_are_not_shown() {
    let (client, fake) = pair();
    let pending = client.start_accept(&accept()).unwrap();
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let text = "tlsify/1 established\nid=1\nfds=plain\nprotocol=TLSv1.3\ncipher=TLS_AES_128_GCM_SHA256\nalpn=a%25b\n\
         resumed=no\npeer=[2001:db8::1]:443\nmatched=name:example.org\nmatched=allow:uri:spiffe://example/a\n\
         export=label:-:c2VjcmV0\n";
    fake.say(text, &[theirs.as_fd()]);
    let facts = pending.wait().unwrap().facts;
    assert_eq!(facts.alpn.as_deref(), Some(b"a%b".as_slice()));
    assert_eq!(facts.peer.unwrap().to_string(), "[2001:db8::1]:443");
    let rule = AccessRule::Uri("spiffe://example/a".into());
    assert_eq!(facts.matched, [Matched::Name("example.org".into()), Matched::Allow(rule)]);
    assert_eq!(facts.exports[0].value, b"secret");
    assert!(!format!("{facts:?}").contains("115, 101, 99"), "{facts:?}");
}

#[test]
fn the_client_may_go_to_any_thread() {
    fn goes_anywhere<T: Send + Sync>() {}
    goes_anywhere::<Client>();
    goes_anywhere::<crate::Pending>();
    goes_anywhere::<crate::Session>();
    goes_anywhere::<Error>();
}

const LEARNED: &str = "code=learned\nblame=caller\nsocket=closed\n\
    spki-sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nfds=chain\nwould=name-mismatch\nnote=one\nnote=two\n";

fn stranger() -> Connect {
    Connect::new(socket()).name("a.example")
}

#[test]
fn a_look_asks_for_nothing_else_and_brings_what_can_be_pinned() {
    let (client, fake) = pair();
    let look = within(move || client.learn(&stranger()));
    let (text, fds) = fake.hear();
    assert!(text.starts_with("tlsify/1 connect\n") && text.contains("\nlearn=yes\n"), "{text}");
    assert_eq!(fds.len(), 1);
    let chain = pem_fd("-----BEGIN CERTIFICATE-----\n").unwrap();
    fake.say(&format!("tlsify/1 failed\nid=1\n{LEARNED}"), &[chain.as_fd()]);
    let learned = look.join().unwrap();
    assert_eq!(learned.pin(), Pin::Spki(Sha256([0; 32])));
    assert_eq!(learned.would, Would::Failed(Code::NameMismatch));
    assert_eq!(learned.notes, ["one", "two"]);
    assert_eq!(learned.chain_pem().unwrap(), "-----BEGIN CERTIFICATE-----\n");
}

/// Whatever a daemon makes of it, who asked for a look has no session, and who asked for a session no look.
#[test]
fn a_look_is_no_session_and_a_session_no_look() {
    let (client, fake) = pair();
    let asking = client.clone();
    let look = within(move || asking.learn(&stranger()));
    let id = fake.id();
    let mut plain = fake.establish(id);
    assert!(matches!(look.join(), Err(Error::Protocol(_))));
    assert_eq!(plain.read(&mut [0]).unwrap(), 0, "its descriptor is closed");
    let session = within(move || client.connect_tls(&stranger()).map(|_| ()));
    let id = fake.id();
    let chain = pem_fd("x").unwrap();
    fake.say(&format!("tlsify/1 failed\nid={id}\n{LEARNED}"), &[chain.as_fd()]);
    assert!(matches!(session.join(), Err(Error::Protocol(_))));
}

const QUESTION: &str = "tlsify/1 client-hello\nid=1\ntls=yes\nserver-name=shop.example\nalpn=h2 %00\nversions=1.3\n\
    ciphers=TLS_AES_128_GCM_SHA256 0x1399\nja4=t13d0201h2_000000000000_000000000000\nech=no\n";

/// An `accept` that is asked about, and answered with this.
fn asking(choice: crate::Choice) -> Accept {
    accept().ask_within(Duration::from_millis(1500), crate::AskDefault::GiveBack, move |hello| {
        assert_eq!(hello.server_name.as_deref(), Some("shop.example"));
        assert_eq!(hello.alpn, [b"h2".to_vec(), b"\0".to_vec()]);
        assert_eq!(hello.ciphers, ["TLS_AES_128_GCM_SHA256", "0x1399"]);
        assert!(hello.tls && !hello.ech && hello.groups.is_empty());
        choice.clone()
    })
}

#[test]
fn each_choice_is_written_as_the_protocol_has_it() {
    use crate::{Choice, RefusalAlert};
    for (choice, lines) in [
        (Choice::Own, "action=own\n"),
        (Choice::Profile("mail".into()), "action=profile\nprofile=mail\n"),
        (Choice::Refuse(RefusalAlert::AccessDenied), "action=refuse\nalert=access_denied\n"),
        (Choice::GiveBack, "action=give-back\n"),
    ] {
        let (client, fake) = pair();
        let pending = client.start_accept(&asking(choice)).unwrap();
        let (text, _) = fake.hear();
        let keys = "ask=client-hello\nask-timeout=1500\nask-default=give-back\n";
        assert_eq!(text, format!("tlsify/1 accept\nid=1\nfds=net\nprofile=shop\n{keys}"));
        fake.say(QUESTION, &[]);
        let waiting = within(move || pending.wait());
        assert_eq!(fake.hear().0, format!("tlsify/1 choose\nid=1\n{lines}"));
        let _plain = fake.establish(1);
        assert!(waiting.join().is_ok());
    }
}

#[test]
fn a_choice_that_came_too_late_changes_nothing() {
    let (client, fake) = pair();
    let mut pending = client.start_accept(&asking(crate::Choice::GiveBack)).unwrap();
    fake.hear();
    fake.say(QUESTION, &[]);
    assert!(pending.wait_within(Duration::ZERO).unwrap().is_none(), "it is asked, and not open");
    assert_eq!(fake.hear().0, "tlsify/1 choose\nid=1\naction=give-back\n");
    // The daemon had gone on meanwhile.
    fake.say("tlsify/1 refused\nid=1\ncode=unknown-id\nblame=caller\n", &[]);
    assert!(pending.wait_within(Duration::ZERO).unwrap().is_none());
    let _plain = fake.establish(1);
    assert!(pending.wait().is_ok());
}

#[test]
fn a_choice_that_is_refused_is_told_and_gives_the_session_up() {
    let (client, fake) = pair();
    let mut pending = client.start_accept(&asking(crate::Choice::Profile("mail".into()))).unwrap();
    fake.hear();
    fake.say(QUESTION, &[]);
    assert!(pending.wait_within(Duration::ZERO).unwrap().is_none());
    fake.hear();
    fake.say("tlsify/1 refused\nid=1\ncode=unknown-profile\nblame=caller\nabout=profile\n", &[]);
    match pending.wait() {
        Err(Error::Refused(refused)) => assert_eq!(refused.code, Code::UnknownProfile),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.hear().0, "tlsify/1 cancel\nid=1\n");
}
