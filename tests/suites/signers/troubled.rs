//! A real ssh-agent that hangs, is killed and comes back, while another profile keeps serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::signers::signed_profile;
use tlsifyd_tests::wait::Running;
use tlsifyd_tests::{KeyKind, SshAgent};

/// The key that the agent has, and the keyholder has not.
const THEIRS: KeyKind = KeyKind::EcdsaP384;

/// Profile `away`, whose key the agent has, and `here`, whose key the keyholder has.
fn both(agent: &SshAgent) -> TestDaemon {
    agent.add(pki().server(THEIRS));
    let ours = pki().server(KeyKind::EcdsaP256);
    let here = server_profile("here", "users = [\"*\"]", &ours.certificate_file, &ours.key_file);
    let away = signed_profile("away", &pki().server(THEIRS).certificate_file, "a");
    TestDaemon::with_config(super::agent("a", &agent.socket()) + &here + &away)
}

/// Handshakes with `here`, one after the other, until they are counted.
struct Others {
    stop: Arc<AtomicBool>,
    running: Running<Vec<Duration>>,
}

impl Others {
    fn begin(daemon: &TestDaemon) -> Self {
        let (client, stop) = (daemon.client(), Arc::new(AtomicBool::new(false)));
        let told = stop.clone();
        let running = running("the other profile", move || {
            let mut took = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                handshake(&client, "here").expect("served whatever the agent does");
                took.push(begun.elapsed());
            }
            took
        });
        Self { stop, running }
    }

    /// How long each took. What the times are decides nothing: they are for people.
    fn end(self, what: &str) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.running.join();
        took.sort();
        let count = took.len();
        #[expect(clippy::print_stderr, reason = "the harness shows it to who asks for it")]
        {
            let p99 = took.get(count.saturating_sub(1) * 99 / 100);
            eprintln!("{what}: {count} handshakes of the other profile, p99 {p99:?}");
        }
        count
    }
}

#[test]
fn an_agent_that_hangs_fails_its_own_handshakes_at_the_deadline_and_nobody_elses() {
    let Some(mut agent) = SshAgent::start() else { return };
    let daemon = both(&agent);
    let client = daemon.client();
    handshake(&client, "away").expect("served");
    let others = Others::begin(&daemon);
    std::thread::sleep(DEADLINE);
    assert!(others.end("while the agent works") > 0);
    agent.hang();
    let others = Others::begin(&daemon);
    let begun = Instant::now();
    assert_fails(&client, "away", Code::SignerTimeout);
    assert!(begun.elapsed() >= DEADLINE, "{:?}", begun.elapsed());
    // Several at once are no longer about than one.
    let waiting: Vec<_> = (0..8)
        .map(|number| {
            let client = client.clone();
            running(&format!("waiting {number}"), move || {
                handshake(&client, "away").map_err(|failed| failed.code)
            })
        })
        .collect();
    for waiting in waiting {
        assert_eq!(waiting.join(), Err(Code::SignerTimeout));
    }
    assert!(others.end("while the agent hangs") > 0);
    agent.go_on();
    assert_recovers(&daemon, "away");
}

#[test]
fn an_agent_that_was_killed_is_unreachable_and_picked_up_again_without_a_reload() {
    let Some(mut agent) = SshAgent::start() else { return };
    let daemon = both(&agent);
    let client = daemon.client();
    handshake(&client, "away").expect("served");
    let others = Others::begin(&daemon);
    agent.end();
    for _ in 0..5 {
        assert_fails(&client, "away", Code::SignerUnreachable);
    }
    agent.begin();
    agent.add(pki().server(THEIRS));
    assert_recovers(&daemon, "away");
    assert!(others.end("while the agent was away") > 0);
}

#[test]
fn an_agent_that_is_restarted_between_two_sessions_is_not_noticed() {
    let Some(mut agent) = SshAgent::start() else { return };
    let daemon = both(&agent);
    let client = daemon.client();
    for _ in 0..3 {
        handshake(&client, "away").expect("served");
        agent.end();
        agent.begin();
        agent.add(pki().server(THEIRS));
    }
    handshake(&client, "away").expect("served");
}

#[test]
fn handshakes_that_fail_with_their_agent_leave_nothing() {
    let Some(mut agent) = SshAgent::start() else { return };
    let daemon = both(&agent);
    let client = daemon.client();
    handshake(&client, "away").expect("served");
    agent.hang();
    assert_fails(&client, "away", Code::SignerTimeout);
    let before = daemon.baseline();
    for _ in 0..6 {
        assert_fails(&client, "away", Code::SignerTimeout);
    }
    let after = daemon.baseline();
    assert!(after.count() <= before.count(), "{before:?} and then {after:?}");
}
