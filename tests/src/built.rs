//! The programs under test: built from this source tree as the tests themselves were, or those that the environment
//! names, to test what was built and packaged elsewhere.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// `tlsifyd`, or what `TLSIFY_TEST_BINARY` names.
///
/// # Panics
/// When it does not build.
pub fn daemon() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        env::var_os("TLSIFY_TEST_BINARY").map_or_else(|| build("tlsifyd", None), PathBuf::from)
    })
}

/// `tlsify`, or what `TLSIFY_TEST_COMMAND` names. The `tlsifyd` that it would start by itself lies beside it only when
/// it was built here, and [`daemon`] was asked for: tests of that put the two into a folder of their own.
///
/// # Panics
/// When it does not build.
pub fn command() -> &'static Path {
    static COMMAND: OnceLock<PathBuf> = OnceLock::new();
    COMMAND.get_or_init(|| {
        env::var_os("TLSIFY_TEST_COMMAND").map_or_else(|| build("tlsify", None), PathBuf::from)
    })
}

/// `tlsify` as it is released: static, without libc.
///
/// # Panics
/// When it does not build.
pub fn freestanding() -> &'static Path {
    static COMMAND: OnceLock<PathBuf> = OnceLock::new();
    COMMAND.get_or_init(|| build("tlsify", Some("freestanding")))
}

/// Builds the program of the package with the same name, in this profile or in that of the test that asks.
fn build(package: &str, profile: Option<&str>) -> PathBuf {
    // target/PROFILE/deps/TEST, with the triple before PROFILE where one was named.
    let test = env::current_exe().expect("a process knows its program");
    let folder = test.ancestors().nth(2).expect("tests lie in a target folder").to_owned();
    let own = folder.file_name().and_then(|name| name.to_str()).expect("profiles have names");
    let profile = profile.unwrap_or(own);
    let target = folder.parent().expect("tests lie in a target folder");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--manifest-path", manifest, "-p", package, "--bin", package]);
    cargo.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    cargo.arg("--target-dir").arg(target);
    let output = cargo.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{cargo:?}: {}\n{said}", output.status);
    let binary = target.join(profile).join(package);
    assert!(binary.exists(), "{cargo:?} left no {}", binary.display());
    binary
}
