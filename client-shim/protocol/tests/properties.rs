//! Parsing never panics, and what was written parses back to itself: for messages nobody thought of.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use tlsify_protocol::{
    Address, Alert, Allow, Alpn, AlpnMismatch, Answer, AskDefault, Bind, Blame, Bytes, CertificateType,
    Choice, Choose, ClientCertificate, ClientHello, Code, CrlCheck, CrlDoubt, Define, Defined, Ech, EchDone,
    Ended, Established, ExportRequest, ExportValue, ExtendedMasterSecret, Failed, FdName, Forget, Hello, How,
    Items, Level, MAX_PACKET, Matched, OutboundEnd, Party, Pin, ProfileName, RefusalAlert, Refused, Request,
    Role, Scope, ServerName, Sha256, Socket, StapledOcsp, Start, StatusAnswer, StatusQuery, StoreName,
    Target, TlsKeys, Trust, UnknownName, Version, Words, Would,
};

/// Messages borrow; a generated one borrows for ever. A test process can afford it.
fn leak<T>(value: impl Strategy<Value = Vec<T>>) -> impl Strategy<Value = &'static [T]>
where
    T: std::fmt::Debug + 'static,
{
    value.prop_map(|values| &*values.leak())
}

/// One of these lists of descriptors.
fn fd_lists(lists: &[&'static [FdName]]) -> Vec<&'static [FdName]> {
    lists.to_vec()
}

fn text(pattern: &'static str) -> impl Strategy<Value = &'static str> {
    pattern.prop_map(|text| &*text.leak())
}

fn any_text() -> impl Strategy<Value = &'static str> {
    text("[ -~¡-ÿ€😀]{1,40}")
}

fn words() -> impl Strategy<Value = Words<'static, &'static str>> {
    leak(vec(text("[!-~é]{1,20}"), 1..8)).prop_map(Words::from_slice)
}

fn dns() -> impl Strategy<Value = &'static str> {
    text("[a-z][a-z0-9-]{0,10}(\\.[a-z][a-z0-9]{0,5}){0,3}x")
}

fn label() -> impl Strategy<Value = &'static str> {
    text("[A-Za-z0-9._-]{1,64}")
}

fn bytes(range: std::ops::Range<usize>) -> impl Strategy<Value = Bytes<'static>> {
    leak(vec(any::<u8>(), range)).prop_map(Bytes::from_slice)
}

fn hash() -> impl Strategy<Value = Sha256> {
    any::<[u8; 32]>().prop_map(Sha256)
}

fn pin() -> impl Strategy<Value = Pin> {
    prop_oneof![hash().prop_map(Pin::Spki), hash().prop_map(Pin::Certificate)]
}

fn pin_hash(pin: &Pin) -> Sha256 {
    match pin {
        Pin::Spki(hash) | Pin::Certificate(hash) => *hash,
    }
}

fn allow() -> impl Strategy<Value = Allow<'static>> {
    prop_oneof![
        pin().prop_map(Allow::Pin),
        dns().prop_map(Allow::Dns),
        text("[!-~]{1,30}").prop_map(Allow::Uri),
        text("[!-~]{0,10}@[!-~]{1,10}").prop_map(Allow::Mail),
    ]
}

fn alpn() -> impl Strategy<Value = Alpn<'static>> {
    leak(vec(any::<u8>(), 1..=255)).prop_map(|name| Alpn::from_bytes(name).unwrap())
}

fn millis() -> impl Strategy<Value = Duration> {
    (1..=u32::MAX).prop_map(|millis| Duration::from_millis(u64::from(millis)))
}

