//! A program behind two descriptors: pipes, and files that a pump moves.

use std::fs::File;
use std::io::{Read, Seek, Write};

use rustix::pipe::PipeFlags;

use super::super::super::end::{End, pipes_can_wait};
use super::super::super::pump::{pump_inbound, pump_outbound};
use super::super::*;
use super::rig::*;

/// A pump is a thread: it is given this long at most, and in practice microseconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn pipe(flags: PipeFlags) -> (File, File) {
    let (reader, writer) = rustix::pipe::pipe_with(flags | PipeFlags::CLOEXEC).unwrap();
    (reader.into(), writer.into())
}

/// A session over two pipes: what the program writes to, and what it reads from.
fn pipes() -> Option<(Rig, File, File)> {
    if !pipes_can_wait() {
        return None;
    }
    let (theirs_in, ours_in) = pipe(PipeFlags::empty());
    let (ours_out, theirs_out) = pipe(PipeFlags::empty());
    let rig = Rig::split(Some(End::pipe(ours_in.into())), Some(End::pipe(ours_out.into())));
    Some((rig, theirs_out, theirs_in))
}

#[test]
fn pipes_hold_the_end_until_the_peers() {
    let Some((rig, mut program_out, mut program_in)) = pipes() else { return };
    let mut rig = rig.holding();
    program_out.write_all(b"question").unwrap();
    drop(program_out);
    rig.flow();
    assert_eq!((&rig.peer.received[..], rig.peer.closed), (&b"question"[..], false));
    rig.peer.write(b"answer");
    rig.peer.end();
    rig.flow();
    assert_eq!((rig.how(), rig.peer.closed), (How::CloseNotify, true));
    let mut text = String::new();
    program_in.read_to_string(&mut text).unwrap();
    assert_eq!(text, "answer");
}

/// Nobody writes and nobody reads: there is nothing to hold it for.
#[test]
fn pipes_without_a_program_hold_nothing() {
    let Some((rig, program_out, program_in)) = pipes() else { return };
    let mut rig = rig.holding();
    drop((program_out, program_in));
    rig.flow();
    assert!(rig.peer.closed);
    rig.sleep(LINGER);
    assert_eq!(rig.how(), How::Caller);
}

