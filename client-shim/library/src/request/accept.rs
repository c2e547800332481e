//! A request to be the TLS server.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tlsify_protocol::AskDefault;

use super::{Start, Tls};
use crate::asked::{Asking, Choice, ClientHello};

/// A request to be the TLS server on a connected socket.
#[derive(Debug)]
#[must_use]
pub struct Accept {
    pub(crate) start: Start,
    pub(crate) ask: Option<Asking>,
    pub(crate) tls: Tls,
}

impl Accept {
    /// Hands over this connected stream socket. Keep no other copy of it: the session's traffic is the daemon's.
    pub fn new(net: impl Into<OwnedFd>) -> Self {
        Self { start: Start::new(vec![net.into()]), ask: None, tls: Tls::default() }
    }

    /// Decides about the peer when its ClientHello has come and before it is answered: by its server name, its
    /// fingerprint, or because it is not TLS at all. `choose` runs on the thread that waits for this session, and only
    /// while one waits; it should take no longer than the daemon waits, which is 2 s where nothing else is said.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = tlsify_client::Client::connect()?;
    /// # let socket = std::net::TcpListener::bind("[::]:8443")?.accept()?.0;
    /// use tlsify_client::{Accept, Choice, Code, Error, RefusalAlert};
    ///
    /// let request = Accept::new(socket).profile("shop").ask(|peer| match peer.server_name.as_deref() {
    ///     _ if !peer.tls => Choice::GiveBack,
    ///     Some("shop.example") => Choice::Own,
    ///     Some("mail.example") => Choice::Profile("mail".to_owned()),
    ///     _ => Choice::Refuse(RefusalAlert::UnrecognizedName),
    /// });
    /// match client.accept(&request) {
    ///     Ok(open) => println!("TLS, {}", open.facts.protocol),
    ///     Err(Error::Failed(failed)) if failed.code == Code::GivenBack => {
    ///         println!("another protocol, on {:?}", request.into_nets());
    ///     }
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn ask(mut self, choose: impl Fn(&ClientHello) -> Choice + Send + Sync + 'static) -> Self {
        self.ask = Some(Asking { handler: Arc::new(choose), timeout: None, default: None });
        self
    }

    /// The same, with how long the daemon waits for the ClientHello, and then as long for the choice, in whole
    /// milliseconds; and what it does without one.
    pub fn ask_within(
        mut self,
        limit: Duration,
        otherwise: AskDefault,
        choose: impl Fn(&ClientHello) -> Choice + Send + Sync + 'static,
    ) -> Self {
        self.ask = Some(Asking { handler: Arc::new(choose), timeout: Some(limit), default: Some(otherwise) });
        self
    }

    /// Lets clients resume: the daemon gives them tickets and takes those that it gave, under keys of this store, which
    /// all processes of this user that name it share. The name has 1 to 64 of `A-Z a-z 0-9 . _ -`. A ticket is good for
    /// 12 hours, for the same profile only, and no longer than the client's certificate if there is one: that is checked
    /// again each time. Without it there are no tickets.
    pub fn resume(mut self, store: impl Into<String>) -> Self {
        self.start.resume = Some(store.into());
        self
    }

    /// The same with the keys in this file, so that they outlive the daemon: a regular file of this user's, open for
    /// reading and writing, which only this user may open (mode 0600), empty at first. Several daemons may have it. Open
    /// for reading only, its keys are used and not replaced. A directory (of this user's, mode 0700) stands for a store
    /// in the daemon's memory, known by whoever can open it: nothing is written into it.
    pub fn resume_file(mut self, keys: impl Into<OwnedFd>) -> Self {
        self.start.tickets = Some(keys.into());
        self
    }
}
