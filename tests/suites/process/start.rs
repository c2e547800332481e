//! What a start that fails says, and with which status: 96 configuration, 100 usage, 111 the system.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tlsifyd_tests::{KeyKind, Program, TempDir, pki};

use super::{text, tlsifyd, with_profile};

/// Status and words.
fn said(command: &mut Command) -> (Option<i32>, String) {
    let said = Program::run(command);
    (said.status.code(), said.stderr)
}

/// A start with this configuration, which must fail with 96; its words without the file's name. No socket is left.
fn complaint(config: &str) -> String {
    let dir = TempDir::new("configuration");
    let (file, socket) = (dir.path().join("tlsifyd.toml"), dir.path().join("sock"));
    fs::write(&file, config).expect("the folder is ours");
    let (status, words) = said(&mut tlsifyd(&["--config", text(&file), "--socket", text(&socket)]));
    assert_eq!(status, Some(96), "{words}");
    assert!(!socket.exists());
    let (checked, same) = said(&mut tlsifyd(&["check", "--config", text(&file)]));
    assert_eq!((checked, &same), (Some(96), &words), "check says something else");
    words.replace(text(&file), "FILE")
}

#[test]
fn a_misspelt_key_is_named_with_its_line_and_what_was_meant() {
    let config =
        "[log]\nlevel = \"info\"\n\n[[profile]]\nname = \"shop\"\nrole = \"server\"\nuser = [\"*\"]\n";
    assert_eq!(complaint(config), "tlsifyd: FILE:7: unknown key \"user\", did you mean \"users\"?\n");
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line() {
    let words = complaint("[log]\nlevel = \n");
    assert!(words.starts_with("tlsifyd: FILE:2: ") && words.lines().count() == 1, "{words}");
}

#[test]
fn a_configuration_that_was_asked_for_has_to_be_there() {
    let dir = TempDir::new("absent");
    let file = dir.path().join("absent.toml");
    let (status, words) = said(&mut tlsifyd(&["--config", text(&file)]));
    assert_eq!(status, Some(96), "{words}");
    assert!(words.starts_with(&format!("tlsifyd: {}: ", file.display())), "{words}");
    assert!(words.contains("no such file"), "{words}");
}

#[test]
fn a_key_that_everybody_can_read_is_refused() {
    let dir = TempDir::new("readable");
    let identity = pki().server(KeyKind::EcdsaP256);
    let key = dir.path().join("open.key");
    fs::copy(&identity.key_file, &key).expect("the folder is ours");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    let config = with_profile("", "web", identity).replace(text(&identity.key_file), text(&key));
    let words = complaint(&config);
    assert!(words.starts_with("tlsifyd: FILE:7: profile \"web\": ") && words.contains("open.key"), "{words}");
    assert!(words.ends_with("is open to every user (mode 0644), try chmod 0600\n"), "{words}");
}

#[test]
fn a_key_of_another_certificate_is_refused_and_never_shown() {
    let (one, other) = (pki().server(KeyKind::EcdsaP256), pki().server(KeyKind::Rsa2048));
    let config = with_profile("", "web", one).replace(text(&one.key_file), text(&other.key_file));
    let words = complaint(&config);
    assert!(words.contains("the private key does not belong to the certificate"), "{words}");
    let secret = other.key_pem.lines().nth(1).expect("a line of the key");
    assert!(!words.contains(secret), "the key is in the message");
}

#[test]
fn an_absent_certificate_is_named_with_the_line_of_its_identity() {
    let identity = pki().server(KeyKind::EcdsaP256);
    let config = with_profile("", "web", identity).replace(text(&identity.certificate_file), "/absent.pem");
    let words = complaint(&config);
    assert!(words.contains("/absent.pem") && words.starts_with("tlsifyd: FILE:"), "{words}");
}

#[test]
fn log_levels_that_are_none_are_a_matter_of_configuration() {
    let (status, words) =
        said(tlsifyd(&["--socket", "/nonexistent/sock"]).env("TLSIFYD_LOG", "tlsifyd=loud"));
    assert_eq!(status, Some(96), "{words}");
    assert!(words.starts_with("tlsifyd: cannot read \"tlsifyd=loud\" as log levels ("), "{words}");
}

#[test]
fn wrong_usage_is_100_and_says_how_it_is_meant() {
    for args in [&["--nonsense"][..], &["--private", "2"], &["stop"], &["demo", "--port", "x"]] {
        let (status, words) = said(&mut tlsifyd(args));
        assert_eq!(status, Some(100), "{args:?}: {words}");
        assert!(words.contains("error: ") && words.contains("--help"), "{args:?}: {words}");
    }
}

#[test]
fn help_and_version_go_to_standard_output_with_status_0() {
    let help = Program::run(&mut tlsifyd(&["--help"])).ok();
    for word in ["--socket", "--config", "--private", "demo", "check", "TLSIFYD_LOG"] {
        assert!(help.contains(word), "no {word} in:\n{help}");
    }
    assert!(!help.contains("demo-server"), "the demonstration's inner part is shown:\n{help}");
    let version = Program::run(&mut tlsifyd(&["--version"])).ok();
    assert_eq!(version, concat!("tlsifyd ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_folder_that_is_not_there_is_the_systems_fault() {
    let (status, words) = said(&mut tlsifyd(&["--socket", "/nonexistent/folder/sock"]));
    assert_eq!(status, Some(111), "{words}");
    assert_eq!(words, "tlsifyd: cannot create /nonexistent/folder: no such file or directory\n");
}

#[test]
fn check_says_what_would_be_served_and_opens_no_socket() {
    let dir = TempDir::new("check");
    let file = dir.path().join("tlsifyd.toml");
    let socket = dir.path().join("sock");
    let config =
        with_profile(&format!("socket = \"{}\"", socket.display()), "web", pki().server(KeyKind::EcdsaP256));
    fs::write(&file, config).expect("the folder is ours");
    let inventory = Program::run(&mut tlsifyd(&["check", "--config", text(&file)])).ok();
    assert!(inventory.contains("profile \"web\": server, for user *"), "{inventory}");
    assert!(inventory.contains("server.example, localhost"), "{inventory}");
    assert!(!socket.exists());
}

#[test]
fn the_shipped_example_is_good_as_it_stands() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/tlsifyd.toml");
    Program::run(&mut tlsifyd(&["check", "--config", file])).ok();
}

#[test]
fn the_configuration_of_the_readme_is_good() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).expect("the README is there");
    let (_, block) = readme.split_once("```toml\n").expect("it shows a configuration");
    let config = block.split("```").next().expect("a block ends");
    let dir = TempDir::new("readme");
    let identity = pki().server(KeyKind::EcdsaP256);
    let files = [
        ("shop.pem", &identity.certificate_file),
        ("shop.key", &identity.key_file),
        ("partners-ca.pem", &pki().ca.file),
    ];
    for (name, from) in files {
        fs::copy(from, dir.path().join(name)).expect("the folder is ours");
    }
    let file = dir.path().join("tlsifyd.toml");
    // Users that not every machine has.
    let here = config.replace("\"monitoring\"", "\"root\"").replace("\"www-data\"", "\"root\"");
    fs::write(&file, here).expect("the folder is ours");
    let inventory = Program::run(&mut tlsifyd(&["check", "--config", text(&file)])).ok();
    assert!(inventory.contains("profile \"shop\": server, for user \"root\""), "{inventory}");
    assert!(inventory.contains("shop.example, *.shop.example"), "{inventory}");
}
