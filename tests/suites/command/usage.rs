//! Command lines that ask for nothing that can be done: 100, and a sentence that says what to change.

use tlsifyd_tests::{TestDaemon, Tlsify, tcp_pair};

/// Words, and the sentence. The hint to `--help` follows each.
const WRONG: &[(&[&str], &str)] = &[
    (&[], "connect, accept or pin?"),
    (&["conect"], "unknown command \"conect\", it is connect, accept or pin"),
    (&["--fd", "5"], "unknown command \"--fd\", it is connect, accept or pin"),
    (&["connect"], "connect where? give HOST:PORT, or a connected socket with --fd"),
    (
        &["connect", "db.example"],
        "bad target \"db.example\": expected HOST:PORT or [ADDRESS]:PORT, with the host's name in ASCII and a number \
         for the port",
    ),
    (&["connect", "--fd", "5", "a.example", "b.example"], "unexpected argument \"b.example\""),
    (&["accept", "--fd", "5", "a.example"], "unexpected argument \"a.example\""),
    (&["connect", "--fd"], "--fd needs a value"),
    (&["connect", "--fd="], "bad value \"\" of --fd: expected a descriptor's number"),
    (&["connect", "--fd", "-1"], "bad value \"-1\" of --fd: expected a descriptor's number"),
    (&["connect", "--fd", "+5"], "bad value \"+5\" of --fd: expected a descriptor's number"),
    (&["connect", "--fd", "4294967301"], "bad value \"4294967301\" of --fd: expected a descriptor's number"),
    (&["connect", "--fd", "5", "--fd", "6"], "--fd is given twice"),
    (&["connect", "--fd", "5", "--timeot", "1"], "unknown option \"--timeot\", did you mean \"--timeout\"?"),
    (
        &["connect", "--fd", "5", "--servername=x"],
        "unknown option \"--servername=x\", did you mean \"--server-name\"?",
    ),
    (&["connect", "--fd", "5", "--insecure"], "unknown option \"--insecure\""),
    (&["connect", "--fd", "5", "-k"], "unknown option \"-k\""),
    (&["connect", "--fd", "5", "--quiet=yes"], "--quiet takes no value"),
    (
        &["connect", "--fd", "5", "--timeout", "0"],
        "bad value \"0\" of --timeout: expected seconds, such as 10 or 2.5",
    ),
    (
        &["connect", "--fd", "5", "--timeout", "1.2345"],
        "bad value \"1.2345\" of --timeout: expected seconds, such as 10 or 2.5",
    ),
    (
        &["connect", "--fd", "5", "--timeout=9999999"],
        "bad value \"9999999\" of --timeout: expected seconds, such as 10 or 2.5",
    ),
    (
        &["connect", "--fd", "5", "--idle-timeout", "soon"],
        "bad value \"soon\" of --idle-timeout: expected seconds, such as 10 or 2.5",
    ),
    (&["connect", "--fd", "5", "--timeout", "1", "--timeout", "2"], "--timeout is given twice"),
    (&["connect", "--fd", "5", "--trust", "system", "--trust", "pins"], "--trust is given twice"),
    (
        &["connect", "--fd", "5", "--trust="],
        "bad value \"\" of --trust: expected system, pins, store:NAME, a file or a folder",
    ),
    (&["accept", "--fd", "5", "--cert", "a.pem"], "--cert without its --key"),
    (&["accept", "--fd", "5", "--key", "a.key", "--ocsp", "a"], "--ocsp without its --cert"),
    (&["accept", "--fd", "5", "--ocsp", "a.der"], "--ocsp without its --cert"),
    (
        &["accept", "--fd", "5", "--cert", "a", "--key", "b", "--ocsp", "c", "--ocsp", "d"],
        "--ocsp without its --cert",
    ),
    (&["connect", "--fd", "5", "--handoff", "--", "cat"], "--handoff and -- PROGRAM exclude each other"),
    (
        &["connect", "--fd", "5", "--private", "--no-fallback"],
        "--private and --no-fallback exclude each other",
    ),
    (&["connect", "--fd", "5", "--ucspi"], "there is no program after --"),
    (&["connect", "--fd", "5", "--"], "there is no program after --"),
    (
        &["accept"],
        "the socket is where the plaintext would go: give a program after --, or another descriptor with --fd",
    ),
];

