//! Keys as OpenSSL writes them, in each of the forms that there are.

use std::path::Path;
use std::process::Command;

use tlsify_client::{Client, Code, Defined, Error, Profile};
use tlsifyd_tests::pki::memfd;
use tlsifyd_tests::{Program, TempDir, TestDaemon, tool};

/// Has OpenSSL make a key with `options`, and a certificate for it, and defines a server with both.
fn define(client: &Client, openssl: &Path, options: &[&str]) -> Result<Defined, Error> {
    let dir = TempDir::new("keys");
    let run = |options: &[&str]| {
        Program::run(Command::new(openssl).args(options).current_dir(dir.path())).ok();
    };
    run(options);
    run(&["req", "-x509", "-new", "-key", "key", "-passin", "pass:x", "-subj", "/CN=me", "-out", "crt"]);
    let read = |file: &str| memfd(std::fs::read(dir.path().join(file)).unwrap());
    client.define(&Profile::server("me").certificate(read("crt")).key(read("key")))
}

#[test]
fn keys_are_read_as_openssl_writes_them() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let forms: [&[&str]; 7] = [
        // SEC1, with the parameters in front, and without.
        &["ecparam", "-name", "prime256v1", "-genkey", "-out", "key"],
        &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "key"],
        // PKCS#1 and PKCS#8.
        &["genrsa", "-traditional", "-out", "key", "2048"],
        &["genrsa", "-out", "key", "3072"],
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key"],
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521", "-out", "key"],
        &["genpkey", "-algorithm", "ED25519", "-out", "key"],
    ];
    for form in forms {
        let defined = define(&daemon.client(), &openssl, form);
        assert!(defined.is_ok(), "{form:?}: {defined:?}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_reason() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let forms: [(&[&str], &str); 4] = [
        (&["genrsa", "-aes128", "-passout", "pass:x", "-out", "key", "2048"], "encrypted"),
        (&["genrsa", "-traditional", "-aes128", "-passout", "pass:x", "-out", "key", "2048"], "encrypted"),
        (&["genrsa", "-out", "key", "1024"], "2048 bits or more"),
        (&["ecparam", "-name", "secp256k1", "-genkey", "-out", "key"], "not RSA"),
    ];
    for (form, reason) in forms {
        match define(&daemon.client(), &openssl, form) {
            Err(Error::Refused(refused)) => {
                assert_eq!(refused.code, Code::KeyInvalid, "{form:?}: {refused:?}");
                assert!(refused.text.contains(reason), "{form:?}: {refused:?}");
            }
            other => panic!("{form:?}: {other:?}"),
        }
    }
}
