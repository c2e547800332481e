//! The one room with unsafe code, and the assembler that the freestanding build has instead of a C library.

use std::fs;
use std::path::Path;
use std::process::Command;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

#[test]
fn unsafe_code_is_in_one_file_and_each_block_says_why() {
    let mut rooms = Vec::new();
    for entry in fs::read_dir(SOURCES).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let blocks =
            text.lines().filter(|line| line.contains("unsafe {") || line.contains("unsafe impl")).count();
        if blocks > 0 {
            rooms.push(path.file_name().unwrap().to_owned());
            assert!(text.matches("SAFETY:").count() >= blocks, "{}: a sentence for each", path.display());
        }
    }
    assert_eq!(rooms, ["sys.rs"]);
}

/// Compiled under its own names in front of libc's, so a C compiler for this machine is all that is needed.
#[test]
fn memory_is_copied_moved_set_and_compared_at_every_alignment_and_overlap() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (assembler, program) = (folder.join("memory.s"), folder.join("memory"));
    let source = format!("{SOURCES}/assembler/{}.s", std::env::consts::ARCH);
    let Ok(text) = fs::read_to_string(&source) else { return };
    // Rust reads Intel's syntax where the C compiler wants to be told; the entry leads nowhere here.
    let syntax = if cfg!(target_arch = "x86_64") { ".intel_syntax noprefix\n" } else { "" };
    let text: String =
        text.lines().map(|line| line.split("//").next().unwrap_or("").to_owned() + "\n").collect();
    let text = text.replace("_start", "nobodys_start").replace("{entry}", "abort");
    fs::write(&assembler, format!("{syntax}{text}\n.section .note.GNU-stack\n")).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/memory.c");
    let built = Command::new(&compiler)
        .args(["-O0", "-fno-builtin", tests])
        .arg(&assembler)
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap_or_else(|error| panic!("{compiler:?}: {error}"));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&program).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}
