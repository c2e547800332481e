//! Keying material that leaves TLS (RFC 5705, RFC 9266) is what the peer has too, and leaves only sessions that are
//! nobody else's.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use tlsify_client::{Accept, Code, Connect, Error, Facts, Trust};
use tlsifyd_tests::openssl::{s_client, s_server};
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13, client_config, server_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{
    Door, KeyKind, Open, Peer, TempDir, TestDaemon, Typed, gnutls, pki, reach, running, tcp_pair, tool,
};

/// RFC 9266 section 2.
const BINDING: &str = "EXPORTER-Channel-Binding";
const LABEL: &str = "EXPERIMENTAL tlsifyd";

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

fn connect(net: impl Into<std::os::fd::OwnedFd>) -> Connect {
    Connect::new(net).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()))
}

fn accept(net: impl Into<std::os::fd::OwnedFd>) -> Accept {
    Accept::new(net).certificate(good().certificate_fd()).key(good().key_fd())
}

#[test]
fn a_client_has_what_openssls_server_has() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    for version in ["-tls1_2", "-tls1_3"] {
        let options = [version, "-keymatexport", BINDING, "-keymatexportlen", "32"];
        let (mut tool, port) = s_server(&openssl, good(), &options);
        let request = connect(reach(port)).export(BINDING, None, 32).channel_binding();
        let open = Open::new(daemon.client().connect_tls(&request).unwrap());
        let line = tool.program.line_with("Keying material: ");
        let theirs = line.trim().trim_start_matches("Keying material: ").to_owned();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        assert_eq!(hex(&open.facts.exports[0].value), theirs, "{version}");
        assert_eq!(open.facts.channel_binding.map(|binding| hex(&binding.0)), Some(theirs), "{version}");
    }
}

/// What a tool says on a line that begins with this, in lower case.
fn told(tool: &mut Typed, start: &str) -> String {
    tool.program.line_with(start).trim().rsplit(' ').next().unwrap_or_default().to_lowercase()
}

/// What a session told is what the tool told: the export of the channel binding, and the channel binding.
#[track_caller]
fn same(facts: &Facts, theirs: &str) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&facts.exports[0].value), theirs, "{}", facts.protocol);
    assert_eq!(facts.channel_binding.map(|binding| hex(&binding.0)).as_deref(), Some(theirs));
}

#[test]
fn a_server_has_what_openssls_client_has_also_when_it_resumes() {
    let Some(openssl) = tool("openssl") else { return };
    let (daemon, dir) = (TestDaemon::start(), TempDir::new("sessions"));
    for version in ["-tls1_2", "-tls1_3"] {
        let saved = dir.path().join(version);
        let saved = saved.to_str().expect("our paths are text");
        let mut seen = Vec::new();
        for resumed in [false, true] {
            let door = Door::open();
            let mut options = vec![version, "-servername", SERVER_NAME, "-sess_out", saved];
            options.extend(["-keymatexport", BINDING, "-keymatexportlen", "32"]);
            let again = ["-sess_in", saved];
            options.extend(again.iter().filter(|_| resumed));
            let mut tool = s_client(&openssl, door.port(), &options);
            let request = accept(door.next()).export(BINDING, None, 32).channel_binding().resume("e");
            let mut open = Open::new(daemon.client().accept(&request).unwrap());
            assert_eq!(open.facts.resumed, resumed, "{version}");
            let theirs = told(&mut tool, "Keying material: ");
            same(&open.facts, &theirs);
            assert!(!seen.contains(&theirs), "each session has its own");
            seen.push(theirs);
            // Behind the ticket.
            open.say("word\n");
            tool.program.line_with("word");
        }
    }
}

#[test]
fn a_client_has_what_openssls_server_has_when_it_resumes() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    for version in ["-tls1_2", "-tls1_3"] {
        let options = [version, "-naccept", "2", "-keymatexport", BINDING, "-keymatexportlen", "32"];
        let (mut tool, port) = s_server(&openssl, good(), &options);
        let mut seen = Vec::new();
        for resumed in [false, true] {
            let request =
                connect(reach(port)).export(BINDING, None, 32).channel_binding().resume(&version[1..]);
            let mut open = Open::new(daemon.client().connect_tls(&request).unwrap());
            assert_eq!(open.facts.resumed, resumed, "{version}");
            let lines = || {
                let said = tool.program.stdout();
                let lines = said.lines().filter(|line| line.contains("Keying material: "));
                let values = lines.filter_map(|line| line.trim().rsplit(' ').next().map(str::to_lowercase));
                Some(values.collect::<Vec<_>>()).filter(|values| values.len() == seen.len() + 1)
            };
            seen = until(LIMIT, lines).expect("it tells");
            same(&open.facts, seen.last().expect("one more"));
            tool.type_in("word\n");
            open.hear("word\n");
            open.finish();
            open.rest();
        }
        assert_ne!(seen[0], seen[1], "each session has its own");
    }
}

