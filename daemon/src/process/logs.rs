//! What the daemon says, where, and how it looks. Always standard error; never a secret and never plaintext, which is
//! up to those who write events.
//!
//! ```text
//!  --log-level, else TLSIFYD_LOG, else [log] level        which events
//!  --log-format, else [log] format                        human | json | journal
//!       auto: a terminal ─▶ human    the journal (JOURNAL_STREAM) ─▶ journal    anything else ─▶ json
//! ```

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as layer, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// The variable that says which events are written, as a level or as directives per module (`tlsifyd::io=trace`).
pub const VARIABLE: &str = "TLSIFYD_LOG";

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogChoice {
    /// A level, or the directives of `TLSIFYD_LOG`.
    pub directives: String,
    /// Never [`LogFormat::Auto`] once chosen.
    pub format: LogFormat,
}

impl LogChoice {
    /// Chooses from the command line, the value of `TLSIFYD_LOG` and the configuration, and looks at standard error.
    pub fn new(
        level: Option<LogLevel>,
        format: Option<LogFormat>,
        variable: Option<String>,
        log: &Log,
    ) -> LogChoice {
        let directives = level
            .map(|level| level.as_str().to_owned())
            .or_else(|| variable.filter(|directives| !directives.trim().is_empty()))
            .unwrap_or_else(|| log.level.as_str().to_owned());
        let format = match format.unwrap_or(log.format) {
            LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Human,
            LogFormat::Auto if stderr_is_the_journal() => LogFormat::Journal,
            LogFormat::Auto => LogFormat::Json,
            chosen => chosen,
        };
        LogChoice { directives, format }
    }
}

/// The running log; keeps the way to change its level.
#[derive(Debug)]
pub struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Why there is no log as asked for; the operator has to act.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `TLSIFYD_LOG` cannot be read.
    #[error("cannot read \"{0}\" as log levels ({1}), write info, debug or tlsifyd::io=trace")]
    Directives(String, String),
    /// Somebody set up a log before.
    #[error("cannot start the log: {0}")]
    Taken(String),
}

impl Logs {
    /// Starts writing events to standard error, for the whole process and once in its life.
    ///
    /// # Errors
    /// The directives cannot be read, or there is a log already.
    pub fn start(choice: &LogChoice) -> Result<Logs, LogError> {
        let (filter, handle) = reload::Layer::new(parse(&choice.directives)?);
        let written = layer::layer().with_writer(io::stderr);
        let written: Box<dyn Layer<_> + Send + Sync> = match choice.format {
            // Colours only for people.
            LogFormat::Human | LogFormat::Auto => {
                written.with_target(false).with_ansi(wants_colours()).boxed()
            }
            LogFormat::Json => written.json().flatten_event(true).boxed(),
            LogFormat::Journal => written.with_ansi(false).event_format(Journal).boxed(),
        };
        let subscriber = Registry::default().with(filter).with(written);
        subscriber.try_init().map_err(|error| LogError::Taken(error.to_string()))?;
        Ok(Logs { filter: handle })
    }

    /// Other events from now on, after a reload; the format stays.
    ///
    /// # Errors
    /// The directives cannot be read; what was written before still is.
    pub fn set_directives(&self, directives: &str) -> Result<(), LogError> {
        let filter = parse(directives)?;
        self.filter.reload(filter).map_err(|error| LogError::Taken(error.to_string()))
    }
}

fn parse(directives: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(directives)
        .map_err(|error| LogError::Directives(directives.to_owned(), error.to_string()))
}

/// Only a terminal shows colours, and not to those who asked for none (no-color.org).
fn wants_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether standard error is the stream that the service manager connected to the journal: systemd.exec(5) has the
/// device and inode in JOURNAL_STREAM, so that a redirected standard error is told apart.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(io::stderr().as_fd()).is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
}

fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// One line for each event: a priority as sd-daemon(3) has it, the spans' fields, the event's.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) =
                span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty())
            {
                text.push(' ');
                text.push_str(fields);
            }
        }
        // The journal takes each line for an event of its own.
        let text = text.replace('\n', "\\n");
        writeln!(writer, "<{}>{text}", priority(*event.metadata().level()))
    }
}

/// syslog(3)'s LOG_ERR, LOG_WARNING, LOG_INFO and LOG_DEBUG.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_journal_gets_a_priority_and_one_line_for_each_event() {
        let page = Page::default();
        let writer = page.clone();
        let written =
            layer::layer().with_ansi(false).event_format(Journal).with_writer(move || writer.clone());
        tracing::subscriber::with_default(Registry::default().with(written), || {
            tracing::error!("cannot go on");
            let _span = tracing::info_span!("session", id = 17).entered();
            tracing::info!(uid = 33, "two\nlines");
            tracing::debug!("small");
            tracing::warn!("careful");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let expected = "<3>cannot go on\n<6>two\\nlines uid=33 id=17\n<7>small id=17\n<4>careful id=17\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_flag_wins_over_the_variable_and_the_variable_over_the_file() {
        let log = Log { level: LogLevel::Warn, format: LogFormat::Json };
        let choose = |level, variable: Option<&str>| {
            LogChoice::new(level, None, variable.map(str::to_owned), &log).directives
        };
        assert_eq!(choose(Some(LogLevel::Trace), Some("debug")), "trace");
        assert_eq!(choose(None, Some("tlsifyd::io=debug")), "tlsifyd::io=debug");
        assert_eq!(choose(None, Some(" ")), "warn");
        assert_eq!(choose(None, None), "warn");
        assert_eq!(LogChoice::new(None, Some(LogFormat::Human), None, &log).format, LogFormat::Human);
    }

    #[test]
    fn a_variable_that_is_no_level_is_an_error() {
        let error = parse("tlsifyd=loud").unwrap_err().to_string();
        assert!(error.starts_with("cannot read \"tlsifyd=loud\" as log levels ("), "{error}");
        assert!(parse("info").is_ok() && parse("warn,tlsifyd::io=trace").is_ok());
    }

    #[test]
    fn a_redirected_stderr_is_not_the_journal() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "a:b"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }
}
