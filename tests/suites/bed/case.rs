//! One line of the bed, in the words that its lists are written with: what is shown, and what must come of it.

use std::sync::Arc;

use tlsify_client::{Blame, Code, Pin, Sha256};

use super::ask::Question;
use super::authorities::{intermediate, root};
use super::certificates::{Certificate, sha256};
use super::keys::Key;
use super::server::{Only, Server, Then};

/// The name that most servers here are for, and that is asked for unless a case says otherwise.
pub(crate) const SHOP: &str = "shop.example";

pub(crate) struct Case {
    /// The server in a few words; no two have the same.
    pub(crate) what: &'static str,
    scene: Box<dyn Fn() -> Scene>,
    names: Vec<&'static str>,
    pins: Vec<Pinned>,
    keys: Vec<(&'static str, &'static str)>,
    timeout: Option<u64>,
    /// What only the `openssl` command can make.
    pub(crate) needs_openssl: bool,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// Established, and this matched: `name:…`, or one of the two pins.
    Opens(Vec<&'static str>),
    Fails(Failure),
}

pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) blame: Blame,
    pub(crate) alert: Alert,
    pub(crate) socket: &'static str,
    /// In the sentence.
    pub(crate) says: Vec<&'static str>,
    /// Of the command.
    pub(crate) status: i32,
}

/// As the protocol writes it: `42 bad_certificate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alert {
    Sent(&'static str),
    Received(&'static str),
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    Key,
    Certificate,
    /// The key of the good intermediate.
    Issuer,
    /// Of somebody else.
    Another,
}

/// A server, and whom its client trusts.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) trust: Vec<Vec<u8>>,
    /// Revocation lists that the client has.
    pub(crate) lists: Vec<Vec<u8>>,
    /// Of the end-entity certificate, if it can be read.
    pub(crate) spki: Option<Vec<u8>>,
    /// Whether what the server shows gets as far as being a chain.
    pub(crate) arrives: bool,
}

/// A server that shows these, end entity first, and has the first one's key.
pub(crate) fn show(chain: &[&Certificate]) -> Scene {
    let ders = chain.iter().map(|certificate| certificate.der.clone()).collect();
    let mut scene = show_bytes(ders, &chain[0].key);
    scene.spki = Some(chain[0].key.spki().to_vec());
    scene
}

/// A server that shows these bytes, whatever they are.
pub(crate) fn show_bytes(chain: Vec<Vec<u8>>, key: &Arc<Key>) -> Scene {
    let arrives = !chain.is_empty();
    let server = Server::Shows { chain, key: Arc::clone(key), staple: None, only: None };
    Scene { server, trust: vec![root().der.clone()], lists: Vec::new(), spki: None, arrives }
}

/// A server of another kind.
pub(crate) fn other(server: Server) -> Scene {
    Scene { server, trust: vec![root().der.clone()], lists: Vec::new(), spki: None, arrives: false }
}

/// What says these bytes to a ClientHello.
pub(crate) fn says(bytes: impl Into<Vec<u8>>, then: Then) -> Scene {
    other(Server::Says { bytes: bytes.into(), then })
}

impl Scene {
    pub(crate) fn trusting(mut self, authorities: &[&Certificate]) -> Self {
        self.trust = authorities.iter().map(|authority| authority.der.clone()).collect();
        self
    }

    /// Nobody: the pins stand instead of the chain.
    pub(crate) fn trusting_pins(self) -> Self {
        self.trusting(&[])
    }

    pub(crate) fn with_lists(self, lists: Vec<Vec<u8>>) -> Self {
        Self { lists, ..self }
    }

    pub(crate) fn stapling(mut self, response: Vec<u8>) -> Self {
        if let Server::Shows { staple, .. } = &mut self.server {
            *staple = Some(response);
        }
        self
    }

    pub(crate) fn only(mut self, version: Only) -> Self {
        if let Server::Shows { only, .. } = &mut self.server {
            *only = Some(version);
        }
        self
    }

