//! What the operator decides: profiles whose keys no caller sees, trust stores by name, and the system's pool of
//! authorities, which is read again when it changes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tlsify_client::{
    Accept, AccessRule, Client, ClientCertificate, Code, Connect, Error, Matched, Profile, Trust,
};
use tlsifyd_tests::built;
use tlsifyd_tests::openssl::s_client;
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::{CLIENT_DNS, Identity, SERVER_NAME};
use tlsifyd_tests::wait::until;
use tlsifyd_tests::{
    Door, KeyKind, Open, Options, Peer, Program, TempDir, TestDaemon, pki, running, tcp_pair, tool,
};

/// The daemon looks at the system's pool at most every 5 s; twice that, on a loaded machine.
const POOL_SEEN: Duration = Duration::from_secs(15);

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

/// A `[[profile.identity]]` of the file.
fn identity(identity: &Identity) -> String {
    let (certificate, key) = (identity.certificate_file.display(), identity.key_file.display());
    format!("[[profile.identity]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")
}

/// A `[[profile]]` for everybody.
fn profile(name: &str, role: &str, rest: &str) -> String {
    format!("[[profile]]\nname = \"{name}\"\nrole = \"{role}\"\nusers = [\"*\"]\n{rest}\n")
}

fn store(name: &str, kind: &str, path: &Path) -> String {
    format!("[[store]]\nname = \"{name}\"\n{kind} = \"{}\"\n", path.display())
}

/// The client meets a server with this identity.
fn connect(
    client: &Client,
    identity: &Identity,
    ask: impl FnOnce(Connect) -> Connect,
) -> Result<Open, Error> {
    let (near, far) = tcp_pair();
    let config = server_config(identity, BOTH_VERSIONS);
    let server = running("server", move || Peer::server(far, config).handshake());
    let established = client.connect_tls(&ask(Connect::new(near)));
    let _ = server.join();
    established.map(Open::new)
}

#[track_caller]
fn code(result: Result<Open, Error>) -> Code {
    result.unwrap_err().code().expect("the daemon gives a code")
}

/// The subject that openssl sees when it asks for `name`, and the server_name that the daemon tells.
fn subject(openssl: &Path, client: &Client, profile: &str, name: &str) -> String {
    let door = Door::open();
    let mut tool = s_client(openssl, door.port(), &["-servername", name]);
    let open = Open::new(client.accept(&Accept::new(door.next()).profile(profile)).unwrap());
    assert_eq!(open.facts.server_name.as_deref(), Some(name));
    tool.program.line_with("subject=")
}

#[test]
fn one_profile_serves_many_names_with_keys_that_its_callers_never_see() {
    let Some(openssl) = tool("openssl") else { return };
    let [shop, any, renamed] =
        ["shop.example", "*.shop.example", "old.example"].map(|name| pki().server_for(name));
    let renamed = format!("{}names = [\"new.example\"]\n", identity(&renamed));
    let text = [identity(&shop), identity(&any), renamed].concat();
    let daemon = TestDaemon::with_config(profile("web", "server", &text));
    let client = daemon.client();
    for (asked, subject_name) in [
        ("shop.example", "shop.example"),
        ("api.shop.example", "*.shop.example"),
        ("new.example", "old.example"),
    ] {
        assert_eq!(subject(&openssl, &client, "web", asked), format!("subject=CN = {subject_name}"));
    }
    let door = Door::open();
    let mut tool = s_client(&openssl, door.port(), &["-servername", "old.example"]);
    let refused = client.accept(&Accept::new(door.next()).profile("web")).map(Open::new);
    assert_eq!(code(refused), Code::UnknownServerName, "the file's names replace the certificate's");
    tool.program.line_with("SSL alert number 112");
}

