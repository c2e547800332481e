//! The programs that are started: two empty ones made on the spot, the command, the daemon beside it, and openssl.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tlsifyd_tests::{TempDir, built, tools};

/// Ends at once, without any library: the least that a program can cost.
const NOTHING: &str = r#"
#if defined(__x86_64__)
void _start(void) { __asm__ volatile("mov $60, %eax; xor %edi, %edi; syscall"); }
#elif defined(__aarch64__)
void _start(void) { __asm__ volatile("mov x8, #93; mov x0, #0; svc #0"); }
#else
#error "neither x86_64 nor aarch64"
#endif
"#;

/// Where each program is, or why it is not there.
pub(crate) struct Programs {
    _dir: TempDir,
    /// (a)
    pub(crate) nothing: Result<PathBuf, String>,
    /// (f)
    pub(crate) dynamic: Result<PathBuf, String>,
    /// The command, with `tlsifyd` beside it as an installation has them.
    pub(crate) tlsify: Result<PathBuf, String>,
    /// (e)
    pub(crate) openssl: Result<PathBuf, String>,
}

impl Programs {
    /// Makes what has to be made. `tlsify` is a command that was built elsewhere; otherwise it is built here, in the
    /// profile that is delivered.
    pub(crate) fn make(tlsify: Option<PathBuf>) -> Self {
        let dir = TempDir::new("programs");
        let nothing = nothing(dir.path());
        let dynamic = dynamic(dir.path());
        let tlsify = tlsify.map_or_else(build_tlsify, Ok).and_then(|command| install(&command, dir.path()));
        let openssl = tools::find("openssl").ok_or_else(|| "needs openssl".to_owned());
        Self { _dir: dir, nothing, dynamic, tlsify, openssl }
    }
}

fn nothing(dir: &Path) -> Result<PathBuf, String> {
    let (source, program) = (dir.join("nothing.c"), dir.join("nothing"));
    fs::write(&source, NOTHING).map_err(|error| error.to_string())?;
    let cc = tools::find("cc").ok_or("needs a C compiler")?;
    let mut compile = Command::new(cc);
    compile.args(["-O2", "-static", "-nostdlib", "-ffreestanding", "-o"]).arg(&program).arg(&source);
    make(&mut compile)?;
    Ok(program)
}

fn dynamic(dir: &Path) -> Result<PathBuf, String> {
    let (source, program) = (dir.join("dynamic.rs"), dir.join("dynamic"));
    fs::write(&source, "fn main() {}\n").map_err(|error| error.to_string())?;
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    make(Command::new(rustc).arg("-O").arg("-o").arg(&program).arg(&source))?;
    Ok(program)
}

fn build_tlsify() -> Result<PathBuf, String> {
    // target/PROFILE/deps/BENCH
    let bench = env::current_exe().map_err(|error| error.to_string())?;
    let target = bench.ancestors().nth(3).ok_or("benches lie in a target folder")?;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--manifest-path",
        manifest,
        "-p",
        "tlsify",
        "--profile",
        "freestanding",
    ]);
    make(cargo.arg("--target-dir").arg(target)).map_err(|why| format!("not built: {why}"))?;
    Ok(target.join("freestanding/tlsify"))
}

/// The command and the daemon in one folder, which is where the command looks first.
fn install(command: &Path, dir: &Path) -> Result<PathBuf, String> {
    if !command.exists() {
        return Err(format!("not built yet: there is no {}", command.display()));
    }
    for (from, name) in [(command, "tlsify"), (built::daemon(), "tlsifyd")] {
        let to = dir.join(name);
        fs::hard_link(from, &to)
            .or_else(|_| fs::copy(from, &to).map(drop))
            .map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(dir.join("tlsify"))
}

fn make(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next().unwrap_or("it said nothing").to_owned())
}
