//! BusyBox' `wget` fetches https through `tlsify`: the build that starts `ssl_client`, with `tlsify` under that name; and
//! Debian's own, which asks for `openssl s_client`, with a script under that name. Its `httpd` serves as inetd's do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::tools::built_by;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Program, pki, tool};

use crate::{Host, accepting, here, server, tcpserver};

/// What `sha256sum` says of the server's big pages.
const BIG: &str = "0530300b354fd800eb6c2ea833648a722b8f856cfc73b061b79a8845d8f94652  page\n";

/// The build that starts `ssl_client`.
fn wget() -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/adopters/wget");
    built_by("tests/interop/adopters/busybox-wget.sh target/adopters", &file)
}

/// Whether a wget ends well, and what it and its helper say up to this. It does not wait for its helper, which may say its
/// own a little later; and when that is faster, its writing ends it.
#[track_caller]
fn ended_saying(command: &mut Command, part: &str) -> (bool, String) {
    let mut program = Program::start(command);
    let status = until(LIMIT, || program.poll()).expect("it ends");
    let said = until(LIMIT, || Some(program.stderr()).filter(|said| said.contains(part)));
    let said = said.unwrap_or_else(|| panic!("not \"{part}\" but:\n{}", program.stderr()));
    (status.success(), said)
}

/// A wget, and a server to fetch from.
struct Fetch {
    host: Host,
    /// How it is started.
    wget: Vec<PathBuf>,
    server: Program,
    port: u16,
}

impl Fetch {
    /// With the build that starts `ssl_client`.
    fn from(identity: &Identity) -> Option<Self> {
        Self::with(vec![wget()?], identity)
    }

    /// With Debian's, where `openssl` is our script.
    fn from_with_debians(identity: &Identity) -> Option<Self> {
        let fetch = Self::with(vec![tool("busybox")?, "wget".into()], identity)?;
        symlink(here("openssl"), fetch.host.path("openssl")).unwrap();
        Some(fetch)
    }

    fn with(wget: Vec<PathBuf>, identity: &Identity) -> Option<Self> {
        let (python, host) = (tool("python3")?, Host::new());
        let (server, port) = host.python(&python, "https-server.py", identity);
        Some(Self { host, wget, server, port })
    }

    fn of(&self, path: &str) -> Command {
        let mut command = self.host.command(&self.wget[0]);
        command.args(&self.wget[1..]).args(["-O", "page"]);
        command.arg(format!("https://localhost:{}/{path}", self.port));
        command
    }

    fn fetched(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.host.path("page")).unwrap_or_default()).into_owned()
    }

    /// Both ways to say how long a page is, and one that is not small.
    fn fetches_pages(&self) {
        Program::run(&mut self.of("small")).ok();
        assert_eq!(self.fetched(), "a small page\n");
        for path in ["big", "unsized"] {
            Program::run(&mut self.of(path)).ok();
            assert_eq!(Program::run(self.host.command("sha256sum").arg("page")).ok(), BIG, "/{path}");
        }
        self.host.is_at_rest();
    }

    /// It fails without a page, and the person is told this.
    #[track_caller]
    fn fails_saying(&self, command: &mut Command, part: &str) {
        let (went_well, said) = ended_saying(command, part);
        assert!(!went_well, "{said}");
        assert_eq!(self.fetched(), "");
        assert!(!self.server.stdout().contains("GET"), "the request went out all the same");
        self.host.is_at_rest();
    }
}

#[test]
fn wget_fetches_pages_through_its_helper() {
    let Some(fetch) = Fetch::from(server()) else { return };
    fetch.fetches_pages();
    let output = Program::run(fetch.of("echo").args(["--post-data", "a=1&b=2"]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fetch.fetched(), "a=1&b=2");
    // By address: there is no server_name for those, and the certificate has it.
    let mut command = fetch.host.command(&fetch.wget[0]);
    let url = format!("https://127.0.0.1:{}/small", fetch.port);
    Program::run(command.args(["-O", "page", &url])).ok();
    assert_eq!(fetch.fetched(), "a small page\n");
    fetch.host.is_at_rest();
}

#[test]
fn wget_without_a_daemon_gets_one_of_its_own() {
    let Some(fetch) = Fetch::from(server()) else { return };
    let mut command = fetch.of("small");
    command.env("TLSIFY_SOCK", fetch.host.path("absent"));
    let output = Program::run(&mut command);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fetch.fetched(), "a small page\n");
    // It has no log of its own to write to, and its user asked for none: neither now nor when it reads the system's pool.
    assert!(!output.stderr.contains("level"), "{}", output.stderr);
    let (went_well, said) = ended_saying(command.env_remove("CAFILE"), "tlsify: peer's certificate");
    assert!(!went_well && !said.contains("level"), "{said}");
}

