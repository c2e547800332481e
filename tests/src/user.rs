//! Callers of another user, without another program: a thread takes that user's identity, and the kernel reports it for
//! the control connections that the thread opens.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::{fs, thread};

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tlsify_client::Client;

use crate::daemon::TestDaemon;
use crate::raw::RawCaller;

/// A local user, who needs no entry in the user database.
#[derive(Clone, Debug)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl User {
    /// A user with a group of the same number and no other.
    pub fn new(uid: u32) -> Self {
        Self { uid, gid: uid, groups: Vec::new() }
    }

    /// Does `work` in a thread that is this user's in all that the kernel asks: permissions and credentials.
    ///
    /// # Panics
    /// When this process is not root's, and when `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                set_thread_groups(&groups).expect("root may");
                set_thread_res_gid(gid, gid, gid).expect("root may");
                // The last of the three: after it nothing can be changed back.
                set_thread_res_uid(uid, uid, uid).expect("root may");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A control connection of this user, which any thread may use. The daemon's folder is opened for others.
    ///
    /// # Panics
    /// When the daemon takes none.
    pub fn client(&self, daemon: &TestDaemon) -> Client {
        self.enter(daemon);
        self.run(|| Client::connect_to(daemon.socket()))
            .unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()))
    }

    /// The same for packets as they are.
    ///
    /// # Panics
    /// When the daemon takes none.
    pub fn caller(&self, daemon: &TestDaemon) -> RawCaller {
        self.enter(daemon);
        self.run(|| RawCaller::connect(daemon.socket()))
    }

    fn enter(&self, daemon: &TestDaemon) {
        fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o711)).expect("the folder is ours");
    }
}

/// Whether this process can become other users. If not, one line says that `what` is skipped.
pub fn is_root(what: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        // Past the test harness, which keeps what a test that passes prints to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {what} needs root, to be other users");
    }
    root
}
