//! The three ways of asking: packets written by hand, the library, the command. Each gives the same [`Came`], so that
//! they can be compared word for word.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tlsify_client::{Connect, CrlCheck, CrlDoubt, Error, Matched, Pin, Sha256, StapledOcsp, Trust};
use tlsifyd_tests::door::text_of;
use tlsifyd_tests::pki::memfd;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{RawAnswer, RawCaller, TempDir, TestDaemon, Tlsify};

use super::certificates::{pem, text};
use super::server::QUESTION;

/// What a client asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question {
    pub(crate) names: Vec<&'static str>,
    /// Authorities in DER; without any, the pins stand instead of the chain.
    pub(crate) trust: Vec<Vec<u8>>,
    pub(crate) pins: Vec<Pin>,
    /// Revocation lists in DER.
    pub(crate) lists: Vec<Vec<u8>>,
    /// More keys of the request, with their values.
    pub(crate) keys: Vec<(&'static str, &'static str)>,
    /// Milliseconds; the rig's own patience without it.
    pub(crate) timeout: Option<u64>,
}

/// What came of it, in the protocol's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Established {
        matched: Vec<String>,
        /// What the program was told by the peer.
        answer: Vec<u8>,
        how: String,
        shown: Shown,
    },
    Failed {
        code: String,
        blame: String,
        /// `42 bad_certificate`, and who sent it.
        alert: Option<(String, String)>,
        socket: String,
        shown: Shown,
        text: String,
    },
    /// Neither.
    Else(String),
}

/// What the answer tells of the peer's certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) spki: Option<String>,
    pub(crate) certificate: Option<String>,
    /// In DER.
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Question {
    fn bundle(&self) -> String {
        self.trust.iter().map(|authority| pem(authority)).collect()
    }

    fn revoked(&self) -> String {
        self.lists.iter().map(|list| text("X509 CRL", list)).collect()
    }

    fn timeout(&self) -> u64 {
        self.timeout.unwrap_or(LIMIT.as_millis().try_into().expect("a limit of seconds"))
    }
}

/// A packet written by hand, and the answers read by hand.
pub(crate) fn by_hand(daemon: &TestDaemon, net: TcpStream, question: &Question) -> Came {
    let caller = RawCaller::connect(daemon.socket());
    let (program, plain) = program();
    let mut lines = format!("handshake-timeout={}\nchain=yes\n", question.timeout());
    lines.extend(question.names.iter().map(|name| format!("name={name}\n")));
    lines.extend(question.pins.iter().map(|pin| format!("pin={}\n", in_words(pin))));
    lines.extend(question.keys.iter().map(|(key, value)| format!("{key}={value}\n")));
    let (ca, crl) = (memfd(question.bundle()), memfd(question.revoked()));
    let (mut names, mut fds): (String, Vec<&dyn AsFd>) = ("net plain".into(), vec![&net, &plain]);
    if question.trust.is_empty() {
        lines += "trust=pins\n";
    } else {
        lines += "trust=descriptor\n";
        names += " ca";
        fds.push(&ca);
    }
    if !question.lists.is_empty() {
        names += " crl";
        fds.push(&crl);
    }
    let first = caller.ask(format!("tlsify/1 connect\nid=1\nfds={names}\n{lines}"), &fds);
    drop((net, plain));
    read(first, || caller.answer(), || rest_of(program))
}

/// The library's typed values, put into the protocol's words.
pub(crate) fn by_library(daemon: &TestDaemon, net: TcpStream, question: &Question) -> Came {
    let (program, plain) = program();
    let trust = match question.trust.is_empty() {
        true => Trust::Pins,
        false => Trust::ca(memfd(question.bundle())),
    };
    let mut request = Connect::new(net).plain(plain).trust(trust).chain();
    request = request.handshake_timeout(Duration::from_millis(question.timeout()));
    request = question.names.iter().fold(request, |request, name| request.name(*name));
    request = question.pins.iter().fold(request, |request, pin| request.pin(*pin));
    if !question.lists.is_empty() {
        request = request.crl(memfd(question.revoked()));
    }
    for key in &question.keys {
        request = match *key {
            ("crl-check", "end-entity") => request.crl_check(CrlCheck::EndEntity),
            ("crl-unknown", "allow") => request.crl_unknown(CrlDoubt::Allow),
            ("crl-stale", "allow") => request.crl_stale(CrlDoubt::Allow),
            ("stapled-ocsp", "required") => request.stapled_ocsp(StapledOcsp::Required),
            other => panic!("{other:?} is to be taught to this match"),
        };
    }
    let result = daemon.client().connect_tls(&request);
    drop(request);
    let hash = |hash: Option<Sha256>| hash.map(|hash| hash.to_string());
    let ders = |chain: Option<OwnedFd>| chain.map(text_of).as_deref().map_or_else(Vec::new, ders);
    match result {
        Ok(open) => {
            let answer = rest_of(program);
            let matched = open.facts.matched.iter().map(|matched| match matched {
                Matched::Name(name) => format!("name:{name}"),
                Matched::Pin(pin) => format!("pin:{}", in_words(pin)),
                other => format!("{other:?}"),
            });
            Came::Established {
                matched: matched.collect(),
                answer,
                how: open
                    .session
                    .ended()
                    .map_or_else(|error| error.to_string(), |ended| ended.how.to_string()),
                shown: Shown {
                    spki: hash(open.facts.spki_sha256),
                    certificate: hash(open.facts.certificate_sha256),
                    chain: ders(open.chain),
                },
            }
        }
        Err(Error::Failed(failed)) => Came::Failed {
            code: failed.code.to_string(),
            blame: failed.blame.to_string(),
            alert: failed
                .alert
                .map(|alert| (format!("{} {}", alert.description, alert.name()), alert.from.to_string())),
            socket: failed.socket.to_string(),
            shown: Shown {
                spki: hash(failed.spki_sha256),
                certificate: hash(failed.certificate_sha256),
                chain: ders(failed.chain),
            },
            text: failed.text,
        },
        Err(other) => Came::Else(other.to_string()),
    }
}

