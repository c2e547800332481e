//! GnuTLS, which ends a session at the ninth KeyUpdate within a second.

use std::io::Read;

use tlsify_client::{Accept, Connect, How, Trust};
use tlsifyd_tests::gnutls::{ONLY_TLS13, cli, serv};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{Door, Open, TestDaemon, pki, reach, running, tool, wait};

use super::{ENOUGH, OFTEN, again, are_lines, count, good, key_updates, line, say_until_enough};

/// What GnuTLS says of a message when it says nearly all.
const TALKATIVE: [&str; 2] = ["-d", "4"];
const CAME: &str = "received TLS 1.3 key update (1)";
const WENT: &str = "sending key update";

#[test]
fn a_server_takes_new_keys_and_has_its_own() {
    let Some(gnutls) = tool("gnutls-serv") else { return };
    let daemon = TestDaemon::start();
    let [certificate, key] =
        [&good().certificate_file, &good().key_file].map(|file| file.to_str().expect("our paths are text"));
    let options = [&TALKATIVE[..], &["--x509certfile", certificate, "--x509keyfile", key]].concat();
    let (tool, port) = serv(&gnutls, ONLY_TLS13, None, &options);
    let request = Connect::new(reach(port)).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    let open = Open::new(daemon.client().connect_tls(&request.key_update_bytes(OFTEN)).unwrap());
    // It sends back what it gets, in its own time, and the session is as fast as that.
    let mut reader = again(&open.plain);
    let reader = running("reader", move || {
        let mut heard = Vec::new();
        let end = reader.read_to_end(&mut heard);
        end.map(|_| heard).unwrap_or_else(|error| panic!("{error}"))
    });
    let said = say_until_enough(daemon.client(), again(&open.plain), 1).join();
    let updates = key_updates(&daemon.client());
    assert!(updates >= ENOUGH);
    let told = wait::until(wait::LIMIT, || {
        let said = tool.program.stderr();
        (count(&said, &[CAME]) == updates && count(&said, &[WENT]) > 0).then_some(())
    });
    assert_eq!(told, Some(()), "{}", count(&tool.program.stderr(), &[CAME]));
    open.finish();
    let heard = reader.join_within(2 * wait::LIMIT);
    assert!(heard.len() == said && are_lines(&heard), "{} of {said}", heard.len());
}

#[test]
fn a_client_takes_new_keys_and_asks_for_some() {
    let Some(gnutls) = tool("gnutls-cli") else { return };
    let (daemon, door) = (TestDaemon::start(), Door::open());
    let ca = pki().ca.file.to_str().expect("our paths are text");
    let name = ["--sni-hostname", SERVER_NAME, "--verify-hostname", SERVER_NAME, "--inline-commands"];
    let options = [&TALKATIVE[..], &["--x509cafile", ca], &name].concat();
    let mut tool = cli(&gnutls, door.port(), ONLY_TLS13, None, &options);
    let request = Accept::new(door.next()).certificate(good().certificate_fd()).key(good().key_fd());
    let mut open = Open::new(daemon.client().accept(&request.key_update_bytes(OFTEN)).unwrap());
    let said = say_until_enough(daemon.client(), again(&open.plain), 1 << 20).join();
    let last = line(said as u64 / 64 - 1);
    tool.program.line_with(last.trim_end());
    let text = tool.program.stdout();
    let start = text.find(&line(0)).expect("the first line came");
    assert!(are_lines(&text.as_bytes()[start..start + said]), "what we said came as it was");
    let updates = key_updates(&daemon.client());
    assert_eq!(count(&tool.program.stderr(), &[CAME]), updates);
    assert!(updates >= ENOUGH);

    // And the other way round: it asks, and we answer with our next record.
    tool.type_in("^rekey^\n");
    tool.program.line_with("Rekey was completed");
    tool.type_in("hello\n");
    open.hear("hello\n");
    open.say("and back\n");
    tool.program.line_with("and back");
    tool.hang_up();
    assert_eq!(open.rest().1.how, How::CloseNotify);
}
