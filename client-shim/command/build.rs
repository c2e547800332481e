//! Links the command without libc in the `freestanding` profile, and as an ordinary program in every other.
//!
//! `cargo build -p tlsify --profile freestanding` is how it is released: its profile aborts on panic, which a program
//! without std has to. Everything else (tests, `cargo run`, `cargo build --release`) unwinds, and gets the same source
//! with std's entry.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(freestanding)");
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo tells a build script no profile but debug or release; the folder that it builds in is named after it:
    // target/[TRIPLE/]PROFILE/build/PACKAGE-HASH/out.
    let out = env::var("OUT_DIR").unwrap_or_default();
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    if profile.is_some_and(|name| name == "freestanding") {
        println!("cargo::rustc-cfg=freestanding");
        // Our own entry, at fixed addresses: nobody is there to relocate it. Without a build id and in as few pages
        // as will do, because each page is a fault at start.
        for argument in [
            "-nostartfiles",
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--build-id=none",
            "-Wl,--no-eh-frame-hdr",
            "-Wl,-z,norelro",
        ] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}
