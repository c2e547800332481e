//! A small blocking client of tlsifyd: hand over a connected socket, get a plaintext descriptor back.
//!
//! The program keeps its sockets and its `read` and `write`. TLS, the private key and the tickets live in the daemon:
//!
//! ```text
//!  program ──(1) accept or connect + socket──▶ tlsifyd ◀──TLS──▶ peer
//!     ▲                                           │
//!     └──────(2) established + plain descriptor ──┘
//! ```
//!
//! It is a convenience and not the interface: the protocol is (PROTOCOL.md), and thirty lines of any language speak
//! it. This crate knows no TLS, reads no certificate, decides nothing about trust and has no background thread: of
//! the threads that wait, one reads for all.
//!
//! # A server
//!
//! ```no_run
//! use std::fs::File;
//! use std::io::{Read, Write};
//! use std::net::TcpListener;
//! use std::os::unix::net::UnixStream;
//! use tlsify_client::{Accept, Client, Profile};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::connect()?;
//!     let shop = Profile::server("shop")
//!         .certificate(File::open("shop.crt")?)
//!         .key(File::open("shop.key")?)
//!         .alpn(["http/1.1"]);
//!     client.define(&shop)?;
//!
//!     for socket in TcpListener::bind("[::]:8443")?.incoming() {
//!         let (client, socket) = (client.clone(), socket?);
//!         std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!             let open = client.accept(&Accept::new(socket).profile("shop"))?;
//!             let mut plain = UnixStream::from(open.plain.ok_or("no plaintext descriptor")?);
//!             let mut request = [0; 4096];
//!             let _ = plain.read(&mut request)?;
//!             let answer = format!("hello over {}\n", open.facts.protocol);
//!             write!(plain, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())?;
//!             drop(plain); // close_notify goes to the peer
//!             println!("{:?}", open.session.ended()?.how);
//!             Ok(())
//!         });
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # A client
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//! use tlsify_client::{Client, Connect, How};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect()?;
//! // Or Connect::new(socket), for a socket that is connected already.
//! let open = client.connect_tls(&Connect::to("example.org:443")?.name("example.org"))?;
//! let mut plain = UnixStream::from(open.plain.ok_or("no plaintext descriptor")?);
//! plain.write_all(b"GET / HTTP/1.0\r\nHost: example.org\r\n\r\n")?;
//! let mut page = String::new();
//! plain.read_to_string(&mut page)?;
//! drop(plain);
//! // The end of a stream is only the end of the page when the peer said so (RFC 9846 section 6.1).
//! if open.session.ended()?.how != How::CloseNotify {
//!     return Err("the page was cut short".into());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Who owns which descriptor
//!
//! A request ([`Profile`], [`Accept`], [`Connect`]) owns the descriptors that were put in and closes them when it is
//! dropped; the daemon works on copies. What comes back ([`Established::plain`], chains, lists) belongs to whoever
//! holds the answer. An answer that nobody waits for any more is discarded, and its descriptors are closed.

mod answer;
mod asked;
mod client;
mod encode;
mod error;
mod exchange;
mod fdpass;
mod memfd;
mod request;

pub use answer::{Defined, Ended, Export, Facts, Hello, Learned, Matched, Status};
pub use asked::{Choice, ClientHello};
pub use client::{Client, Established, Pending, Session};
pub use error::{Error, Failed, Refused};
pub use memfd::pem_fd;
pub use request::{Accept, AccessRule, Connect, Inventory, Profile, Trust};
pub use tlsify_protocol::{
    Address, Alert, AlpnMismatch, AskDefault, Bind, Blame, CertificateType, ClientCertificate, Code,
    CrlCheck, CrlDoubt, EchDone, ExtendedMasterSecret, How, Level, Party, Pin, RefusalAlert, Role, Scope,
    Sha256, Socket, StapledOcsp, UnknownName, Version, Would,
};

#[cfg(test)]
mod tests;
