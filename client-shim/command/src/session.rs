//! One session from the question to the last word, and the exit status that follows from it.
//!
//! ```text
//!  look ─▶ reach (or start) the daemon ─▶ prepare ─▶ send ─▶ established ─┬─▶ filter: wait for ended
//!                                                    │                    ├─▶ --handoff: leave
//!                                                    └─▶ refused, failed  └─▶ PROGRAM: become it
//!                                                        (pin: failed, and the key is printed)
//! ```

use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, WaitOptions};
use tlsify_protocol::text::{TextPacket, TextWriter};

use crate::ask::{Ask, ID};
use crate::events::Events;
use crate::options::{Daemon, Options};
use crate::packet::{self, Lost, Packet};
use crate::private::Parent;
use crate::program::become_program;
use crate::say::{self, Why};
use crate::status::{self, Stop};
use crate::stdio::{self, Data};
use crate::sys::{self, Call, Strings};
use crate::terminal::Typed;
use crate::usage::Wrong;
use crate::{place, private, verdict};

/// How long a daemon may be silent before it is taken for one that hangs, when its deadline for the handshake is its own
/// to choose: ten times what is usual, and a person who waits will have left.
const SILENCE: Duration = Duration::from_secs(120);
/// How much later than the deadline that we set it may answer. It does so within milliseconds.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the session of these options.
pub(crate) fn run(call: &Call, options: &mut Options, request: TextWriter<'static>) -> Result<u8, Stop> {
    let data = stdio::look()?;
    options.net = stdio::part_from_messages(options.net);
    let options = &*options;
    if options.program.is_none() && data.has(options.net) {
        return Err(Stop(crate::misused(&Wrong::NoRoom)));
    }
    let events = Events::open(options.control)?;
    let control = control(call, options)?;
    let mut course = Course { call, options, control, events, typed: None };
    let opened = course.open(data, request)?;
    course.go_on(opened)
}

/// The connection to a daemon: the running one, or one of our own.
fn control(call: &Call, options: &Options) -> Result<OwnedFd, Stop> {
    let limit = options.timeout.map_or(SILENCE, |millis| Duration::from_millis(millis.into()) + GRACE);
    let running = match options.daemon {
        Daemon::Private => None,
        Daemon::Any | Daemon::Running => place::reach(call, limit)?,
    };
    match running {
        Some(control) => Ok(control),
        None if options.daemon == Daemon::Running => Err(place::nobody(call)),
        None => {
            let control = private::start(call, options.fate())?;
            place::wait_at_most(&control, limit);
            Ok(control)
        }
    }
}

impl Options {
    /// What becomes of this process once the session is open.
    fn fate(&self) -> Parent {
        match (&self.program, self.control) {
            (Some(_), None) => Parent::BecomesAnother,
            _ if self.handoff => Parent::Leaves,
            _ => Parent::Stays,
        }
    }
}

/// A session on its way.
struct Course<'a> {
    call: &'a Call,
    options: &'a Options,
    control: OwnedFd,
    events: Events,
    typed: Option<Typed>,
}

/// A session that is open.
struct Opened {
    plain: Option<OwnedFd>,
    /// With `established` in its front.
    buffer: &'static mut [u8],
    /// How much of it that is.
    length: usize,
}

