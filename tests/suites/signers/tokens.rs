//! A token behind a PKCS #11 module: SoftHSM, in a process of its own.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::signers::{TOKEN_USER, signed_profile};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{KeyKind, SoftToken};

/// How its process is called.
const TOKEN: &str = "tlsifyd-token";

/// A profile for each kind of key, all on this token.
fn config(token: &SoftToken, kinds: &[KeyKind]) -> String {
    let signer = format!("[[signer]]\nname = \"t\"\ndeadline = \"10s\"\n{}", token.keys());
    kinds.iter().fold(signer, |config, kind| {
        config + &signed_profile(&format!("{kind:?}"), &pki().server(*kind).certificate_file, "t")
    })
}

fn token(kinds: &[KeyKind]) -> Option<SoftToken> {
    let token = SoftToken::start()?;
    for (number, kind) in kinds.iter().enumerate() {
        token.import(pki().server(*kind), &format!("{number:02x}"));
    }
    Some(token)
}

#[test]
fn keys_on_a_token_serve_both_versions_rsa_too() {
    let Some(token) = token(&KeyKind::ALL) else { return };
    let daemon = TestDaemon::with_config(config(&token, &KeyKind::ALL));
    let client = daemon.client();
    assert_eq!(process(&daemon, TOKEN), None, "it is started when it is asked for");
    for kind in KeyKind::ALL {
        for versions in [ONLY_TLS12, ONLY_TLS13] {
            handshake_as(&client, &format!("{kind:?}"), versions)
                .unwrap_or_else(|failed| panic!("{kind:?}: {failed:?}\n{}", daemon.log()));
        }
    }
    let token = process(&daemon, TOKEN).expect("it is a process of its own");
    let words = std::fs::read(format!("/proc/{token}/cmdline")).expect("ours");
    assert!(words.starts_with(b"tlsifyd: token t"), "{words:?}");
    let status = std::fs::read_to_string(format!("/proc/{token}/status")).expect("ours");
    let uid = if nix::unistd::geteuid().is_root() { TOKEN_USER } else { &nix::unistd::geteuid().to_string() };
    assert!(status.contains(&format!("\nUid:\t{uid}\t{uid}\t{uid}\t")), "a user of its own: {status}");
}

#[test]
fn a_key_that_the_token_does_not_have_is_refused_until_it_does() {
    let Some(token) = token(&[KeyKind::EcdsaP256]) else { return };
    let daemon = TestDaemon::with_config(config(&token, &[KeyKind::EcdsaP256, KeyKind::EcdsaP384]));
    let client = daemon.client();
    handshake(&client, "EcdsaP256").expect("served");
    assert_fails(&client, "EcdsaP384", Code::SignerRefused);
    token.import(pki().server(KeyKind::EcdsaP384), "77");
    assert_recovers(&daemon, "EcdsaP384");
}

#[test]
fn a_wrong_pin_is_tried_once_and_the_right_one_only_after_a_reload() {
    let Some(token) = token(&[KeyKind::EcdsaP256]) else { return };
    token.pin_file("9999");
    let daemon = TestDaemon::with_config(config(&token, &[KeyKind::EcdsaP256]));
    let client = daemon.client();
    for _ in 0..5 {
        let failed = assert_fails(&client, "EcdsaP256", Code::SignerRefused);
        assert!(failed.text.contains("does not take its PIN"), "{failed:?}");
    }
    // Also another process does not try it.
    kill(pid(&daemon), Signal::SIGKILL).expect("ours");
    token.pin_file(SoftToken::PIN);
    let still = until(LIMIT, || {
        let failed = handshake(&client, "EcdsaP256").expect_err("nobody has reloaded");
        (failed.code == Code::SignerRefused).then_some(failed)
    });
    assert!(still.expect("the process is back").text.contains("does not take its PIN"));
    let log = daemon.log();
    assert_eq!(log.matches("PinIncorrect").count(), 1, "{log}");
    daemon.signal(Signal::SIGHUP);
    assert_recovers(&daemon, "EcdsaP256");
}

#[test]
fn a_token_process_that_was_killed_is_started_again_and_serves() {
    let Some(token) = token(&[KeyKind::EcdsaP256]) else { return };
    let identity = pki().server(KeyKind::EcdsaP384);
    let here = server_profile("here", "users = [\"*\"]", &identity.certificate_file, &identity.key_file);
    let daemon = TestDaemon::with_config(config(&token, &[KeyKind::EcdsaP256]) + &here);
    let client = daemon.client();
    handshake(&client, "EcdsaP256").expect("served");
    let before = pid(&daemon);
    for _ in 0..2 {
        kill(pid(&daemon), Signal::SIGKILL).expect("ours");
        handshake(&client, "here").expect("others are served");
        assert_recovers(&daemon, "EcdsaP256");
    }
    assert_ne!(pid(&daemon), before);
    assert!(daemon.log().contains("the process with the token was killed by SIGKILL"), "{}", daemon.log());
}

#[test]
fn a_module_that_is_none_or_a_token_that_is_away_fails_its_own_handshakes() {
    let Some(token) = token(&[KeyKind::EcdsaP256]) else { return };
    let good = config(&token, &[KeyKind::EcdsaP256]);
    let no_module = good.replace("libsofthsm2.so", "libnobody.so");
    let no_token = good.replace("token = \"tls\"", "token = \"lost\"");
    for wrong in [no_module, no_token] {
        let daemon = TestDaemon::with_config(wrong);
        assert_fails(&daemon.client(), "EcdsaP256", Code::SignerUnreachable);
    }
}

#[test]
fn the_process_with_the_token_ends_with_the_daemon_and_with_its_signer() {
    let Some(token) = token(&[KeyKind::EcdsaP256]) else { return };
    let daemon = TestDaemon::with_config(config(&token, &[KeyKind::EcdsaP256]));
    handshake(&daemon.client(), "EcdsaP256").expect("served");
    assert!(process(&daemon, TOKEN).is_some());
    daemon.write_config("");
    daemon.signal(Signal::SIGHUP);
    until(LIMIT, || process(&daemon, TOKEN).is_none().then_some(())).expect("it ends with its signer");
    daemon.write_config(&config(&token, &[KeyKind::EcdsaP256]));
    daemon.signal(Signal::SIGHUP);
    let client = daemon.client();
    until(LIMIT, || {
        let defined = client.start_accept(&Accept::new(tcp_pair().1).profile("EcdsaP256")).ok()?;
        (!matches!(defined.wait(), Err(Error::Refused(_)))).then_some(())
    })
    .expect("the profile is back");
    handshake(&client, "EcdsaP256").expect("served");
    daemon.terminate();
    // The rig waits for all of its processes.
    assert!(daemon.wait().success());
}

fn pid(daemon: &TestDaemon) -> Pid {
    let token = until(LIMIT, || process(daemon, TOKEN)).expect("there is a process with the token");
    Pid::from_raw(token.try_into().expect("a process id fits"))
}
