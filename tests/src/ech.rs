//! Encrypted Client Hello (RFC 9849): keys and configurations, NSS's test server, which is Debian's only one that has it, and
//! a wire that remembers what went over it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128;
use rustls::crypto::hpke::Hpke;
use tlsify_protocol::Bytes;

use crate::door::reach;
use crate::peer::tcp_pair;
use crate::pki::Identity;
use crate::program::Program;
use crate::temp::TempDir;
use crate::tools::tool;
use crate::wait::{Running, running};

/// The server's name that everybody may see.
pub const PUBLIC_NAME: &str = "public.example";

/// A server's key for it, and the configuration that goes with that.
pub struct EchKey {
    private: Vec<u8>,
    config: Vec<u8>,
}

impl EchKey {
    /// A fresh one under this number, for [`PUBLIC_NAME`].
    ///
    /// # Panics
    /// When there is no randomness.
    pub fn new(number: u8) -> Self {
        let (public, private) = DH_KEM_X25519_HKDF_SHA256_AES_128.generate_key_pair().expect("randomness");
        let contents = [
            // Number, X25519 with HKDF-SHA256, the key; two suites, the longest name, the public name, no extensions.
            &[number, 0, 0x20, 0, 32][..],
            &public.0,
            &[0, 8, 0, 1, 0, 1, 0, 1, 0, 3, 100, PUBLIC_NAME.len() as u8],
            PUBLIC_NAME.as_bytes(),
            &[0, 0],
        ]
        .concat();
        let config = [&[0xfe, 0x0d], &block(&contents)[..]].concat();
        Self { private: private.secret_bytes().to_vec(), config }
    }

    /// The ECHConfigList that clients are given.
    pub fn list(&self) -> Vec<u8> {
        block(&self.config)
    }

    /// What `selfserv -X` takes: the key pair as PKCS#8, as NSS writes keys of this curve, then the list.
    fn for_nss(&self) -> String {
        let public = &self.config[9..41];
        let key = der(
            0x30,
            &[der(2, &[1]), der(4, &self.private), der(0xa1, &der(3, &[&[0], public].concat()))].concat(),
        );
        // id-ecPublicKey, and NSS's own name of the curve: 1.3.6.1.4.1.11591.15.1.
        let algorithm = der(
            0x30,
            &[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..], &[6, 9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 15, 1]]
                .concat(),
        );
        let pair = der(0x30, &[der(2, &[0]), algorithm, der(4, &key)].concat());
        base64(&[block(&pair), self.list()].concat())
    }
}

/// Bytes with their length in two bytes in front.
fn block(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a test's block is short");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// One value of DER, shorter than 128 bytes.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    assert!(value.len() < 128, "the short form");
    [&[tag, value.len() as u8], value].concat()
}

/// Bytes as a packet has them.
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let four = tlsify_protocol::base64::encode_group(group);
        text.push_str(std::str::from_utf8(&four).expect("base64 is ASCII"));
    }
    debug_assert_eq!(Bytes::from_base64(&text).map(|read| read.len()), Some(bytes.len()));
    text
}

/// NSS's `selfserv`. Dropped, it ends.
#[derive(Debug)]
pub struct SelfServ {
    /// The program.
    pub program: Program,
    /// Where it listens.
    pub port: u16,
    _dir: TempDir,
}

impl SelfServ {
    /// A server of TLS 1.3 with this identity, and with this key for Encrypted Client Hello if there is one. `None`: this
    /// machine does not have it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(identity: &Identity, key: Option<&EchKey>, options: &[&str]) -> Option<Self> {
        let [serve, certutil, pk12util] = [tool("selfserv")?, tool("certutil")?, tool("pk12util")?];
        let (openssl, dir) = (tool("openssl")?, TempDir::new("selfserv"));
        let run = |program: &Path, words: &[&str]| {
            let mut command = Command::new(program);
            Program::run(command.current_dir(dir.path()).args(words)).ok();
        };
        let (certificate, secret) =
            (identity.certificate_file.display().to_string(), identity.key_file.display().to_string());
        let export = ["pkcs12", "-export", "-name", "us", "-passout", "pass:", "-out", "p12", "-in"];
        run(&openssl, &[&export[..], &[&certificate, "-inkey", &secret]].concat());
        run(&certutil, &["-N", "-d", "sql:.", "--empty-password"]);
        run(&pk12util, &["-i", "p12", "-d", "sql:.", "-W", ""]);
        // It cannot choose a port and say which: one that was free a moment ago has to do.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|free| free.local_addr())
            .expect("a port is free")
            .port();
        let mut command = Command::new(serve);
        command.current_dir(dir.path()).args([
            "-d",
            "sql:.",
            "-n",
            "us",
            "-p",
            &port.to_string(),
            "-V",
            "tls1.3:tls1.3",
            "-v",
        ]);
        let key = key.map(EchKey::for_nss);
        command.args(key.iter().flat_map(|key| ["-X", key])).args(options);
        let program = Program::start(command.stdin(Stdio::null()));
        Some(Self { program, port, _dir: dir })
    }

    /// A connection to it, and what goes over it.
    pub fn wire(&self) -> (TcpStream, Wire) {
        wire(reach(self.port))
    }
}

/// What one side of a connection has sent.
pub type Wire = Running<Vec<u8>>;

/// A connection that leads to this server, byte by byte; joined after its end, what the client sent.
pub fn wire(server: TcpStream) -> (TcpStream, Wire) {
    let (near, far) = tcp_pair();
    let copies = [&far, &server].map(|socket| socket.try_clone().expect("a descriptor is free"));
    thread::spawn(move || {
        let [mut to, mut from] = copies;
        // An end that is an error is an end.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let recorded = running("wire", move || {
        let (mut from, mut to, mut sent, mut some) = (far, server, Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = from.read(&mut some) {
            sent.extend_from_slice(&some[..count]);
            if to.write_all(&some[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        sent
    });
    (near, recorded)
}

/// Whether `name` stands anywhere in these bytes, in any letter case.
pub fn shows(bytes: &[u8], name: &str) -> bool {
    bytes.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
}
