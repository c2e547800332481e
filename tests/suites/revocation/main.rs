//! Lists and OCSP responses that OpenSSL made, of an authority that OpenSSL keeps, for servers that OpenSSL runs; what an
//! operator's profile asks (`operators`), and who comes back after being revoked (`returning`).

mod operators;
mod returning;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use rustls::SupportedProtocolVersion;
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{RawAnswer, RawCaller, TempDir, TestDaemon, Tlsify, Typed, reach, tool};

/// Both versions, one at a time.
const EACH: [&[&SupportedProtocolVersion]; 2] = [ONLY_TLS12, ONLY_TLS13];

const CONFIGURATION: &str = "
[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = .
serial = serial
crlnumber = crlnumber
default_md = sha256
default_days = 30
policy = any
certificate = ca.pem
private_key = ca.key
crl_extensions = list
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[self]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
[server]
subjectAltName = DNS:server.example,otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_imaps.mail.example,URI:sip:voice.example
extendedKeyUsage = serverAuth
[must]
subjectAltName = DNS:server.example
extendedKeyUsage = serverAuth
tlsfeature = status_request
[list]
authorityKeyIdentifier = keyid
";

/// An authority with the servers `good`, `bad` and `must`; `bad` was revoked.
struct Authority {
    openssl: PathBuf,
    dir: TempDir,
}

fn authority() -> Option<Authority> {
    let authority = Authority { openssl: tool("openssl")?, dir: TempDir::new("authority") };
    for (name, text) in [("cnf", CONFIGURATION), ("index.txt", ""), ("serial", "07"), ("crlnumber", "01")] {
        fs::write(authority.file(name), text).unwrap();
    }
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    authority.run(&format!(
        "req -x509 {key} -config cnf -extensions self -subj /CN=authority -keyout ca.key -out ca.pem"
    ));
    for (name, kind) in [("good", "server"), ("bad", "server"), ("must", "must")] {
        authority
            .run(&format!("req -new {key} -config cnf -subj /CN={name} -keyout {name}.key -out {name}.req"));
        authority
            .run(&format!("ca -batch -config cnf -extensions {kind} -in {name}.req -out {name}.pem -notext"));
        authority.run(&format!("ocsp -issuer ca.pem -cert {name}.pem -no_nonce -reqout {name}.ask"));
    }
    authority.run("ca -config cnf -gencrl -crldays 1 -out before.crl");
    authority.run("ca -config cnf -revoke bad.pem");
    authority.run("ca -config cnf -gencrl -crldays 1 -out now.crl");
    for name in ["good", "bad", "must"] {
        let who = "-index index.txt -CA ca.pem -rsigner ca.pem -rkey ca.key -ndays 1";
        authority.run(&format!("ocsp {who} -reqin {name}.ask -respout {name}.ocsp"));
    }
    Some(authority)
}

impl Authority {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self, name: &str) -> File {
        File::open(self.file(name)).unwrap()
    }

    fn run(&self, line: &str) {
        let done =
            Command::new(&self.openssl).args(line.split(' ')).current_dir(self.dir.path()).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// One of the servers for one connection, and its port.
    fn serve(&self, name: &str, staple: Option<&str>) -> (Typed, u16) {
        let mut command = Command::new(&self.openssl);
        command.current_dir(self.dir.path()).args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]);
        command.arg("-cert").arg(format!("{name}.pem")).arg("-key").arg(format!("{name}.key"));
        if let Some(staple) = staple {
            command.args(["-status_file", staple]);
        }
        let mut server = Typed::start(&mut command);
        let line = server.program.line_with("ACCEPT 127.0.0.1:");
        let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says its port");
        (server, port)
    }

    /// What a session to one of them comes to, with these keys and this list.
    fn met(&self, name: &str, staple: Option<&str>, keys: &str, list: Option<&Path>) -> RawAnswer {
        let daemon = TestDaemon::start();
        let (_server, port) = self.serve(name, staple);
        let caller = RawCaller::connect(daemon.socket());
        let crl = if list.is_some() { " crl" } else { "" };
        let request = format!("tlsify/1 connect\nid=1\nfds=net ca{crl}\ntrust=descriptor\n{keys}");
        let (net, ca) = (reach(port), self.open("ca.pem"));
        match list.map(|list| File::open(list).unwrap()) {
            None => caller.ask(request, &[&net, &ca]),
            Some(list) => caller.ask(request, &[&net, &ca, &list]),
        }
    }
}

const NAME: &str = "name=server.example\n";

#[track_caller]
fn came_to(answer: &RawAnswer, verb: &str, code: Option<&str>) {
    assert_eq!((answer.verb(), answer.get("code")), (verb, code), "{}", answer.text);
}

/// Has the configuration read again, and waits for the line about it.
#[track_caller]
fn reload(daemon: &TestDaemon, text: &str) -> String {
    let before = daemon.log().len();
    daemon.signal(Signal::SIGHUP);
    until(LIMIT, || {
        let log = daemon.log();
        log[before..].lines().find(|line| line.contains(text)).map(str::to_owned)
    })
    .unwrap_or_else(|| panic!("no \"{text}\" in:\n{}", daemon.log()))
}

