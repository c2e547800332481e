//! What the person at the terminal reads.

use std::io::Write;
use std::time::Duration;

use tlsify_client::{Facts, Matched};

use super::error::DemoError;
use super::fetch::Fetched;
use super::folder::Folder;
use super::website::Visit;
use super::{NAME, PROFILE};

pub(super) struct Transcript<'a>(&'a mut dyn Write);

impl<'a> Transcript<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self(out)
    }

    /// Who takes part, and who holds what.
    pub(super) fn cast(&mut self, folder: &Folder, server: u32, port: u16) -> Result<(), DemoError> {
        let us = std::process::id();
        self.write(&format!(
            "tlsifyd demo: a web server and a client that know no TLS talk TLS\n\
             \n\
             who holds what\n\
             \x20 pid {us:<8} tlsifyd      the private key of {NAME}, made just now, in memory only; TLS of both sides\n\
             \x20              client       connects, asks for {NAME}, trusts only the throwaway CA\n\
             \x20 pid {server:<8} web server   listens on {NAME}:{port}; no key, no TLS, an empty environment\n\
             \x20 {}   ca.pem and tlsifyd's socket, for this user only\n\
             \n",
            folder.path().display()
        ))
    }

    /// What happened, step by step, on both sides.
    pub(super) fn round_trip(&mut self, fetched: &Fetched, server: &Visit) -> Result<(), DemoError> {
        let Fetched { address, facts, handshake, whole, .. } = fetched;
        self.write(&format!(
            "one round trip\n\
             \x20 1 client      connected to {address} and handed over 2 descriptors: connect fds=net ca name={NAME}\n\
             \x20 2 web server  accepted {} and handed over 1 descriptor: accept fds=net profile={PROFILE}\n\
             \x20 3 tlsifyd     opened TLS on both sockets and gave each side 1 plaintext descriptor, after {}\n",
            server.peer,
            milliseconds(*handshake)
        ))?;
        for (what, value) in parameters(facts) {
            self.write(&format!("                 {what:<14} {value}\n"))?;
        }
        let ended = &fetched.ended;
        self.write(&format!(
            "\x20 4 client      wrote {} bytes, read {} bytes, ended with {}\n\
             \x20   web server  read {} bytes, wrote {} bytes, ended with {}\n\
             \x20 done in {}, and both sides agree. The page:\n\n",
            ended.bytes_out,
            ended.bytes_in,
            ended.how.as_str(),
            server.bytes_in,
            server.bytes_out,
            server.how,
            milliseconds(*whole)
        ))?;
        for line in fetched.body().lines() {
            self.write(&format!("    | {line}\n"))?;
        }
        self.write("\n")
    }

    /// How to try it by hand.
    pub(super) fn invitation(&mut self, folder: &Folder, port: u16) -> Result<(), DemoError> {
        self.write(&format!(
            "try it\n\x20 curl --cacert {} https://{NAME}:{port}/\n\nserving until Ctrl-C\n",
            folder.ca().display()
        ))
    }

    /// Somebody came by.
    pub(super) fn visitor(&mut self, visit: &Visit) -> Result<(), DemoError> {
        self.write(&format!(
            "\x20 {}  {} {}  in {} out {}  ended with {}\n",
            visit.peer, visit.protocol, visit.cipher, visit.bytes_in, visit.bytes_out, visit.how
        ))
    }

    /// Somebody came by, and no session opened.
    pub(super) fn visitor_failed(&mut self, peer: &str, why: &str) -> Result<(), DemoError> {
        self.write(&format!("\x20 {peer}  {why}\n"))
    }

    /// The last line.
    pub(super) fn gone(&mut self) -> Result<(), DemoError> {
        self.write("the web server has ended, the key, the CA and the folder are gone\n")
    }

    fn write(&mut self, text: &str) -> Result<(), DemoError> {
        // Each piece at once: somebody may be reading along, or behind a pipe.
        self.0.write_all(text.as_bytes()).and_then(|()| self.0.flush()).map_err(DemoError::Write)
    }
}

fn parameters(facts: &Facts) -> Vec<(&'static str, String)> {
    let unknown = || "not told".to_owned();
    let matched = facts.matched.iter().map(|matched| match matched {
        Matched::Name(name) => format!("name {name}"),
        other => format!("{other:?}"),
    });
    vec![
        ("version", facts.protocol.clone()),
        ("cipher suite", facts.cipher.clone()),
        ("key exchange", facts.group.clone().unwrap_or_else(unknown)),
        ("signature", facts.signature.clone().unwrap_or_else(unknown)),
        ("matched", matched.collect::<Vec<_>>().join(", ")),
        ("server name", facts.server_name.clone().unwrap_or_else(unknown)),
        (
            "alpn",
            facts.alpn.as_deref().map_or_else(unknown, |name| String::from_utf8_lossy(name).into_owned()),
        ),
    ]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