fn items<T>(
    value: impl Strategy<Value = T>,
    range: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Items<'static, T>>
where
    T: tlsify_protocol::value::Value<'static> + std::fmt::Debug + 'static,
{
    leak(vec(value, range)).prop_map(Items::from_slice)
}

/// TLS keys of a role that keep the rules, and the descriptors that belong to them.
fn tls(role: Role) -> BoxedStrategy<(TlsKeys<'static>, Vec<FdName>)> {
    let versions = prop_oneof![
        Just((None, None)),
        select(Version::ALL).prop_map(|version| (Some(version), None)),
        select(Version::ALL).prop_map(|version| (Some(Version::Tls12), Some(version))),
    ];
    let lists =
        (of(words()), of(words()), of(words()), of(leak(vec(alpn(), 1..5)).prop_map(Words::from_slice)));
    let choices = (
        of(select(AlpnMismatch::ALL)),
        of(512_u16..=16384),
        of(select(ExtendedMasterSecret::ALL)),
        of(select(UnknownName::ALL)),
        of(65_536_u64..=1 << 36),
        of(60_000_u64..=4_294_967_295),
        of(select(Level::ALL)),
    );
    let trust = prop_oneof![
        Just(Trust::System),
        Just(Trust::Descriptor),
        Just(Trust::Pins),
        label().prop_map(Trust::Store)
    ];
    let checks = (
        trust,
        vec(pin(), 1..4),
        vec(allow(), 0..4),
        any::<bool>(),
        any::<bool>(),
        1..4_usize,
        any::<bool>(),
    );
    let revoked = (
        of(select(CrlCheck::ALL)),
        of(select(CrlDoubt::ALL)),
        of(select(CrlDoubt::ALL)),
        of(select(StapledOcsp::ALL)),
    );
    (versions, lists, choices, checks, revoked)
        .prop_map(move |((min, max), lists, choices, checks, revoked)| {
            let (trust, pins, allow, asks, pinned, identities, staples) = checks;
            let server = role == Role::Server;
            let checked = !server || asks;
            let mut fds = Vec::new();
            // Raw public keys, of the peer and our own: each by itself, and never under TLS 1.2.
            let raw = |often: bool| often && max != Some(Version::Tls12);
            let raw_peer = raw(choices.6.is_none()) && checked && trust == Trust::Pins;
            let raw_own = raw(choices.0.is_none());
            for _ in 0..if server { identities } else { identities % 2 } {
                fds.extend((!raw_own).then_some(FdName::Certificate));
                fds.push(FdName::Key);
                fds.extend((!raw_own && staples).then_some(FdName::Ocsp));
            }
            fds.extend((checked && trust == Trust::Descriptor).then_some(FdName::Ca));
            let lists_of_revoked = checked && trust != Trust::Pins && staples;
            fds.extend(lists_of_revoked.then_some(FdName::Crl));
            let pins = if checked && (pinned || trust == Trust::Pins || !server) { pins } else { Vec::new() };
            let (mut pins, mut allow) = (pins, allow);
            if raw_peer {
                pins.iter_mut().for_each(|pin| *pin = Pin::Spki(pin_hash(pin)));
                allow.retain(|rule| matches!(rule, Allow::Pin(Pin::Spki(_))));
            }
            let certificate = if raw_peer { CertificateType::RawPublicKey } else { CertificateType::X509 };
            let tls = TlsKeys {
                min,
                max,
                level: choices.6,
                ciphers: lists.0,
                groups: lists.1,
                signature_schemes: lists.2,
                alpn: lists.3,
                alpn_mismatch: choices.0,
                max_fragment: choices.1,
                extended_master_secret: choices.2,
                trust: checked.then_some(trust),
                pins: Items::from_slice(pins.leak()),
                client_certificate: (server && asks).then_some(ClientCertificate::Required),
                allow: Items::from_slice(if server && asks { allow.leak() } else { &[] }),
                unknown_name: choices.3.filter(|_| server),
                certificate_type: Some(certificate).filter(|_| raw_peer || asks),
                key_update_bytes: choices.4.filter(|_| max != Some(Version::Tls12)),
                key_update_interval: choices
                    .5
                    .filter(|_| max != Some(Version::Tls12))
                    .map(Duration::from_millis),
                crl_check: revoked.0.filter(|_| lists_of_revoked),
                crl_unknown: revoked.1.filter(|_| lists_of_revoked),
                crl_stale: revoked.2.filter(|_| lists_of_revoked),
                stapled_ocsp: revoked.3.filter(|_| !server && trust != Trust::Pins),
            };
            (tls, fds)
        })
        // So many strategies in one another are too large for the stack of a test.
        .boxed()
}

fn define() -> impl Strategy<Value = Request<'static>> {
    select(Role::ALL).prop_flat_map(|role| {
        let named = (any::<u64>(), label(), of(label()), any::<bool>());
        (named, tls(role)).prop_map(move |((id, profile, resume, file), (tls, mut fds))| {
            let profile = ProfileName::new(profile).unwrap();
            fds.extend((file && resume.is_none()).then_some(FdName::Tickets));
            let resume = resume.map(|name| StoreName::new(name).unwrap());
            Request::Define(Define { id, profile, role, fds: Words::from_slice(fds.leak()), resume, tls })
        })
    })
}

