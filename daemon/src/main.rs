//! `tlsifyd`: the command line, and what its exit status says.

use std::fmt::Display;
use std::io::{StdoutLock, Write};
use std::path::Path;
use std::process::ExitCode;

use tlsify_protocol::{Scope, Sha256};
use tlsifyd::cli::{Cli, Command, exit};
use tlsifyd::config::{Log, LogFormat, LogLevel};
use tlsifyd::demo;
use tlsifyd::process::{
    Asked, CheckError, ConfigPlace, LogChoice, Logs, Options, Question, StartError, StatusError, SystemPool,
    check, check_for, logs, played, run, status, terminal_width,
};
use tlsifyd::tls::pin_of_pem;
use zeroize::Zeroizing;

fn main() -> ExitCode {
    // Not a person's command line: the daemon starts its parts with this program.
    if let Some(played) = played(std::env::args_os().next().as_deref()) {
        return played.map_or_else(|error| fail(error, exit::SYSTEM), |()| ExitCode::SUCCESS);
    }
    let cli = Cli::parse_args();
    match cli.command {
        Some(Command::Check { user: Some(ref user), ref executable }) => {
            let asked = Asked { user: user.clone(), executable: executable.clone() };
            checked(&cli, |place, out| check_for(place, &asked, out))
        }
        Some(Command::Check { user: None, .. }) => {
            checked(&cli, |place, out| check(place, &SystemPool::new(), out))
        }
        Some(Command::Status { socket, json, all, mine, sessions, callers, stores }) => {
            let scope = if all { Some(Scope::All) } else { mine.then_some(Scope::Own) };
            told(&Question { socket, scope, sessions, callers, stores, json })
        }
        Some(Command::Demo { once, port }) => shown(&cli, once, port),
        Some(Command::DemoServer { port }) => match demo::serve(port, std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            // Its parent has been told, and says it.
            Err(_) => ExitCode::from(exit::SYSTEM),
        },
        Some(Command::Pin { file }) => pinned(&file),
        None => served(&options(&cli)),
    }
}

fn options(cli: &Cli) -> Options {
    Options {
        config: cli.config.clone(),
        socket: cli.socket.clone(),
        workers: cli.workers.map(usize::from),
        log_level: cli.log_level,
        log_format: cli.log_format,
        private: cli.private,
        single_process: cli.single_process,
    }
}

fn served(options: &Options) -> ExitCode {
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let status = match &error {
                StartError::Configuration(_) | StartError::Log(_) => exit::CONFIGURATION,
                StartError::Crashed(_) => exit::CRASH,
                StartError::Sandbox(error) if error.is_operators() => exit::CONFIGURATION,
                StartError::Sandbox(_) => exit::SYSTEM,
                StartError::Listen(_)
                | StartError::Inherit(_)
                | StartError::Worker(_)
                | StartError::System { .. } => exit::SYSTEM,
            };
            fail(error, status)
        }
    }
}

fn checked(
    cli: &Cli,
    check: impl FnOnce(&ConfigPlace, &mut StdoutLock<'static>) -> Result<(), CheckError>,
) -> ExitCode {
    let uid = rustix::process::geteuid().as_raw();
    let place = ConfigPlace::choose(cli.config.as_deref(), uid, |name| std::env::var_os(name));
    match check(&place, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ CheckError::NoUser(_)) => fail(error, exit::USAGE),
        Err(error @ CheckError::Configuration(_)) => fail(error, exit::CONFIGURATION),
        Err(error @ CheckError::Write(_)) => fail(error, exit::SYSTEM),
    }
}

/// What a running daemon has open.
fn told(question: &Question) -> ExitCode {
    match status(question, terminal_width(), &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads only the first lines has what was wanted.
        Err(StatusError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let refused = matches!(error, StatusError::Daemon(_));
            let status = fail(&error, if refused { exit::REFUSED } else { exit::SYSTEM });
            if let Some(hint) = error.hint() {
                let _ = writeln!(std::io::stderr(), "hint: {hint}");
            }
            status
        }
    }
}

/// What `--pin` takes, of a file of the person who asks.
fn pinned(file: &Path) -> ExitCode {
    let about = |error: &dyn Display| format!("cannot pin {}: {error}", file.display());
    // It may be a private key.
    let text = match std::fs::read(file).map(Zeroizing::new) {
        Ok(text) => text,
        Err(error) => return fail(about(&error), exit::SYSTEM),
    };
    let hash = match pin_of_pem(&text) {
        Ok(hash) => Sha256(hash),
        Err(error) => return fail(about(&error), exit::CONFIGURATION),
    };
    match writeln!(std::io::stdout(), "spki-sha256:{hash}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(about(&error), exit::SYSTEM),
    }
}

fn shown(cli: &Cli, once: bool, port: u16) -> ExitCode {
    // The transcript is what is to be read: beside it only what is wrong, unless more is asked for.
    let quiet = Log { level: LogLevel::Warn, format: LogFormat::Human };
    let choice = LogChoice::new(cli.log_level, cli.log_format, std::env::var(logs::VARIABLE).ok(), &quiet);
    if let Err(error) = Logs::start(&choice) {
        return fail(error, exit::CONFIGURATION);
    }
    let options = demo::Options { once, port, workers: cli.workers.map(usize::from) };
    match demo::run(options, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let status = fail(&error, if error.is_about_tls() { exit::TLS } else { exit::SYSTEM });
            if let Some(hint) = error.hint() {
                let _ = writeln!(std::io::stderr(), "hint: {hint}");
            }
            status
        }
    }
}

fn fail(error: impl Display, status: u8) -> ExitCode {
    // The log may not be there yet, and nobody may read it: standard error it is.
    let _ = writeln!(std::io::stderr(), "tlsifyd: {error}");
    ExitCode::from(status)
}