    /// One more at the end of the chain.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if let Server::Shows { chain, .. } = &mut self.server {
            chain.push(bytes.to_vec());
        }
    }

    /// The handshake is signed with the key of another.
    pub(crate) fn signing_with(mut self, key: &Arc<Key>) -> Self {
        if let Server::Shows { key: its, .. } = &mut self.server {
            *its = Arc::clone(key);
        }
        self
    }

    /// The message that brings it is refused as a whole.
    pub(crate) fn refused_unread(mut self) -> Self {
        (self.spki, self.arrives) = (None, false);
        self
    }

    /// So that what is no key cannot be pinned.
    pub(crate) fn unreadable(mut self) -> Self {
        self.spki = None;
        self
    }

    fn pin(&self, which: Pinned) -> Pin {
        let first = self.server.chain().first().map_or(&[][..], Vec::as_slice);
        match which {
            Pinned::Key => Pin::Spki(Sha256(sha256(self.spki.as_deref().unwrap_or_default()))),
            Pinned::Certificate => Pin::Certificate(Sha256(sha256(first))),
            Pinned::Issuer => Pin::Spki(Sha256(sha256(intermediate().key.spki()))),
            Pinned::Another => Pin::Spki(Sha256([7; 32])),
        }
    }
}

/// A server that is let in, because this matched.
pub(crate) fn opens(
    what: &'static str,
    matched: &[&'static str],
    scene: impl Fn() -> Scene + 'static,
) -> Case {
    Case::new(what, Outcome::Opens(matched.to_vec()), scene)
}

/// A server that is not.
pub(crate) fn fails(
    what: &'static str,
    code: Code,
    alert: Alert,
    says: &'static str,
    scene: impl Fn() -> Scene + 'static,
) -> Case {
    let (blame, says) = (Blame::Peer, vec![says]);
    let failure = Failure { code, blame, alert, socket: "closed", says, status: 98 };
    Case::new(what, Outcome::Fails(failure), scene)
}

impl Case {
    fn new(what: &'static str, outcome: Outcome, scene: impl Fn() -> Scene + 'static) -> Self {
        let (names, pins) = (vec![SHOP], Vec::new());
        let scene = Box::new(scene);
        Self { what, scene, names, pins, keys: Vec::new(), timeout: None, needs_openssl: false, outcome }
    }

    /// Asks for these names instead.
    pub(crate) fn asking(mut self, names: &[&'static str]) -> Self {
        self.names = names.to_vec();
        self
    }

    pub(crate) fn pinning(mut self, which: Pinned) -> Self {
        self.pins.push(which);
        self
    }

    /// One more key of the request.
    pub(crate) fn with(mut self, key: &'static str, value: &'static str) -> Self {
        self.keys.push((key, value));
        self
    }

    /// Somebody else than the peer has to act.
    pub(crate) fn blaming(mut self, blame: Blame) -> Self {
        if let Outcome::Fails(failure) = &mut self.outcome {
            failure.blame = blame;
        }
        self
    }

    pub(crate) fn by_openssl(mut self) -> Self {
        self.needs_openssl = true;
        self
    }

    /// This is in the sentence, too.
    pub(crate) fn saying(mut self, words: &'static str) -> Self {
        if let Outcome::Fails(failure) = &mut self.outcome {
            failure.says.push(words);
        }
        self
    }

    /// Its client waits so many milliseconds, and the command ends as one does that has waited.
    pub(crate) fn waiting(mut self, milliseconds: u64) -> Self {
        self.timeout = Some(milliseconds);
        if let Outcome::Fails(failure) = &mut self.outcome {
            failure.status = 99;
        }
        self
    }

    /// Names, authorities and their lists decide, and no pin or choice of the caller.
    pub(crate) fn is_about_the_chain(&self) -> bool {
        self.pins.is_empty() && self.keys.is_empty() && !self.names.is_empty()
    }

    /// The server with what its client asks: certificates are made here.
    pub(crate) fn set(&self) -> (Scene, Question) {
        let scene = (self.scene)();
        let pins = self.pins.iter().map(|which| scene.pin(*which)).collect();
        let (names, trust) = (self.names.clone(), scene.trust.clone());
        let (lists, keys) = (scene.lists.clone(), self.keys.clone());
        let question = Question { names, trust, pins, lists, keys, timeout: self.timeout };
        (scene, question)
    }
}
