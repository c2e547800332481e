//! `tests/BED.md` has a line for each server of the bed, and what it says is what is tested.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::case::{Alert, Case, Outcome};
use super::groups;

const MARK: &str = "<!-- below this line the suite `bed` writes -->\n";

#[test]
fn the_document_lists_what_is_tested() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("BED.md");
    let document = fs::read_to_string(&file).expect("BED.md is there");
    let (head, listed) = document.split_once(MARK).expect("BED.md has its mark");
    let tables = tables();
    if std::env::var_os("TLSIFY_WRITE_BED").is_some() {
        fs::write(&file, [head, MARK, &tables].concat()).expect("BED.md can be written");
        return;
    }
    let stale = tables.lines().find(|line| !listed.contains(line));
    assert!(
        listed == tables,
        "run this test with TLSIFY_WRITE_BED=1; the first line that is missing: {stale:?}"
    );
}

#[test]
fn no_server_is_listed_twice() {
    let mut seen = BTreeSet::new();
    for (_, cases) in groups() {
        for case in cases {
            assert!(seen.insert(case.what), "\"{}\" is there twice", case.what);
        }
    }
    assert!(seen.len() >= 100, "{} are not the bed that it was", seen.len());
}

fn tables() -> String {
    let mut text = String::new();
    for (heading, cases) in groups() {
        let _ = write!(
            text,
            "\n## {heading}\n\n| the server has, or does | it comes to | blame | alert |\n| --- | --- | --- | --- |\n"
        );
        for case in &cases {
            let _ = writeln!(text, "{}", line(case));
        }
    }
    text
}

fn line(case: &Case) -> String {
    let what = case.what;
    match &case.outcome {
        Outcome::Opens(matched) => {
            let matched: Vec<String> = matched.iter().map(|matched| format!("`{matched}`")).collect();
            format!("| {what} | established: {} | | |", matched.join(", "))
        }
        Outcome::Fails(failure) => {
            let alert = match failure.alert {
                Alert::Sent(alert) => format!("sent: `{alert}`"),
                Alert::Received(alert) => format!("received: `{alert}`"),
                Alert::None => "none".to_owned(),
            };
            format!("| {what} | `{}` | {} | {alert} |", failure.code, failure.blame)
        }
    }
}
