//! The servers of the bench, each a process of its own: this program again, with `--serve` and a kind.
//!
//! ```text
//!  --serve plain                      the back end alone, for proxies in front of it
//!  --serve handover SOCKET …          the back end, which hands each connection to tlsifyd over one control connection
//!  --serve inside …                   the same three requests by tokio and tokio-rustls, TLS inside the process
//! ```
//!
//! A server prints its address when it is ready and serves until it is killed. The back end is written once; what it
//! costs is part of what its site costs.

mod backend;
mod door;
mod handover;
mod http;
mod inside;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use door::Plain;
use handover::Handover;

/// What the command line of a server says about TLS: `VERSION GROUP CERTIFICATE KEY TICKETS`.
pub(crate) struct Served {
    pub(crate) tls12: bool,
    pub(crate) hybrid: bool,
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) tickets: bool,
}

impl Served {
    /// As words, for the command line of [`serve`].
    pub(crate) fn words(&self) -> [String; 5] {
        let word = |yes: bool, one: &str, other: &str| if yes { one } else { other }.to_owned();
        [
            word(self.tls12, "1.2", "1.3"),
            word(self.hybrid, "X25519MLKEM768", "X25519"),
            self.certificate.clone(),
            self.key.clone(),
            word(self.tickets, "tickets", "none"),
        ]
    }

    fn read(words: &[String]) -> Self {
        let [version, group, certificate, key, tickets] = words else {
            panic!("a server wants five words about TLS, not {words:?}")
        };
        Self {
            tls12: version == "1.2",
            hybrid: group == "X25519MLKEM768",
            certificate: certificate.clone(),
            key: key.clone(),
            tickets: tickets == "tickets",
        }
    }
}

/// Is one of the servers, for ever.
///
/// # Panics
/// When it cannot be; the bench finds it gone, and its words on standard error.
pub(crate) fn serve(words: &[String]) -> ! {
    match words {
        [kind] if kind == "plain" => backend::serve(Plain),
        [kind, socket, tls @ ..] if kind == "handover" => {
            backend::serve(Handover::connect(Path::new(socket), &Served::read(tls)))
        }
        [kind, tls @ ..] if kind == "inside" => inside::serve(&Served::read(tls)),
        other => panic!("no server is called {other:?}"),
    }
}

/// Says that it listens, to whoever started it.
fn announce(address: SocketAddr) {
    writeln!(io::stdout(), "{address}").expect("whoever started it reads");
}
