//! What is whose: processes, crashes, keys.

use tlsify_client::{Accept, Blame, Client, Code, Error, How, Scope};
use tlsifyd_tests::family::{runs, status};
use tlsifyd_tests::handover::{open, open_as};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Census, User, exclusive, tcp_pair, within};

use super::{
    ONE, OTHER, client, config, daemon, is_root, kill_worker, logged, proc_file, profile, worker_of, workers,
};

#[test]
fn two_users_have_two_processes_and_share_the_authorities() {
    if !is_root() {
        return;
    }
    let daemon = daemon();
    let (one, other) = (client(&daemon, ONE), client(&daemon, OTHER));
    let mut sessions = [open_as(&one, "web"), open_as(&other, "web")];
    sessions.iter_mut().for_each(|session| session.assert_alive());
    let again = client(&daemon, ONE);
    open(&again).assert_alive();
    let pids = [worker_of(&daemon, ONE), worker_of(&daemon, OTHER)];
    assert_ne!(pids[0], pids[1]);
    assert!(workers(&daemon).len() <= 3, "root's beside them: {:?}", workers(&daemon));
    for pid in pids {
        assert!(status(pid, "Uid").split_whitespace().all(|id| id != "0"), "nobody's but the daemon's");
    }
    daemon.wake_pool(&one);
    daemon.wake_pool(&other);
    let pool = |pid| {
        let maps = proc_file(pid, "maps");
        let line = maps.lines().find(|line| line.contains("tlsifyd-cas")).unwrap_or_else(|| panic!("{maps}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words[1].starts_with("r--"), "{line}");
        words[4].to_owned()
    };
    assert_eq!(pool(pids[0]), pool(pids[1]), "one memory file for both");
}

#[test]
fn a_worker_that_dies_takes_its_own_users_sessions_and_no_others() {
    if !is_root() {
        return;
    }
    let _alone = exclusive();
    let daemon = daemon();
    let before = Census::of(daemon.pid()).expect("it runs").count();
    let (one, other) = (client(&daemon, ONE), client(&daemon, OTHER));
    let (mut ones, mut others) = (open_as(&one, "web"), open_as(&other, "web"));
    ones.assert_alive();
    // Each worker has its own way to the supervisor; wait until both connections are known.
    worker_of(&daemon, OTHER);
    let known = || Census::of(daemon.pid()).expect("it runs").count();
    let mut last = 0;
    until(LIMIT, || {
        std::thread::sleep(std::time::Duration::from_millis(700));
        let now = known();
        std::mem::replace(&mut last, now).eq(&now).then_some(())
    })
    .expect("it comes to rest");
    assert!(last > before);
    kill_worker(&daemon, ONE);
    let ended = ones.established.session.ended().expect("it is told");
    assert_eq!((ended.how, ended.blame), (How::Error, Some(Blame::Daemon)));
    logged(&daemon, &format!("the worker of uid {ONE} was killed by SIGKILL"));
    others.assert_alive();
    assert!(other.status(Scope::Own, false).is_ok() && one.status(Scope::Own, false).is_err());
    // And who comes again is served again.
    open_as(&client(&daemon, ONE), "web").assert_alive();
    others.assert_alive();
}

#[test]
fn a_user_whose_worker_keeps_crashing_is_refused_for_a_while_and_nobody_else_is() {
    if !is_root() {
        return;
    }
    let daemon = daemon();
    let other = client(&daemon, OTHER);
    let mut others = open_as(&other, "web");
    let refused = format!("the worker of uid {ONE} was killed by SIGKILL, and crashed more than 5 times");
    for _ in 0..6 {
        drop(client(&daemon, ONE));
        kill_worker(&daemon, ONE);
    }
    logged(&daemon, &refused);
    let (user, socket) = (User::new(ONE), daemon.socket());
    let refused = within("the refusal", move || user.run(|| Client::connect_to(socket).is_err()));
    assert!(refused, "it is closed");
    others.assert_alive();
    open_as(&client(&daemon, OTHER), "web").assert_alive();
    open_as(&daemon.client(), "web").assert_alive();
    daemon.terminate();
    drop((others, other));
    assert!(daemon.wait().success(), "{}", daemon.log());
}

/// What a request with this profile is refused for.
fn refused(client: &Client, profile: &str) -> Code {
    match client.accept(&Accept::new(tcp_pair().1).profile(profile)) {
        Err(Error::Refused(refused)) => refused.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn each_worker_has_the_profiles_of_its_user_and_a_group_that_comes_later_brings_its_own() {
    if !is_root() {
        return;
    }
    let more = profile("ones", &format!("users = [{ONE}]")) + &profile("staff", "groups = [5000]");
    let daemon = tlsifyd_tests::TestDaemon::with_config(config(&more));
    let (one, other) = (client(&daemon, ONE), client(&daemon, OTHER));
    open_as(&one, "ones").assert_alive();
    assert_eq!(refused(&other, "ones"), Code::ProfileNotAllowed);
    assert_eq!(refused(&one, "staff"), Code::ProfileNotAllowed);
    assert_eq!(refused(&one, "nobodys"), Code::UnknownProfile);
    let before = worker_of(&daemon, ONE);
    let member = User { groups: vec![5000], ..User::new(ONE) }.client(&daemon);
    open_as(&member, "staff").assert_alive();
    assert_eq!(worker_of(&daemon, ONE), before, "the same process, with more");
    // Who is not in the group is not, though the worker has its profile now.
    assert_eq!(refused(&one, "staff"), Code::ProfileNotAllowed);
    assert_eq!(refused(&client(&daemon, ONE), "staff"), Code::ProfileNotAllowed);
    // What a worker has of the configuration: nothing of what is not for its user is in its memory.
    assert!(runs(before));
}

#[test]
fn all_workers_have_keys_again_when_the_keyholder_crashed() {
    if !is_root() {
        return;
    }
    let daemon = daemon();
    let clients = [client(&daemon, ONE), client(&daemon, OTHER)];
    clients.iter().for_each(|client| open_as(client, "web").assert_alive());
    let keyholder =
        daemon.parts().into_iter().find(|(_, name)| name == "tlsifyd-keys").expect("there is one").0;
    let keyholder = nix::unistd::Pid::from_raw(keyholder.try_into().expect("it fits"));
    nix::sys::signal::kill(keyholder, nix::sys::signal::Signal::SIGKILL).expect("root may");
    logged(&daemon, "keys are held again");
    clients.iter().for_each(|client| open_as(client, "web").assert_alive());
    open_as(&User::new(1003).client(&daemon), "web").assert_alive();
}