impl Course<'_> {
    /// Asks, and waits until it is open.
    fn open(&mut self, data: Data, mut request: TextWriter<'static>) -> Result<Opened, Stop> {
        let options = self.options;
        let mut theirs = None;
        if options.is_filter()
            && let Some(terminal) = data.terminal()
        {
            let (typed, end) = Typed::new(terminal).map_err(|error| {
                say::line(format_args!("cannot make a socket pair for what is typed: {}", Why(error)));
                Stop(status::SYSTEM)
            })?;
            self.typed = Some(typed);
            theirs = Some(end);
        }
        let data = Some(data).filter(|_| options.program.is_none() && !options.learn);
        let ask = Ask::prepare(options, &mut request, self.call.environment, data, theirs)?;
        // Without waiting for its hello: there is one version, and the daemon refuses by name what it does not know.
        match ask.send(&self.control, request.written()) {
            // A daemon that lets nobody in says why before it closes.
            Ok(()) | Err(Lost::Gone) => {}
            Err(lost) => return Err(verdict::lost(lost)),
        }
        drop(ask);
        // What was sent is of no use any more: the answers come into the same pages.
        let buffer = request.into_buffer();
        loop {
            let Packet { text, fds } = packet::receive(&self.control, buffer).map_err(verdict::lost)?;
            let said = read(text)?;
            match said.verb {
                "hello" => self.events.tell(text, None)?,
                // Who asked for a look does not get a session.
                "established" if !options.learn => {
                    let (plain, chain) = sort(&said, fds);
                    self.events.tell(text, chain.as_ref())?;
                    let length = text.len();
                    return Ok(Opened { plain, buffer, length });
                }
                "failed" => {
                    let (_, chain) = sort(&said, fds);
                    self.events.tell(text, chain.as_ref())?;
                    return Err(match options.learn && said.get("code") == Some(verdict::LEARNED) {
                        true => verdict::learned(&said),
                        false => verdict::failed(&said),
                    });
                }
                "refused" => {
                    self.events.tell(text, None)?;
                    return Err(verdict::refused(&said));
                }
                private::UNSTARTED => return Err(private::unstarted(&said)),
                // Nothing else belongs to a request that is not open yet.
                _ => return Err(verdict::nonsense()),
            }
        }
    }

    /// What is to be done with an open session.
    fn go_on(&mut self, opened: Opened) -> Result<u8, Stop> {
        if self.options.handoff {
            return Ok(status::CLEAN);
        }
        place::wait_for_ever(&self.control);
        match self.options.program {
            None => self.ended(opened.buffer),
            Some(program) => self.program(program, opened),
        }
    }

    /// Waits for the last word.
    fn ended(&mut self, buffer: &mut [u8]) -> Result<u8, Stop> {
        if let Some(typed) = &mut self.typed {
            typed.until_news(&self.control).map_err(|error| {
                say::line(format_args!("cannot read the terminal: {}", Why(error)));
                Stop(status::SYSTEM)
            })?;
        }
        let Packet { text, .. } = packet::receive(&self.control, buffer).map_err(verdict::broken)?;
        let said = read(text)?;
        if said.verb != "ended" {
            return Err(verdict::nonsense());
        }
        self.events.tell(text, None)?;
        verdict::ended(&said, self.options)
    }

    /// Becomes the program; or, with somebody to tell of the end, stays beside it and takes over its exit status.
    fn program(&mut self, program: Strings, opened: Opened) -> Result<u8, Stop> {
        let Opened { plain, buffer, length } = opened;
        let plain = plain.ok_or_else(verdict::nonsense)?;
        let established = buffer.get(..length).unwrap_or_default();
        if self.options.fate() == Parent::BecomesAnother {
            become_program(self.call, self.options, program, &plain, established);
        }
        // Ignored by whoever started us, it would leave us without the program's status.
        sys::default_action(Signal::CHILD);
        let child = sys::fork().map_err(|error| {
            say::line(format_args!("cannot start a process for the program: {}", Why(error)));
            Stop(status::SYSTEM)
        })?;
        let Some(child) = child else {
            // Who ends us means the program, too.
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
            become_program(self.call, self.options, program, &plain, established);
        };
        drop(plain);
        // Ctrl-C is for the program to take or to leave, as with a shell that waits.
        sys::ignore(Signal::INT);
        sys::ignore(Signal::QUIT);
        // The events' reader is told how it ended. What a person would be told, the program's status says.
        if let Ok(Packet { text, .. }) = packet::receive(&self.control, buffer) {
            self.events.tell(text, None)?;
        }
        Ok(status_of(child))
    }
}

/// What the daemon said. It answers our one request, or speaks to the whole connection.
fn read(text: &[u8]) -> Result<TextPacket<'_>, Stop> {
    let said = TextPacket::parse(text).ok_or_else(verdict::nonsense)?;
    if said.get("id").is_some_and(|id| id != ID) { Err(verdict::nonsense()) } else { Ok(said) }
}

/// The descriptors of an answer: plain and chain.
fn sort(said: &TextPacket<'_>, fds: [Option<OwnedFd>; 2]) -> (Option<OwnedFd>, Option<OwnedFd>) {
    let (mut plain, mut chain) = (None, None);
    let names = said.get("fds").unwrap_or_default().split(' ');
    for (name, fd) in names.zip(fds) {
        match name {
            "plain" => plain = fd,
            "chain" => chain = fd,
            _ => {}
        }
    }
    (plain, chain)
}

/// The status that a process ended with, as shells say it.
fn status_of(child: Pid) -> u8 {
    let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()));
    let Ok(Some((_, ended))) = ended else { return status::SYSTEM };
    match (ended.exit_status(), ended.terminating_signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        (None, None) => status::SYSTEM,
    }
}

/// Ends this process as a filter ends whose reader is gone. Returns when whoever started us ignores the signal.
pub(crate) fn die_of_broken_pipe() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::PIPE);
}
