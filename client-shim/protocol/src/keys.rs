//! The tables of verbs and keys: what PROTOCOL.md shows, and what a test compares it and the parser with.

/// A verb of either side. `status` is two: what a caller asks and what the daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Caller: keep a profile.
    Define,
    /// Caller: begin a session as TLS server.
    Accept,
    /// Caller: begin a session as TLS client.
    Connect,
    /// Caller: end a session.
    Cancel,
    /// Caller: ask for an inventory.
    Status,
    /// Caller: empty a store.
    Forget,
    /// Caller: answer a question.
    Choose,
    /// Daemon: what it speaks, can and allows.
    Hello,
    /// Daemon: a profile is there.
    Defined,
    /// Daemon: a request was not begun.
    Refused,
    /// Daemon: a handshake came to nothing.
    Failed,
    /// Daemon: a session is open.
    Established,
    /// Daemon: a session is over.
    Ended,
    /// Daemon: an inventory.
    StatusAnswer,
    /// Daemon: a store is empty.
    Forgotten,
    /// Daemon: a peer's ClientHello has come, what now.
    ClientHello,
}

/// A key of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// What stands before the `=`.
    pub name: &'static str,
    /// Whether the verb cannot do without it.
    pub required: bool,
    /// Whether it may be given more than once.
    pub repeatable: bool,
}

impl Verb {
    /// What callers send.
    pub const REQUESTS: &'static [Self] =
        &[Self::Define, Self::Accept, Self::Connect, Self::Cancel, Self::Status, Self::Forget, Self::Choose];

    /// What the daemon sends.
    pub const ANSWERS: &'static [Self] = &[
        Self::Hello,
        Self::Defined,
        Self::Refused,
        Self::Failed,
        Self::Established,
        Self::Ended,
        Self::StatusAnswer,
        Self::Forgotten,
        Self::ClientHello,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Define => "define",
            Self::Accept => "accept",
            Self::Connect => "connect",
            Self::Cancel => "cancel",
            Self::Status | Self::StatusAnswer => "status",
            Self::Hello => "hello",
            Self::Defined => "defined",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Established => "established",
            Self::Ended => "ended",
            Self::Forget => "forget",
            Self::Forgotten => "forgotten",
            Self::Choose => "choose",
            Self::ClientHello => "client-hello",
        }
    }

    /// Its own keys, in the order in which they are written; without [`TLS_KEYS`].
    #[must_use]
    pub const fn keys(self) -> &'static [Key] {
        match self {
            Self::Define => DEFINE_KEYS,
            Self::Accept | Self::Connect => START_KEYS,
            Self::Cancel => CANCEL_KEYS,
            Self::Status => STATUS_KEYS,
            Self::Hello => HELLO_KEYS,
            Self::Defined => DEFINED_KEYS,
            Self::Refused => REFUSED_KEYS,
            Self::Failed => FAILED_KEYS,
            Self::Established => ESTABLISHED_KEYS,
            Self::Ended => ENDED_KEYS,
            Self::StatusAnswer => STATUS_ANSWER_KEYS,
            Self::Forget => FORGET_KEYS,
            Self::Forgotten => FORGOTTEN_KEYS,
            Self::Choose => CHOOSE_KEYS,
            Self::ClientHello => CLIENT_HELLO_KEYS,
        }
    }

    /// Whether [`TLS_KEYS`] belong to it too.
    #[must_use]
    pub const fn has_tls_keys(self) -> bool {
        matches!(self, Self::Define | Self::Accept | Self::Connect)
    }

    /// Every key it takes.
    pub fn all_keys(self) -> impl Iterator<Item = Key> {
        let tls = if self.has_tls_keys() { TLS_KEYS } else { &[] };
        self.keys().iter().chain(tls).copied()
    }
}

const DEFINE_KEYS: &[Key] =
    &[required("id"), required("profile"), required("role"), optional("fds"), optional("resume")];

/// The keys of `accept` and `connect`.
const START_KEYS: &[Key] = &[
    required("id"),
    required("fds"),
    optional("profile"),
    repeatable("name"),
    optional("server-name"),
    optional("ech-config"),
    optional("ech"),
    optional("to"),
    optional("fast-open"),
    optional("resume"),
    optional("bind"),
    optional("outbound-end"),
    optional("batch"),
    optional("handshake-timeout"),
    optional("idle-timeout"),
    optional("chain"),
    repeatable("export"),
    optional("channel-binding"),
    optional("received"),
    optional("learn"),
    optional("ask"),
    optional("ask-timeout"),
    optional("ask-default"),
];

const CANCEL_KEYS: &[Key] = &[required("id")];

const STATUS_KEYS: &[Key] =
    &[required("id"), optional("scope"), optional("sessions"), optional("stores"), optional("callers")];

const FORGET_KEYS: &[Key] = &[required("id"), optional("store"), optional("fds"), optional("role")];

const FORGOTTEN_KEYS: &[Key] = &[required("id"), required("stores")];

const CHOOSE_KEYS: &[Key] = &[required("id"), required("action"), optional("profile"), optional("alert")];

