//! Encrypted Client Hello as a client: the name is not to be seen on the way, and nobody on the way talks us out of it.

mod grease;
mod hidden;
mod rejected;
mod requests;

use std::io::{Read, Write};
use std::sync::OnceLock;

use tlsify_client::{Client, Connect, Error, Failed, Trust};
use tlsifyd_tests::ech::PUBLIC_NAME;
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{Open, pki};

/// The name that is meant.
const HIDDEN: &str = "hidden.example";

/// A certificate for both names: one server is both.
fn both() -> &'static Identity {
    static BOTH: OnceLock<Identity> = OnceLock::new();
    BOTH.get_or_init(|| pki().server_named("ech-both", &[PUBLIC_NAME, HIDDEN]))
}

/// A request for the hidden name.
fn hiding(net: impl Into<std::os::fd::OwnedFd>, list: &[u8]) -> Connect {
    Connect::new(net).name(HIDDEN).trust(Trust::ca(pki().ca.fd())).ech_config(list)
}

fn open(client: &Client, connect: &Connect) -> Open {
    Open::new(client.connect_tls(connect).unwrap_or_else(|error| panic!("{error}")))
}

#[track_caller]
fn failed(client: &Client, connect: &Connect) -> Box<Failed> {
    match client.connect_tls(connect) {
        Err(Error::Failed(failed)) => failed,
        other => panic!("{other:?}"),
    }
}

/// Asks NSS's server for a page, and gets one.
#[track_caller]
fn fetch(open: &mut Open) {
    open.plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut start = [0; 15];
    open.plain.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.0 200 OK");
}
