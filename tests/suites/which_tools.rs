//! The last suite to run: what was skipped for want of a program, in one line each. The suites themselves skip in the
//! middle of many lines, where nobody looks.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tlsifyd_tests::tools::{PACKAGES, are_required, find};

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The programs that suites ask the rig for, by name.
fn asked_for() -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    for folder in ["suites", "interop", "conformance", "benches"] {
        walk(&here().join(folder), &mut asked);
    }
    asked
}

fn walk(folder: &Path, asked: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, asked);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            // Put together here, so that this file asks for nothing.
            let call = ["tool", "(\""].concat();
            let names = text.split(&call).skip(1).filter_map(|rest| rest.split('"').next());
            asked.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn nothing_was_skipped_unsaid() {
    let missing: Vec<(String, &str)> = asked_for()
        .into_iter()
        .filter(|name| find(name).is_none())
        .map(|name| {
            let known = PACKAGES.iter().find(|(program, _)| *program == name);
            let package = known.map_or("unknown", |(_, package)| *package);
            (name, package)
        })
        .collect();
    for (name, package) in &missing {
        // Past the harness, which keeps what a test that passes prints to itself.
        let _ = writeln!(std::io::stderr(), "skipped: the tests that need {name} (Debian package {package})");
    }
    assert!(missing.is_empty() || !are_required(), "TLSIFY_REQUIRE_TOOLS=1, and missing: {missing:?}");
}

#[test]
fn every_program_has_a_package_that_ci_installs() {
    let ci = fs::read_to_string(here().join("../.ci/run")).expect("CI's script is there");
    let (_, rest) = ci.split_once("packages=(").expect("it installs packages");
    let installed: BTreeSet<&str> = rest.split(')').next().expect("a list ends").split_whitespace().collect();
    // On every Debian: base packages.
    let always = ["util-linux", "dash", "coreutils", "bash"];
    let asked = asked_for();
    assert!(asked.contains("curl"), "no suite asks for curl: the sources are not read as they are written");
    for name in asked {
        let package = PACKAGES.iter().find(|(program, _)| *program == name).map(|(_, package)| *package);
        let package = package.unwrap_or_else(|| panic!("{name} is not in the rig's PACKAGES"));
        assert!(
            installed.contains(package) || always.contains(&package),
            "{package}, for {name}, is not installed by .ci/run"
        );
    }
}
