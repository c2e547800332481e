//! Clients of other libraries that come again, with their tickets in a file or in memory.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use tlsify_client::{Accept, Client, How};
use tlsifyd_tests::handover::accept;
use tlsifyd_tests::openssl::s_client;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Door, Open, TempDir, TestDaemon, Typed, pki, tool};

/// The usual request, and the store.
fn to_web(net: TcpStream) -> Accept {
    accept(net).resume("web")
}

/// A session of this request that is ended by the client, once `done` says that the client has what it wants.
#[track_caller]
fn serve(
    client: &Client,
    door: &Door,
    tool: &mut Typed,
    ask: fn(TcpStream) -> Accept,
    done: impl Fn() -> bool,
) -> bool {
    let mut open = Open::new(client.accept(&ask(door.next())).unwrap());
    open.say("word\n");
    tool.program.line_with("word");
    until(LIMIT, || done().then_some(())).expect("the client gets its ticket");
    tool.hang_up();
    let resumed = open.facts.resumed;
    let (_, ended) = open.rest();
    assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
    resumed
}

/// OpenSSL with these options, whose ticket goes to `out`.
#[track_caller]
fn openssl_session(client: &Client, openssl: &Path, options: &[&str], out: &Path) -> bool {
    openssl_asking(client, openssl, options, out, to_web)
}

/// The same for another request.
#[track_caller]
pub(crate) fn openssl_asking(
    client: &Client,
    openssl: &Path,
    options: &[&str],
    out: &Path,
    ask: fn(TcpStream) -> Accept,
) -> bool {
    let door = Door::open();
    let _ = fs::remove_file(out);
    let mut all = vec!["-servername", SERVER_NAME, "-sess_out", out.to_str().unwrap()];
    all.extend(options);
    let mut tool = s_client(openssl, door.port(), &all);
    let written = || fs::read_to_string(out).is_ok_and(|text| text.contains("-----END SSL SESSION"));
    // A session of TLS 1.2 that was resumed is not written: OpenSSL goes on with what it has.
    let again = options.contains(&"-tls1_2") && options.contains(&"-sess_in");
    let resumed = serve(client, &door, &mut tool, ask, || again || written());
    let said = tool.program.stdout();
    let word = if resumed { "Reused, " } else { "New, " };
    assert!(said.lines().any(|line| line.starts_with(word)), "{said}");
    resumed
}

#[test]
fn openssl_resumes_in_both_versions_with_a_ticket_from_a_file() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let dir = TempDir::new("sessions");
    for version in ["-tls1_2", "-tls1_3"] {
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        assert!(!openssl_session(&client, &openssl, &[version], &one));
        for _ in 0..2 {
            let with = [version, "-sess_in", one.to_str().unwrap()];
            assert!(openssl_session(&client, &openssl, &with, &two), "{version}");
            if version == "-tls1_3" {
                fs::rename(&two, &one).unwrap();
            }
        }
        // A server without a store takes the same for a stranger.
        let door = Door::open();
        let mut tool = s_client(&openssl, door.port(), &[version, "-sess_in", one.to_str().unwrap()]);
        let open = Open::new(client.accept(&accept(door.next())).unwrap());
        assert!(!open.facts.resumed);
        tool.hang_up();
        open.rest();
    }
}

/// The lifetime that the client is told is the one that the document tells.
#[test]
fn openssl_is_told_how_long_a_ticket_is_good() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let dir = TempDir::new("sessions");
    for version in ["-tls1_2", "-tls1_3"] {
        let file = dir.path().join(version);
        openssl_session(&daemon.client(), &openssl, &[version], &file);
        let mut show = Command::new(&openssl);
        let shown = tlsifyd_tests::Program::run(show.args(["sess_id", "-noout", "-text", "-in"]).arg(&file));
        assert!(shown.stdout.contains("ticket lifetime hint: 43200 "), "{}", shown.stdout);
    }
}

/// The session of a file with one byte of its ticket changed: ours, behind everything that OpenSSL reads of it itself.
fn damage(openssl: &Path, file: &Path, at: usize) {
    let der = file.with_extension("der");
    let convert = |from: &Path, inform: &str, to: &Path, outform: &str| {
        let mut command = Command::new(openssl);
        command.args(["sess_id", "-inform", inform, "-in"]).arg(from);
        let output = tlsifyd_tests::Program::run(command.args(["-outform", outform, "-out"]).arg(to));
        assert!(output.status.success(), "{}", output.stderr);
    };
    convert(file, "PEM", &der, "DER");
    let mut bytes = fs::read(&der).unwrap();
    // tlsext_tick [10] EXPLICIT OCTET STRING, longer than 127 bytes.
    let ticket = (0..bytes.len() - 6).rfind(|&at| {
        let [tag, 0x81, outer, 4, 0x81, inner] = bytes[at..at + 6] else { return false };
        tag == 0xaa && outer == inner.wrapping_add(3)
    });
    let begins = ticket.expect("it has a ticket") + 6;
    bytes[begins + at] ^= 1;
    fs::write(&der, bytes).unwrap();
    convert(&der, "DER", file, "PEM");
}

#[test]
fn a_damaged_ticket_is_a_full_handshake() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let dir = TempDir::new("sessions");
    for version in ["-tls1_2", "-tls1_3"] {
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        // Which key, nonce, what is sealed.
        for at in [0, 10, 30, 100] {
            assert!(!openssl_session(&client, &openssl, &[version], &one));
            damage(&openssl, &one, at);
            let with = [version, "-sess_in", one.to_str().unwrap()];
            assert!(!openssl_session(&client, &openssl, &with, &two), "{version}: byte {at}");
        }
    }
}

/// `gnutls-cli --resume` connects, leaves, and comes again.
#[test]
fn gnutls_resumes_in_both_versions() {
    let Some(gnutls) = tool("gnutls-cli") else { return };
    let daemon = TestDaemon::start();
    for version in ["1.2", "1.3"] {
        gnutls_returning(&daemon.client(), &gnutls, version, to_web, || {});
    }
}

/// `between` comes when the first session has ended.
#[track_caller]
pub(crate) fn gnutls_returning(
    client: &Client,
    gnutls: &Path,
    version: &str,
    ask: fn(TcpStream) -> Accept,
    between: impl Fn(),
) {
    let door = Door::open();
    let mut command = Command::new(gnutls);
    command.args(["--resume", "--waitresumption", "--priority"]);
    command.arg(format!("NORMAL:-VERS-ALL:+VERS-TLS{version}")).arg("--x509cafile").arg(&pki().ca.file);
    command.args(["--sni-hostname", SERVER_NAME, "--verify-hostname", SERVER_NAME]);
    let mut tool = Typed::start(command.args(["--port", &door.port().to_string(), "127.0.0.1"]));
    let first = Open::new(client.accept(&ask(door.next())).unwrap());
    assert!(!first.facts.resumed);
    // It says goodbye as soon as it has its ticket.
    let (_, ended) = first.rest();
    assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
    between();
    assert!(serve(client, &door, &mut tool, ask, || true), "TLS {version}: {}", tool.program.stdout());
    assert!(tool.program.stdout().contains("This is a resumed session"), "{}", tool.program.stdout());
}
