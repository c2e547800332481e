//! Looks at a server, and questions about a client.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use super::{accept, pair, socket, within};
use crate::{Accept, Code, Connect, Error, Pin, Sha256, Would, pem_fd};

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

#[test]
fn a_choice_that_cannot_be_written_gives_the_session_up_at_once() {
    let (client, fake) = pair();
    let mut pending = client.start_accept(&asking(crate::Choice::Profile("two words".into()))).unwrap();
    fake.hear();
    fake.say(QUESTION, &[]);
    assert!(matches!(pending.wait_within(Duration::ZERO), Err(Error::Unwritable(_))));
    assert_eq!(fake.hear().0, "tlsify/1 cancel\nid=1\n");
}
