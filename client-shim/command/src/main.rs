//! `tlsify`: TLS for shells, scripts and static programs. It hands a socket to `tlsifyd` with one packet, and lets the
//! plaintext flow over its own standard input and output or those of a program that it becomes. It knows nothing of TLS.
//!
//! ```text
//!  reading ─▶ options ─▶ ask ─▶ packet ─▶ tlsifyd       session: the course of it
//!  (usage, help, ssl_client)    (place, private)        verdict: what answers mean
//!                                                       status, say: how we end
//!  stdio, terminal: what 0 and 1 are                    program, ucspi, events: who else is told
//!  sys: the only unsafe room
//! ```
//!
//! Built with the profile `freestanding` it is a static program without libc, std or an allocator, so that starting it
//! costs about as much as starting nothing; in every other profile the same source is an ordinary program.

#![cfg_attr(freestanding, no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(all(freestanding, panic = "unwind"))]
compile_error!("the freestanding profile has to abort on panic: there is nobody to catch it");

#[cfg(not(freestanding))]
extern crate core;

mod ask;
mod events;
mod few;
mod help;
mod options;
mod packet;
mod place;
mod private;
mod program;
mod reading;
mod say;
mod session;
mod ssl_client;
mod status;
mod stdio;
mod sys;
mod terminal;
mod ucspi;
mod usage;
mod verdict;

use options::{Command, Options};
use reading::Buffer;
use status::Stop;
use sys::Call;
use tlsify_protocol::text::TextWriter;
use usage::Wrong;

/// std's entry. The kernel's is in `sys`.
#[cfg(not(freestanding))]
fn main() -> std::process::ExitCode {
    sys::ordinary().into()
}

/// The whole run; its result is the exit status. `buffer` has room for a packet.
fn run(call: &Call, buffer: Buffer) -> u8 {
    let mut arguments = call.arguments;
    let own = arguments.next().map_or(&b""[..], core::ffi::CStr::to_bytes);
    let parsed = match own.rsplit(|&byte| byte == b'/').next() {
        Some(b"ssl_client") => ssl_client::parse(call.arguments, buffer),
        _ => reading::parse(call.arguments, buffer),
    };
    match parsed {
        Ok(Command::Help) => print(&[help::HELP]),
        Ok(Command::Version) => print(&[help::VERSION]),
        Ok(Command::Session(mut options, request)) => session(call, &mut options, request),
        Err(wrong) => misused(&wrong),
    }
}

fn session(call: &Call, options: &mut Options, request: TextWriter<'static>) -> u8 {
    say::set_quiet(options.quiet);
    if options.declines_insecure {
        ssl_client::decline_insecure();
    }
    session::run(call, options, request).unwrap_or_else(|Stop(status)| status)
}

/// Writes a text in parts to standard output: the status that this ends with.
fn print(parts: &[&str]) -> u8 {
    let Some(to) = sys::inherited(1) else { return status::SYSTEM };
    match parts.iter().try_for_each(|part| say::write_all(to, part.as_bytes())) {
        Ok(()) => status::CLEAN,
        Err(_) => status::SYSTEM,
    }
}

fn misused(wrong: &Wrong) -> u8 {
    say::line(format_args!("{wrong}"));
    say::hint(format_args!("tlsify --help lists what there is"));
    status::USAGE
}