#[test]
fn wget_is_not_fooled_and_cannot_be_told_to_be() {
    let Some(wrong_name) = Fetch::from(&pki().wrong_name) else { return };
    let told = "tlsify: peer's certificate is not valid for \"localhost\"";
    wrong_name.fails_saying(&mut wrong_name.of("small"), told);
    wrong_name.fails_saying(wrong_name.of("small").arg("--no-check-certificate"), told);
    for identity in [&pki().wrong_ca, &pki().expired] {
        let fetch = Fetch::from(identity).unwrap();
        fetch.fails_saying(&mut fetch.of("small"), "tlsify: peer's certificate");
    }
    // The right one, for who trusts the system's authorities only.
    let fetch = Fetch::from(server()).unwrap();
    fetch.fails_saying(fetch.of("small").env_remove("CAFILE"), "tlsify: peer's certificate");
}

#[test]
fn wget_notices_a_page_that_is_cut_short_when_it_knows_the_length_and_its_user_always() {
    let Some(fetch) = Fetch::from(server()) else { return };
    // Without a length it takes any end for the page's, and asks no helper how that came about.
    for (path, expected) in [("cut", false), ("lost", true)] {
        let (went_well, said) = ended_saying(&mut fetch.of(path), "data may be cut short");
        assert_eq!(went_well, expected, "{said}");
    }
    fetch.host.is_at_rest();
}

#[test]
fn wget_fetches_over_ftps_and_its_helper_leaves_when_it_does() {
    let (Some(wget), Some(python)) = (wget(), tool("python3")) else { return };
    let host = Host::new();
    let (mut ftp, port) = host.python(&python, "ftps-server.py", server());
    let fetch = || {
        let url = format!("ftps://localhost:{port}/file");
        Program::run(host.command(&wget).args(["-O", "page", &url]))
    };
    let output = fetch();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(Program::run(host.command("sha256sum").arg("page")).ok(), BIG);
    // wget says no goodbye, and the server none of its own accord.
    ftp.line_with("left");
    host.is_at_rest();
}

#[test]
fn a_helper_that_is_asked_not_to_check_says_that_it_does() {
    let Some(fetch) = Fetch::from(server()) else { return };
    let Some(bash) = tool("bash") else { return };
    let line = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; printf 'GET /small HTTP/1.0\\r\\n\\r\\n' | ssl_client -I -s3 -n localhost",
        fetch.port
    );
    let output = Program::run(fetch.host.command(bash).args(["-c", &line]));
    assert!(output.status.success() && output.stdout.ends_with("\r\n\r\na small page\n"), "{output:?}");
    assert!(output.stderr.starts_with("tlsify: -I is not followed: "), "{}", output.stderr);
    fetch.host.is_at_rest();
}

#[test]
fn busyboxs_web_server_answers_busyboxs_wget_and_neither_knows_tls() {
    let (Some(wget), Some(busybox), Some(tcp)) = (wget(), tool("busybox"), tool("tcpserver")) else { return };
    let host = Host::new();
    fs::create_dir(host.path("pages")).unwrap();
    fs::write(host.path("pages/index.html"), "served by inetd's rules\n").unwrap();
    let mut words = accepting(server());
    words.push(busybox.to_str().unwrap().to_owned());
    words.extend(["httpd", "-i", "-h", "pages"].map(str::to_owned));
    let (_server, port) = tcpserver(&mut host.command(tcp), &words);
    for _ in 0..3 {
        let url = format!("https://localhost:{port}/index.html");
        Program::run(host.command(&wget).args(["-O", "page", &url])).ok();
        assert_eq!(fs::read_to_string(host.path("page")).unwrap(), "served by inetd's rules\n");
    }
    host.is_at_rest();
}

#[test]
fn debians_busybox_fetches_through_a_script_that_it_takes_for_openssl() {
    let Some(fetch) = Fetch::from_with_debians(server()) else { return };
    fetch.fetches_pages();
    for identity in [&pki().wrong_name, &pki().wrong_ca] {
        let mut fetch = Fetch::from_with_debians(identity).unwrap();
        // It has sent its helper's messages to /dev/null; the server hears the reason.
        fetch.fails_saying(&mut fetch.of("small"), "");
        fetch.server.line_with("ALERT");
        fetch.fails_saying(fetch.of("small").arg("--no-check-certificate"), "");
    }
}