#[test]
fn a_renewed_certificate_is_what_new_clients_see_and_old_sessions_go_on() {
    let Some(openssl) = tool("openssl") else { return };
    let [old, new] = ["old.example", "new.example"].map(|name| pki().server_for(name));
    let dir = TempDir::new("renewed");
    let files = ["crt", "key"].map(|file| dir.path().join(file));
    let install = |identity: &Identity| {
        fs::copy(&identity.certificate_file, &files[0]).unwrap();
        fs::copy(&identity.key_file, &files[1]).unwrap();
    };
    install(&old);
    let [certificate, key] = files.each_ref().map(|file| file.display().to_string());
    let text = format!(
        "unknown-name = \"first\"\n[[profile.identity]]\ncertificate = \"{certificate}\"\nkey = \"{key}\""
    );
    let daemon = TestDaemon::with_config(profile("web", "server", &text));
    let (client, door) = (daemon.client(), Door::open());
    let mut tool = s_client(&openssl, door.port(), &[]);
    let mut open = Open::new(client.accept(&Accept::new(door.next()).profile("web")).unwrap());
    tool.program.line_with("subject=CN = old.example");

    install(&new);
    daemon.signal(Signal::SIGHUP);
    let renewed = until(POOL_SEEN, || {
        (subject(&openssl, &client, "web", "any.example") == "subject=CN = new.example").then_some(())
    });
    assert!(renewed.is_some(), "{}", daemon.log());
    tool.type_in("hello\n");
    open.hear("hello\n");
}

#[test]
fn an_expired_chain_is_served_with_a_warning_at_start_and_at_check() {
    let text = profile("web", "server", &identity(&pki().expired));
    let daemon = TestDaemon::with_config(&*text);
    let file = pki().expired.certificate_file.display().to_string();
    assert!(daemon.log().contains(&format!("{file}: the certificate has expired")), "{}", daemon.log());
    let mut check = Command::new(built::daemon());
    let said = Program::run(check.arg("check").arg("--config").arg(daemon.dir().join("tlsifyd.toml"))).ok();
    let warning = format!("warning: {file}: the certificate has expired");
    assert!(said.contains(&warning), "{said}");
    // A caller that brings such a chain itself is warned too.
    let expired = &pki().expired;
    let own = Profile::server("own").certificate(expired.certificate_fd()).key(expired.key_fd());
    let defined = daemon.client().define(&own).unwrap();
    assert!(defined.warnings.iter().any(|warning| warning.contains("expired")), "{defined:?}");
}

#[test]
fn a_store_by_name_is_the_operators_file_or_folder() {
    let dir = TempDir::new("store");
    fs::copy(&pki().ca.file, dir.path().join("ours.pem")).unwrap();
    fs::write(dir.path().join("notes.txt"), "no certificate").unwrap();
    let other = store("other", "file", &pki().other_ca.file);
    let daemon = TestDaemon::with_config(store("ours", "directory", dir.path()) + &other);
    let client = daemon.client();
    let named = |name: &'static str| {
        move |connect: Connect| connect.name(SERVER_NAME).trust(Trust::Store(name.into()))
    };
    assert_eq!(
        connect(&client, good(), named("ours")).unwrap().facts.matched,
        [Matched::Name(SERVER_NAME.into())]
    );
    assert_eq!(code(connect(&client, good(), named("other"))), Code::UnknownIssuer);
    connect(&client, &pki().wrong_ca, named("other")).unwrap();
    assert_eq!(code(connect(&client, good(), named("absent"))), Code::UnknownStore);
}

#[test]
fn an_operators_client_is_bound_to_its_names_store_and_pins() {
    let pin = format!("spki-sha256:{}", good().spki_sha256);
    let text = [
        store("ours", "file", &pki().ca.file),
        profile("db", "client", "names = [\"server.example\"]\ntrust = \"store:ours\""),
        profile("pinned", "client", &format!("trust = \"store:ours\"\npins = [\"{pin}\"]")),
    ];
    let daemon = TestDaemon::with_config(text.concat());
    let client = daemon.client();
    let open = connect(&client, good(), |connect| connect.profile("db")).unwrap();
    assert_eq!(open.facts.server_name.as_deref(), Some(SERVER_NAME));
    assert_eq!(
        code(connect(&client, &pki().wrong_name, |connect| connect.profile("db"))),
        Code::NameMismatch
    );
    assert_eq!(code(connect(&client, &pki().wrong_ca, |connect| connect.profile("db"))), Code::UnknownIssuer);
    let other_name = connect(&client, good(), |connect| connect.profile("db").name("elsewhere.example"));
    assert_eq!(code(other_name), Code::KeyConflict);

    let named = |connect: Connect| connect.profile("pinned").name(SERVER_NAME);
    assert_eq!(connect(&client, good(), named).unwrap().facts.matched.len(), 2);
    let other_key = pki().server(KeyKind::Ed25519);
    assert_eq!(code(connect(&client, other_key, named)), Code::PinMismatch);
}