#[test]
fn each_mistake_is_said_in_its_own_words() {
    for (words, said) in WRONG {
        let said = format!("tlsify: {said}\nhint: tlsify --help lists what there is\n");
        let done = Tlsify::new(words.iter().copied()).run();
        assert_eq!(
            (done.status.code(), done.said, done.stdout),
            (Some(100), said, String::new()),
            "{words:?}"
        );
    }
}

#[test]
fn descriptors_that_are_not_open_are_named() {
    let daemon = TestDaemon::start();
    let call = Tlsify::new(["connect", "--fd", "9", "x.example"]).asking(&daemon);
    call.run().with(100, "tlsify: descriptor 9 is not open, where the socket should be\n");
    let (net, _peer) = tcp_pair();
    let call = Tlsify::connect(&daemon, net).option("--control", "8");
    call.run().with(100, "tlsify: descriptor 8 is not open, where the events should go\n");
}

#[test]
fn the_network_socket_under_another_number_is_no_place_for_the_plaintext_either() {
    let daemon = TestDaemon::start();
    for script in ["exec 0<&5 1>&5", "exec 0<&5", "exec 1>&5"] {
        for words in [&[][..], &["--handoff"]] {
            let (net, _peer) = tcp_pair();
            let call = Tlsify::connect(&daemon, net).script(script);
            words.iter().fold(call, |call, word| call.word(*word)).run().with(
                100,
                "tlsify: the socket is where the plaintext would go: give a program after --, or another descriptor \
                 with --fd\nhint: tlsify --help lists what there is\n",
            );
        }
    }
}

#[test]
fn what_only_the_daemon_can_judge_is_wrong_usage_too() {
    let daemon = TestDaemon::start();
    let judged: &[(&[&str], &str)] = &[
        (&["--min", "1.1", "x.example"], "(bad-value)"),
        (&["--name", "a b", "x.example"], "(bad-value)"),
        (&["--pin", "sha256:short", "x.example"], "(bad-value)"),
        (&["--trust", "pins", "x.example"], ""),
        (&["--fast-open", "x.example"], "(key-conflict)"),
        (&["--client-certificate", "required", "x.example"], "(key-conflict)"),
        (&["--max", "1.2", "--max", "1.3", "x.example"], "(key-conflict)"),
        (&[], "(missing-key)"),
    ];
    for (words, code) in judged {
        let (net, _peer) = tcp_pair();
        let call = Tlsify::new(["connect", "--fd", "5"]).net(net).asking(&daemon);
        let done = words.iter().fold(call, |call, word| call.word(*word)).run();
        assert!(
            done.said.starts_with("tlsify: refused (") && done.said.contains(code),
            "{words:?}: {done:?}"
        );
        assert_eq!(done.status.code(), Some(100), "{words:?}: {done:?}");
    }
    // The two that everybody will meet say what to do.
    let (net, _peer) = tcp_pair();
    let call = Tlsify::new(["connect", "--fd", "5"]).net(net).asking(&daemon);
    call.run().saying(100, "hint: say whom to expect with --name, or which key with --pin\n");
    let (net, _peer) = tcp_pair();
    let call = Tlsify::new(["accept", "--fd", "5"]).net(net).asking(&daemon);
    call.run().saying(100, "hint: say who we are with --cert and --key, or with an operator's --profile\n");
}

#[test]
fn help_and_version_go_to_standard_output_and_need_no_daemon() {
    for words in [&["--help"][..], &["-h"], &["connect", "--fd", "5", "--help"]] {
        let done = Tlsify::new(words.iter().copied()).run().clean();
        assert!(done.stdout.starts_with("usage: tlsify connect "), "{}", done.stdout);
    }
    let version = format!("tlsify {}\n", env!("CARGO_PKG_VERSION"));
    for words in [&["--version"][..], &["-V"], &["accept", "--version"]] {
        assert_eq!(Tlsify::new(words.iter().copied()).run().clean().stdout, version);
    }
    // Nobody reads what was not written.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(Tlsify::new(["--help"]).stdout(full).run().status.code(), Some(111));
}

#[test]
fn options_after_two_dashes_are_the_programs() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = super::connect(&daemon);
    let mut process = call.program(["/bin/echo", "--quiet", "--", "--help"]).start();
    process.shakes(&mut peer);
    let (got, _) = peer.read_to_end().unwrap();
    assert_eq!(got, b"--quiet -- --help\n");
    process.wait().clean();
}
