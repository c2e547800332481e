//! `tlsifyd status`: what a running daemon has open, and for whom. It asks as any caller does, over the daemon's
//! socket, and gets what any caller of its user would get: everything for root and those whom the operator names, their
//! own for everybody else.
//!
//! ```text
//!  status ──▶ daemon ──▶ lines of words ──┬─▶ table: for people, as wide as there is room
//!                                         └─▶ json: for machines, every word
//! ```

mod json;
mod people;
mod table;
mod words;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

use tlsify_client::{Client, Code, Error, Inventory, Scope, Status};

use table::Table;
use words::Lines;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Where the daemon is; `None`: the usual places.
    pub socket: Option<PathBuf>,
    /// Whose; `None`: everybody's where that is permitted, else one's own.
    pub scope: Option<Scope>,
    /// Whether sessions are listed. With no list said: sessions and callers.
    pub sessions: bool,
    /// Whether callers are listed.
    pub callers: bool,
    /// Whether stores are listed.
    pub stores: bool,
    /// For machines.
    pub json: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The daemon is not there, or does not say it.
    #[error("{0}")]
    Daemon(Error),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
}

impl StatusError {
    /// What a person can try.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Daemon(error) if error.code() == Some(Code::NotPermitted) => {
                Some("--mine shows your own; operators in [status] of tlsifyd.toml may see all".to_owned())
            }
            Self::Daemon(error) if error.code() == Some(Code::UnknownKey) => {
                Some("the daemon is older than this program and has no such list".to_owned())
            }
            Self::Daemon(error) => error.hint().map(|hint| hint.to_string()),
            Self::Write(_) => None,
        }
    }
}

/// Everything that was answered.
struct Answer {
    daemon: String,
    scope: Scope,
    status: Status,
    sessions: Option<Lines>,
    callers: Option<Lines>,
    stores: Option<Lines>,
}

/// Asks and writes the answer. `width` is how many columns there are room for, if that is limited.
///
/// # Errors
/// [`StatusError`]; nothing has been written if the daemon is to blame.
pub fn status(question: &Question, width: Option<usize>, out: &mut impl Write) -> Result<(), StatusError> {
    let answer = ask(question).map_err(StatusError::Daemon)?;
    if question.json {
        serde_json::to_writer(&mut *out, &json::object(&answer)).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write_tables(&answer, width, out)?;
    }
    out.flush()?;
    Ok(())
}

fn ask(question: &Question) -> Result<Answer, Error> {
    let client = match &question.socket {
        Some(path) => Client::connect_to(path)?,
        None => Client::connect()?,
    };
    let some = question.sessions || question.callers || question.stores;
    let (sessions, callers) = (question.sessions || !some, question.callers || !some);
    let of = |scope| {
        let mut what = Inventory::of(scope);
        for (wanted, with) in [
            (sessions, Inventory::sessions as fn(Inventory) -> Inventory),
            (callers, Inventory::callers),
            (question.stores, Inventory::stores),
        ] {
            what = if wanted { with(what) } else { what };
        }
        client.inventory(what).map(|status| (scope, status))
    };
    let (scope, status) = match question.scope {
        Some(scope) => of(scope)?,
        // Who may see all is the operator's to say, so nobody knows before asking.
        None => match of(Scope::All) {
            Err(error) if error.code() == Some(Code::NotPermitted) => of(Scope::Own)?,
            answer => answer?,
        },
    };
    let lines = |wanted: bool, text: io::Result<String>| -> Result<Option<Lines>, Error> {
        let text = if wanted { Some(text.map_err(Error::Io)?) } else { None };
        Ok(text.map(|text| Lines::read(&text)))
    };
    Ok(Answer {
        daemon: client.hello().daemon.clone(),
        scope,
        sessions: lines(sessions, status.list_text())?,
        callers: lines(callers, status.callers_text())?,
        stores: lines(question.stores, status.stores_text())?,
        status,
    })
}

fn write_tables(answer: &Answer, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
    let count =
        |number: u64, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let Answer { status, .. } = answer;
    let counts = [
        count(status.sessions, "open session", "open sessions"),
        count(status.handshakes, "handshake", "handshakes"),
        count(status.callers, "control connection", "control connections"),
        count(status.profiles, "defined profile", "defined profiles"),
    ];
    let whose = if answer.scope == Scope::All { "everybody's" } else { "your own" };
    writeln!(out, "{}, {whose}: {}", answer.daemon, counts.join(", "))?;
    let now = people::now();
    for (what, lines, columns) in [
        ("sessions", &answer.sessions, people::SESSIONS),
        ("callers", &answer.callers, people::CALLERS),
        ("stores", &answer.stores, people::STORES),
    ] {
        let Some(lines) = lines else { continue };
        if lines.is_empty() {
            writeln!(out, "\nno {what}")?;
            continue;
        }
        let mut table = Table::new(columns.iter().map(|column| (column.title, column.importance)));
        for line in lines.sorted() {
            table.row(columns.iter().map(|column| (column.shown)(line, now)));
        }
        write!(out, "\n{}", table.fit(width))?;
    }
    Ok(())
}

/// How wide standard output is, where it is a terminal: elsewhere nothing is left out.
#[must_use]
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that does not know says 0.
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A number of whatever, for [`people`] and [`json`].
fn parsed<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text.and_then(|text| text.parse().ok())
}

/// What there is, or a dash.
fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
