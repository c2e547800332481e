//! The command line of `tlsifyd`, and what its exit status means.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{LogFormat, LogLevel};

/// Exit statuses beside 0. They are the same for every program of this project.
pub mod exit {
    /// The configuration, or something that it names, cannot be used.
    pub const CONFIGURATION: u8 = 96;
    /// The command line makes no sense.
    pub const USAGE: u8 = 100;
    /// The daemon cannot be reached, or refuses.
    pub const REFUSED: u8 = 97;
    /// TLS failed.
    pub const TLS: u8 = 98;
    /// A process of the daemon's crashed, and is not started again.
    pub const CRASH: u8 = 99;
    /// A system call failed.
    pub const SYSTEM: u8 = 111;
}

/// The word that makes this binary the demonstration's web server. For [`crate::demo`] alone, so help does not show it.
pub const DEMO_SERVER: &str = "demo-server";

/// TLS as a service of the host: takes open sockets over a Unix socket and gives plaintext descriptors back.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "tlsifyd", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Configuration file [default: /etc/tlsifyd/tlsifyd.toml for root, else tlsifyd/tlsifyd.toml in
    /// $XDG_CONFIG_HOME; none is needed there]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Listen at PATH [default: $TLSIFY_SOCK, else the configuration's, else /run/tlsifyd/tlsifyd.sock for root,
    /// else $XDG_RUNTIME_DIR/tlsifyd.sock]
    #[arg(long, value_name = "PATH", conflicts_with = "private")]
    pub socket: Option<PathBuf>,

    /// Worker threads [default: one for each core the process may use]
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// The least important events to log; TLSIFYD_LOG can also choose by module
    #[arg(long, value_name = "LEVEL", global = true, value_parser = levels())]
    pub log_level: Option<LogLevel>,

    /// How to log
    #[arg(long, value_name = "FORMAT", global = true, value_parser = formats())]
    pub log_format: Option<LogFormat>,

    /// Serve one caller on the inherited socket FD, and end when it has gone and its sessions have ended
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(RawFd).range(3..))]
    pub private: Option<RawFd>,

    /// For debugging only: do everything in one process, so that a bug in one part is a bug in all
    #[arg(long)]
    pub single_process: bool,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Show a verified TLS round trip through handed-over sockets, with a throwaway CA
    Demo {
        /// End after one round trip; the exit status says whether it worked
        #[arg(long)]
        once: bool,
        /// Where the demonstration's server listens on localhost; 0 is any free port
        #[arg(long, value_name = "N", default_value_t = 8443)]
        port: u16,
    },
    /// The demonstration's web server, started by it
    #[command(name = DEMO_SERVER, hide = true)]
    DemoServer {
        /// Where to listen on localhost
        port: u16,
    },
    /// Load the configuration and everything that it names, say what would be served, and end
    Check {
        /// Say which `[[rule]]` counts for this user, a name or a uid, and what the user then may; nothing else is said
        #[arg(long = "for", value_name = "USER")]
        user: Option<String>,
        /// With --for: and runs this program
        #[arg(long, value_name = "PATH", requires = "user")]
        executable: Option<PathBuf>,
    },
    /// Show what a running daemon has open: sessions and callers, everybody's where this user may see them
    Status {
        /// The daemon's socket [default: $TLSIFY_SOCK, else that of the personal daemon, else /run/tlsifyd/tlsifyd.sock]
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// One JSON object, for machines
        #[arg(long)]
        json: bool,
        /// Everybody's, or an error
        #[arg(long, conflicts_with = "mine")]
        all: bool,
        /// This user's own
        #[arg(long)]
        mine: bool,
        /// The sessions, and no other list unless it is said too
        #[arg(long)]
        sessions: bool,
        /// The callers
        #[arg(long)]
        callers: bool,
        /// The stores of tickets and ticket keys
        #[arg(long)]
        stores: bool,
    },
    /// Print the pin of the first certificate, else the key, in a PEM file: what `tlsify pin` shows to who meets its owner
    Pin {
        /// A certificate, private key or public key in PEM
        file: PathBuf,
    },
}

impl Cli {
    /// Reads the command line of this process. Ends the process with 0 after `--help` and `--version`, and with
    /// [`exit::USAGE`] after wrong usage, which it explains on standard error.
    pub fn parse_args() -> Cli {
        if let Some(fd) = only_private(std::env::args_os().skip(1)) {
            return Cli { private: Some(fd), ..Cli::default() };
        }
        Cli::parse_from_words(std::env::args_os()).unwrap_or_else(|error| {
            // Whether anybody reads it changes nothing about the status.
            let _ = error.print();
            std::process::exit(status(&error))
        })
    }

    /// Reads a command line; the first word is the program's name.
    ///
    /// # Errors
    /// clap's, which also carry the texts of `--help` and `--version`.
    pub fn parse_from_words<W>(words: impl IntoIterator<Item = W>) -> Result<Cli, clap::Error>
    where
        W: Into<OsString> + Clone,
    {
        let cli = Cli::try_parse_from(words)?;
        if cli.private.is_some() && cli.command.is_some() {
            let why = "--private serves a caller and cannot be used with a subcommand";
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, why));
        }
        Ok(cli)
    }
}

