//! `COVERAGE.md` and the tests say the same: what it names exists, runs, and covers every row.
//!
//! A test is named `suite::test` or `suite::module::test`. The suite is a `[[test]]` of this package, a file in another
//! package's `tests`, or a package for the unit tests in its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rows of the project's list that are built, and so have to be shown.
const ROWS: [&str; 28] = [
    "R01", "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R09", "R10", "R11", "R12", "R14", "R15", "R16",
    "R17", "R18", "R19", "R22", "R23", "R25", "R26", "R27", "R28", "R34", "R35", "R40", "R42",
];

/// Packages whose sources and `tests` folders hold tests, by the names that they are given.
const PACKAGES: [(&str, &str); 5] = [
    ("tlsify", "client-shim/command"),
    ("tlsifyd", "daemon"),
    ("tlsify-protocol", "client-shim/protocol"),
    ("tlsify-client", "client-shim/library"),
    ("tlsifyd-tests", "tests"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_row_has_tests_and_every_test_exists_and_runs() {
    let document = fs::read_to_string(root().join("tests/COVERAGE.md")).expect("COVERAGE.md is there");
    let suites = Suites::read();
    let mut wrong = Vec::new();
    let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (row, tests) in table(&document) {
        for test in &tests {
            if let Err(why) = suites.find(test) {
                wrong.push(format!("{row}: {test}: {why}"));
            }
        }
        if rows.insert(row.clone(), tests.into_iter().collect()).is_some() {
            wrong.push(format!("{row}: more than one line"));
        }
    }
    for row in ROWS {
        if rows.get(row).is_none_or(BTreeSet::is_empty) {
            wrong.push(format!("{row}: no test"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let suites = Suites::read();
    let here = "coverage::a_test_that_is_not_there_is_noticed";
    assert_eq!(suites.find(here), Ok(()));
    let wrong = [
        // Only a helper, not there, in another module, no such suite, no suite at all.
        "coverage::table",
        "coverage::a_test_that_is_not",
        "coverage::elsewhere::a_test_that_is_not_there_is_noticed",
        "absent::a_test_that_is_not_there_is_noticed",
        "a_test_that_is_not_there_is_noticed",
    ];
    for name in wrong {
        assert!(suites.find(name).is_err(), "{name} is found");
    }
    assert_eq!(suites.find("tlsifyd::session::state::halves_close_in_either_order"), Ok(()));
    assert_eq!(suites.find("document::codes_agree"), Ok(()));
}

#[test]
fn the_table_is_read_as_people_read_it() {
    let rows = table(
        "# Title\n\n| row | what | tests |\n| --- | --- | --- |\n| R01 | a `x::y` in the middle | `a::b`, `c::d::e` |\n\
         | **R05** | none yet | |\n\ntext `f::g`\n",
    );
    let names = |row: usize| rows[row].1.iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!((rows[0].0.as_str(), names(0)), ("R01", vec!["a::b", "c::d::e"]));
    assert_eq!((rows[1].0.as_str(), names(1)), ("R05", vec![]));
    assert_eq!(rows.len(), 2);
}

/// Row id and the tests in the last cell, for each line of a table that begins with a row id.
fn table(document: &str) -> Vec<(String, Vec<String>)> {
    let is_row = |cell: &str| {
        cell.len() == 3 && cell.starts_with('R') && cell[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    document
        .lines()
        .filter_map(|line| {
            let line = line.trim().strip_prefix('|')?.strip_suffix('|')?;
            let (row, rest) = line.split_once('|')?;
            let row = row.trim().trim_matches(['*', '`']);
            let (_, tests) = rest.rsplit_once('|')?;
            let names = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            is_row(row).then(|| (row.to_owned(), names))
        })
        .collect()
}

/// Where each suite's tests are: for each file its modules, from the suite's root, and its text.
struct Suites(BTreeMap<String, Vec<Source>>);

struct Source {
    modules: Vec<String>,
    text: String,
}

impl Suites {
    fn read() -> Self {
        let mut suites: BTreeMap<String, Vec<Source>> = BTreeMap::new();
        for (name, folder) in PACKAGES {
            let folder = root().join(folder);
            suites.insert(name.to_owned(), sources(&folder.join("src")));
            // What cargo finds by itself; this package lists its suites instead.
            for entry in fs::read_dir(folder.join("tests")).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "rs") {
                    suites.insert(stem(&path), suite(&path));
                }
            }
        }
        let manifest = fs::read_to_string(root().join("tests/Cargo.toml")).expect("our own manifest");
        for section in manifest.split("\n[").filter(|section| section.starts_with("[test]]")) {
            let value = |key: &str| {
                let line = section.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
                line.map(|value| value.trim().trim_matches('"').to_owned())
            };
            let name = value("name").expect("a suite has a name");
            let path = value("path").expect("a suite has a path");
            suites.insert(name, suite(&root().join("tests").join(path)));
        }
        assert!(suites.contains_key("coverage"), "the manifest is not read as it is written");
        Self(suites)
    }

    fn find(&self, name: &str) -> Result<(), String> {
        let words: Vec<&str> = name.split("::").collect();
        let [suite, modules @ .., test] = words.as_slice() else {
            return Err("expected suite::test".to_owned());
        };
        let sources = self.0.get(*suite).ok_or_else(|| format!("there is no suite \"{suite}\""))?;
        // Unit tests stand in a module that is no file.
        let wanted: Vec<&str> = modules.iter().copied().filter(|module| *module != "tests").collect();
        let mut reason = "there is no such test".to_owned();
        for source in sources {
            let here: Vec<&str> =
                source.modules.iter().map(String::as_str).filter(|module| *module != "tests").collect();
            // Without modules, any file of the suite; with some, the file that they lead to.
            if !wanted.is_empty() && wanted != here {
                continue;
            }
            match attributes(&source.text, test) {
                Some(marks) if !marks.contains("#[test]") => {}
                Some(marks) if marks.contains("#[ignore") => reason = "it is ignored".to_owned(),
                Some(_) => return Ok(()),
                None => {}
            }
        }
        Err(reason)
    }
}

/// What stands before the function of this name, back to the last empty line or the end of another item.
fn attributes(text: &str, function: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = format!("fn {function}(");
    let at = lines.iter().position(|line| line.trim_start().starts_with(&begins))?;
    let before = lines[..at].iter().rev().take_while(|line| {
        let line = line.trim();
        line.starts_with("#[") || line.starts_with("//") || line.ends_with(")]")
    });
    Some(before.copied().collect::<Vec<_>>().join("\n"))
}

/// A suite: its file, and its modules, in its folder when it is a `main.rs`, else in one of its name.
fn suite(path: &Path) -> Vec<Source> {
    let folder = path.parent().expect("a file is in a folder");
    if stem(path) == "main" {
        return sources(folder);
    }
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut all = vec![Source { modules: Vec::new(), text }];
    // Modules of a suite of one file lie beside it, or in a folder of its name.
    all.extend(sources(&folder.join(stem(path))));
    all
}

fn sources(folder: &Path) -> Vec<Source> {
    let mut all = Vec::new();
    walk(folder, &mut Vec::new(), &mut all);
    all
}

fn walk(folder: &Path, modules: &mut Vec<String>, all: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        let name = stem(&path);
        // `operator_tests.rs` is the module of tests of `operator.rs`.
        let name = name.strip_suffix("_tests").unwrap_or(&name).to_owned();
        let is_root = matches!(name.as_str(), "main" | "mod" | "lib");
        if path.is_dir() || (is_source && !is_root) {
            modules.push(name);
        }
        if path.is_dir() {
            walk(&path, modules, all);
        } else if is_source {
            let text = fs::read_to_string(&path).expect("a source");
            all.push(Source { modules: modules.clone(), text });
        }
        if path.is_dir() || (is_source && !is_root) {
            modules.pop();
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}
