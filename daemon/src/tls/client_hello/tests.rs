//! The parser against hellos made here: byte by byte what a strict reader takes, and what not.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A ClientHello that is being made up.
#[derive(Clone, Debug)]
struct Draft {
    legacy_version: u16,
    session_id: Vec<u8>,
    cipher_suites: Vec<u16>,
    /// In their order; `None`: not even an empty list.
    extensions: Option<Vec<(u16, Vec<u8>)>>,
}

impl Draft {
    fn new(cipher_suites: &[u16], extensions: Vec<(u16, Vec<u8>)>) -> Self {
        Self {
            legacy_version: 0x0303,
            session_id: vec![7; 32],
            cipher_suites: cipher_suites.to_vec(),
            extensions: Some(extensions),
        }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.legacy_version.to_be_bytes().to_vec();
        body.extend([9; 32]);
        body.extend(vector8(&self.session_id));
        body.extend(vector16(&numbers(&self.cipher_suites)));
        body.extend([1, 0]);
        if let Some(extensions) = &self.extensions {
            let all: Vec<u8> = extensions
                .iter()
                .flat_map(|(kind, data)| [kind.to_be_bytes().to_vec(), vector16(data)].concat())
                .collect();
            body.extend(vector16(&all));
        }
        body
    }

    fn wire(&self) -> Vec<u8> {
        records(&handshake(&self.body()), &[])
    }
}

fn handshake(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], body].concat()
}

