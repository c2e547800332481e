//! Another library's tickets.

use std::io::Read;

use tlsifyd_tests::openssl::s_server;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{RawCaller, TestDaemon, pki, reach, tool};

use super::good;

#[test]
fn tickets_of_openssl_resume_in_both_versions() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    for version in ["-tls1_2", "-tls1_3"] {
        let (mut server, port) = s_server(&openssl, good(), &[version, "-naccept", "2"]);
        for resumed in ["no", "yes"] {
            let request = format!(
                "tlsify/1 connect\nid=1\nfds=net ca\nname={SERVER_NAME}\ntrust=descriptor\nresume={}\n",
                &version[1..]
            );
            let mut established = caller.ask(request, &[&reach(port), &pki().ca.fd()]);
            assert_eq!(established.verb(), "established", "{}", established.text);
            assert_eq!(established.get("resumed"), Some(resumed), "{version}: {}", established.text);
            assert!(established.get("matched").is_some() && established.get("spki-sha256").is_some());
            let mut plain = std::os::unix::net::UnixStream::from(established.fds.remove(0));
            // Behind the tickets of TLS 1.3.
            server.type_in("word\n");
            let mut word = [0; 5];
            plain.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"word\n");
            drop(plain);
            assert_eq!(caller.answer().verb(), "ended");
        }
    }
}
