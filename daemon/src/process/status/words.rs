//! The lines of the daemon's lists: `key=value` words.

/// A list, read.
pub(super) struct Lines(Vec<Line>);

/// One thing in it: its words in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(String, String)>);

impl Lines {
    pub(super) fn read(text: &str) -> Self {
        Self(text.lines().map(Line::read).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By user, process and number; what has none of these by its words.
    pub(super) fn sorted(&self) -> Vec<&Line> {
        let number = |line: &Line, key| super::parsed::<u64>(line.get(key)).unwrap_or(0);
        let mut lines: Vec<&Line> = self.0.iter().collect();
        lines.sort_by_cached_key(|line| {
            let numbers = ["uid", "pid", "id"].map(|key| number(line, key));
            (numbers, line.get("store").unwrap_or_default().to_owned())
        });
        lines
    }
}

impl Line {
    fn read(line: &str) -> Self {
        let words = line.split(' ').filter_map(|word| word.split_once('='));
        // The daemon sends none; a terminal would obey them.
        let clean = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        Self(words.map(|(key, value)| (clean(key), clean(value))).collect())
    }

    /// What a key says; nothing for a dash.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).filter(|value| *value != "-")
    }

    /// Every key, with what it says.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()).filter(|value| *value != "-")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_says_nothing_and_a_newer_daemons_words_are_kept() {
        let lines = Lines::read("uid=5 peer=- new-word=a=b\nuid=4 pid=2\nuid=4 pid=1 id=9\n");
        let sorted = lines.sorted();
        let order: Vec<_> = sorted.iter().map(|line| (line.get("uid"), line.get("pid"))).collect();
        assert_eq!(order, [(Some("4"), Some("1")), (Some("4"), Some("2")), (Some("5"), None)]);
        assert_eq!((sorted[2].get("peer"), sorted[2].get("new-word")), (None, Some("a=b")));
        assert_eq!(sorted[2].all().count(), 3);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let lines = Lines::read("server-name=a\u{1b}[2J\u{7}");
        assert_eq!(lines.sorted()[0].get("server-name"), Some("a?[2J?"));
    }
}