/// The descriptor, when the command line is `--private FD` and nothing else: how a command starts a daemon for itself.
/// Describing every option to clap first would cost it more than everything else before the first packet.
fn only_private(mut words: impl Iterator<Item = OsString>) -> Option<RawFd> {
    let (option, fd) = (words.next()?, words.next()?);
    let fd = fd.to_str()?;
    // Whatever else parses as a number is left to clap.
    let plain = !fd.is_empty() && fd.bytes().all(|byte| byte.is_ascii_digit());
    let fd = fd.parse().ok().filter(|fd| plain && *fd >= 3)?;
    (option == "--private" && words.next().is_none()).then_some(fd)
}

/// The exit status for what clap has to say.
fn status(error: &clap::Error) -> i32 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ => i32::from(exit::USAGE),
    }
}

const LEVELS: [LogLevel; 5] =
    [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

fn levels() -> impl TypedValueParser<Value = LogLevel> {
    PossibleValuesParser::new(LEVELS.map(LogLevel::as_str)).map(|word| {
        // The parser before lets only known words pass.
        LEVELS.into_iter().find(|level| level.as_str() == word).unwrap_or_default()
    })
}

fn formats() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["auto", "human", "json", "journal"]).map(|word| match word.as_str() {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        "journal" => LogFormat::Journal,
        _ => LogFormat::Auto,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::parse_from_words(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_arrives() {
        let cli =
            parse("tlsifyd --config /c.toml --socket /s --workers 3 --log-level debug --log-format journal")
                .unwrap();
        assert_eq!(cli.config, Some(PathBuf::from("/c.toml")));
        assert_eq!(cli.socket, Some(PathBuf::from("/s")));
        assert_eq!(cli.workers, Some(3));
        assert_eq!((cli.log_level, cli.log_format), (Some(LogLevel::Debug), Some(LogFormat::Journal)));
        assert_eq!((cli.private, cli.command), (None, None));
        assert_eq!(parse("tlsifyd --private 7").unwrap().private, Some(7));
    }

    #[test]
    fn the_short_way_says_what_clap_says() {
        let short = |line: &str| only_private(line.split(' ').skip(1).map(OsString::from));
        for (line, fd) in [("tlsifyd --private 3", 3), ("tlsifyd --private 2147483647", i32::MAX)] {
            assert_eq!(short(line), Some(fd));
            let whole = Cli { private: Some(fd), ..Cli::default() };
            assert_eq!(format!("{:?}", parse(line).unwrap()), format!("{whole:?}"), "{line}");
        }
        let clap_decides = [
            "tlsifyd",
            "tlsifyd --private",
            "tlsifyd --private 2",
            "tlsifyd --private -3",
            "tlsifyd --private +3",
            "tlsifyd --private 2147483648",
            "tlsifyd --private=3",
            "tlsifyd --private 3 check",
            "tlsifyd --socket 3",
        ];
        for line in clap_decides {
            assert_eq!(short(line), None, "{line}");
        }
    }

    #[test]
    fn each_level_and_format_is_the_one_it_names() {
        for level in LEVELS {
            assert_eq!(
                parse(&format!("tlsifyd --log-level {}", level.as_str())).unwrap().log_level,
                Some(level)
            );
        }
        for (word, format) in
            [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)]
        {
            assert_eq!(parse(&format!("tlsifyd --log-format {word}")).unwrap().log_format, Some(format));
        }
    }

    #[test]
    fn the_subcommands_have_their_defaults() {
        assert_eq!(parse("tlsifyd demo").unwrap().command, Some(Command::Demo { once: false, port: 8443 }));
        let once = parse("tlsifyd demo --once --port 0 --log-level debug").unwrap();
        assert_eq!(once.command, Some(Command::Demo { once: true, port: 0 }));
        assert_eq!(once.log_level, Some(LogLevel::Debug));
        let check = Command::Check { user: None, executable: None };
        assert_eq!(parse("tlsifyd check --config /c").unwrap().command, Some(check));
        let check = Command::Check { user: Some("5".to_owned()), executable: Some("/x".into()) };
        assert_eq!(parse("tlsifyd check --for 5 --executable /x").unwrap().command, Some(check));
        let status = Command::Status {
            socket: Some("/s".into()),
            json: true,
            all: true,
            mine: false,
            sessions: true,
            callers: false,
            stores: true,
        };
        let line = "tlsifyd status --json --all --sessions --stores --socket /s";
        assert_eq!(parse(line).unwrap().command, Some(status));
        assert_eq!(parse("tlsifyd pin a.pem").unwrap().command, Some(Command::Pin { file: "a.pem".into() }));
    }

    #[test]
    fn wrong_usage_is_100_and_help_is_0() {
        let wrong = [
            "tlsifyd --nonsense",
            "tlsifyd stop",
            "tlsifyd --workers 0",
            "tlsifyd --workers many",
            "tlsifyd --log-level loud",
            "tlsifyd --private 2",
            "tlsifyd --private 7 --socket /s",
            "tlsifyd --private 7 check",
            "tlsifyd demo --port 65536",
            "tlsifyd pin",
            "tlsifyd status --all --mine",
            "tlsifyd check --executable /x",
        ];
        for line in wrong {
            let error = parse(line).expect_err(line);
            assert_eq!(status(&error), 100, "{line}");
        }
        for line in ["tlsifyd --help", "tlsifyd --version", "tlsifyd demo --help"] {
            assert_eq!(status(&parse(line).expect_err(line)), 0, "{line}");
        }
    }
}
