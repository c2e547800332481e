//! What is wrong with the configuration, and on which line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used; the operator has to act.
///
/// Printed as `PATH:LINE: cause`, which editors and people both follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    line: Option<usize>,
    cause: String,
}

impl ConfigError {
    /// Names the file, the line from 1 if there is one, and the cause: lower case, no full stop.
    pub fn new(path: &Path, line: Option<usize>, cause: impl Into<String>) -> Self {
        ConfigError { path: path.to_owned(), line, cause: cause.into() }
    }

    /// The file that is wrong.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line, from 1, where the mistake is; `None` when it is nowhere in particular.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The sentence without the place.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.cause)
    }
}

impl std::error::Error for ConfigError {}

/// The text and its path: turns places in the text into lines, and what the parser says into our words.
pub(super) struct Lines<'a> {
    text: &'a str,
    pub(super) path: &'a Path,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str, path: &'a Path) -> Self {
        Lines { text, path }
    }

    /// The line, from 1, where a span starts.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let start = span.start.min(self.text.len());
        1 + self.text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn at(&self, span: &Range<usize>, cause: impl Into<String>) -> ConfigError {
        ConfigError::new(self.path, Some(self.line(span)), cause)
    }

    pub(super) fn toml(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map(|span| self.line(&span));
        ConfigError::new(self.path, line, reword(error.message()))
    }
}

/// Serde names unknown keys and values with everything it would have taken, in backticks; people are better served
/// by the one they meant.
fn reword(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((said, known)) = quoted.split_first() else {
        // Some of the parser's messages have a second line with an example; ours are one line.
        return message.lines().next().unwrap_or_default().to_owned();
    };
    if message.starts_with("unknown field ") {
        match nearest(said, known) {
            Some(meant) => format!("unknown key \"{said}\", did you mean \"{meant}\"?"),
            None => format!("unknown key \"{said}\""),
        }
    } else if message.starts_with("unknown variant ") {
        match nearest(said, known) {
            Some(meant) => format!("unknown value \"{said}\", did you mean \"{meant}\"?"),
            None => format!("unknown value \"{said}\", expected {}", alternatives(known)),
        }
    } else if message.starts_with("missing field ") {
        format!("missing key \"{said}\"")
    } else {
        message.lines().next().unwrap_or_default().replace('`', "\"")
    }
}

/// The known word that `said` was probably meant to be, if any is near enough to say so.
pub(super) fn nearest<'a>(said: &str, known: &[&'a str]) -> Option<&'a str> {
    // Below 0.75 the guesses are worse than none: "role" and "file" come out at 0.67.
    known
        .iter()
        .map(|word| (strsim::jaro_winkler(said, word), *word))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_word_is_not_suggested() {
        assert_eq!(nearest("certfiles", &["certfile", "keyfile"]), Some("certfile"));
        assert_eq!(nearest("colour", &["certificate", "key", "ocsp"]), None);
    }

    #[test]
    fn lines_count_from_one_and_a_place_behind_the_end_is_the_last() {
        let lines = Lines::new("a\nb\nc", Path::new("x"));
        assert_eq!(lines.line(&(0..1)), 1);
        assert_eq!(lines.line(&(2..3)), 2);
        assert_eq!(lines.line(&(99..100)), 3);
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(alternatives(&["a"]), "\"a\"");
        assert_eq!(alternatives(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