/// In records that end at these places, each as long as may be.
fn records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % message.len()).filter(|cut| *cut > 0).collect();
    ends.extend((0..message.len()).step_by(1 << 14).skip(1));
    ends.push(message.len());
    ends.sort_unstable();
    ends.dedup();
    let mut wire = Vec::new();
    let mut from = 0;
    for end in ends {
        wire.extend([22, 3, 1]);
        wire.extend(vector16(&message[from..end]));
        from = end;
    }
    wire
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn numbers(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn sni(name: &str) -> (u16, Vec<u8>) {
    (0, vector16(&[&[0][..], &vector16(name.as_bytes())].concat()))
}

fn alpn(names: &[&str]) -> (u16, Vec<u8>) {
    (16, vector16(&names.iter().flat_map(|name| vector8(name.as_bytes())).collect::<Vec<_>>()))
}

fn versions(values: &[u16]) -> (u16, Vec<u8>) {
    (43, vector8(&numbers(values)))
}

fn schemes(values: &[u16]) -> (u16, Vec<u8>) {
    (13, vector16(&numbers(values)))
}

fn psk(identities: &[&[u8]], binders: &[&[u8]]) -> (u16, Vec<u8>) {
    let identities: Vec<u8> =
        identities.iter().flat_map(|identity| [vector16(identity), vec![0; 4]].concat()).collect();
    let binders: Vec<u8> = binders.iter().flat_map(|binder| vector8(binder)).collect();
    (41, [vector16(&identities), vector16(&binders)].concat())
}

fn whole(wire: &[u8]) -> ClientHello {
    match ClientHello::look(wire) {
        Look::Whole(hello) => *hello,
        other => panic!("{other:?}"),
    }
}

fn flaw(draft: &Draft) -> Flaw {
    match ClientHello::look(&draft.wire()) {
        Look::Malformed(flaw) => flaw,
        other => panic!("{other:?}"),
    }
}

fn with(extension: (u16, Vec<u8>)) -> Draft {
    Draft::new(&[0x1301], vec![extension])
}

/// As a browser's, with reserved values everywhere.
fn browser() -> Draft {
    const GREASE: u16 = 0x1a1a;
    let suites = [
        GREASE, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
        0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let share = [&numbers(&[GREASE]), &vector16(&[0])[..], &numbers(&[29]), &vector16(&[5; 32])].concat();
    Draft::new(
        &suites,
        vec![
            (0x2a2a, vec![]),
            (0x002d, vec![1, 1]),
            (0x0033, vector16(&share)),
            alpn(&["h2", "http/1.1"]),
            (0xfe0d, vec![0, 0, 1, 0, 1, 7, 0, 1, 9, 0, 1, 9]),
            (0x0017, vec![]),
            (0x44cd, vec![0, 3, 2, b'h', b'2']),
            sni("Shop.Example"),
            (0x000b, vec![1, 0]),
            (0x000a, vector16(&numbers(&[GREASE, 4588, 29, 23, 24]))),
            versions(&[GREASE, 0x0304, 0x0303]),
            (0xff01, vec![0]),
            (0x0023, vec![]),
            (0x0012, vec![]),
            (0x0005, vec![1, 0, 0, 0, 0]),
            schemes(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]),
            (0x001b, vec![2, 0, 2]),
            (0x3a3a, vec![0]),
        ],
    )
}

#[test]
fn what_a_browser_offers_is_read() {
    let hello = whole(&browser().wire());
    assert_eq!(hello.server_name.as_deref(), Some("shop.example"));
    assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(hello.versions, [0x1a1a, 0x0304, 0x0303]);
    assert_eq!(hello.groups, [0x1a1a, 4588, 29, 23, 24]);
    assert_eq!(hello.key_shares, [0x1a1a, 29]);
    assert_eq!((hello.session_ticket.as_deref(), hello.ech), (Some(&[][..]), true));
    assert_eq!((hello.session_id.len(), hello.cipher_suites.len(), hello.extensions.len()), (32, 16, 18));
}

/// Published: Chrome 143 as browserleaks.com shows it, the example of FoxIO's own description, and OpenSSL 3.
#[test]
fn published_fingerprints_come_out() {
    assert_eq!(whole(&browser().wire()).ja4(), "t13d1516h2_8daaf6152771_d8a2da3f94cd");
    let mut older = browser();
    for (kind, _) in older.extensions.iter_mut().flatten() {
        *kind = match *kind {
            0x44cd => 0x4469,
            0xfe0d => 0x0015,
            other => other,
        };
    }
    assert_eq!(whole(&older.wire()).ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    let openssl = Draft::new(
        &[0x1302, 0x1303, 0x1301, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc02b, 0xc02f, 0x00ff],
        vec![
            sni("localhost"),
            (0x000b, vec![1, 0]),
            (0x000a, vector16(&numbers(&[29, 23]))),
            (0x0023, vec![]),
            alpn(&["h2"]),
            (0x0005, vec![1, 0, 0, 0, 0]),
            (0x0017, vec![]),
            schemes(&[0x0503, 0x0403, 0x0807, 0x0806, 0x0805, 0x0804, 0x0601, 0x0501, 0x0401]),
            versions(&[0x0304, 0x0303]),
            (0x002d, vec![1, 1]),
            (0x0033, vector16(&[0, 29, 0, 1, 5])),
        ],
    );
    assert_eq!(whole(&openssl.wire()).ja4(), "t13d1011h2_61a7ad8aa9b6_3fcd1a44f3e3");
}

/// By hand, with sha256sum: `printf 1301 | sha256sum` begins with 0f2cb44170f4.
#[test]
fn fingerprints_of_small_hellos_are_as_computed_by_hand() {
    let bare = Draft { extensions: None, ..Draft::new(&[0x1301], vec![]) };
    let suites = "0f2cb44170f4";
    assert_eq!(whole(&bare.wire()).ja4(), format!("t12i010000_{suites}_000000000000"));
    let old = Draft { legacy_version: 0x0301, ..Draft::new(&[0x1301], vec![sni("a.example")]) };
    assert_eq!(whole(&old.wire()).ja4(), format!("t10d010100_{suites}_000000000000"));
    // `printf 000b | sha256sum`, without a "_" where there are no schemes.
    let one = Draft::new(&[0x1301], vec![alpn(&["http/1.1"]), (0x000b, vec![1, 0])]);
    assert_eq!(whole(&one.wire()).ja4(), format!("t12i0102h1_{suites}_bcb145a8c2a7"));
    let reserved = Draft::new(&[0x0a0a], vec![(0xfafa, vec![]), versions(&[0xaaaa, 0x0304])]);
    assert_eq!(whole(&reserved.wire()).ja4(), "t13i000100_000000000000_b9a491fefe05");
    // Names that are no text show their digits: 0xab 0xcd is "ad".
    let (kind, _) = alpn(&["x"]);
    let binary = with((kind, vector16(&vector8(&[0xab, 0xcd]))));
    assert_eq!(&whole(&binary.wire()).ja4()[8..10], "ad");
    assert_eq!(&whole(&with(alpn(&["h"])).wire()).ja4()[8..10], "hh");
    assert_eq!(&whole(&with(alpn(&["\x0a\x0a", "h2"])).wire()).ja4()[8..10], "h2");
}

#[test]
fn other_protocols_are_told_apart_by_their_first_bytes() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"S",
        b"SSH-2.0-x\r\n",
        &[0x80, 46, 1, 3, 1],
        &[21, 3, 1, 0, 2],
        &[22, 254],
    ] {
        assert_eq!(ClientHello::look(bytes), Look::NotTls, "{bytes:?}");
    }
    assert_eq!(ClientHello::look(&[]), Look::More(1));
    assert_eq!(ClientHello::look(&[22]), Look::More(2));
    assert_eq!(ClientHello::look(&[22, 3]), Look::More(9));
}

