//! What is told of a ClientHello that is made here, byte by byte.

use std::io::Write;

use tlsifyd_tests::{TestDaemon, within};

use super::{asked, assert_failed, assert_unread, caller, choose, hand};

/// A ClientHello with these cipher suites and extensions, in records of at most so many bytes.
fn made(suites: &[u16], extensions: &[(u16, Vec<u8>)], record: usize) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(vector(&numbers(suites)));
    body.extend([1, 0]);
    let all: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, data)| [kind.to_be_bytes().to_vec(), vector(data)].concat())
        .collect();
    body.extend(vector(&all));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    message.chunks(record).flat_map(|part| [vec![22, 3, 1], vector(part)].concat()).collect()
}

fn vector(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn numbers(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn sni(name: &str) -> (u16, Vec<u8>) {
    (0, vector(&[&[0][..], &vector(name.as_bytes())].concat()))
}

/// Reserved values (GREASE) wherever a client may put them, and values that nobody knows.
fn browser() -> Vec<(u16, Vec<u8>)> {
    vec![
        (0x2a2a, vec![]),
        sni("Shop.Example"),
        (16, vector(b"\x02\x1a\x1a\x02h2\x08http/1.1\x03\x00 %")),
        (43, vec![6, 0x4a, 0x4a, 3, 4, 3, 3]),
        (10, vector(&numbers(&[0x5a5a, 0x11ec, 29, 0x1234]))),
        (51, vector(&[&[0x5a, 0x5a, 0, 1, 0, 0, 29, 0, 32][..], &[5; 32]].concat())),
        (13, vector(&numbers(&[0x0403, 0x0804]))),
        (0xfe0d, vec![0; 9]),
        (0x3a3a, vec![0]),
    ]
}

#[test]
fn everything_is_told_by_its_name_and_reserved_values_do_not_show() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut handed = hand(&caller, 10, "");
    let bytes = made(&[0x0a0a, 0x1301, 0xc02f, 0x1399], &browser(), 1 << 14);
    handed.peer.write_all(&bytes).unwrap();
    let told = asked(&caller, 10);
    let ja4 = told.get("ja4").unwrap().to_owned();
    assert_eq!(
        told.text,
        format!(
            "tlsify/1 client-hello\nid=10\ntls=yes\nserver-name=shop.example\nalpn=h2 http/1.1 %00%20%25\n\
             versions=1.3 1.2\nciphers=TLS_AES_128_GCM_SHA256 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 0x1399\n\
             groups=X25519MLKEM768 x25519 0x1234\nkey-shares=x25519\n\
             signature-schemes=ecdsa_secp256r1_sha256 rsa_pss_rsae_sha256\nja4={ja4}\nech=yes\n"
        )
    );
    // Three suites, seven extensions, h2; the hashes are shown against published ones beside the parser.
    assert!(ja4.starts_with("t13d0307h2_"), "{ja4}");
    choose(&caller, 10, "action=give-back\n");
    assert_failed(&caller, 10, "given-back", "caller", "untouched");
    assert_unread(&handed.copy, &bytes);
}

#[test]
fn a_hello_of_several_records_is_told_and_given_back_whole() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut extensions = browser();
    // Beyond one record of the largest size, as pre-shared keys of many sessions can make it.
    extensions.push((21, vec![0; 20_000]));
    for record in [1 << 14, 300, 100] {
        let bytes = made(&[0x1301], &extensions, record);
        let mut handed = hand(&caller, 10, "");
        let mut peer = handed.peer.try_clone().unwrap();
        let sent = bytes.clone();
        within("the hello is sent", move || peer.write_all(&sent).unwrap());
        let told = asked(&caller, 10);
        assert_eq!(told.get("server-name"), Some("shop.example"), "{}", told.text);
        choose(&caller, 10, "action=give-back\n");
        assert_failed(&caller, 10, "given-back", "caller", "untouched");
        assert_unread(&handed.copy, &bytes);
        handed.peer.flush().unwrap();
    }
}

#[test]
fn a_hello_that_is_cut_into_too_many_records_is_refused() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut extensions = browser();
    extensions.push((21, vec![0; 20_000]));
    let mut handed = hand(&caller, 10, "");
    drop(handed.copy);
    let bytes = made(&[0x1301], &extensions, 1);
    // The daemon may have closed it before all of it is sent.
    let _ = handed.peer.write_all(&bytes);
    let failed = assert_failed(&caller, 10, "protocol-violation", "peer", "closed");
    assert_eq!(failed.get("alert"), Some("10 unexpected_message"));
}

#[test]
fn a_list_beyond_any_reason_is_cut_and_the_answer_still_fits() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let name = [&[255], &[b'%'; 255][..]].concat();
    let extensions = [
        (16, vector(&name.repeat(100))),
        (10, vector(&numbers(&(0..3000).collect::<Vec<_>>()))),
        (13, vector(&numbers(&(0..3000).collect::<Vec<_>>()))),
    ];
    let mut handed = hand(&caller, 10, "");
    handed.peer.write_all(&made(&(0..3000).collect::<Vec<_>>(), &extensions, 1 << 14)).unwrap();
    let told = asked(&caller, 10);
    for (key, most) in [("alpn", 32), ("ciphers", 64), ("groups", 64), ("signature-schemes", 64)] {
        assert_eq!(told.get(key).unwrap().split(' ').count(), most, "{key}");
    }
    // It may wait with hundreds of others for a caller that does not read.
    assert!(told.text.len() < 32 << 10, "{}", told.text.len());
    assert_eq!(told.get("versions"), Some("1.2"));
    assert!(told.get("ja4").unwrap().starts_with("t12i9903"), "{}", told.text);
}

/// While a program thinks, a peer decides how much of its ClientHello is names: 64 KiB can be 30,000 of them.
#[test]
fn a_hello_of_nothing_but_names_costs_no_more_than_its_bytes_while_it_waits() {
    const PEERS: u64 = 50;
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let bytes = made(&[0x1301], &[(16, vector(&b"\x01x".repeat(30_000)))], 1 << 14);
    let ask = |id| {
        let mut handed = hand(&caller, id, "");
        handed.peer.write_all(&bytes).unwrap();
        assert_eq!(asked(&caller, id).get("alpn").unwrap().split(' ').count(), 32);
        handed
    };
    let first = ask(10);
    let before = daemon.rss_kib();
    let others: Vec<_> = (0..PEERS).map(|number| ask(11 + number)).collect();
    let each = daemon.rss_kib().saturating_sub(before) / PEERS;
    assert!(each < 200, "{each} KiB each");
    drop((first, others));
}
