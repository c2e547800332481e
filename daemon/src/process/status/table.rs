//! A table for people: columns as wide as what is in them, and where there is no room for all, the least important
//! columns are left out and named.

use std::fmt::Write;

/// Between two columns.
const GAP: usize = 2;

/// How much a column matters: the greatest numbers go first when there is no room.
pub(super) type Importance = u8;

pub(super) struct Table {
    columns: Vec<(&'static str, Importance)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: impl IntoIterator<Item = (&'static str, Importance)>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in no more than `width` columns of text, as far as leaving out helps.
    pub(super) fn fit(&self, width: Option<usize>) -> String {
        let wide: Vec<usize> = self.columns.iter().enumerate().map(|(at, _)| self.width_of(at)).collect();
        // What has nothing to say in any row says nothing to anybody.
        let mut shown: Vec<usize> = (0..wide.len()).filter(|at| self.says_something(*at)).collect();
        let mut left_out = Vec::new();
        let taken = |shown: &[usize]| {
            shown.iter().map(|at| wide[*at] + GAP).sum::<usize>() - GAP.min(1 + shown.len())
        };
        while let Some(width) = width
            && shown.len() > 1
            && taken(&shown) > width
        {
            let least = shown.iter().copied().max_by_key(|at| (self.columns[*at].1, *at)).unwrap_or_default();
            shown.retain(|at| *at != least);
            left_out.push(self.columns[least].0.to_lowercase());
        }
        let mut text = String::new();
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        for cells in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for at in &shown {
                // Writing to a String does not fail.
                let _ = write!(line, "{:<1$}", cells[*at], wide[*at] + GAP);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if !left_out.is_empty() {
            let _ = writeln!(text, "(no room for {})", left_out.join(", "));
        }
        text
    }

    fn width_of(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[at].chars().count());
        cells.chain([self.columns[at].0.len()]).max().unwrap_or(0)
    }

    fn says_something(&self, at: usize) -> bool {
        // The first names the row.
        at == 0 || self.rows.iter().any(|row| row[at] != "-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([("USER", 0), ("PEER", 1), ("RULE", 3), ("AGE", 2), ("ALPN", 1)]);
        table.row(["root", "10.0.0.1:443", "web", "3s", "-"].map(str::to_owned));
        table.row(["ä", "-", "-", "2h05m", "-"].map(str::to_owned));
        table
    }

    #[test]
    fn columns_line_up_and_one_without_a_word_is_not_there() {
        let whole =
            "USER  PEER          RULE  AGE\nroot  10.0.0.1:443  web   3s\nä     -             -     2h05m\n";
        assert_eq!(table().fit(None), whole);
        assert_eq!(table().fit(Some(31)), whole, "just as wide");
    }

    #[test]
    fn where_there_is_no_room_the_least_important_goes_first_and_is_named() {
        let text = table().fit(Some(26));
        assert_eq!(
            text,
            "USER  PEER          AGE\nroot  10.0.0.1:443  3s\nä     -             2h05m\n(no room for rule)\n"
        );
        let narrow = table().fit(Some(1));
        assert_eq!(narrow, "USER\nroot\nä\n(no room for rule, age, peer)\n");
    }
}
