//! The manual page and `--help` say the same, as far as both say it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
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

/// One of the command's sources, or all of them, without their tests.
fn source(name: Option<&str>) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wanted = files.filter(|file| {
        file.is_file() && name.is_none_or(|name| file.file_name().is_some_and(|own| own == name))
    });
    let texts = wanted.map(|file| fs::read_to_string(file).unwrap());
    texts.map(|text| text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_variable_that_the_command_reads_or_sets_is_in_the_page_and_the_other_way_round() {
    // Names in quotes: c"PATH", b"CAFILE", "SSL_CIPHER".
    let text = source(None);
    let is_name = |name: &&str| name.len() > 3 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    // One is read when the command is built.
    let named: BTreeSet<&str> =
        text.split('"').filter(is_name).filter(|name| !name.starts_with("CARGO_")).collect();
    assert!(named.contains("SSL_PEER_SPKI_HASH") && named.contains("XDG_RUNTIME_DIR"), "{named:?}");
    let page = page();
    let words: BTreeSet<&str> = page.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).collect();
    assert_eq!(named.difference(&words).collect::<Vec<_>>(), Vec::<&&str>::new(), "not in the page");
    let told = tags("ENVIRONMENT");
    let invented: Vec<_> = told.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert_eq!(invented, Vec::<&String>::new(), "in the page only");
}

#[test]
fn every_exit_status_of_the_source_is_in_the_page() {
    let text = source(Some("status.rs"));
    let values = text.lines().filter(|line| line.starts_with("pub(crate) const "));
    let values: BTreeSet<String> =
        values.filter_map(|line| Some(line.rsplit(' ').next()?.strip_suffix(';')?.to_owned())).collect();
    assert_eq!(values.len(), 6, "{values:?}");
    assert_eq!(tags("EXIT STATUS"), values);
}

#[test]
fn the_page_is_of_this_version() {
    assert!(PAGE.contains(concat!("\"tlsify ", env!("CARGO_PKG_VERSION"), "\"")));
}
