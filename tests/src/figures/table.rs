//! What things cost, one row for each: as a table for people, as JSON for programs. The first row is what the others are
//! compared with.

use std::fmt::Write as _;

/// What one piece of work costs, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// From its beginning to its end.
    pub wall: f64,
    /// CPU time of all processes that take part in it.
    pub cpu: f64,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is called in the text around the table.
    pub key: &'static str,
    /// What is done.
    pub what: String,
    /// What it costs, or why it was not measured.
    pub cost: Result<Cost, String>,
}

/// What is to hold between two rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// The row that is judged.
    pub row: &'static str,
    /// The row that it is compared with.
    pub than: &'static str,
    /// The first costs at most so many times the second.
    pub at_most: f64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// One line: when, where, what was built.
    pub title: String,
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// What is to hold.
    pub bars: Vec<Bar>,
}

impl Table {
    /// The cost of a row that was measured.
    pub fn cost(&self, key: &str) -> Option<Cost> {
        self.rows.iter().find(|row| row.key == key)?.cost.as_ref().ok().copied()
    }

    /// How many times as much a bar's row costs, in wall and in CPU time; none where one was not measured.
    pub fn ratio(&self, bar: &Bar) -> Option<Cost> {
        let (row, than) = (self.cost(bar.row)?, self.cost(bar.than)?);
        Some(Cost { wall: row.wall / than.wall, cpu: row.cpu / than.cpu })
    }

    /// For a terminal, the bars below.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        let wide = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        let _ = writeln!(
            text,
            "{:<3} {:<wide$} {:>9} {:>9} {:>9} {:>7} {:>7}",
            "", "", "per s", "wall µs", "CPU µs", "wall ×", "CPU ×"
        );
        let first = self.rows.first().and_then(|row| row.cost.clone().ok());
        for row in &self.rows {
            let _ = write!(text, "{:<3} {:<wide$} ", row.key, row.what);
            let _ = match &row.cost {
                Err(why) => writeln!(text, "  - {why}"),
                Ok(Cost { wall, cpu }) => {
                    let _ = write!(text, "{:>9.0} {wall:>9.1} {cpu:>9.1}", 1e6 / wall);
                    match first {
                        Some(first) => writeln!(text, " {:>7.2} {:>7.2}", wall / first.wall, cpu / first.cpu),
                        None => writeln!(text),
                    }
                }
            };
        }
        text.push('\n');
        for bar in &self.bars {
            let _ = writeln!(text, "{}", self.judge(bar));
        }
        text
    }

    /// A bar in words.
    fn judge(&self, bar: &Bar) -> String {
        let Bar { row, than, at_most } = bar;
        let claim = format!("({row}) at most {at_most:.3} times ({than})");
        let word = |ratio: f64| format!("{ratio:.3} {}", if ratio <= *at_most { "pass" } else { "fail" });
        match self.ratio(bar) {
            Some(Cost { wall, cpu }) => format!("{claim}: wall {}, CPU {}", word(wall), word(cpu)),
            None => format!("{claim}: not measured"),
        }
    }

    /// For programs: `{"title", "rows": [{"key", "what", "wall_us", "cpu_us"} or {…, "why"}], "bars": […]}`.
    pub fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let head = format!("{{\"key\": {}, \"what\": {}", quoted(row.key), quoted(&row.what));
            match &row.cost {
                Ok(Cost { wall, cpu }) => format!("{head}, \"wall_us\": {wall:.2}, \"cpu_us\": {cpu:.2}}}"),
                Err(why) => format!("{head}, \"why\": {}}}", quoted(why)),
            }
        });
        let bars = self.bars.iter().map(|bar| {
            let Bar { row, than, at_most } = bar;
            let head =
                format!("{{\"row\": {}, \"than\": {}, \"at_most\": {at_most:.4}", quoted(row), quoted(than));
            match self.ratio(bar) {
                Some(Cost { wall, cpu }) => format!("{head}, \"wall\": {wall:.4}, \"cpu\": {cpu:.4}}}"),
                None => format!("{head}}}"),
            }
        });
        let list = |items: Vec<String>| format!("[\n    {}\n  ]", items.join(",\n    "));
        format!(
            "{{\n  \"title\": {},\n  \"rows\": {},\n  \"bars\": {}\n}}\n",
            quoted(&self.title),
            list(rows.collect()),
            list(bars.collect())
        )
    }
}

/// A string of JSON (RFC 8259 section 7).
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        let _ = match character {
            '"' | '\\' => write!(quoted, "\\{character}"),
            control if control < ' ' => write!(quoted, "\\u{:04x}", u32::from(control)),
            other => write!(quoted, "{other}"),
        };
    }
    quoted.push('"');
    quoted
}

/// The middle one; none of none.
pub fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(figures[middle]),
        _ => Some(f64::midpoint(figures[middle - 1], figures[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |key, what: &str, cost| Row { key, what: what.to_owned(), cost };
        Table {
            title: "one \"quoted\" title".to_owned(),
            rows: vec![
                row("a", "nothing", Ok(Cost { wall: 40.0, cpu: 20.0 })),
                row("b", "something", Ok(Cost { wall: 60.0, cpu: 50.0 })),
                row("c", "later", Err("not built yet".to_owned())),
            ],
            bars: vec![Bar { row: "b", than: "a", at_most: 1.6 }, Bar { row: "c", than: "a", at_most: 0.2 }],
        }
    }

    #[test]
    fn each_row_is_compared_with_the_first_and_each_bar_is_judged_twice() {
        let text = table().text();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[4], "b   something     16667      60.0      50.0    1.50    2.50", "{text}");
        assert_eq!(lines[5], "c   later       - not built yet", "{text}");
        assert_eq!(lines[7], "(b) at most 1.600 times (a): wall 1.500 pass, CPU 2.500 fail", "{text}");
        assert_eq!(lines[8], "(c) at most 0.200 times (a): not measured", "{text}");
    }

    #[test]
    fn json_keeps_what_would_end_a_string() {
        let json = table().json();
        assert!(json.contains(r#""title": "one \"quoted\" title""#), "{json}");
        assert!(
            json.contains(r#"{"key": "b", "what": "something", "wall_us": 60.00, "cpu_us": 50.00}"#),
            "{json}"
        );
        assert!(json.contains(r#"{"key": "c", "what": "later", "why": "not built yet"}"#), "{json}");
        assert!(json.contains(r#""at_most": 1.6000, "wall": 1.5000, "cpu": 2.5000}"#), "{json}");
        assert_eq!(quoted("a\\b\n"), r#""a\\b\u000a""#);
    }

    #[test]
    fn one_slow_round_does_not_move_the_median() {
        assert_eq!(median(vec![3.0, 900.0, 1.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 2.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }
}