/// The command with its events; and what it said to a person, with its status.
pub(crate) fn by_command(daemon: &TestDaemon, net: TcpStream, question: &Question) -> (Came, i32, String) {
    let dir = TempDir::new("ask");
    let [ca, crl, input] = ["ca.pem", "crl.pem", "input"].map(|name| dir.path().join(name));
    fs::write(&ca, question.bundle()).expect("the temporary folder can be written");
    fs::write(&input, QUESTION).expect("the temporary folder can be written");
    let seconds = format!("{}.{:03}", question.timeout() / 1000, question.timeout() % 1000);
    let mut command = Tlsify::new(["connect", "--fd", "5", "--timeout", &seconds]);
    command = match question.trust.is_empty() {
        true => command.option("--trust", "pins"),
        false => command.trusting(&ca),
    };
    for name in &question.names {
        command = command.option("--name", *name);
    }
    for pin in &question.pins {
        // As RFC 7469 writes it.
        let pin = in_words(pin);
        command = command.option("--pin", pin.strip_prefix("spki-").unwrap_or(&pin));
    }
    if !question.lists.is_empty() {
        fs::write(&crl, question.revoked()).expect("the temporary folder can be written");
        command = command.option("--crl", &crl);
    }
    for (key, value) in &question.keys {
        command = command.option(&format!("--{key}"), *value);
    }
    let input = fs::File::open(input).expect("it was just written");
    let done = command.net(net).stdin(input).asking(daemon).events().run();
    let mut events = done
        .events
        .split_inclusive("\n\n")
        .map(|event| RawAnswer { text: event.to_owned(), fds: Vec::new() });
    let mut next = || events.next().unwrap_or(RawAnswer { text: "nothing".into(), fds: Vec::new() });
    let hello = next();
    let came = match hello.verb() {
        "hello" => read(next(), next, || done.stdout.clone().into_bytes()),
        _ => Came::Else(done.events.clone()),
    };
    (came, done.status.code().unwrap_or(-1), done.said)
}

/// The program's end with its first words written, and the end that is handed over.
fn program() -> (UnixStream, UnixStream) {
    let (mut program, plain) = UnixStream::pair().expect("a descriptor is free");
    program.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    program.write_all(QUESTION).expect("it fits into the socket");
    program.shutdown(Shutdown::Write).expect("it is connected");
    (program, plain)
}

/// As the protocol writes it.
fn in_words(pin: &Pin) -> String {
    match pin {
        Pin::Spki(hash) => format!("spki-sha256:{hash}"),
        Pin::Certificate(hash) => format!("certificate-sha256:{hash}"),
    }
}

fn rest_of(mut program: UnixStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // An end that is an error is an end; `how` says which.
    let _ = program.read_to_end(&mut rest);
    rest
}

/// Answers as they stand in packets, or in the command's events with the chain behind the lines.
fn read(first: RawAnswer, next: impl FnOnce() -> RawAnswer, rest: impl FnOnce() -> Vec<u8>) -> Came {
    let said = |key: &str| first.get(key).unwrap_or_default().to_owned();
    let verb = first.verb().to_owned();
    let lines = |key: &str| {
        let begin = format!("{key}=");
        first.text.lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut shown = Shown {
        spki: first.get("spki-sha256").map(str::to_owned),
        certificate: first.get("certificate-sha256").map(str::to_owned),
        chain: ders(&first.text),
    };
    let alert = first.get("alert").map(|alert| (alert.to_owned(), said("alert-from")));
    match verb.as_str() {
        "established" => {
            let matched = lines("matched");
            for fd in first.fds {
                shown.chain = ders(&text_of(fd));
            }
            let answer = rest();
            let ended = next();
            Came::Established {
                matched,
                answer,
                how: ended.get("how").unwrap_or("unknown").to_owned(),
                shown,
            }
        }
        "failed" => {
            let (code, blame, socket, text) = (said("code"), said("blame"), said("socket"), said("text"));
            for fd in first.fds {
                shown.chain = ders(&text_of(fd));
            }
            Came::Failed { code, blame, alert, socket, shown, text }
        }
        _ => Came::Else(first.text),
    }
}

fn ders(text: &str) -> Vec<Vec<u8>> {
    let from = text.find("-----BEGIN").unwrap_or(text.len());
    let all = pem::parse_many(&text[from..]).unwrap_or_default();
    all.into_iter().map(pem::Pem::into_contents).collect()
}
