//! IRC by shell scripts: two that talk to each other, one over a connection of `tlsify`'s, one over its own.

use std::process::Command;

use tlsifyd_tests::{Program, pki, tool};

use crate::{Host, here, server};

const CHANNEL: &str = "#shell";

/// `tlsify connect HOST:PORT -- irc.sh …`
fn through_the_command(host: &Host, port: u16, words: &[&str]) -> Command {
    let mut command = host.command("tlsify");
    command.arg("connect").arg(format!("localhost:{port}")).arg("--").arg(here("irc.sh")).args(words);
    command
}

#[test]
fn two_scripts_talk_to_each_other() {
    let (Some(python), Some(bash)) = (tool("python3"), tool("bash")) else { return };
    let host = Host::new();
    let (mut irc, port) = host.python(&python, "irc-server.py", server());
    let mut listener = Program::start(&mut through_the_command(&host, port, &["anna", CHANNEL]));
    listener.line_with("joined #shell");
    // The other one connects by itself, and hands over a socket that is open.
    let mut speaker = host.command(bash);
    speaker.arg(here("irc-dial.sh")).args(["localhost", &port.to_string(), "bert", CHANNEL]);
    let spoken = Program::run(speaker.arg("hello, who is there?"));
    assert_eq!(spoken.stderr, "joined #shell\nClosing link (said it)\n", "{spoken:?}");
    assert!(spoken.status.success(), "{spoken:?}");
    let heard = listener.wait();
    assert!(heard.status.success(), "{heard:?}");
    assert!(heard.stderr.ends_with("bert: hello, who is there?\nClosing link (heard it)\n"), "{heard:?}");
    irc.line_with("bert PRIVMSG #shell :hello, who is there?");
    host.is_at_rest();
}

#[test]
fn a_script_says_nothing_to_a_server_that_is_somebody_else() {
    let (Some(python), Some(bash)) = (tool("python3"), tool("bash")) else { return };
    let host = Host::new();
    for identity in [&pki().wrong_name, &pki().wrong_ca] {
        let (irc, port) = host.python(&python, "irc-server.py", identity);
        let mut dialled = host.command(&bash);
        dialled.arg(here("irc-dial.sh")).args(["localhost", &port.to_string(), "bert", CHANNEL, "hello"]);
        for command in [&mut dialled, &mut through_the_command(&host, port, &["bert", CHANNEL, "hello"])] {
            let output = Program::run(command);
            assert_eq!(output.status.code(), Some(98), "{output:?}");
            assert!(output.stderr.starts_with("tlsify: peer's certificate is not "), "{output:?}");
        }
        assert!(!irc.stdout().contains("bert"), "{}", irc.stdout());
    }
    host.is_at_rest();
}