#[test]
fn gnutls_has_the_same_in_both_roles() {
    let (Some(client), Some(server)) = (tool("gnutls-cli"), tool("gnutls-serv")) else { return };
    let daemon = TestDaemon::start();
    let export = ["--keymatexport", BINDING, "--keymatexportsize", "32"];
    let path = |path: &Path| path.to_str().expect("our paths are text").to_owned();
    let [ca, certificate, key] =
        [&pki().ca.file, &good().certificate_file, &good().key_file].map(|file| path(file));
    for version in ["1.2", "1.3"] {
        let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
        let door = Door::open();
        let options = [&export[..], &["--x509cafile", &ca, "--sni-hostname", SERVER_NAME]].concat();
        let options = [&options[..], &["--verify-hostname", SERVER_NAME]].concat();
        let mut tool = gnutls::cli(&client, door.port(), &priority, None, &options);
        let request = accept(door.next()).export(BINDING, None, 32).channel_binding();
        let open = Open::new(daemon.client().accept(&request).unwrap());
        same(&open.facts, &told(&mut tool, "Key material: "));

        let options = [&export[..], &["--x509certfile", &certificate, "--x509keyfile", &key]].concat();
        let (mut tool, port) = gnutls::serv(&server, &priority, None, &options);
        let request = connect(reach(port)).export(BINDING, None, 32).channel_binding();
        let open = Open::new(daemon.client().connect_tls(&request).unwrap());
        let theirs = told(&mut tool, "Key material: ");
        same(&open.facts, &theirs);
        if version == "1.3" {
            // Its own idea of RFC 9266, without being told the label.
            assert_eq!(told(&mut tool, "'tls-exporter': "), theirs);
        }
    }
}

/// What a session told, against the peer's own computation.
fn agree(facts: &Facts, peer: &Peer) {
    let theirs = |context: Option<&[u8]>| {
        peer.tls.export_keying_material([0; 255], LABEL.as_bytes(), context).unwrap().to_vec()
    };
    let ours: Vec<_> = facts.exports.iter().map(|export| export.value.clone()).collect();
    assert_eq!(ours, [theirs(None), theirs(Some(b"")), theirs(Some(b"\0context\xff"))]);
    let binding = peer.tls.export_keying_material([0; 32], BINDING.as_bytes(), None).unwrap();
    assert_eq!(facts.channel_binding.map(|binding| binding.0), Some(binding));
    // RFC 5705 section 4: in TLS 1.2 no context and an empty one are not the same.
    let tls13 = facts.protocol == "TLSv1.3";
    assert_eq!(facts.exports[0].value == facts.exports[1].value, tls13, "{}", facts.protocol);
}

#[test]
fn contexts_of_every_kind_mean_the_same_to_both() {
    let daemon = TestDaemon::start();
    for versions in [ONLY_TLS12, ONLY_TLS13] {
        let (near, far) = tcp_pair();
        let server = running("server", move || {
            let mut peer = Peer::server(far, server_config(good(), versions));
            peer.handshake().unwrap();
            peer
        });
        let request = connect(near).export(LABEL, None, 255).export(LABEL, Some(b""), 255);
        let request = request.export(LABEL, Some(b"\0context\xff"), 255).channel_binding();
        let open = Open::new(daemon.client().connect_tls(&request).unwrap());
        agree(&open.facts, &server.join());

        let (near, far) = tcp_pair();
        let client = running("client", move || {
            let mut peer = Peer::client(near, client_config(pki().ca.roots(), versions, None), SERVER_NAME);
            peer.handshake().unwrap();
            peer
        });
        let request = accept(far).export(LABEL, None, 255).export(LABEL, Some(b""), 255);
        let request = request.export(LABEL, Some(b"\0context\xff"), 255).channel_binding();
        let open = Open::new(daemon.client().accept(&request).unwrap());
        agree(&open.facts, &client.join());
    }
}

/// TLS 1.2 as it was before RFC 7627.
const WITHOUT_EXTENDED_MASTER_SECRET: &str = "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_SESSION_HASH";

fn old_client(gnutls: &Path, port: u16) -> Typed {
    let mut command = Command::new(gnutls);
    command.args(["--priority", WITHOUT_EXTENDED_MASTER_SECRET, "--x509cafile"]).arg(&pki().ca.file);
    command.args(["--sni-hostname", SERVER_NAME, "--verify-hostname", SERVER_NAME]);
    Typed::start(command.args(["--port", &port.to_string(), "127.0.0.1"]))
}

fn old_server(gnutls: &Path) -> (Typed, u16) {
    let free = TcpListener::bind(("::", 0)).and_then(|free| free.local_addr()).expect("a port is free");
    let mut command = Command::new(gnutls);
    command.args(["--echo", "--port", &free.port().to_string(), "--x509certfile"]);
    command.arg(&good().certificate_file).arg("--x509keyfile").arg(&good().key_file);
    (Typed::start(command.args(["--priority", WITHOUT_EXTENDED_MASTER_SECRET])), free.port())
}

/// RFC 7627 section 5.4: who is in the middle can make two such sessions with the same secrets, so that what is
/// exported from them binds nothing.
#[test]
fn a_session_that_somebody_may_share_exports_nothing() {
    let (Some(client), Some(server)) = (tool("gnutls-cli"), tool("gnutls-serv")) else { return };
    let daemon = TestDaemon::start();
    for ask in
        [|request: Accept| request.channel_binding(), |request: Accept| request.export(LABEL, None, 32)]
    {
        let door = Door::open();
        let _tool = old_client(&client, door.port());
        let result = daemon.client().accept(&ask(accept(door.next())));
        assert_eq!(code(result.map(Open::new)), Code::NoSharedParameters);
    }
    for ask in
        [|request: Connect| request.channel_binding(), |request: Connect| request.export(LABEL, None, 32)]
    {
        let (_tool, port) = old_server(&server);
        let result = daemon.client().connect_tls(&ask(connect(reach(port))));
        assert_eq!(code(result.map(Open::new)), Code::NoSharedParameters);
    }
    // Who asks for nothing of the kind gets a session as before.
    let (_tool, port) = old_server(&server);
    let open = Open::new(daemon.client().connect_tls(&connect(reach(port))).unwrap());
    assert_eq!(open.facts.protocol, "TLSv1.2");
}

#[track_caller]
fn code(result: Result<Open, Error>) -> Code {
    result.unwrap_err().code().expect("the daemon gives a code")
}
