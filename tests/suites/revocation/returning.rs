//! Who was revoked between two sessions does not come back by the ticket of the first: the lists are part of what a ticket
//! is bound to.

use std::fs;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use tlsify_client::{Accept, Client, ClientCertificate, Code, Trust};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::peer::client_config;
use tlsifyd_tests::pki::{Identity, SERVER_NAME, memfd};
use tlsifyd_tests::{
    KeyKind, Open, Peer, RawAnswer, RawCaller, TempDir, TestDaemon, TicketServer, packets, pki, tcp_pair,
};

use super::{EACH, came_to, reload};

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

fn known() -> &'static Identity {
    pki().client(KeyKind::EcdsaP256)
}

/// A session with this list, or without any: it opens, the peer's tickets come, and it ends; or the reason why not.
#[track_caller]
fn visit(caller: &RawCaller, list: Option<&str>, server: &TicketServer) -> RawAnswer {
    let (ca, list) = (pki().ca.fd(), list.map(memfd));
    let mut fds = vec![("ca", &ca)];
    fds.extend(list.as_ref().map(|list| ("crl", list)));
    let mut told = packets::connect(caller, 1, &(packets::usual() + "resume=mine\n"), &fds, &server.config);
    if told.answer.verb() != "established" {
        return told.answer;
    }
    told.hear();
    told.end(caller)
}

#[test]
fn a_server_that_a_new_list_names_does_not_come_back_by_its_ticket() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let (old, new) = (pki().ca.list(&[known()], 0), pki().ca.list(&[known(), good()], 0));
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        let resumed = |list: Option<&str>| {
            let answer = visit(&caller, list, &server);
            assert_eq!(answer.verb(), "established", "{}", answer.text);
            (answer.get("resumed") == Some("yes"), server.shown())
        };
        assert_eq!(resumed(Some(&old)), (false, 0));
        came_to(&visit(&caller, Some(&new), &server), "failed", Some("certificate-revoked"));
        assert_eq!(server.shown(), 0, "the ticket of the old list was shown");
        // Who asks no list, has not asked the old one either.
        assert_eq!(resumed(None), (false, 0));
        assert_eq!(resumed(Some(&old)), (true, 1), "it was there all the time");
        // And a ticket of a session that asked nobody is no way round the list.
        came_to(&visit(&caller, Some(&new), &server), "failed", Some("certificate-revoked"));
        assert_eq!(server.shown(), 0);
    }
}

/// A client that keeps the tickets it gets.
fn visitor(identity: &Identity, version: usize) -> Arc<ClientConfig> {
    let mut config = client_config(pki().ca.roots(), EACH[version], Some(identity));
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// It comes to the door: whether it resumed, or why it is not let in.
fn comes(
    client: &Client,
    visitor: &Arc<ClientConfig>,
    ask: impl FnOnce(Accept) -> Accept,
) -> Result<bool, Code> {
    let (near, far) = tcp_pair();
    let pending = client.start_accept(&ask(Accept::new(far).resume("web"))).unwrap();
    let mut peer = Peer::client(near, Arc::clone(visitor), SERVER_NAME);
    // In TLS 1.3 the client is done before it is judged.
    let _ = peer.handshake();
    let established = pending.wait().map_err(|error| error.code().expect("the daemon gives a code"))?;
    let mut open = Open::new(established);
    open.say("behind the tickets");
    assert_eq!(peer.read_exact(18).unwrap(), b"behind the tickets");
    Ok(open.facts.resumed)
}

#[test]
fn a_client_that_a_new_list_names_does_not_come_back_by_its_ticket() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (old, new) = (pki().ca.list(&[good()], 0), pki().ca.list(&[good(), known()], 0));
    let other = pki().client(KeyKind::Ed25519);
    let asking = |list: Option<&str>| {
        let list = list.map(memfd);
        move |request: Accept| {
            let request = request.certificate(good().certificate_fd()).key(good().key_fd());
            let request = request.client_certificate(ClientCertificate::Required);
            let request = request.trust(Trust::ca(pki().ca.fd()));
            match list {
                None => request,
                Some(list) => request.crl(list),
            }
        }
    };
    for version in [0, 1] {
        // With tickets of the old list, and of no list at all.
        for before in [Some(old.as_str()), None] {
            let (revoked, stays) = (visitor(known(), version), visitor(other, version));
            for visitor in [&revoked, &stays] {
                assert_eq!(comes(&client, visitor, asking(before)), Ok(false));
                assert_eq!(comes(&client, visitor, asking(before)), Ok(true), "the same list resumes");
            }
            assert_eq!(comes(&client, &revoked, asking(Some(&new))), Err(Code::CertificateRevoked));
            assert_eq!(comes(&client, &stays, asking(Some(&new))), Ok(false), "it is looked up first");
            assert_eq!(comes(&client, &stays, asking(Some(&new))), Ok(true));
            assert_eq!(comes(&client, &revoked, asking(Some(&new))), Err(Code::CertificateRevoked));
        }
    }
}

#[test]
fn a_reload_with_a_new_list_is_not_got_round_by_a_ticket() {
    let dir = TempDir::new("lists");
    let file = dir.path().join("clients.crl");
    let rules = format!(
        "client-certificate = \"required\"\ntrust = \"store:ours\"\ncrl = [\"{}\"]\n[[profile.identity]]",
        file.display()
    );
    let profile = server_profile("theirs", "users = [\"*\"]", &good().certificate_file, &good().key_file);
    let config = format!("[[store]]\nname = \"ours\"\nfile = \"{}\"\n", pki().ca.file.display())
        + &profile.replacen("[[profile.identity]]", &rules, 1);
    for version in [0, 1] {
        let list = pki().ca.list(&[], 0);
        fs::write(&file, &list).unwrap();
        let daemon = TestDaemon::with_config(config.clone());
        let client = daemon.client();
        let visitor = visitor(known(), version);
        let asked = || comes(&client, &visitor, |request| request.profile("theirs"));
        assert_eq!((asked(), asked()), (Ok(false), Ok(true)));
        reload(&daemon, "configuration reloaded");
        assert_eq!(asked(), Ok(true), "nothing has changed");
        fs::write(&file, pki().ca.list(&[known()], 0)).unwrap();
        reload(&daemon, "configuration reloaded");
        assert_eq!((asked(), asked()), (Err(Code::CertificateRevoked), Err(Code::CertificateRevoked)));
    }
}