fn start() -> impl Strategy<Value = Request<'static>> {
    select(Role::ALL).prop_flat_map(|role| {
        let data = select(fd_lists(&[
            &[],
            &[FdName::Plain],
            &[FdName::Inbound],
            &[FdName::Outbound],
            &[FdName::Inbound, FdName::Outbound],
        ]));
        let name = prop_oneof![
            dns(),
            any::<std::net::IpAddr>().prop_map(|address| &*address.to_string().leak()),
            dns().prop_map(|name| &*format!("srv:_imaps.{name}").leak()),
            dns().prop_map(|name| &*format!("uri:sip:{name}").leak()),
        ];
        let server_name = prop_oneof![Just(ServerName::Omit), dns().prop_map(ServerName::Dns)];
        let export = (text("[ -~]{1,30}"), of(bytes(0..40)), 1..=255_u8)
            .prop_map(|(label, context, length)| ExportRequest { label, context, length });
        let whom = (any::<u64>(), of(label()), items(name, 0..=16), of(server_name), data);
        let how = (
            select(Bind::ALL),
            of(millis()),
            of(millis()),
            any::<bool>(),
            items(export, 0..=8),
            any::<bool>(),
            of(bytes(1..200)),
        );
        let target = prop_oneof![
            (dns(), 1..=u16::MAX).prop_map(|(name, port)| Target::Name(name, port)),
            (any::<std::net::IpAddr>(), 1..=u16::MAX)
                .prop_map(|(ip, port)| Target::Address((ip, port).into())),
        ];
        let ask = (any::<bool>(), of(millis()), of(select(AskDefault::ALL)));
        let reach = (of((target, 1..=8_usize, any::<bool>())), of(label()), select(OutboundEnd::ALL), ask);
        (whom, how, tls(role), reach).prop_map(
            move |(whom, how, (tls, own), (reach, resume, outbound_end, ask))| {
                let (id, profile, names, server_name, data) = whom;
                let reach = reach.filter(|_| role == Role::Client);
                // A store has a name, or is a file.
                let file = resume.is_none() && id % 2 == 0;
                let mut fds = vec![FdName::Net; reach.map_or(1, |(_, nets, _)| nets)];
                fds.extend(data);
                fds.extend(own.iter().filter(|_| profile.is_none()));
                fds.extend(file.then_some(FdName::Tickets));
                let client = role == Role::Client;
                let hides =
                    client && server_name != Some(ServerName::Omit) && tls.max != Some(Version::Tls12);
                let ech_config = how.6.filter(|_| hides && id % 2 == 0);
                let ech = (hides && id % 2 == 1).then_some(Ech::Grease);
                let raw_peer =
                    profile.is_none() && tls.certificate_type == Some(CertificateType::RawPublicKey);
                let start = Start {
                    fds: Words::from_slice(fds.leak()),
                    tls: if profile.is_none() { tls } else { TlsKeys::default() },
                    profile: profile.map(|name| ProfileName::new(name).unwrap()),
                    names: if client && !raw_peer { names } else { Items::default() },
                    server_name: server_name.filter(|_| client),
                    ech_config,
                    ech,
                    bind: how.0,
                    handshake_timeout: how.1,
                    idle_timeout: how.2,
                    chain: how.3,
                    exports: how.4,
                    channel_binding: how.5,
                    received: how.6.filter(|_| reach.is_none()),
                    to: reach.map(|(target, _, _)| target),
                    fast_open: reach.is_some_and(|(_, _, fast_open)| fast_open),
                    resume: resume.map(|name| StoreName::new(name).unwrap()),
                    outbound_end,
                    ask: ask.0 && !client,
                    ask_timeout: ask.1.filter(|_| ask.0 && !client),
                    ask_default: ask.2.filter(|_| ask.0 && !client),
                    batch: id % 3 == 0,
                    ..Start::new(id)
                };
                let opens = !data.is_empty() || file || start.resume.is_some() || start.channel_binding;
                let open_hello = start.ech_config.is_none() && start.ech.is_none();
                let learn = client && !opens && start.exports.is_empty() && open_hello && id % 2 == 0;
                let start = Start { learn, ..start };
                if client { Request::Connect(start) } else { Request::Accept(start) }
            },
        )
    })
}

