//! The command as it is released: small, static, without libc, and the same in all that it does. What its entry and its
//! own few system calls could get wrong is tested on it and not on the ordinary build.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use tlsifyd_tests::{Done, End, Program, TempDir, TestDaemon, Tlsify, built, tool};

use super::{accept, connect};

/// Bytes that it may have.
const LARGEST: u64 = 65_536;
/// System calls of one filter from its first to its last: it makes fewer than thirty, and a libc as many at its start.
const CALLS: usize = 40;

/// What is read of an ELF file of 64 bits: type and flags of each segment (System V ABI, program header).
fn segments(file: &[u8]) -> Vec<(u32, u32)> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let half = |at: usize| usize::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
    assert_eq!(&file[..5], b"\x7fELF\x02", "an ELF file of 64 bits");
    let (table, size, count) = (word(32) as usize, half(54), half(56));
    (0..count).map(|entry| table + entry * size).map(|at| (word(at), word(at + 4))).collect()
}

/// A filter that goes well.
fn goes_well(call: Tlsify, mut peer: tlsifyd_tests::Peer) -> Done {
    let mut process = call.start();
    process.shakes(&mut peer);
    peer.write_all(b"good").unwrap();
    peer.half_close().unwrap();
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    process.wait()
}

#[test]
fn it_is_small_static_and_has_nothing_that_is_writable_and_runs() {
    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2;
    const INTERP: u32 = 3;
    const GNU_STACK: u32 = 0x6474_e551;
    let file = fs::read(built::freestanding()).unwrap();
    assert!(file.len() as u64 <= LARGEST, "{} bytes", file.len());
    let segments = segments(&file);
    assert!(segments.iter().any(|(kind, _)| *kind == LOAD), "{segments:?}");
    assert!(!segments.iter().any(|(kind, _)| matches!(*kind, DYNAMIC | INTERP)), "{segments:?}");
    // Bits 1 and 2: may run, may be written.
    assert!(!segments.iter().any(|(_, flags)| flags & 3 == 3), "{segments:?}");
    assert!(segments.iter().any(|(kind, flags)| *kind == GNU_STACK && flags & 1 == 0), "{segments:?}");
}

#[test]
fn it_serves_and_connects_and_starts_programs() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for (call, peer) in [connect(&daemon), accept(&daemon)] {
        assert_eq!(goes_well(call.binary(built::freestanding()), peer).clean().stdout, "good");
    }
    let (call, mut peer) = accept(&daemon);
    let call = call.binary(built::freestanding()).env("KEPT", "1").shell("echo \"$KEPT $SSL_PROTOCOL\"");
    let mut process = call.start();
    process.shakes(&mut peer);
    assert_eq!(peer.read_to_end().unwrap(), (b"1 TLSv1.3\n".to_vec(), End::CloseNotify));
    process.wait().clean();
    daemon.settled_fds(&baseline);
}

#[test]
fn it_starts_a_daemon_of_its_own() {
    let dir = TempDir::new("freestanding");
    let copy = Program::run(Command::new("cp").arg(built::freestanding()).arg(dir.path().join("tlsify")));
    assert!(copy.status.success(), "{copy:?}");
    std::os::unix::fs::symlink(built::daemon(), dir.path().join("tlsifyd")).unwrap();
    let (ours, theirs) = tlsifyd_tests::tcp_pair();
    let call = Tlsify::new(["connect", "--fd", "5", tlsifyd_tests::pki::SERVER_NAME, "--private"]);
    let call = call.trusting(&tlsifyd_tests::pki().ca.file).binary(dir.path().join("tlsify")).net(ours);
    let peer = tlsifyd_tests::outgoing::server_peer(theirs);
    assert_eq!(goes_well(call, peer).clean().stdout, "good");
}

#[test]
fn it_starts_with_few_system_calls() {
    let Some(strace) = tool("strace") else { return };
    let daemon = TestDaemon::start();
    let dir = TempDir::new("strace");
    let log = dir.path().join("calls");
    let (call, mut peer) = connect(&daemon);
    // strace becomes the command's parent and passes everything on.
    let words = [strace.into_os_string(), "-o".into(), log.clone().into(), built::freestanding().into()];
    let mut process = call.under(words).start();
    process.shakes(&mut peer);
    peer.half_close().unwrap();
    peer.read_to_end().unwrap();
    let done = process.wait();
    if done.said.contains("ptrace") || done.said.contains("PTRACE") {
        // A sandbox may forbid it. That is the machine's business, and everything else here has passed.
        return;
    }
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let log = fs::read_to_string(log).unwrap();
    let calls: Vec<&str> = log.lines().filter(|line| line.contains('(')).collect();
    #[expect(clippy::print_stdout, reason = "for whoever looks with --nocapture")]
    {
        println!("{} system calls:\n{}", calls.len(), calls.join("\n"));
    }
    assert!(calls.len() <= CALLS, "{} system calls:\n{}", calls.len(), calls.join("\n"));
}

#[test]
fn closed_standard_descriptors_carry_nothing_and_their_numbers_go_to_nobody() {
    // std opens what is closed before it calls main; here nobody does.
    let daemon = TestDaemon::start();
    for script in ["exec 0<&-", "exec 1>&-", "exec 2>&-", "exec 0<&- 1>&-", "exec 0<&- 1>&- 2>&-"] {
        let (call, mut peer) = connect(&daemon);
        let mut process = call.binary(built::freestanding()).script(script).start();
        process.shakes(&mut peer);
        // Nothing is there to be said, and the peer hears that at once.
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify), "{script}");
        peer.write_all(b"to somebody or nobody").unwrap();
        // The message that follows from this finds its way to standard error, or to nobody.
        peer.truncate().unwrap();
        let done = process.wait();
        assert_eq!(done.status.code(), Some(98), "{script}: {done:?}");
        let expected = if script.contains("1>&-") { "" } else { "to somebody or nobody" };
        assert_eq!(done.stdout, expected, "{script}");
        assert_eq!(done.said.is_empty(), script.contains("2>&-"), "{script}: {done:?}");
    }
    assert_eq!(
        Tlsify::new(["--help"]).binary(built::freestanding()).script("exec 1>&-").run().status.code(),
        Some(111)
    );
}

#[test]
fn a_caller_that_ignores_sigpipe_gets_a_status_and_a_sentence() {
    // An ordinary program cannot tell: std ignores the signal itself before main.
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let ((from, stdout), (stdin, _to)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let call = call.binary(built::freestanding()).script("trap '' PIPE").stdin(stdin).stdout(stdout);
    let mut process = call.start();
    process.shakes(&mut peer);
    drop(from);
    let _ = peer.write_all(&[b'x'; 100_000]);
    let done = process.wait();
    assert_eq!(done.status.signal(), None, "{done:?}");
    done.with(111, "tlsify: standard output took no more before the peer had ended: the rest is lost\n");
}

#[test]
fn arguments_and_environment_of_any_size_are_read() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = accept(&daemon);
    let call = (0..1000).fold(call.binary(built::freestanding()), |call, number| {
        call.env(format!("MANY_{number}"), "x".repeat(number % 97))
    });
    let long = "y".repeat(100_000);
    let mut process = call.env("LONG", &long).shell("echo $# ${#LONG} ${#MANY_96}").start();
    process.shakes(&mut peer);
    assert_eq!(peer.read_to_end().unwrap().0, b"0 100000 96\n");
    process.wait().clean();
    // An empty value, a value with `=` in it, and a variable without any.
    let words = ["connect", "--fd=", "--"];
    Tlsify::new(words).binary(built::freestanding()).run().saying(100, "bad value \"\" of --fd");
}
