//! Who may have what, and how much of it: rules, quotas, profiles, the inventory, and files that only some may read.

mod ca_folder;
mod executables;
mod floors;
mod inventory;
mod paces;
mod profiles;
mod quotas;
mod rules;
mod table;

use std::fmt::Debug;

use nix::sys::signal::Signal;
use tlsify_client::{Accept, Blame, Client, Code, Defined, Error, Profile, Refused};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TestDaemon, tcp_pair};

/// Replaces the configuration, and waits until it counts.
fn reload(daemon: &TestDaemon, config: &str) {
    daemon.write_config(config);
    let before = daemon.log().len();
    daemon.signal(Signal::SIGHUP);
    let said = until(LIMIT, || daemon.log()[before..].contains("configuration reloaded").then_some(()));
    assert!(said.is_some(), "not reloaded:\n{}", daemon.log());
}

/// The refusal that this has to be.
#[track_caller]
fn refused<T: Debug>(result: Result<T, Error>) -> Refused {
    match result {
        Err(Error::Refused(refused)) => *refused,
        other => panic!("not refused: {other:?}"),
    }
}

/// Asserts that this is a refusal for quota.
#[track_caller]
fn assert_quota<T: Debug>(result: Result<T, Error>, what: &str) {
    let refused = refused(result);
    assert_eq!((refused.code, refused.blame), (Code::Quota, Blame::Caller), "{refused:?}");
    assert!(refused.text.contains(what), "{refused:?}");
}

/// Defines a server's profile.
fn define(client: &Client, name: &str, identity: &Identity) -> Result<Defined, Error> {
    client.define(&Profile::server(name).certificate(identity.certificate_fd()).key(identity.key_fd()))
}

/// Asks for a session with this profile that cannot get far: nobody is at the other end.
fn try_profile(client: &Client, name: &str) -> Result<(), Error> {
    let (_, net) = tcp_pair();
    client.accept(&Accept::new(net).profile(name)).map(|_| ())
}

/// Asserts that a session with this profile was begun.
#[track_caller]
fn assert_usable(client: &Client, name: &str) {
    match try_profile(client, name) {
        Err(Error::Failed(failed)) => assert_eq!(failed.code, Code::ClosedByPeer, "{failed:?}"),
        other => panic!("not begun: {other:?}"),
    }
}
