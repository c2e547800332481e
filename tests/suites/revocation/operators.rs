//! Lists and stapled responses that the operator asks for in a profile: read at the start and at a reload, and what is wrong
//! with them is named.

use std::fs;
use std::path::Path;
use std::process::Command;

use tlsify_client::{Client, Code, Connect, Error};
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::program::Output;
use tlsifyd_tests::{
    KeyKind, Open, Peer, Program, TempDir, TestDaemon, built, pki, reach, running, tcp_pair,
};

use super::{authority, reload};

/// A client's profile for everybody, in line 5 of the file.
fn profile(ca: &Path, rest: &str) -> String {
    let store = format!("[[store]]\nname = \"ours\"\nfile = \"{}\"\n", ca.display());
    let who = "role = \"client\"\nusers = [\"*\"]\ntrust = \"store:ours\"";
    format!("{store}[[profile]]\nname = \"db\"\n{who}\n{rest}\n")
}

/// The good server is met with the operator's profile.
fn met(client: &Client) -> Result<Open, Code> {
    let (near, far) = tcp_pair();
    let config = server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS);
    let server = running("server", move || {
        let mut peer = Peer::server(far, config);
        let _ = peer.handshake();
        peer
    });
    let established = client.connect_tls(&Connect::new(near).name(SERVER_NAME).profile("db"));
    let mut peer = server.join();
    let mut open = Open::new(established.map_err(|error: Error| error.code().expect("there is one"))?);
    peer.write_all(b"word").unwrap();
    open.hear("word");
    Ok(open)
}

#[track_caller]
fn refused(client: &Client) -> Code {
    met(client).expect_err("nobody should be met")
}

fn check(daemon: &TestDaemon) -> Output {
    let mut command = Command::new(built::daemon());
    Program::run(command.arg("check").arg("--config").arg(daemon.dir().join("tlsifyd.toml")))
}

#[test]
fn a_list_that_is_replaced_counts_after_a_reload_and_a_broken_one_changes_nothing() {
    let server = pki().server(KeyKind::EcdsaP256);
    let dir = TempDir::new("lists");
    let file = dir.path().join("ca.crl");
    fs::write(&file, pki().ca.list(&[], 0)).unwrap();
    let daemon = TestDaemon::with_config(profile(&pki().ca.file, &format!("crl = [\"{}\"]", file.display())));
    let client = daemon.client();
    met(&client).unwrap();
    fs::write(&file, pki().ca.list(&[server], 0)).unwrap();
    met(&client).expect("a file that changes is not looked at before it is time");
    reload(&daemon, "configuration reloaded");
    assert_eq!(refused(&client), Code::CertificateRevoked);
    let broken = ["", &pki().ca.pem, &pki().ca.list(&[], 0).replacen('M', "!", 1)];
    for broken in broken {
        fs::write(&file, broken).unwrap();
        let line = reload(&daemon, "configuration not reloaded, the old one stays");
        // The log has its quotation marks escaped.
        let [place, cause] = ["tlsifyd.toml:5: profile ".to_owned(), format!(": crl: {}: ", file.display())];
        assert!(line.contains(&place) && line.contains(&cause), "{line}");
        let checked = check(&daemon);
        assert_eq!(checked.status.code(), Some(96), "{}", checked.stdout);
        let said = checked.stderr;
        assert!(said.contains(&place) && said.contains(&cause), "{said}");
        assert_eq!(refused(&client), Code::CertificateRevoked);
    }
    fs::remove_file(&file).unwrap();
    let line = reload(&daemon, "configuration not reloaded, the old one stays");
    assert!(line.contains(&format!("crl: cannot read {}: no such file", file.display())), "{line}");
    assert_eq!(refused(&client), Code::CertificateRevoked);
    fs::write(&file, pki().ca.list(&[], 0)).unwrap();
    reload(&daemon, "configuration reloaded");
    met(&client).unwrap();
}

#[test]
fn a_list_that_went_stale_is_said_at_the_start_at_a_reload_and_by_check() {
    let dir = TempDir::new("lists");
    fs::write(dir.path().join("ca.crl"), pki().ca.list(&[], 3)).unwrap();
    let here = |more: &str| profile(&pki().ca.file, &format!("crl = [\"{}\"]\n{more}", dir.path().display()));
    let daemon = TestDaemon::with_config(here(""));
    let warning = format!(
        "{}: a revocation list should have been replaced 2 days ago",
        dir.path().join("ca.crl").display()
    );
    assert!(daemon.log().contains(&warning), "{}", daemon.log());
    let checked = check(&daemon).ok();
    assert!(checked.contains("  lists of revoked certificates: 1\n"), "{checked}");
    assert!(checked.contains(&format!("warning: {warning}\n")), "{checked}");
    assert_eq!(refused(&daemon.client()), Code::RevocationStale);
    daemon.write_config(&here("crl-stale = \"allow\""));
    reload(&daemon, &warning);
    reload(&daemon, "configuration reloaded");
    met(&daemon.client()).unwrap();
}

#[test]
fn a_profile_that_requires_staples_takes_nothing_but_openssls_good_ones() {
    let Some(authority) = authority() else { return };
    let required = profile(&authority.file("ca.pem"), "stapled-ocsp = \"required\"");
    let daemon = TestDaemon::with_config(required);
    let client = daemon.client();
    for (name, staple, expected) in [
        ("good", Some("good.ocsp"), None),
        ("good", None, Some(Code::StapleMissing)),
        ("good", Some("bad.ocsp"), Some(Code::StapleInvalid)),
        ("bad", Some("bad.ocsp"), Some(Code::CertificateRevoked)),
    ] {
        let (_server, port) = authority.serve(name, staple);
        let request = Connect::new(reach(port)).name(SERVER_NAME).profile("db");
        let code = client.connect_tls(&request).err().map(|error| error.code().expect("there is one"));
        assert_eq!(code, expected, "{name} with {staple:?}");
    }
}