#[test]
fn an_operators_server_knows_its_clients() {
    let Some(openssl) = tool("openssl") else { return };
    let rules = format!(
        "client-certificate = \"required\"\ntrust = \"store:ours\"\nallow = [\"dns:{CLIENT_DNS}\"]\n"
    );
    let text =
        store("ours", "file", &pki().ca.file) + &profile("web", "server", &(rules + &identity(good())));
    let daemon = TestDaemon::with_config(text);
    let come = |who: &Identity| {
        let door = Door::open();
        let [certificate, key] =
            [&who.certificate_file, &who.key_file].map(|file| file.to_str().expect("our paths are text"));
        let tool = s_client(&openssl, door.port(), &["-cert", certificate, "-key", key]);
        let result = daemon.client().accept(&Accept::new(door.next()).profile("web")).map(Open::new);
        drop(tool);
        result
    };
    let open = come(pki().client(KeyKind::Rsa2048)).unwrap();
    assert_eq!(open.facts.matched, [Matched::Allow(AccessRule::Dns(CLIENT_DNS.into()))]);
    assert_eq!(code(come(&pki().wrong_ca_client)), Code::UnknownIssuer);
}

#[test]
fn the_systems_pool_is_the_default_and_is_read_again_when_it_changes() {
    let dir = TempDir::new("pool");
    let pool = dir.path().join("certificates.pem");
    fs::copy(&pki().other_ca.file, &pool).unwrap();
    let env = vec![("SSL_CERT_FILE".to_owned(), pool.display().to_string())];
    let daemon = TestDaemon::with(Options { env, ..Options::default() });
    let client = daemon.client();
    let try_once = || connect(&client, good(), |connect| connect.name(SERVER_NAME));
    assert_eq!(code(try_once()), Code::UnknownIssuer);
    let explicit =
        connect(&client, &pki().wrong_ca, |connect| connect.name(SERVER_NAME).trust(Trust::System));
    explicit.unwrap();

    // Put in place in one step, as packages do.
    let new = dir.path().join("new");
    fs::write(&new, format!("{}{}", pki().other_ca.pem, pki().ca.pem)).unwrap();
    fs::rename(new, &pool).unwrap();
    let seen = until(POOL_SEEN, || try_once().ok());
    assert!(seen.is_some(), "the new authority is not trusted after {POOL_SEEN:?}: {}", daemon.log());

    // A pool that breaks does not take trust away from those who are trusted.
    fs::write(&pool, "no certificate").unwrap();
    std::thread::sleep(Duration::from_secs(6));
    try_once().unwrap();
}

#[test]
fn a_host_without_a_pool_says_so_and_blames_the_operator() {
    let env = vec![("SSL_CERT_FILE".to_owned(), "/nonexistent/pool.pem".to_owned())];
    let daemon = TestDaemon::with(Options { env, ..Options::default() });
    let error = connect(&daemon.client(), good(), |connect| connect.name(SERVER_NAME)).unwrap_err();
    assert_eq!(
        (error.code(), error.blame()),
        (Some(Code::TrustUnusable), Some(tlsify_client::Blame::Operator))
    );
    let profile = Profile::server("me").client_certificate(ClientCertificate::Required).trust(Trust::System);
    let profile = profile.certificate(good().certificate_fd()).key(good().key_fd());
    daemon.client().define(&profile).unwrap();
}