/// Lets relay, peer and pumps go on until `done`.
fn until(rig: &mut Rig, mut done: impl FnMut(&mut Rig) -> bool) {
    let start = Instant::now();
    loop {
        rig.flow();
        if done(rig) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn pipes_close_one_by_one() {
    let Some((mut rig, mut program_out, mut program_in)) = pipes() else { return };
    program_out.write_all(b"question").unwrap();
    rig.flow();
    drop(program_out);
    rig.flow();
    assert_eq!((&rig.peer.received[..], rig.peer.closed), (&b"question"[..], true));
    assert!(rig.outcome.is_none());
    rig.peer.write(b"answer");
    rig.peer.end();
    rig.flow();
    assert_eq!(rig.how(), How::CloseNotify);
    let mut text = String::new();
    program_in.read_to_string(&mut text).unwrap();
    assert_eq!(text, "answer");
}

#[test]
fn the_pipe_to_the_program_ends_while_the_other_goes_on() {
    let Some((mut rig, mut program_out, mut program_in)) = pipes() else { return };
    rig.peer.write(b"all there is");
    rig.peer.end();
    rig.flow();
    let mut text = String::new();
    program_in.read_to_string(&mut text).unwrap();
    assert_eq!((&text[..], rig.outcome.is_none()), ("all there is", true));
    program_out.write_all(b"still here").unwrap();
    rig.flow();
    assert_eq!(rig.peer.received, b"still here");
}

#[test]
fn a_pipe_whose_reader_went_away_ends_the_session() {
    let Some((mut rig, _program_out, program_in)) = pipes() else { return };
    drop(program_in);
    rig.flow();
    rig.peer.write(b"for nobody");
    rig.flow();
    assert_eq!((rig.how(), rig.peer.closed), (How::Caller, false));
}

#[test]
fn a_silent_peer_cannot_keep_a_session_whose_program_closed_both_pipes() {
    let Some((mut rig, program_out, program_in)) = pipes() else { return };
    drop((program_out, program_in));
    rig.flow();
    assert!(rig.peer.closed && rig.outcome.is_none());
    rig.sleep(LINGER);
    assert_eq!(rig.how(), How::Caller);
}

#[test]
fn a_full_pipe_stops_the_peer_and_loses_nothing() {
    let Some((mut rig, _program_out, program_in)) = pipes() else { return };
    let all = text(2 * 1024 * 1024);
    rig.peer.write(&all);
    rig.flow();
    assert!(rig.peer_unsent() > 0 && !rig.relay.to_program.is_empty());
    let mut received = Vec::new();
    let mut buffer = vec![0; 100_000];
    while received.len() < all.len() {
        let count = (&program_in).read(&mut buffer).unwrap();
        received.extend_from_slice(&buffer[..count]);
        rig.flow();
    }
    assert!(received == all);
}

#[test]
fn a_pipe_of_packets_is_read_to_its_end_although_each_read_is_short() {
    if !pipes_can_wait() {
        return;
    }
    let (ours_out, mut theirs_out) = pipe(PipeFlags::DIRECT);
    let mut rig = Rig::split(None, Some(End::pipe(ours_out.into())));
    for _ in 0..10 {
        theirs_out.write_all(b"packet ").unwrap();
    }
    rig.flow();
    assert_eq!(rig.peer.received, b"packet ".repeat(10));
}

#[test]
fn a_direction_that_is_not_given_is_closed_from_the_start() {
    if !pipes_can_wait() {
        return;
    }
    let (mut theirs_in, ours_in) = pipe(PipeFlags::empty());
    let mut rig = Rig::split(Some(End::pipe(ours_in.into())), None);
    assert!(rig.peer.closed, "nothing will be sent");
    rig.peer.write(b"a download");
    rig.peer.end();
    rig.flow();
    assert_eq!(rig.how(), How::CloseNotify);
    let mut text = String::new();
    theirs_in.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a download");
}

#[test]
fn files_are_moved_whole_and_written_before_the_end_is_told() {
    let mut source = File::from(memfd());
    source.write_all(&text(1_000_000)).unwrap();
    source.rewind().unwrap();
    let sink = File::from(memfd());
    let inbound = pump_inbound(sink.try_clone().unwrap().into()).unwrap();
    let outbound = pump_outbound(source.into()).unwrap();
    let mut rig = Rig::split(Some(inbound), Some(outbound));
    until(&mut rig, |rig| rig.peer.closed);
    assert!(rig.peer.received == text(1_000_000));
    rig.peer.write(&text(3_000_000));
    rig.peer.end();
    let mut length = None;
    until(&mut rig, |rig| {
        if rig.outcome.is_some() && length.is_none() {
            length = Some(sink.metadata().unwrap().len());
        }
        length.is_some()
    });
    assert_eq!((rig.how(), length), (How::CloseNotify, Some(3_000_000)));
}

#[test]
fn a_file_that_cannot_be_written_is_no_clean_end() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (mut rig, _program_out) = {
        let (ours_out, theirs_out) = pipe(PipeFlags::empty());
        let outbound = pump_outbound(ours_out.into()).unwrap();
        (Rig::split(Some(pump_inbound(full.into()).unwrap()), Some(outbound)), theirs_out)
    };
    rig.peer.write(b"a small file");
    rig.peer.end();
    drop(_program_out);
    until(&mut rig, |rig| rig.outcome.is_some());
    assert_eq!(rig.how(), How::Caller, "the disk is full");
}

fn memfd() -> OwnedFd {
    rustix::fs::memfd_create("relay-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap()
}
