//! The messages between a caller and `tlsifyd`, as types.
//!
//! `client-shim/PROTOCOL.md` is the contract; this crate is how our side of it is read and written. A packet is text:
//! one line with protocol, version and verb, then `key=value` lines. Its descriptors travel beside it and are only
//! *named* here, in `fds=`.
//!
//! ```text
//!            bytes of one packet                        typed message
//!  ┌──────────────────────────────────┐  parse   ┌───────────────────────┐
//!  │ tlsify/1 accept                  │ ───────▶ │ Request::Accept(Start)│
//!  │ id=17                            │          │   id: 17              │
//!  │ fds=net                          │  write   │   fds: [Net]          │
//!  │ profile=shop.example             │ ◀─────── │   profile: …          │
//!  └──────────────────────────────────┘          └───────────────────────┘
//!            ▲ every text in the message borrows the packet: nothing is copied, nothing allocated
//! ```
//!
//! What it does: everything that can be decided from the text alone is decided in [`Request::parse`] and
//! [`Answer::parse`], so that who holds a message may trust it. The writer applies the same rules, so what it
//! produces is what the parser accepts, and a message that was written parses back to an equal one.
//!
//! What it does not do: no I/O, no descriptors, no clock, no policy, no look into certificates or names. It needs
//! neither `std` nor an allocator.
//!
//! ```
//! use tlsify_protocol::{FdName, Request, Start, Words};
//!
//! let ask = Request::Connect(Start {
//!     names: tlsify_protocol::Items::from_slice(&["shop.example"]),
//!     fds: Words::from_slice(&[FdName::Net]),
//!     ..Start::new(17)
//! });
//! let mut packet = [0; 256];
//! let len = ask.write(&mut packet).unwrap();
//! assert_eq!(&packet[..len], b"tlsify/1 connect\nid=17\nfds=net\nname=shop.example\n");
//! assert_eq!(Request::parse(&packet[..len]).unwrap(), ask);
//! ```
//!
//! Walk: [`message`] (what can be said), [`value`] (what can stand behind a `=`), [`list`] (repeated keys and
//! space-separated words), [`keys`] (the tables), [`text`] (packets without types), then `lines`, `parse`, `rules`, `write`.

#![no_std]
#![deny(unsafe_code)]

#[cfg(any(feature = "std", test))]
extern crate std;

pub mod base64;
mod error;
pub mod keys;
pub mod limits;
mod lines;
pub mod list;
pub mod message;
mod parse;
mod rules;
pub mod text;
pub mod value;
mod write;

pub use error::{ParseError, WriteError};
pub use limits::*;
pub use list::{Items, Words};
pub use message::{
    Answer, Choice, Choose, ClientHello, Define, Defined, Ended, Established, Failed, Forget, Hello, Refused,
    Request, Start, StatusAnswer, StatusQuery, TlsKeys,
};
pub use value::{
    Action, Address, Alert, Allow, Alpn, AlpnMismatch, Ask, AskDefault, Bind, Blame, Bytes, CertificateType,
    ClientCertificate, Code, CrlCheck, CrlStale, CrlUnknown, Ech, EchDone, ExportRequest, ExportValue,
    ExtendedMasterSecret, FdName, How, Level, Matched, OutboundEnd, Party, Phase, Pin, ProfileName,
    RefusalAlert, Role, Scope, ServerName, Sha256, Socket, StapledOcsp, StoreName, Target, Trust,
    UnknownName, Version, Would,
};