#[test]
fn what_could_be_read_in_two_ways_is_not_read() {
    let long = |kind, data: Vec<u8>| with((kind, [data, vec![0]].concat()));
    let cases = [
        (with(sni("")), 50, "empty name"),
        (with(sni("a b")), 47, "no DNS name"),
        (with(sni("a.example\0.evil.example")), 47, "NUL in a name"),
        (with(sni("*.example")), 47, "a pattern"),
        (with((0, vec![])), 50, "server_name without a list"),
        (with((0, vector16(&[1, 0, 1, b'a']))), 50, "server_name of another kind"),
        (with((0, vector16(&[0, 0, 1, b'a', 0, 0, 1, b'b']))), 50, "two server_names"),
        (long(0, sni("a.example").1), 50, "bytes behind server_name"),
        (with(alpn(&[])), 50, "no application protocol"),
        (with(alpn(&["h2", ""])), 50, "an empty application protocol"),
        (long(16, alpn(&["h2"]).1), 50, "bytes behind ALPN"),
        (with(versions(&[])), 50, "no versions"),
        (with((43, vec![3, 3, 4, 3])), 50, "half a version"),
        (with(schemes(&[])), 50, "no schemes"),
        (with((10, vec![0, 3, 0, 29, 0])), 50, "half a group"),
        (with((51, vector16(&[0, 29, 0, 0]))), 50, "an empty key share"),
        (with((51, vector16(&[0, 29, 0, 1, 1, 0, 29, 0, 1, 1]))), 47, "two key shares of one group"),
        (with(psk(&[b"x"], &[])), 47, "no binder"),
        (with(psk(&[b"x"], &[&[0; 32], &[0; 32]])), 47, "more binders than identities"),
        (with(psk(&[b"x"], &[&[0; 31]])), 50, "a short binder"),
        (with(psk(&[b""], &[&[0; 32]])), 50, "an empty identity"),
        (Draft::new(&[0x1301], vec![psk(&[b"x"], &[&[0; 32]]), (23, vec![])]), 47, "pre_shared_key not last"),
        (Draft::new(&[0x1301], vec![(23, vec![]), (23, vec![])]), 47, "an extension twice"),
        (Draft::new(&[], vec![]), 50, "no cipher suites"),
        (Draft { session_id: vec![0; 33], ..Draft::new(&[0x1301], vec![]) }, 50, "a long session id"),
    ];
    for (draft, alert, what) in cases {
        assert_eq!(flaw(&draft).alert, alert, "{what}");
    }
}

#[test]
fn an_address_as_server_name_is_no_name() {
    for address in ["192.0.2.7", "2001:db8::1"] {
        let hello = whole(&with(sni(address)).wire());
        assert_eq!((hello.server_name, hello.extensions), (None, vec![0]));
    }
}

#[test]
fn records_that_cannot_hold_a_hello_are_refused() {
    let message = handshake(&browser().body());
    let alert = |wire: &[u8]| match ClientHello::look(wire) {
        Look::Malformed(flaw) => flaw.alert,
        other => panic!("{other:?}"),
    };
    // Bytes behind the message in its record: a second message cannot be there.
    assert_eq!(alert(&records(&[&message[..], &[0]].concat(), &[])), 10);
    assert_eq!(alert(&[22, 3, 1, 0, 0]), 10, "an empty record");
    assert_eq!(alert(&[22, 3, 1, 0x40, 1]), 22, "a record above 2^14");
    assert_eq!(alert(&[22, 3, 1, 0, 1, 2]), 10, "another message");
    assert_eq!(alert(&[22, 3, 1, 1, 0, 1, 1, 0, 0]), 50, "a message above 64 KiB");
    let mut mixed = records(&message, &[40]);
    let second = 5 + 40;
    mixed[second] = 23;
    assert_eq!(alert(&mixed), 10, "application data in between");
    let trailing = handshake(&[&browser().body()[..], &[0]].concat());
    assert_eq!(alert(&records(&trailing, &[])), 50, "bytes behind the extensions");
    // What follows in records of its own is not ours to judge: early data, for instance.
    assert!(matches!(ClientHello::look(&[&browser().wire()[..], &[23, 3, 3]].concat()), Look::Whole(_)));
}