fn choose() -> impl Strategy<Value = Request<'static>> {
    let choice = prop_oneof![
        Just(Choice::Own),
        Just(Choice::GiveBack),
        select(RefusalAlert::ALL).prop_map(Choice::Refuse),
        label().prop_map(|name| Choice::Profile(ProfileName::new(name).unwrap())),
    ];
    (any::<u64>(), choice).prop_map(|(id, choice)| Request::Choose(Choose { id, choice }))
}

fn client_hello() -> impl Strategy<Value = Answer<'static>> {
    let list = || of(words()).prop_map(Option::unwrap_or_default);
    let lists = (list(), list(), list(), list(), list());
    let front = (any::<u64>(), any::<bool>(), of(dns()), leak(vec(alpn(), 0..5)));
    (front, lists, of(text("[a-z0-9_]{1,36}")), of(any::<bool>())).prop_map(|(front, lists, ja4, ech)| {
        Answer::ClientHello(ClientHello {
            id: front.0,
            tls: front.1,
            server_name: front.2,
            alpn: Words::from_slice(front.3),
            versions: lists.0,
            ciphers: lists.1,
            groups: lists.2,
            key_shares: lists.3,
            signature_schemes: lists.4,
            ja4,
            ech,
        })
    })
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let status = (any::<u64>(), select(Scope::ALL), any::<[bool; 3]>());
    let forget = (any::<u64>(), of(label()), of(select(Role::ALL))).prop_map(|(id, store, role)| {
        let fds: &[FdName] = if store.is_some() { &[] } else { &[FdName::Tickets] };
        let store = store.map(|name| StoreName::new(name).unwrap());
        Request::Forget(Forget { id, store, fds: Words::from_slice(fds), role })
    });
    prop_oneof![
        3 => define().boxed(),
        5 => start().boxed(),
        1 => any::<u64>().prop_map(|id| Request::Cancel { id }),
        1 => status.prop_map(|(id, scope, [sessions, stores, callers])| {
            Request::Status(StatusQuery { id, scope, sessions, stores, callers })
        }),
        1 => forget,
        1 => choose().boxed(),
    ]
}

fn alert() -> impl Strategy<Value = Alert> {
    (any::<u8>(), select(Party::ALL)).prop_map(|(description, from)| Alert { description, from })
}

fn address() -> impl Strategy<Value = Address> {
    // SocketAddr has a flow label and a scope; the flow label is not written.
    let inet =
        any::<(std::net::IpAddr, u16)>().prop_map(|(ip, port)| Address::Inet(SocketAddr::new(ip, port)));
    prop_oneof![Just(Address::Unix), inet]
}

fn matched() -> impl Strategy<Value = Matched<'static>> {
    prop_oneof![dns().prop_map(Matched::Name), pin().prop_map(Matched::Pin), allow().prop_map(Matched::Allow)]
}

