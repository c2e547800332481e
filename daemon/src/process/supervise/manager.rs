//! The service manager.

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Clone, Copy)]
pub(super) struct Manager {
    /// Whether it is ours: a private daemon has its environment from a program that may be somebody's service, and is not
    /// to speak for that.
    pub(super) ours: bool,
}

impl Manager {
    pub(super) fn tell(self, state: NotifyState<'_>) {
        if self.ours
            && let Err(error) = sd_notify::notify(&[state])
        {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}
