//! Links the unwinder into `tlsifyd`, where the compiler has it as an archive: a shared libgcc_s costs every start a
//! file to open, to map and to relocate, 30 µs of the 800 that a private daemon with its session takes.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let said = |name: &str| env::var(name).unwrap_or_default();
    // With another target the compiler beside us may be another one's.
    let ours = said("CARGO_CFG_TARGET_ENV") == "gnu" && said("HOST") == said("TARGET");
    if let Some(archive) = ours.then(archive).flatten() {
        // Whole, and so before the shared one, which is then not needed.
        println!("cargo::rustc-link-arg-bin=tlsifyd=-Wl,--whole-archive,{archive},--no-whole-archive");
    }
}

/// GCC's archive of the unwinder. Other compilers print back the bare name.
fn archive() -> Option<String> {
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let output = Command::new(linker).arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (Path::new(&path).is_absolute() && !path.contains(',')).then_some(path)
}
