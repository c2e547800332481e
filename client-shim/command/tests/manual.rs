//! The manual page and `--help` say the same, as far as both say it.

use std::collections::BTreeSet;
use std::process::Command;

const PAGE: &str = include_str!("../../../packaging/man/tlsify.1");

/// The page as text: without macros' names, fonts and escaped hyphens.
fn page() -> String {
    let mut text = PAGE.replace("\\-", "-");
    for escape in ["\\fB", "\\fI", "\\fR", "\\~"] {
        text = text.replace(escape, " ");
    }
    text
}

fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tlsify")).arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The long options that a text names.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
    words.filter(|word| word.len() > 3 && word.starts_with("--")).map(str::to_owned).collect()
}

/// The first words of the tagged paragraphs of a section.
fn tags(section: &str) -> BTreeSet<String> {
    let page = page();
    let body =
        page.split(".SH ").find(|part| part.trim_start_matches('"').starts_with(section)).expect(section);
    let mut tags = BTreeSet::new();
    let mut lines = body.lines();
    while let Some(line) = lines.next() {
        if line == ".TP" || line == ".TQ" {
            let tag = lines.next().expect("a tag follows");
            let words = tag.split([' ', ',', '"']).filter(|word| !word.is_empty() && !word.starts_with('.'));
            tags.extend(words.map(str::to_owned));
        }
    }
    tags
}

#[test]
fn every_option_of_the_help_is_in_the_page_and_the_other_way_round() {
    let (help, tags) = (options(&help()), tags("OPTIONS"));
    let page: BTreeSet<_> = tags.into_iter().filter(|tag| tag.starts_with("--")).collect();
    assert_eq!(page, help);
    // Nor does the rest of the page name an option that is not there; these are other programs'.
    let others = ["--option", "--inetd", "--no-check-certificate"];
    let all: BTreeSet<_> =
        options(self::page().as_str()).into_iter().filter(|o| !others.contains(&o.as_str())).collect();
    assert_eq!(all, help);
}

#[test]
fn every_exit_status_and_variable_of_the_help_is_in_the_page_and_the_other_way_round() {
    let help = help();
    let last = help.split("exit status:").nth(1).expect("the help tells the exit status");
    let numbers: BTreeSet<String> = last
        .split(|c: char| !c.is_ascii_digit())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    assert_eq!(tags("EXIT STATUS"), numbers);
    let variables = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
        words
            .filter(|word| word.ends_with("FILE") || word.ends_with("DIR") || word.ends_with("SOCK"))
            .map(str::to_owned)
            .collect()
    };
    let told: BTreeSet<_> =
        tags("ENVIRONMENT").into_iter().filter(|name| !name.starts_with("SSL_")).collect();
    let helped: BTreeSet<_> = variables(&help).into_iter().filter(|name| name.len() > 4).collect();
    assert_eq!(told, helped);
}

#[test]
fn the_page_is_of_this_version() {
    assert!(PAGE.contains(concat!("\"tlsify ", env!("CARGO_PKG_VERSION"), "\"")));
}