#[test]
fn a_revoked_server_is_found_in_a_file_in_der_and_in_a_folder() {
    let Some(authority) = authority() else { return };
    authority.run("crl -in now.crl -outform DER -out now.der");
    let folder = authority.file("lists");
    fs::create_dir(&folder).unwrap();
    fs::copy(authority.file("now.crl"), folder.join("authority.crl")).unwrap();
    for list in [authority.file("now.crl"), authority.file("now.der"), folder] {
        let answer = authority.met("bad", None, NAME, Some(&list));
        came_to(&answer, "failed", Some("certificate-revoked"));
        assert_eq!(
            (answer.get("blame"), answer.get("alert")),
            (Some("peer"), Some("44 certificate_revoked"))
        );
        came_to(&authority.met("good", None, NAME, Some(&list)), "established", None);
    }
    // What was not revoked when the list was made is not in it.
    came_to(&authority.met("bad", None, NAME, Some(&authority.file("before.crl"))), "established", None);
}

#[test]
fn what_is_no_list_is_refused_before_the_peer_is_spoken_to() {
    let Some(authority) = authority() else { return };
    let answer = authority.met("good", None, NAME, Some(&authority.file("ca.pem")));
    came_to(&answer, "refused", Some("crl-invalid"));
    assert_eq!((answer.get("blame"), answer.get("about")), (Some("caller"), Some("crl")));
    assert!(answer.get("text").is_some_and(|text| text.contains("it holds CERTIFICATE")), "{}", answer.text);
}

#[test]
fn what_a_server_staples_is_judged_as_openssl_meant_it() {
    let Some(authority) = authority() else { return };
    let required = format!("{NAME}stapled-ocsp=required\n");
    came_to(&authority.met("good", Some("good.ocsp"), &required, None), "established", None);
    came_to(&authority.met("good", None, &required, None), "failed", Some("staple-missing"));
    let revoked = authority.met("bad", Some("bad.ocsp"), NAME, None);
    came_to(&revoked, "failed", Some("certificate-revoked"));
    // The word for another certificate proves nothing, and is worth nothing where none is wanted.
    came_to(&authority.met("good", Some("bad.ocsp"), NAME, None), "established", None);
    let answer = authority.met("good", Some("bad.ocsp"), &required, None);
    came_to(&answer, "failed", Some("staple-invalid"));
    assert_eq!(answer.get("alert"), Some("113 bad_certificate_status_response"), "{}", answer.text);
}

#[test]
fn who_learns_is_told_that_the_key_was_revoked() {
    let Some(authority) = authority() else { return };
    let learn = |more: &str| format!("{NAME}learn=yes\n{more}");
    let (now, before) = (authority.file("now.crl"), authority.file("before.crl"));
    let (required, end_entity) = (learn("stapled-ocsp=required\n"), learn("crl-check=end-entity\n"));
    for (name, staple, keys, list, would) in [
        ("bad", None, &end_entity, Some(&now), "certificate-revoked"),
        ("bad", Some("bad.ocsp"), &learn(""), None, "certificate-revoked"),
        ("bad", Some("bad.ocsp"), &learn(""), Some(&before), "certificate-revoked"),
        ("good", Some("bad.ocsp"), &required, None, "staple-invalid"),
        ("good", None, &required, None, "staple-missing"),
        ("must", None, &learn(""), None, "staple-missing"),
        ("good", Some("good.ocsp"), &required, Some(&now), "established"),
    ] {
        let answer = authority.met(name, staple, keys, list.map(PathBuf::as_path));
        came_to(&answer, "failed", Some("learned"));
        assert_eq!(answer.get("would"), Some(would), "{name} with {staple:?}: {}", answer.text);
        assert!(answer.get("spki-sha256").is_some(), "{}", answer.text);
    }
}

#[test]
fn a_must_staple_certificate_needs_no_key_to_be_strict() {
    let Some(authority) = authority() else { return };
    came_to(&authority.met("must", Some("must.ocsp"), NAME, None), "established", None);
    came_to(&authority.met("must", None, NAME, None), "failed", Some("staple-missing"));
}

#[test]
fn services_and_uris_that_openssl_wrote_are_matched() {
    let Some(authority) = authority() else { return };
    for name in ["srv:_imaps.mail.example", "uri:sip:voice.example"] {
        let answer = authority.met("good", None, &format!("name={name}\n"), None);
        came_to(&answer, "established", None);
        assert_eq!(answer.get("matched"), Some(format!("name:{name}").as_str()), "{}", answer.text);
    }
    let answer = authority.met("good", None, "name=srv:_pop3s.mail.example\n", None);
    came_to(&answer, "failed", Some("name-mismatch"));
}

#[test]
fn the_command_passes_lists_and_choices_on() {
    let Some(authority) = authority() else { return };
    let daemon = TestDaemon::start();
    let (_server, port) = authority.serve("bad", None);
    let done = Tlsify::new(["connect", "--fd", "5"])
        .net(reach(port))
        .asking(&daemon)
        .trusting(&authority.file("ca.pem"))
        .option("--name", "server.example")
        .option("--crl", authority.file("now.crl"))
        .option("--crl-check", "end-entity")
        .run();
    done.saying(98, "peer's certificate has been revoked");
}
