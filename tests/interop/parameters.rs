//! Parameters that a request restricts are restricted on the wire: against peers of OpenSSL and GnuTLS that can do
//! other things only, and with records counted below TLS.

use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::channel;

use tlsify_client::{Accept, Code, Connect, Error, ExtendedMasterSecret, Failed, Profile, Trust, Version};
use tlsifyd_tests::openssl::{s_client, s_server};
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13, server_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{Door, KeyKind, Open, Peer, TestDaemon, Typed, pki, reach, running, tcp_pair, tool};

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

/// What a request adds to the usual one.
type Ask = fn(Connect) -> Connect;

/// A client that asks so meets the server of a tool.
fn connect(port: u16, ask: impl FnOnce(Connect) -> Connect) -> Result<Open, Error> {
    let connect = Connect::new(reach(port)).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    TestDaemon::start().client().connect_tls(&ask(connect)).map(Open::new)
}

/// A server of this profile meets the client of a tool.
fn accept(profile: Profile, client: impl FnOnce(u16) -> Typed) -> (Result<Open, Error>, Typed) {
    let (daemon, door) = (TestDaemon::start(), Door::open());
    let caller = daemon.client();
    caller.define(&profile.certificate(good().certificate_fd()).key(good().key_fd())).unwrap();
    let tool = client(door.port());
    (caller.accept(&Accept::new(door.next()).profile("me")).map(Open::new), tool)
}

#[track_caller]
fn failed(result: Result<Open, Error>) -> (Code, u8) {
    let Err(Error::Failed(failed)) = result else { panic!("{result:?}") };
    let Failed { code, alert, .. } = *failed;
    (code, alert.map_or(0, |alert| alert.description))
}

