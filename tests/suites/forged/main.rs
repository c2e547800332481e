//! Peers that break the rules inside the encryption, under keys of a session that was opened by the rules: what they do
//! costs them their own session and nobody else's.
//!
//! Each test is the same story: a healthy session is open, the hostile ones come and go, and then the healthy one goes
//! on, the quota is given back, the descriptors are closed, and the daemon's memory has hardly grown.

mod floods;

use tlsify_client::{Client, Scope};
use tlsifyd_tests::figures::show;
use tlsifyd_tests::handover::{Open, open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Census, TestDaemon};

/// A daemon with one session that nobody is to harm.
struct Bystander {
    daemon: TestDaemon,
    client: Client,
    healthy: Open,
    before: Census,
    memory: u64,
}

impl Bystander {
    fn new(config: &str) -> Self {
        let daemon = TestDaemon::with_config(config);
        let client = daemon.client();
        // What the daemon makes once, for everybody: it is not counted.
        open(&client).assert_alive();
        let mut healthy = open(&client);
        healthy.assert_alive();
        let bystander = Self { before: daemon.fds(), memory: daemon.private_kib(), daemon, client, healthy };
        bystander.given_back();
        Self { before: bystander.daemon.baseline(), ..bystander }
    }

    /// The daemon's memory since the beginning, in KiB.
    fn growth(&self) -> u64 {
        self.daemon.private_kib().saturating_sub(self.memory)
    }

    /// Nothing of the hostile sessions is left but this much memory, in KiB.
    #[track_caller]
    fn unharmed(mut self, most: u64) {
        self.healthy.assert_alive();
        self.given_back();
        self.daemon.settled_fds(&self.before);
        let growth = self.growth();
        show(&format!(
            "{}: memory has grown by {growth} KiB",
            std::thread::current().name().unwrap_or_default()
        ));
        assert!(growth < most, "the daemon keeps {growth} KiB");
        open(&self.client).assert_alive();
    }

    fn given_back(&self) {
        let last = std::cell::Cell::new((0, 0));
        let one_left = || {
            let status = self.client.status(Scope::Own, false).expect("the daemon answers");
            last.set((status.sessions, status.handshakes));
            (last.get() == (1, 0)).then_some(())
        };
        if until(LIMIT, one_left).is_none() {
            panic!("sessions and handshakes still counted: {:?}", last.get());
        }
    }
}
