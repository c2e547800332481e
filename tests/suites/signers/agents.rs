//! A real ssh-agent with the keys of certificates.

use super::*;
use tlsifyd_tests::signers::{AGENTS_KINDS, signed_profile};
use tlsifyd_tests::{KeyKind, SshAgent};

#[test]
fn keys_of_each_kind_at_an_ssh_agent_serve_both_versions() {
    let Some(agent) = SshAgent::start() else { return };
    let mut config = super::agent("a", &agent.socket());
    for kind in AGENTS_KINDS {
        let identity = pki().server(kind);
        agent.add(identity);
        config += &signed_profile(&format!("{kind:?}"), &identity.certificate_file, "a");
    }
    let daemon = TestDaemon::with_config(config);
    let client = daemon.client();
    for kind in AGENTS_KINDS {
        for versions in [ONLY_TLS12, ONLY_TLS13] {
            handshake_as(&client, &format!("{kind:?}"), versions)
                .unwrap_or_else(|failed| panic!("{kind:?}: {failed:?}"));
        }
    }
}

#[test]
fn a_key_at_gnupgs_agent_serves_both_versions() {
    let Some(agent) = SshAgent::start_gnupg() else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    agent.add(identity);
    // It makes its passphrases slow to guess: that takes it half a second.
    let config = super::agent("a", &agent.socket()).replace("500ms", "10s");
    let config = config + &signed_profile("p", &identity.certificate_file, "a");
    let daemon = TestDaemon::with_config(config);
    for versions in [ONLY_TLS12, ONLY_TLS13] {
        handshake_as(&daemon.client(), "p", versions).expect("served");
    }
}

#[test]
fn many_sessions_share_few_connections_and_leave_no_descriptor() {
    let Some(agent) = SshAgent::start() else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    agent.add(identity);
    let config = super::agent("a", &agent.socket()) + &signed_profile("p", &identity.certificate_file, "a");
    let daemon = TestDaemon::with_config(config);
    // What stays: connections to the agent, of the worker to the keyholder.
    let round = || {
        let client = daemon.client();
        let sessions: Vec<_> = (0..24)
            .map(|number| {
                let client = client.clone();
                running(&format!("session {number}"), move || handshake(&client, "p"))
            })
            .collect();
        sessions.into_iter().for_each(|session| session.join().expect("served"));
    };
    round();
    round();
    let before = daemon.baseline();
    round();
    let after = daemon.baseline();
    assert!(after.count() <= before.count() + 8, "{before:?} and then {after:?}");
}

#[test]
fn a_private_key_is_never_where_its_certificate_is() {
    let Some(agent) = SshAgent::start() else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    let config = super::agent("a", &agent.socket()) + &signed_profile("p", &identity.certificate_file, "a");
    let daemon = TestDaemon::with_config(config);
    let client = daemon.client();
    assert_fails(&client, "p", Code::SignerRefused);
    agent.add(identity);
    handshake(&client, "p").expect("the agent has the key now");
    agent.forget_all();
    assert_fails(&client, "p", Code::SignerRefused);
}

#[test]
fn an_agent_that_is_locked_refuses_and_serves_when_it_is_unlocked() {
    let Some(agent) = SshAgent::start() else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    agent.add(identity);
    let config = super::agent("a", &agent.socket()) + &signed_profile("p", &identity.certificate_file, "a");
    let daemon = TestDaemon::with_config(config);
    let client = daemon.client();
    handshake(&client, "p").expect("served");
    agent.lock();
    assert_fails(&client, "p", Code::SignerRefused);
    agent.unlock();
    handshake(&client, "p").expect("served again");
}

#[test]
fn a_daemon_starts_before_its_agent() {
    let Some(mut agent) = SshAgent::start() else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    let config = super::agent("a", &agent.socket()) + &signed_profile("p", &identity.certificate_file, "a");
    agent.end();
    let daemon = TestDaemon::with_config(config);
    assert_fails(&daemon.client(), "p", Code::SignerUnreachable);
    agent.begin();
    agent.add(identity);
    assert_recovers(&daemon, "p");
}

#[test]
fn a_reload_moves_a_signer_to_another_socket() {
    let (Some(first), Some(second)) = (SshAgent::start(), SshAgent::start()) else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    let profile = signed_profile("p", &identity.certificate_file, "a");
    first.add(identity);
    let daemon = TestDaemon::with_config(agent("a", &first.socket()) + &profile);
    let client = daemon.client();
    handshake(&client, "p").expect("served by the first");
    daemon.write_config(&(agent("a", &second.socket()) + &profile));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let refused = || handshake(&client, "p").err().filter(|failed| failed.code == Code::SignerRefused);
    until(tlsifyd_tests::wait::LIMIT, refused).expect("the second does not have the key");
    second.add(identity);
    handshake(&client, "p").expect("served by the second");
}

#[test]
fn a_reload_that_is_refused_leaves_the_signer_as_it_was() {
    let (Some(first), Some(second)) = (SshAgent::start(), SshAgent::start()) else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    first.add(identity);
    let profile = signed_profile("p", &identity.certificate_file, "a");
    let daemon = TestDaemon::with_config(agent("a", &first.socket()) + &profile);
    let client = daemon.client();
    handshake(&client, "p").expect("served");
    let wrong = signed_profile("q", std::path::Path::new("/nonexistent.crt"), "a");
    daemon.write_config(&(agent("a", &second.socket()) + &profile + &wrong));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let told = || daemon.log().contains("configuration not reloaded").then_some(());
    until(tlsifyd_tests::wait::LIMIT, told).expect("it is said");
    for _ in 0..3 {
        handshake(&client, "p").expect("served by the first, as before");
    }
}

#[test]
fn a_keyholder_that_was_killed_finds_its_signers_again() {
    let Some(agent) = SshAgent::start() else { return };
    let identity = pki().server(KeyKind::EcdsaP256);
    agent.add(identity);
    let config = super::agent("a", &agent.socket()) + &signed_profile("p", &identity.certificate_file, "a");
    let daemon = TestDaemon::with_config(config);
    handshake(&daemon.client(), "p").expect("served");
    let keyholder = process(&daemon, "tlsifyd-keys").expect("there is a keyholder");
    let keyholder = nix::unistd::Pid::from_raw(keyholder.try_into().expect("a process id fits"));
    nix::sys::signal::kill(keyholder, nix::sys::signal::Signal::SIGKILL).expect("ours");
    assert_recovers(&daemon, "p");
}