const CLIENT_HELLO_KEYS: &[Key] = &[
    required("id"),
    required("tls"),
    optional("server-name"),
    optional("alpn"),
    optional("versions"),
    optional("ciphers"),
    optional("groups"),
    optional("key-shares"),
    optional("signature-schemes"),
    optional("ja4"),
    optional("ech"),
];

const HELLO_KEYS: &[Key] = &[
    required("versions"),
    required("daemon"),
    optional("features"),
    required("max-packet"),
    required("max-descriptors"),
    required("max-sessions"),
    required("max-handshakes"),
    required("max-profiles"),
    required("floor"),
    optional("level"),
];

const DEFINED_KEYS: &[Key] = &[required("id"), required("profile"), repeatable("warning")];

const REFUSED_KEYS: &[Key] =
    &[optional("id"), required("code"), required("blame"), optional("about"), optional("text")];

const FAILED_KEYS: &[Key] = &[
    required("id"),
    required("code"),
    required("blame"),
    required("socket"),
    optional("alert"),
    optional("alert-from"),
    optional("spki-sha256"),
    optional("certificate-sha256"),
    optional("ech-retry"),
    optional("fds"),
    optional("text"),
    optional("would"),
    repeatable("note"),
];

const ESTABLISHED_KEYS: &[Key] = &[
    required("id"),
    optional("fds"),
    required("protocol"),
    required("cipher"),
    optional("group"),
    optional("signature"),
    optional("level"),
    optional("alpn"),
    optional("server-name"),
    optional("ech"),
    required("resumed"),
    optional("peer"),
    optional("local"),
    repeatable("matched"),
    optional("spki-sha256"),
    optional("certificate-sha256"),
    repeatable("export"),
    optional("channel-binding"),
    optional("certificate-type"),
];

const ENDED_KEYS: &[Key] = &[
    required("id"),
    required("how"),
    required("in"),
    required("out"),
    optional("alert"),
    optional("alert-from"),
    optional("code"),
    optional("blame"),
    optional("text"),
];

const STATUS_ANSWER_KEYS: &[Key] = &[
    required("id"),
    required("callers"),
    required("sessions"),
    required("handshakes"),
    required("profiles"),
    optional("fds"),
];

/// The TLS keys: of `define`, and of `accept` and `connect` without a profile.
pub const TLS_KEYS: &[Key] = &[
    optional("min"),
    optional("max"),
    optional("level"),
    optional("ciphers"),
    optional("groups"),
    optional("signature-schemes"),
    optional("alpn"),
    optional("alpn-mismatch"),
    optional("max-fragment"),
    optional("extended-master-secret"),
    optional("trust"),
    repeatable("pin"),
    optional("client-certificate"),
    repeatable("allow"),
    optional("unknown-name"),
    optional("certificate-type"),
    optional("key-update-bytes"),
    optional("key-update-interval"),
    optional("crl-check"),
    optional("crl-unknown"),
    optional("crl-stale"),
    optional("stapled-ocsp"),
];

const fn required(name: &'static str) -> Key {
    Key { name, required: true, repeatable: false }
}

const fn optional(name: &'static str) -> Key {
    Key { name, required: false, repeatable: false }
}

const fn repeatable(name: &'static str) -> Key {
    Key { name, required: false, repeatable: true }
}

/// The key that a misspelt one was probably meant to be: at most two edits away.
pub(crate) fn nearest(verb: Verb, key: &str) -> Option<&'static str> {
    nearest_of(verb.all_keys().map(|known| known.name), key)
}

/// The one of `names` that a misspelt `word` was probably meant to be: at most two edits away.
pub fn nearest_of(names: impl Iterator<Item = &'static str>, word: &str) -> Option<&'static str> {
    let near = names.map(|known| (distance(known.as_bytes(), word.as_bytes()), known));
    near.min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, name)| distance <= 2 && distance < name.len() / 2)
        .map(|(_, name)| name)
}

/// Levenshtein's distance, one row at a time; what is longer than any key is far away.
fn distance(known: &[u8], key: &[u8]) -> usize {
    const LONGEST: usize = 32;
    if key.len() >= LONGEST {
        return usize::MAX;
    }
    let mut row: [usize; LONGEST] = core::array::from_fn(|index| index);
    for (line, a) in known.iter().enumerate() {
        let mut corner = line;
        let mut left = line + 1;
        for (slot, b) in row.iter_mut().skip(1).zip(key) {
            let cell = (corner + usize::from(a != b)).min(left + 1).min(*slot + 1);
            corner = core::mem::replace(slot, cell);
            left = cell;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.get(key.len()).copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_recognised() {
        assert_eq!(nearest(Verb::Define, "ciphres"), Some("ciphers"));
        assert_eq!(nearest(Verb::Accept, "recieved"), Some("received"));
        assert_eq!(nearest(Verb::Accept, "received"), Some("received"));
        assert_eq!(nearest(Verb::Cancel, "x"), None);
        assert_eq!(nearest(Verb::Cancel, "a-key-that-is-longer-than-any-key-there-is"), None);
    }
}