fn hello() -> impl Strategy<Value = Answer<'static>> {
    let front = (leak(vec(any::<u32>(), 1..4)), any_text(), of(words()), select(Version::ALL));
    let front = (front, of(select(Level::ALL)));
    (front, any::<[u32; 5]>()).prop_map(|(((versions, daemon, features, floor), level), max)| {
        Answer::Hello(Hello {
            versions: Words::from_slice(versions),
            daemon,
            features: features.unwrap_or_default(),
            max_packet: max[0],
            max_descriptors: max[1],
            max_sessions: max[2],
            max_handshakes: max[3],
            max_profiles: max[4],
            floor,
            level,
        })
    })
}

fn failed() -> impl Strategy<Value = Answer<'static>> {
    let front = (any::<u64>(), select(Code::ALL), select(Blame::ALL), select(Socket::ALL), any_text());
    let rest = (of(alert()), of(hash()), of(hash()), select(fd_lists(&[&[], &[FdName::Chain]])));
    let would = prop_oneof![Just(Would::Established), select(Code::ALL).prop_map(Would::Failed)];
    (front, rest, (would, items(any_text(), 0..=4), hash())).prop_map(
        |((id, code, blame, socket, text), (alert, spki_sha256, certificate_sha256, fds), learned)| {
            let fds = Words::from_slice(fds);
            let is_learned = code == Code::Learned;
            let (would, notes, key) = learned;
            Answer::Failed(Failed {
                id,
                code,
                blame,
                socket,
                alert,
                spki_sha256: spki_sha256.or(is_learned.then_some(key)),
                certificate_sha256,
                ech_retry: (code == Code::EchRejected).then_some(Bytes::from_slice(b"retry")),
                fds,
                text,
                would: is_learned.then_some(would),
                notes: if is_learned { notes } else { Items::default() },
            })
        },
    )
}

fn established() -> impl Strategy<Value = Answer<'static>> {
    let export = (text("[ -~]{1,30}"), of(bytes(0..40)), bytes(1..256))
        .prop_map(|(label, context, value)| ExportValue { label, context, value });
    let fds = select(fd_lists(&[&[], &[FdName::Plain], &[FdName::Chain], &[FdName::Plain, FdName::Chain]]));
    let front = (
        any::<u64>(),
        fds,
        any_text(),
        any_text(),
        of(any_text()),
        of(any_text()),
        of(alpn()),
        of(any_text()),
    );
    let rest = (any::<bool>(), of(address()), of(address()), items(matched(), 0..=4), of(hash()), of(hash()));
    let reached = (of(select(Level::ALL)), of(select(EchDone::ALL)));
    let last = (of(hash()), reached);
    (front, rest, items(export, 0..=8), last).prop_map(
        |(front, rest, exports, (channel_binding, reached))| {
            Answer::Established(Established {
                id: front.0,
                fds: Words::from_slice(front.1),
                protocol: front.2,
                cipher: front.3,
                group: front.4,
                signature: front.5,
                level: reached.0,
                alpn: front.6,
                server_name: front.7,
                ech: reached.1,
                resumed: rest.0,
                peer: rest.1,
                local: rest.2,
                matched: rest.3,
                spki_sha256: rest.4,
                certificate_sha256: rest.5,
                exports,
                channel_binding,
                certificate_type: Some(CertificateType::RawPublicKey).filter(|_| rest.0),
            })
        },
    )
}

fn ended() -> impl Strategy<Value = Answer<'static>> {
    let front = (any::<u64>(), select(How::ALL), any::<u64>(), any::<u64>());
    (front, alert(), any::<bool>(), select(Code::ALL), select(Blame::ALL), of(any_text())).prop_map(
        |((id, how, bytes_in, bytes_out), alert, alerted, code, blame, text)| {
            Answer::Ended(Ended {
                id,
                how,
                bytes_in,
                bytes_out,
                alert: (alerted || how == How::Alert).then_some(alert),
                code: (how == How::Error).then_some(code),
                blame: (how == How::Error).then_some(blame),
                text,
            })
        },
    )
}

