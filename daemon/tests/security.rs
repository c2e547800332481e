//! `packaging/SECURITY.md` says what the code does.

use std::collections::BTreeSet;
use std::path::Path;

use tlsifyd::process::sandbox::{Part, system_calls};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the row of this part in the first table.
fn row(document: &str, part: Part) -> Vec<String> {
    let start = format!("| {part} | ");
    let line = document.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no {part}"));
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn the_table_of_processes_says_what_the_code_does() {
    let document = read("packaging/SECURITY.md");
    for part in Part::ALL {
        let calls: BTreeSet<&str> = system_calls(part).map(|(name, _)| name).collect();
        let row = row(&document, part);
        let [_, user, capabilities, files, sockets, programs, others] = &row[..] else { panic!("{row:?}") };
        assert_eq!(files == "none", !calls.contains("openat"), "{part}: files: {files}");
        assert_eq!(sockets == "pairs only", !calls.contains("socket"), "{part}: sockets: {sockets}");
        assert_eq!(programs == "none", !calls.contains("execve"), "{part}: programs: {programs}");
        assert_eq!(others == "refused", part.has_foreign_code(), "{part}: other calls: {others}");
        assert_eq!(capabilities == "none", part != Part::Supervisor, "{part}: {capabilities}");
        assert_eq!(user == "root", part == Part::Supervisor, "{part}: {user}");
        assert!(calls.contains("socketpair") && !calls.contains("ptrace"), "{part}");
    }
}

#[test]
fn the_code_of_escapes_is_in_no_release() {
    for (file, line) in [
        ("daemon/src/process/sandbox/mod.rs", "mod escape;"),
        ("daemon/src/process/sandbox/mod.rs", "pub use escape::Escape;"),
        ("daemon/src/sys/mod.rs", "mod escape;"),
    ] {
        let text = read(file);
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|other| *other == line).unwrap_or_else(|| panic!("{line} in {file}"));
        assert_eq!(lines[at - 1], "#[cfg(debug_assertions)]", "{file}: {line}");
    }
}
