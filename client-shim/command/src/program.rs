//! `-- PROGRAM ARGS…`: the plaintext on its descriptors, what is known of the session in its environment.

use core::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::options::{Net, Options};
use crate::say::{self, Shown, Why};
use crate::status;
use crate::stdio;
use crate::sys::{self, Call, Environment, Strings};
use crate::ucspi::{self, Facts};

/// Bytes of a path (PATH_MAX).
const PATH: usize = 4096;

/// Becomes the program, which is told what `established` says. Never comes back: when it cannot be started, that is said
/// and the process ends.
pub(crate) fn become_program(
    call: &Call,
    options: &Options,
    program: Strings,
    plain: &OwnedFd,
    established: &[u8],
) -> ! {
    let name = program.clone().next().unwrap_or_default();
    let error = match settle(options, plain) {
        Ok(()) => execute(call, program, name, &Facts::new(established)),
        Err(error) => error,
    };
    say::line(format_args!("cannot run {}: {}", Shown(name.to_bytes()), Why(error)));
    sys::exit(status::SYSTEM)
}

/// The program's descriptors: the plaintext, and neither the network socket nor our events.
fn settle(options: &Options, plain: &OwnedFd) -> Result<(), Errno> {
    let places = if options.ucspi { ucspi::CLIENT } else { ucspi::SERVER };
    // Before the plaintext may get its number.
    if let Net::Given(number) = options.net
        && let Some(net) = sys::inherited(number)
    {
        // A server of inetd has the socket at each of them.
        let is_net = |standard: i32| {
            !places.contains(&standard)
                && sys::inherited(standard).is_some_and(|fd| stdio::is_one_socket(fd, net))
        };
        // All are looked at before one is changed: `net` is one of them.
        for (standard, is_net) in ucspi::SERVER.map(|standard| (standard, is_net(standard))) {
            if is_net {
                stdio::silence(standard);
            }
        }
        if number > 2 && !places.contains(&number) {
            sys::close_inherited(number);
        }
    }
    // The events are ours to write; and who reads them waits for our end, not for that of all that a program starts.
    if let Some(number) = options.control.filter(|number| *number > 2 && !places.contains(number)) {
        sys::close_inherited(number);
    }
    // A copy first: the plaintext's own number may be one of the places.
    let plain = rustix::io::fcntl_dupfd_cloexec(plain, 10)?;
    places.iter().try_for_each(|&place| sys::place(plain.as_fd(), place))
}

fn execute(call: &Call, program: Strings, name: &CStr, facts: &Facts) -> Errno {
    let mut environment = Environment::new();
    let mut kept = call.environment.filter(|variable| !ucspi::is_scrubbed(variable));
    if !kept.all(|variable| environment.push(variable))
        || !facts.variables().all(|fact| environment.push(fact))
    {
        return Errno::TOOBIG;
    }
    if name.to_bytes().contains(&b'/') {
        return environment.execute(name, program);
    }
    let mut best = Errno::NOENT;
    let path = call.environment.variable(c"PATH").unwrap_or(c"/usr/local/bin:/usr/bin:/bin");
    for folder in path.to_bytes().split(|&byte| byte == b':') {
        let mut path = [0; PATH];
        if let Some(path) = join(&mut path, folder, name) {
            let error = environment.execute(path, program);
            // As shells do: one that is there and may not be started says more than one that is not.
            if !matches!(error, Errno::NOENT | Errno::NOTDIR) {
                best = error;
            }
        }
    }
    best
}

/// `folder/name`; an empty folder is the current one.
fn join<'b>(buffer: &'b mut [u8], folder: &[u8], name: &CStr) -> Option<&'b CStr> {
    let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
    let mut at = 0;
    for part in [folder, slash, name.to_bytes_with_nul()] {
        buffer.get_mut(at..at + part.len())?.copy_from_slice(part);
        at += part.len();
    }
    CStr::from_bytes_with_nul(buffer.get(..at)?).ok()
}