fn answer() -> impl Strategy<Value = Answer<'static>> {
    let refused = (of(any::<u64>()), select(Code::ALL), select(Blame::ALL), of(any_text()), of(any_text()))
        .prop_map(|(id, code, blame, about, text)| {
            Answer::Refused(Refused { id, code, blame, about, text: text.unwrap_or_default() })
        });
    let defined = (any::<u64>(), label(), items(any_text(), 0..=3)).prop_map(|(id, profile, warnings)| {
        Answer::Defined(Defined { id, profile: ProfileName::new(profile).unwrap(), warnings })
    });
    let status = (any::<[u64; 5]>(), any::<bool>()).prop_map(
        |([id, callers, sessions, handshakes, profiles], list)| {
            let fds = Words::from_slice(if list { &[FdName::Sessions] } else { &[] });
            Answer::Status(StatusAnswer { id, callers, sessions, handshakes, profiles, fds })
        },
    );
    prop_oneof![
        hello(),
        defined,
        refused,
        failed(),
        established().boxed(),
        ended(),
        status,
        client_hello().boxed()
    ]
}

fn written(write: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut buf = vec![0; MAX_PACKET];
    let len = write(&mut buf);
    buf.truncate(len);
    buf
}

/// Bytes changed, cut out, put in, or doubled.
fn mutated(mut packet: Vec<u8>, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    for &(at, what, byte) in changes {
        let at = at % (packet.len() + 1);
        match what % 4 {
            0 if at < packet.len() => packet[at] = byte,
            1 => packet.insert(at, byte),
            2 => packet.truncate(at),
            _ => packet.extend_from_within(at..),
        }
        packet.truncate(2 * MAX_PACKET);
    }
    packet
}

/// Parses as both; what is accepted is written and parses back to itself.
fn look(packet: &[u8]) {
    match Request::parse(packet) {
        Ok(request) => {
            let again = written(|buf| request.write(buf).unwrap());
            assert_eq!(Request::parse(&again), Ok(request));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match Answer::parse(packet) {
        Ok(answer) => {
            // Words of a newer daemon are read and not written.
            let mut buf = vec![0; MAX_PACKET];
            if let Ok(len) = answer.write(&mut buf) {
                assert_eq!(Answer::parse(&buf[..len]).map(|again| again.verb()), Ok(answer.verb()));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_written_request_parses_back_to_itself(request in request()) {
        let packet = written(|buf| request.write(buf).unwrap());
        prop_assert_eq!(Request::parse(&packet), Ok(request));
        prop_assert!(request.write(&mut vec![0; packet.len() - 1]).is_err(), "no room");
    }

    #[test]
    fn a_written_answer_parses_back_to_itself(answer in answer()) {
        let packet = written(|buf| answer.write(buf).unwrap());
        prop_assert_eq!(Answer::parse(&packet), Ok(answer));
        prop_assert!(answer.write(&mut vec![0; packet.len() - 1]).is_err(), "no room");
    }

    #[test]
    fn arbitrary_bytes_never_panic(packet in vec(any::<u8>(), 0..400)) {
        look(&packet);
    }

    #[test]
    fn arbitrary_lines_never_panic(verb in "[a-z]{1,11}", lines in vec("\\??[a-z-]{1,12}=[ -~]{0,30}\n", 0..9)) {
        look(format!("tlsify/1 {verb}\n{}", lines.concat()).as_bytes());
    }

    #[test]
    fn a_broken_request_never_panics(request in request(), changes in vec(any::<(usize, u8, u8)>(), 1..4)) {
        look(&mutated(written(|buf| request.write(buf).unwrap()), &changes));
    }

    #[test]
    fn a_broken_answer_never_panics(answer in answer(), changes in vec(any::<(usize, u8, u8)>(), 1..4)) {
        look(&mutated(written(|buf| answer.write(buf).unwrap()), &changes));
    }

    /// A caller of ours must not be able to smuggle a line through a text.
    #[test]
    fn a_control_character_is_never_written(text in ".{0,9}[\\x00-\\x1f\\x7f-\\u{9f}].{0,9}") {
        let refused = Refused { id: None, code: Code::Internal, blame: Blame::Daemon, about: None, text: &text };
        prop_assert!(Answer::Refused(refused).write(&mut [0; 4096]).is_err());
    }
}