#[test]
fn a_hello_of_64_kib_is_read_and_a_longer_one_is_not() {
    let padded = |size| with((21, vec![0; size]));
    let least = padded(0).body().len();
    let largest = padded(MAX_CLIENT_HELLO - least);
    assert_eq!(whole(&largest.wire()).extensions, [21]);
    assert!(largest.body().len() == MAX_CLIENT_HELLO);
}

#[test]
fn reserved_values_are_known() {
    let reserved: Vec<u16> = (0..=u16::MAX).filter(|value| is_grease(*value)).collect();
    assert_eq!((reserved.len(), reserved[0], reserved[15]), (16, 0x0a0a, 0xfafa));
}

fn draft() -> impl Strategy<Value = Draft> {
    let extension = prop_oneof![
        Just(sni("a.example")),
        Just(alpn(&["h2"])),
        Just(versions(&[0x0304])),
        Just(schemes(&[0x0403])),
        Just(psk(&[b"ticket"], &[&[1; 32]])),
        (100..200_u16, vec(any::<u8>(), 0..60)),
    ];
    (vec(any::<u16>(), 1..40), vec(extension, 0..8)).prop_map(|(suites, mut extensions)| {
        extensions.sort_by_key(|(kind, _)| (*kind == 41, *kind));
        extensions.dedup_by_key(|(kind, _)| *kind);
        Draft::new(&suites, extensions)
    })
}

/// server_name, application protocols, cipher suites.
type Read = (Option<String>, Vec<Vec<u8>>, Vec<u16>);

/// What rustls reads of the same bytes, if it takes them.
fn read_by_rustls(wire: &[u8]) -> Option<Read> {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut left = wire;
    while !left.is_empty() {
        acceptor.read_tls(&mut left).expect("a slice can be read");
    }
    let accepted = acceptor.accept().ok()??;
    let hello = accepted.client_hello();
    let alpn = hello.alpn().map(|names| names.map(<[u8]>::to_vec).collect());
    let suites = hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect();
    // A dot at the end is dropped where identities are looked up.
    let name = hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
    Some((name, alpn.unwrap_or_default(), suites))
}

#[test]
fn the_handshake_reads_the_same_as_the_question() {
    for wire in [browser().wire(), records(&handshake(&browser().body()), &[7, 100, 333])] {
        let hello = whole(&wire);
        let same = read_by_rustls(&wire).expect("it is a good one");
        assert_eq!(same, (hello.server_name, hello.alpn, hello.cipher_suites));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn however_it_is_cut_into_records_it_says_the_same(draft in draft(), cuts in vec(any::<usize>(), 0..20)) {
        let message = handshake(&draft.body());
        prop_assert_eq!(whole(&records(&message, &cuts)), whole(&draft.wire()));
    }

    /// What is said to be missing really is, and no more: nobody waits for bytes that never come.
    #[test]
    fn a_part_of_it_is_never_enough(draft in draft(), cuts in vec(any::<usize>(), 0..20), at in any::<usize>()) {
        let wire = records(&handshake(&draft.body()), &cuts);
        let at = at % wire.len();
        let Look::More(least) = ClientHello::look(&wire[..at]) else { panic!("cut at {at} of {}", wire.len()) };
        prop_assert!(at < least && least <= wire.len(), "{} < {} <= {}", at, least, wire.len());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), as_record in any::<bool>()) {
        let wire = if as_record && !bytes.is_empty() { records(&handshake(&bytes), &[]) } else { bytes };
        if let Look::Whole(hello) = ClientHello::look(&wire) {
            prop_assert!(!hello.ja4().is_empty());
        }
    }

    /// A decision about one thing must not become a handshake with another.
    #[test]
    fn what_is_whole_here_is_the_same_in_the_handshake(
        draft in draft(),
        changes in vec(any::<(usize, u8)>(), 0..4),
    ) {
        let mut wire = draft.wire();
        for (at, byte) in changes {
            let at = at % wire.len();
            wire[at] = byte;
        }
        if let (Look::Whole(hello), Some(other)) = (ClientHello::look(&wire), read_by_rustls(&wire)) {
            prop_assert_eq!(other, (hello.server_name, hello.alpn, hello.cipher_suites));
        }
    }

    #[test]
    fn a_broken_hello_never_panics(draft in draft(), changes in vec(any::<(usize, u8)>(), 1..6)) {
        let mut wire = draft.wire();
        for (at, byte) in changes {
            let at = at % wire.len();
            wire[at] = byte;
        }
        let _ = ClientHello::look(&wire);
    }
}
