//! The arrows between the daemon's folders never turn back, and two things have their room: rustls and unsafe code.

use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first. A file uses its own layer and those before it.
const LAYERS: [&str; 11] =
    ["config", "policy", "tls", "session", "sys", "io", "keyholder", "engine", "process", "cli", "demo"];

/// Where rustls' types may be named, so that an upgrade touches two folders and not ten.
const RUSTLS_ROOMS: [&str; 2] = ["tls", "session"];

/// Where unsafe code may be.
const UNSAFE_ROOM: &str = "sys";

/// One file of the daemon without its comments and its unit tests.
struct Source {
    /// Relative to `src`.
    path: PathBuf,
    /// The folder in `src`, or the name of a file that stands there alone.
    room: String,
    code: String,
}

#[test]
fn no_file_uses_a_higher_layer() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = rank(&source.room) else {
            // The roots of the crates see everything.
            assert!(
                matches!(source.room.as_str(), "lib" | "main"),
                "{}: \"{}\" is no layer, give it a place in LAYERS",
                source.path.display(),
                source.room
            );
            continue;
        };
        for used in rooms_used(&source.code) {
            if rank(&used).is_some_and(|other| other > own) {
                wrong.push(format!("{} uses {used}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rustls_is_named_only_in_its_rooms() {
    let named =
        rooms_where(|code| words(code).any(|word| matches!(word, "rustls" | "webpki" | "tokio_rustls")));
    let outside: Vec<_> = named.iter().filter(|(_, room)| !RUSTLS_ROOMS.contains(&room.as_str())).collect();
    assert!(outside.is_empty(), "{outside:#?}");
}

#[test]
fn unsafe_code_is_only_in_sys() {
    let named = rooms_where(|code| words(code).any(|word| matches!(word, "unsafe" | "unsafe_code")));
    let outside: Vec<_> = named.iter().filter(|(_, room)| room != UNSAFE_ROOM).collect();
    assert!(outside.is_empty(), "{outside:#?}");
}

#[test]
fn the_reader_of_sources_sees_what_it_has_to() {
    let code = strip(
        "use crate::{config::Config, policy};\n/// [`crate::engine`]\nlet a = crate::io::b(); // crate::cli\n\
         use crate::{\n    sys,\n    tls::{Identity, Roots},\n};\nlet url = \"http://x\"; crate::process::go();\n\
         #[cfg(test)]\nmod tests {\n    use crate::session::X;\n}\n",
    );
    let mut used = rooms_used(&code);
    used.sort();
    assert_eq!(used, ["config", "io", "policy", "process", "sys", "tls"]);
    let found: Vec<_> = words("rustls_native_certs::load(); #[allow(unsafe_code)] rustls::X").collect();
    assert!(found.contains(&"unsafe_code") && found.contains(&"rustls") && !found.contains(&"unsafe"));
}

fn rank(room: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == room)
}

fn rooms_where(found: impl Fn(&str) -> bool) -> Vec<(PathBuf, String)> {
    sources()
        .into_iter()
        .filter(|source| found(&source.code))
        .map(|source| (source.path, source.room))
        .collect()
}

/// The first names behind `crate::`, also those in braces.
fn rooms_used(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => used.extend(words(rest).next().map(str::to_owned)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, char) in group.char_indices() {
                    match char {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        _ if start && !char.is_whitespace() => {
                            used.extend(words(&group[at..]).next().map(str::to_owned));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|char: char| !char.is_alphanumeric() && char != '_').filter(|word| !word.is_empty())
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 5, "the sources are not where they were: {}", root.display());
    files
        .into_iter()
        // Files of tests may reach where they like.
        .filter(|file| {
            let below = file.strip_prefix(&root).expect("a file below src").with_extension("");
            !below.iter().any(|part| part.to_string_lossy().ends_with("tests"))
        })
        .map(|file| {
            let path = file.strip_prefix(&root).expect("a file below src").to_owned();
            let first = path.iter().next().expect("a name").to_string_lossy().into_owned();
            let room = first.strip_suffix(".rs").map(str::to_owned).unwrap_or(first);
            let code = strip(&fs::read_to_string(&file).expect("a source"));
            Source { path, room, code }
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Without line comments (documentation may point anywhere) and without the unit tests at the bottom.
fn strip(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        {
            break;
        }
        // "//" behind a colon is an address in a text.
        let end = line.match_indices("//").map(|(at, _)| at).find(|at| !line[..*at].ends_with(':'));
        code.push_str(&line[..end.unwrap_or(line.len())]);
        code.push('\n');
    }
    code
}
