//! Whoever says `learn=yes`, by mistake or to get around a check, gets no session of it, in whatever company it is said; and
//! packets as they are, for the words of the answer.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use tlsifyd_tests::packets::{begin, connect, usual};
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::{KeyKind, RawCaller, TestDaemon, exclusive, pki, tcp_pair};

#[test]
fn the_answer_says_this_and_no_second_one_comes() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS).into();
    let ca = pki().ca.fd();
    let told = connect(&caller, 7, &(usual() + "learn=yes\n"), &[("ca", &ca)], &server);
    assert!(told.handshake.is_err() && told.plain.is_none());
    let said: Vec<&str> = told.answer.text.lines().collect();
    let start = ["tlsify/1 failed", "id=7", "code=learned", "blame=caller", "socket=closed"];
    assert_eq!(said[..5], start);
    assert_eq!(said[5..7], ["alert=49 access_denied", "alert-from=us"]);
    assert!(said[7].starts_with("spki-sha256=") && said[8].starts_with("certificate-sha256="));
    assert_eq!(said[9], "fds=chain");
    assert_eq!(
        said[10],
        "text=the peer has shown its certificate and proved its key, and nothing was opened"
    );
    assert_eq!(said[11], "would=established");
    assert!(said.len() > 12 && said[12..].iter().all(|line| line.starts_with("note=")), "{said:?}");
    assert_eq!(told.answer.fds.len(), 1, "the chain, and nothing to read data from");
    // The next answer is to another question, and the id is free again.
    caller.assert_serves();
    let told = connect(&caller, 7, &(usual() + "learn=yes\n"), &[("ca", &ca)], &server);
    assert_eq!(told.answer.get("code"), Some("learned"));
}

#[test]
fn what_could_carry_data_is_refused_by_name_and_nothing_is_begun() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let ca = pki().ca.fd();
    let data = || OwnedFd::from(UnixStream::pair().unwrap().0);
    for (name, about) in [("plain", "fds"), ("inbound", "fds"), ("outbound", "fds")] {
        let mut far = begin(&caller, 1, &(usual() + "learn=yes\n"), &[(name, &data()), ("ca", &ca)]);
        caller.answer().assert_refused("key-conflict", Some(about));
        // Untouched: nobody has said hello.
        far.set_nonblocking(true).unwrap();
        assert!(!matches!(far.read(&mut [0]), Ok(1..)));
    }
    for (line, about) in [
        ("resume=mine\n", "resume"),
        ("export=EXPORTER-x:-:32\n", "export"),
        ("channel-binding=tls-exporter\n", "channel-binding"),
    ] {
        let _far = begin(&caller, 1, &format!("{}learn=yes\n{line}", usual()), &[("ca", &ca)]);
        caller.answer().assert_refused("key-conflict", Some(about));
    }
    let (near, _far) = tcp_pair();
    let accept = "tlsify/1 accept\nid=1\nfds=net\nprofile=p\nlearn=yes\n";
    caller.ask(accept, &[&near as &dyn AsFd]).assert_refused("key-conflict", Some("learn"));
    let define = "tlsify/1 define\nid=1\nprofile=p\nrole=client\nlearn=yes\n";
    caller.ask(define, &[]).assert_refused("unknown-key", Some("learn"));
    caller.assert_serves();
}

/// Ways to say it that somebody could hope do something else.
#[test]
fn no_company_makes_a_session_of_it() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS).into();
    let ca = pki().ca.fd();
    for lines in [
        "?learn=yes\n",
        "learn=yes\nchain=yes\nbind=control\noutbound-end=hold\nidle-timeout=1\n",
        "learn=yes\nbatch=yes\n",
        "learn=yes\nmin=1.3\nalpn=h2\nserver-name=none\n",
        "learn=yes\nmax=1.2\n",
    ] {
        let told = connect(&caller, 3, &(usual() + lines), &[("ca", &ca)], &server);
        assert_eq!((told.answer.verb(), told.answer.get("code")), ("failed", Some("learned")), "{lines}");
        assert!(told.handshake.is_err() && told.answer.fds.len() == 1, "{lines}");
    }
    for lines in ["learn=no\nlearn=yes\n", "learn=yes\n?learn=no\n"] {
        let _far = begin(&caller, 3, &(usual() + lines), &[("ca", &ca)]);
        caller.answer().assert_refused("key-conflict", Some("learn"));
    }
    let told = connect(&caller, 3, &(usual() + "learn=no\n"), &[("ca", &ca)], &server);
    assert_eq!(told.answer.verb(), "established", "{}", told.answer.text);
}

#[test]
fn a_caller_that_leaves_takes_its_visit_with_it() {
    super::counted(|daemon| {
        let caller = RawCaller::connect(daemon.socket());
        let ca = pki().ca.fd();
        let mut far = begin(&caller, 1, &(usual() + "learn=yes\n"), &[("ca", &ca)]);
        // It has said hello, and waits.
        assert_eq!(far.read(&mut [0; 5]).unwrap(), 5);
        drop(caller);
        let mut rest = Vec::new();
        let _ = far.read_to_end(&mut rest);
        assert!(!rest.is_empty(), "the rest of its hello, and the end");
    });
}
