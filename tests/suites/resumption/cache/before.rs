//! What stands before a session: a ClientHello that is looked at and not taken, and a caller that may decide.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rustls::{ClientConfig, HandshakeKind};
use tlsify_client::{Accept, Choice, Code, Error};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{CACHES, CacheServer, Liar, Lie, Open, Peer, running, tcp_pair};

use super::super::EACH;
use super::super::served::{session, visitor};
use super::{PATIENT, World, config, to_web};

/// A session whose peer does not wait for the request. Whether it resumed.
#[track_caller]
fn meet(world: &World, visitor: &Arc<ClientConfig>, ask: impl FnOnce(TcpStream) -> Accept) -> bool {
    let (near, far) = tcp_pair();
    let visitor = Arc::clone(visitor);
    let peer = running("client", move || {
        let mut peer = Peer::client(near, visitor, SERVER_NAME);
        peer.handshake().unwrap();
        assert_eq!(peer.read_exact(4).unwrap(), b"word");
        peer.half_close().unwrap();
        peer.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    });
    let mut open = Open::new(world.client.accept(&ask(far)).unwrap());
    open.say("word");
    assert_eq!(peer.join(), open.facts.resumed);
    let resumed = open.facts.resumed;
    open.rest();
    world.settle();
    resumed
}

#[test]
fn what_the_caller_has_read_already_belongs_to_the_question() {
    let liar = Liar::start();
    let world = World::new(&liar.address());
    for versions in EACH {
        // A part of the first header, a part of the message.
        for count in [1, 3, 150] {
            let visitor = visitor(versions);
            let received = || {
                meet(&world, &visitor, |mut far| {
                    let mut read = vec![0; count];
                    far.read_exact(&mut read).unwrap();
                    to_web(far).received(read)
                })
            };
            assert_eq!([received(), received()], [false, true], "{versions:?}, {count} bytes");
        }
    }
}

#[test]
fn a_caller_that_is_asked_resumes_with_the_profile_that_it_chooses() {
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        let world = World::new(&cache.address());
        for versions in EACH {
            let visitor = visitor(versions);
            let asked =
                |choice: Choice| meet(&world, &visitor, |far| to_web(far).ask(move |_| choice.clone()));
            let chosen = || asked(Choice::Profile("web".to_owned()));
            assert_eq!(
                [chosen(), chosen(), asked(Choice::Own), world.visit(&visitor)],
                [false, true, true, true]
            );
        }
    }
}

#[test]
fn who_waits_for_a_silent_cache_can_be_cancelled() {
    let liar = Liar::start();
    let world = World::new(&liar.address());
    let visitor = visitor(EACH[1]);
    world.visit(&visitor);
    liar.lies(Lie::Silent);
    let baseline = world.daemon.baseline();
    let (near, far) = tcp_pair();
    let pending = world.client.start_accept(&to_web(far)).unwrap();
    let peer = running("client", move || Peer::client(near, visitor, SERVER_NAME).handshake());
    until(LIMIT, || (liar.asked() > 0).then_some(())).expect("the cache is asked");
    pending.cancel().unwrap();
    match pending.wait() {
        Err(Error::Failed(failed)) => assert_eq!(failed.code, Code::Cancelled),
        other => panic!("{other:?}"),
    }
    assert!(peer.join().is_err());
    world.daemon.settled_fds(&baseline);
}

#[test]
fn a_reload_takes_another_cache_and_none() {
    let [one, two] = [Liar::start(), Liar::start()];
    for versions in EACH {
        let world = World::new(&one.address());
        let reload = |config: String| {
            let before = world.daemon.log().len();
            world.daemon.write_config(&config);
            world.daemon.signal(Signal::SIGHUP);
            until(LIMIT, || world.daemon.log()[before..].contains("configuration reloaded").then_some(()))
                .expect("it reloads");
        };
        let visitor = visitor(versions);
        reload(config(&one.address(), PATIENT));
        assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true]);
        reload(config(&two.address(), PATIENT));
        assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true]);
        reload(config(&two.address(), PATIENT).split("[profile.resumption]").next().unwrap().to_owned());
        let by_ticket = || session(&world.client, &visitor, |it| it.profile("web").resume("web")).resumed;
        assert_eq!([by_ticket(), by_ticket()], [false, true]);
    }
}
