//! What counts for one caller: the rule that is about it, and where it is counted. Decided when it is let in, and again
//! with its first request after a reload.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tlsify_protocol::{Code, Level, Version};

use super::link::Link;
use super::operator::Operator;
use super::refusal::Refusal;
use super::shared::Shared;
use crate::io::ControlSocket;
use crate::policy::{Account, CallerCred, ConnectionSlot, Forbidden, Matter, Ruling};
use crate::sys;

/// What counts for one caller.
pub(super) struct Footing {
    /// What it was decided by.
    operator: Arc<Operator>,
    pub(super) ruling: Ruling,
    pub(super) account: Arc<Account>,
    _slot: ConnectionSlot,
}

impl Footing {
    /// Lets a caller in, or says why not.
    ///
    /// # Errors
    /// A rule denies it everything, or it has as many control connections as it may.
    pub(super) fn admit(shared: &Shared, cred: &CallerCred, runs: Option<PathBuf>) -> Result<Self, Refusal> {
        let operator = shared.operator.load_full();
        let ruling = operator.rules.of(cred, runs.as_deref());
        ruling.enter(cred)?;
        let account = shared.ledger.account(cred.uid, &ruling);
        let slot = account.connection()?;
        Ok(Self { operator, ruling, account, _slot: slot })
    }

    /// Decides again, if the operator has: another rule may be about the caller, or none. It stays in, and what it has
    /// stays counted where it was, but for its connection.
    /// Returns whether it did.
    pub(super) async fn renew(&mut self, shared: &Shared, link: &Link) -> bool {
        if Arc::ptr_eq(&shared.operator.load(), &self.operator) {
            return false;
        }
        let (operator, cred) = (shared.operator.load_full(), &link.cred);
        let runs = match link.socket() {
            Some(socket) => what_it_runs(shared, &operator, &socket, cred).await,
            None => None,
        };
        let ruling = operator.rules.of(cred, runs.as_deref());
        let account = shared.ledger.account(cred.uid, &ruling);
        if !Arc::ptr_eq(&account, &self.account) {
            self._slot = account.moved_connection();
        }
        (self.operator, self.ruling, self.account) = (operator, ruling, account);
        true
    }

    /// The operator's decisions that count for the request at hand.
    pub(super) fn operator(&self) -> Arc<Operator> {
        Arc::clone(&self.operator)
    }

    /// No session of this caller goes below.
    pub(super) fn floor(&self) -> (Version, Option<Level>) {
        self.ruling.floor(self.operator.floor, self.operator.level)
    }

    /// Names the rule in a refusal that is the rule's doing: that a floor is not the host's can be seen nowhere else.
    pub(super) fn explain(&self, mut refusal: Refusal) -> Refusal {
        if refusal.code == Code::BelowFloor
            && self.floor() != (self.operator.floor, self.operator.level)
            && let Some(name) = self.ruling.name()
        {
            refusal.text = format!("{} (rule \"{name}\")", refusal.text);
        }
        refusal
    }
}

/// Whether the log has been told that the supervisor may not look: once is enough.
static DENIED: AtomicBool = AtomicBool::new(false);

/// What the caller runs, where a rule asks. The one place that looks; its descriptor of the process is closed here.
pub(super) async fn what_it_runs(
    shared: &Shared,
    operator: &Operator,
    socket: &ControlSocket,
    cred: &CallerCred,
) -> Option<PathBuf> {
    if !operator.rules.ask_what_it_runs(cred) {
        return None;
    }
    // Before Linux 6.5, and of a process that has ended, there is none: nobody then runs what a rule names.
    let process = sys::peer_process(socket).ok()?;
    let outside = Arc::clone(&shared.outside);
    // Others may be asked, who answer when they do: not on the loop.
    let looked = tokio::task::spawn_blocking(move || outside.executable(process.as_fd())).await;
    let looked = looked.map_err(io::Error::other).and_then(|looked| looked);
    if let Err(error) = &looked
        && error.kind() == io::ErrorKind::PermissionDenied
        && !DENIED.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(
            uid = cred.uid,
            "what other users run cannot be seen, and rules by executable are about none of them: a daemon that root starts \
             with such rules can see it"
        );
    }
    let path = looked.ok().and_then(as_rules_name_it);
    if path.is_none() {
        tracing::debug!(uid = cred.uid, pid = cred.pid, "what a caller runs could not be found out");
    }
    path
}

/// What the kernel appends to the name of a file that is gone. A program that was replaced while it runs is still that
/// program to whoever writes a rule.
const GONE: &[u8] = b" (deleted)";

/// A program's name without what rules do not say; `None` for what no rule can name.
fn as_rules_name_it(path: PathBuf) -> Option<PathBuf> {
    let mut bytes = path.into_os_string().into_vec();
    if bytes.ends_with(GONE) {
        bytes.truncate(bytes.len() - GONE.len());
    }
    Some(PathBuf::from(OsString::from_vec(bytes))).filter(|path| path.is_absolute())
}

impl From<Forbidden> for Refusal {
    fn from(forbidden: Forbidden) -> Self {
        let (code, about) = match forbidden.what {
            Matter::Everything | Matter::Role(_) => (Code::NotPermitted, None),
            Matter::Profile(_) => (Code::ProfileNotAllowed, Some("profile")),
            Matter::Define => (Code::NotPermitted, Some("profile")),
            Matter::Store(_) => (Code::StoreNotAllowed, Some("trust")),
            Matter::ConnectTo => (Code::NotPermitted, Some("to")),
        };
        Self::new(code, about, forbidden.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_keeps_its_name_and_one_out_of_sight_has_none() {
        let named = |path: &str| as_rules_name_it(path.into());
        assert_eq!(named("/usr/sbin/nginx (deleted)"), Some("/usr/sbin/nginx".into()));
        assert_eq!(named("/usr/sbin/nginx"), Some("/usr/sbin/nginx".into()));
        assert_eq!(named("(unreachable)/nginx"), None);
        assert_eq!(named(" (deleted)"), None);
    }
}
