//! A terminal as standard input: what is typed is the peer's while the command runs, and never after.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fcntl_getfl;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tlsifyd_tests::terminal::terminal;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, Process, TestDaemon, running};

use super::connect;

/// The state of a process as the kernel says it: `S` sleeps, `T` is stopped.
fn state(process: &Process) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).expect("a state")
}

#[track_caller]
fn until_state(process: &Process, wanted: fn(char) -> bool) {
    assert!(until(LIMIT, || wanted(state(process)).then_some(())).is_some(), "{}", state(process));
}

/// Reads a line that was typed, as the next program would.
fn next_line(program: &mut File) -> String {
    let mut fds = [PollFd::new(&*program, PollFlags::IN)];
    let limit = Timespec { tv_sec: LIMIT.as_secs().try_into().unwrap(), tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&limit)).unwrap(), 1, "nobody took it, and it is not there");
    let mut line = [0; 100];
    let count = program.read(&mut line).unwrap();
    String::from_utf8_lossy(&line[..count]).into_owned()
}

#[test]
fn a_line_that_is_typed_goes_to_the_peer_and_ctrl_d_ends_the_input() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let (call, mut peer) = connect(&daemon);
    let (mut person, mut program) = terminal();
    let before = (tcgetattr(&program).unwrap(), fcntl_getfl(&program).unwrap());
    assert!(before.0.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON));
    let call = call.stdin(program.try_clone().unwrap()).stdout(program.try_clone().unwrap());
    let mut process = call.start();
    process.shakes(&mut peer);
    person.write_all(b"HELO me\n").unwrap();
    assert_eq!(peer.read_exact(8).unwrap(), b"HELO me\n");
    peer.write_all(b"250 you\n").unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(b"250 you\r\n") {
        let mut byte = [0];
        person.read_exact(&mut byte).unwrap();
        shown.push(byte[0]);
    }
    person.write_all(&[4]).unwrap();
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    peer.half_close().unwrap();
    process.wait().clean();
    daemon.settled_fds(&baseline);
    // The shell's turn: nobody is left who would take its line.
    person.write_all(b"ls\n").unwrap();
    assert_eq!(next_line(&mut program), "ls\n");
    let after = tcgetattr(&program).unwrap();
    assert_eq!(
        (after.local_modes, after.input_modes, after.output_modes, fcntl_getfl(&program).unwrap()),
        (before.0.local_modes, before.0.input_modes, before.0.output_modes, before.1)
    );
}

#[test]
fn what_is_typed_after_the_peer_has_left_is_not_taken() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let (call, mut peer) = connect(&daemon);
    let (mut person, mut program) = terminal();
    let mut process = call.stdin(program.try_clone().unwrap()).start();
    process.shakes(&mut peer);
    peer.truncate().unwrap();
    process.wait().saying(98, "tlsify: the peer closed");
    daemon.settled_fds(&baseline);
    person.write_all(b"for the shell\n").unwrap();
    assert_eq!(next_line(&mut program), "for the shell\n");
}

#[test]
fn a_command_that_is_stopped_leaves_what_is_typed_to_others() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let (mut person, mut program) = terminal();
    let mut process = call.stdin(program.try_clone().unwrap()).start();
    process.shakes(&mut peer);
    person.write_all(b"one\n").unwrap();
    assert_eq!(peer.read_exact(4).unwrap(), b"one\n");
    process.signal(Signal::SIGSTOP);
    until_state(&process, |state| state == 'T');
    person.write_all(b"jobs\n").unwrap();
    assert_eq!(next_line(&mut program), "jobs\n");
    // What the peer sends meanwhile still arrives, and the session is there when the command is back.
    peer.write_all(b"while you slept").unwrap();
    until(LIMIT, || (process.stdout() == "while you slept").then_some(())).expect("tlsifyd writes on");
    process.signal(Signal::SIGCONT);
    until_state(&process, |state| state != 'T');
    person.write_all(b"two\n").unwrap();
    assert_eq!(peer.read_exact(4).unwrap(), b"two\n");
    person.write_all(&[4]).unwrap();
    peer.half_close().unwrap();
    assert_eq!(peer.read_to_end().unwrap().1, End::CloseNotify);
    process.wait().clean();
}

#[test]
fn a_line_that_hangs_up_is_the_end_of_the_input() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let (mut person, program) = terminal();
    let mut process = call.stdin(program).start();
    process.shakes(&mut peer);
    person.write_all(b"bye\n").unwrap();
    assert_eq!(peer.read_exact(4).unwrap(), b"bye\n");
    drop(person);
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    peer.write_all(b"too late").unwrap();
    peer.half_close().unwrap();
    assert_eq!(process.wait().clean().stdout, "too late");
}

#[test]
fn a_long_paste_arrives_whole_at_a_peer_that_is_slow() {
    const LINES: usize = 4000;
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let (mut person, program) = terminal();
    // What would be shown is read by nobody here.
    let mut modes = tcgetattr(&program).unwrap();
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&program, OptionalActions::Now, &modes).unwrap();
    let mut process = call.stdin(program).start();
    process.shakes(&mut peer);
    let text: String = (0..LINES).map(|line| format!("{line:0>200}\n")).collect();
    let pasted = text.clone();
    let paste = running("paste", move || {
        person.write_all(pasted.as_bytes()).unwrap();
        person.write_all(&[4]).unwrap();
        person
    });
    let mut got = peer.read_exact(1).unwrap();
    // Longer than any buffer on the way lasts.
    std::thread::sleep(Duration::from_millis(200));
    let (rest, end) = peer.read_to_end().unwrap();
    got.extend(rest);
    assert!(got == text.as_bytes() && end == End::CloseNotify, "{} bytes, {end:?}", got.len());
    peer.half_close().unwrap();
    paste.join();
    process.wait().clean();
}