#[test]
fn a_client_stays_within_what_it_was_told() {
    let Some(openssl) = tool("openssl") else { return };
    let meet = |options: &[&str], ask: Ask| {
        let (_tool, port) = s_server(&openssl, good(), options);
        connect(port, ask)
    };
    // The server finds out that it cannot, and says so: 70 protocol_version, 40 handshake_failure.
    let cases: [(&[&str], Ask, u8); 6] = [
        (&["-tls1_2"], |connect| connect.min_version(Version::Tls13), 70),
        (&["-tls1_3"], |connect| connect.max_version(Version::Tls12), 70),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
            |connect| connect.ciphers(["TLS_CHACHA20_POLY1305_SHA256"]),
            40,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            |connect| connect.ciphers(["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]),
            40,
        ),
        (&["-tls1_3", "-groups", "P-256"], |connect| connect.groups(["x25519"]), 40),
        (&["-tls1_3"], |connect| connect.signature_schemes(["ed25519"]), 40),
    ];
    for (options, ask, alert) in cases {
        assert_eq!(failed(meet(options, ask)), (Code::AlertReceived, alert), "{options:?}");
    }
    let open = meet(&[], |connect| {
        connect.ciphers(["TLS_CHACHA20_POLY1305_SHA256"]).groups(["secp384r1"]).min_version(Version::Tls13)
    });
    let facts = open.unwrap().facts;
    assert_eq!(facts.cipher, "TLS_CHACHA20_POLY1305_SHA256");
    assert_eq!(facts.group.as_deref(), Some("secp384r1"), "not the one that a HelloRetryRequest may ask for");
}

#[test]
fn a_server_stays_within_what_it_was_told() {
    let Some(openssl) = tool("openssl") else { return };
    let me = || Profile::server("me");
    for (profile, options, code, alert) in [
        (me().min_version(Version::Tls13), vec!["-tls1_2"], Code::NoSharedVersion, 70),
        (me().max_version(Version::Tls12), vec!["-tls1_3"], Code::NoSharedVersion, 70),
        (
            me().ciphers(["TLS_CHACHA20_POLY1305_SHA256"]),
            vec!["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
            Code::NoSharedParameters,
            40,
        ),
        (me().groups(["x25519"]), vec!["-tls1_3", "-groups", "P-256"], Code::NoSharedParameters, 40),
        (
            me().signature_schemes(["ecdsa_secp256r1_sha256"]),
            vec!["-sigalgs", "rsa_pss_rsae_sha256"],
            Code::NoSharedParameters,
            40,
        ),
    ] {
        let (result, mut tool) = accept(profile, |port| s_client(&openssl, port, &options));
        assert_eq!(failed(result), (code, alert), "{options:?}");
        tool.program.line_with(&format!("SSL alert number {alert}"));
    }
}

#[test]
fn a_key_that_may_sign_nothing_is_refused_when_it_is_given() {
    let daemon = TestDaemon::start();
    let profile = Profile::server("me").certificate(good().certificate_fd()).key(good().key_fd());
    let error = daemon.client().define(&profile.signature_schemes(["ed25519"])).unwrap_err();
    assert_eq!(error.code(), Some(Code::KeyConflict));
}

/// The lengths on the wire of the records that a peer gets for 10,000 bytes.
fn records(versions: &'static [&'static rustls::SupportedProtocolVersion], most: Option<u16>) -> Vec<usize> {
    const APPLICATION_DATA: u8 = 23;
    let (near, far) = tcp_pair();
    // Bytes that come with the handshake's last flight would be rustls' to read, and not counted here.
    let (ready, is_ready) = channel();
    let server = running("server", move || {
        let mut peer = Peer::server(far, server_config(good(), versions));
        peer.handshake().unwrap();
        let mut socket = peer.stall();
        ready.send(()).unwrap();
        let mut lengths = Vec::new();
        while lengths.iter().sum::<usize>() < 10_000 {
            let mut header = [0; 5];
            socket.read_exact(&mut header).unwrap();
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            socket.read_exact(&mut vec![0; length]).unwrap();
            assert_eq!(header[0], APPLICATION_DATA);
            lengths.push(length);
        }
        lengths
    });
    let connect = Connect::new(near).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    let connect = most.into_iter().fold(connect, Connect::max_fragment);
    let daemon = TestDaemon::start();
    let mut open = Open::new(daemon.client().connect_tls(&connect).unwrap());
    is_ready.recv_timeout(LIMIT).unwrap();
    open.say(&"x".repeat(10_000));
    server.join()
}

#[test]
fn records_carry_no_more_than_was_asked_for() {
    for versions in [ONLY_TLS12, ONLY_TLS13] {
        for most in [512, 1000] {
            let lengths = records(versions, Some(most));
            // A tag of 16 bytes, and 8 of nonce (RFC 5288) or one of content type (RFC 9846 section 5.2).
            let longest = lengths.iter().max().copied().unwrap_or_default();
            assert!(longest <= usize::from(most) + 24, "{most}: {lengths:?}");
            assert!(longest > usize::from(most), "records are smaller than asked for: {lengths:?}");
        }
        assert_eq!(records(versions, None).len(), 1);
    }
}

#[test]
fn a_client_can_insist_on_the_extended_master_secret() {
    let Some(gnutls) = tool("gnutls-serv") else { return };
    let serve = || {
        let free = TcpListener::bind(("::", 0)).and_then(|free| free.local_addr()).expect("a port is free");
        let mut command = Command::new(&gnutls);
        command.args(["--echo", "--port", &free.port().to_string(), "--x509certfile"]);
        command.arg(&good().certificate_file).arg("--x509keyfile").arg(&good().key_file);
        command.args(["--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_SESSION_HASH"]);
        (Typed::start(&mut command), free.port())
    };
    let (_tool, port) = serve();
    assert_eq!(connect(port, |connect| connect).unwrap().facts.protocol, "TLSv1.2");
    let (_tool, port) = serve();
    let required = connect(port, |connect| connect.extended_master_secret(ExtendedMasterSecret::Required));
    assert_eq!(failed(required), (Code::NoSharedParameters, 40));
}

#[test]
fn a_server_can_insist_on_the_extended_master_secret() {
    let Some(gnutls) = tool("gnutls-cli") else { return };
    let client = |port: u16| {
        let mut command = Command::new(&gnutls);
        command.args(["--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_SESSION_HASH", "--x509cafile"]);
        command.arg(&pki().ca.file).args(["--sni-hostname", SERVER_NAME, "--verify-hostname", SERVER_NAME]);
        Typed::start(command.args(["--port", &port.to_string(), "127.0.0.1"]))
    };
    let (result, _tool) = accept(Profile::server("me"), client);
    assert_eq!(result.unwrap().facts.protocol, "TLSv1.2");
    let required = Profile::server("me").extended_master_secret(ExtendedMasterSecret::Required);
    let (result, mut tool) = accept(required, client);
    assert_eq!(failed(result), (Code::NoSharedParameters, 40));
    tool.program.line_with("Handshake failed");
}
