//! Sessions that a cache of the operator's keeps: whose they are, what the cache learns, and what it can do by being slow,
//! absent, or a liar. Which is: nothing but cost a full handshake.

mod away;
mod before;
mod lies;
mod served;
mod shared;

use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;
use tlsify_client::{Accept, Client, Scope};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Options, TestDaemon};

use super::good;
use super::served::session;

/// The profile `web` for everybody, with its sessions at this address.
fn config(address: &str, more: &str) -> String {
    let profile = server_profile("web", "users = [\"*\"]", &good().certificate_file, &good().key_file);
    format!("{profile}[profile.resumption]\ncache = \"{address}\"\n{more}\n")
}

/// Answers of a machine that is busy with other tests come, too.
const PATIENT: &str = "deadline = \"5s\"";

/// A daemon with such a profile, and a caller.
struct World {
    daemon: TestDaemon,
    client: Client,
}

/// The usual request.
fn to_web(net: TcpStream) -> Accept {
    Accept::new(net).profile("web").resume("web")
}

impl World {
    fn new(address: &str) -> Self {
        Self::with(config(address, PATIENT))
    }

    fn with(config: String) -> Self {
        let daemon = TestDaemon::with_config(config);
        let client = daemon.client();
        Self { daemon, client }
    }

    /// The same with `tlsifyd --private`.
    fn private(config: String) -> Self {
        let daemon = TestDaemon::private_with(Options { config: Some(config), ..Options::default() });
        let client = daemon.client();
        Self { daemon, client }
    }

    /// What `status` says of this user's store `web`; a key that is not there is 0.
    fn counts<const N: usize>(&self, keys: [&str; N]) -> [u64; N] {
        let text = self.client.stores(Scope::Own).unwrap();
        let line = text.lines().find(|line| line.contains(" role=server store=web ")).unwrap_or_default();
        keys.map(|key| {
            let word = line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            word.map_or(0, |count| count.parse().unwrap())
        })
    }

    /// Until what was put away is there, or not. It is sent beside the session, so nothing else tells.
    #[track_caller]
    fn settle(&self) {
        let settled = until(LIMIT, || {
            let [issued, kept, dropped] = self.counts(["issued", "cache-kept", "cache-dropped"]);
            (issued == kept + dropped).then_some(())
        });
        assert!(settled.is_some(), "{}", self.client.stores(Scope::Own).unwrap());
    }

    /// A whole session of this visitor, and what it leaves. Whether it resumed.
    #[track_caller]
    fn visit(&self, visitor: &Arc<ClientConfig>) -> bool {
        let resumed = self.visit_at_once(visitor);
        self.settle();
        resumed
    }

    /// The session alone.
    #[track_caller]
    fn visit_at_once(&self, visitor: &Arc<ClientConfig>) -> bool {
        session(&self.client, visitor, |request| request.profile("web").resume("web")).resumed
    }
}
