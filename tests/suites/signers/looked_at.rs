//! What `tlsifyd check` says of signers, and what is refused before anything is served.

use std::process::Command;

use tlsifyd_tests::built;
use tlsifyd_tests::program::Program;
use tlsifyd_tests::signers::signed_profile;
use tlsifyd_tests::{KeyKind, Output, SoftToken, SshAgent, TempDir, pki};

fn check(config: &str) -> Output {
    let dir = TempDir::new("check");
    let file = dir.path().join("tlsifyd.toml");
    std::fs::write(&file, config).expect("the folder is ours");
    Program::run(Command::new(built::daemon()).arg("check").arg("--config").arg(file))
}

#[test]
fn an_agent_without_the_key_and_one_that_is_away_are_warnings() {
    let Some(mut agent) = SshAgent::start() else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    let config = super::agent("a", &agent.socket()) + &signed_profile("p", &identity.certificate_file, "a");
    let output = check(&config);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.contains("has 0 of 1 keys"), "{output:?}");
    let certificate = identity.certificate_file.display().to_string();
    let warning = format!("warning: signer \"a\": it does not have the key of {certificate}");
    assert!(output.stdout.contains(&warning), "{output:?}");
    agent.add(identity);
    let output = check(&config);
    assert!(
        output.stdout.contains("has 1 of 1 keys") && !output.stdout.contains("warning: signer"),
        "{output:?}"
    );
    agent.end();
    let output = check(&config);
    assert!(output.stdout.contains("warning: signer \"a\": cannot connect to "), "{output:?}");
}

#[test]
fn an_rsa_key_at_an_agent_is_refused_with_the_reason() {
    let Some(agent) = SshAgent::start() else { return };
    let identity = pki().server(KeyKind::Rsa2048);
    agent.add(identity);
    let config = super::agent("a", &agent.socket()) + &signed_profile("p", &identity.certificate_file, "a");
    let output = check(&config);
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stderr.contains("tlsifyd.toml:10: profile \"p\": signer \"a\" is an agent"), "{output:?}");
    assert!(output.stderr.contains("RSASSA-PSS"), "{output:?}");
}

#[test]
fn a_token_is_looked_at_without_a_try_of_its_pin() {
    let Some(token) = SoftToken::start() else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    token.import(identity, "01");
    token.pin_file("9999");
    let signer = format!("[[signer]]\nname = \"t\"\n{}", token.keys());
    let config = signer + &signed_profile("p", &identity.certificate_file, "t");
    for _ in 0..5 {
        let output = check(&config);
        assert!(output.stdout.contains("has 1 of 1 keys"), "{output:?}");
    }
    token.pin_file(SoftToken::PIN);
    let output = check(&config.replace("token = \"tls\"", "token = \"lost\""));
    let warning = "warning: signer \"t\": there is no token with the label \"lost\"";
    assert!(output.stdout.contains(warning), "{output:?}");
}
