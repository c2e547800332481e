//! Commands come and go; the next one resumes what the last one left.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::process::Command;

use tlsifyd_tests::{Door, Peer, Program, RawCaller, TestDaemon, TicketServer, packets, pki, reach};

use super::{EACH, good};

/// Where the process of the test below finds everything.
const PORT: &str = "TLSIFYD_TEST_PORT";
const CA: &str = "TLSIFYD_TEST_CA";

#[test]
#[ignore = "the process that the other test starts"]
fn process() {
    let Ok(port) = env::var(PORT) else { return };
    let caller = RawCaller::connect(env::var_os("TLSIFY_SOCK").unwrap());
    let net = reach(port.parse().unwrap());
    let ca = File::open(env::var_os(CA).unwrap()).unwrap();
    let request = format!("tlsify/1 connect\nid=1\nfds=net ca\n{}resume=mine\n", packets::usual());
    let established = caller.ask(request, &[&net, &ca]);
    let word = established.get("resumed").unwrap_or(&established.text);
    writeln!(io::stdout(), "resumed={word}").unwrap();
    // Its own end of the data descriptor and the control connection go with it.
}

#[test]
fn another_process_of_the_same_user_resumes() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        for resumed in ["no", "yes", "yes"] {
            let door = Door::open();
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["processes::process", "--exact", "--ignored", "--nocapture"]);
            command.env("TLSIFY_SOCK", daemon.socket()).env(PORT, door.port().to_string());
            command.env(CA, &pki().ca.file);
            let mut program = Program::start(&mut command);
            let mut peer = Peer::server(door.next(), server.config.clone());
            peer.handshake().unwrap();
            program.line_with(&format!("resumed={resumed}"));
            assert!(program.wait().status.success());
            peer.half_close().unwrap();
            peer.read_to_end().unwrap();
            // The session is gone, and it goes behind the peer's goodbye: the tickets before it were read.
            daemon.settled_fds(&baseline);
        }
    }
}
