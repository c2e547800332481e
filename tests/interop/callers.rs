//! Callers that are no Rust: the Python and C of the README, and the longer ones beside this file. What the README
//! shows is what is run here.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config};
use tlsifyd_tests::pki::{Identity, OTHER_NAME, SERVER_NAME};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, KeyKind, Peer, Program, TempDir, TestDaemon, pki, tool};

/// A port that was free a moment ago, for programs that take one by number.
fn port() -> u16 {
    let listener = TcpListener::bind(("::", 0)).expect("a port is free");
    listener.local_addr().expect("it listens").port()
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}

fn readme() -> String {
    fs::read_to_string(here().join("../../README.md")).expect("the README is there")
}

fn server() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

/// A command that finds this daemon.
fn caller(program: impl AsRef<std::ffi::OsStr>, daemon: &TestDaemon) -> Command {
    let mut command = Command::new(program);
    command.env("TLSIFY_SOCK", daemon.socket());
    command
}

/// `webserver.py` on any port.
fn webserver(daemon: &TestDaemon, python: &Path) -> (Program, String) {
    let mut command = caller(python, daemon);
    command.arg(here().join("webserver.py")).arg("0").arg(&server().certificate_file).arg(&server().key_file);
    let mut program = Program::start(&mut command);
    let line = program.line_with("listening on ");
    let port = line.trim_start_matches("listening on ").to_owned();
    (program, port)
}

fn fetch(daemon: &TestDaemon, python: &Path, port: &str, ca: &Path, name: &str) -> Command {
    let mut command = caller(python, daemon);
    command.arg(here().join("fetch.py")).args(["localhost", port]).arg(ca).arg(name);
    command
}

/// Compiles one of the programs in C, strictly.
fn compile(cc: &Path, name: &str, dir: &TempDir) -> PathBuf {
    let program = dir.path().join(name);
    let mut command = Command::new(cc);
    command.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"]).arg(&program);
    Program::run(command.arg(here().join(format!("{name}.c")))).ok();
    program
}

fn wait_for(port: u16) {
    let open = until(LIMIT, || TcpStream::connect(("localhost", port)).ok());
    assert!(open.is_some(), "nobody listens at port {port}");
}

#[test]
fn a_web_server_of_pythons_standard_library_speaks_https() {
    let (Some(python), Some(curl)) = (tool("python3"), tool("curl")) else {
        return;
    };
    let daemon = TestDaemon::start();
    let (mut webserver, port) = webserver(&daemon, &python);
    let url = |path: &str| format!("https://localhost:{port}/{path}");
    // Two requests on one connection: keep-alive is the server's own business.
    let mut command = Command::new(curl);
    command.args(["-sS", "-w", "%{num_connects}\n", "--http1.1", "--cacert"]).arg(&pki().ca.file);
    let page = Program::run(command.args([url("one"), url("two")])).ok();
    assert!(page.contains("GET /one from 127.0.0.1:") || page.contains("GET /one from [::1]:"), "{page}");
    assert!(page.contains("GET /two") && page.contains("over TLSv1.3\n0\n"), "{page}");
    webserver.signal(Signal::SIGTERM);
    assert!(webserver.wait().status.success());
}

#[test]
fn a_python_client_fetches_a_page_and_is_not_fooled() {
    let Some(python) = tool("python3") else {
        return;
    };
    let daemon = TestDaemon::start();
    let (_webserver, port) = webserver(&daemon, &python);
    let fetch = |ca: &Path, name: &str| Program::run(&mut fetch(&daemon, &python, &port, ca, name));
    assert!(fetch(&pki().ca.file, "localhost").ok().contains("GET / from"));

    let wrong_ca = fetch(&pki().other_ca.file, "localhost");
    assert_eq!((wrong_ca.status.code(), wrong_ca.stdout.as_str()), (Some(98), ""));
    assert!(wrong_ca.stderr.contains("failed (unknown-issuer)"), "{}", wrong_ca.stderr);
    let wrong_name = fetch(&pki().ca.file, "other.example");
    assert_eq!((wrong_name.status.code(), wrong_name.stdout.as_str()), (Some(98), ""));
}

#[test]
fn the_programs_in_c_speak_https_to_each_other() {
    let Some(cc) = tool("cc") else { return };
    let (dir, daemon) = (TempDir::new("c"), TestDaemon::start());
    let (server_program, client) = (compile(&cc, "server", &dir), compile(&cc, "client", &dir));
    let port = port();
    let mut command = caller(server_program, &daemon);
    command.arg(port.to_string()).arg(&server().certificate_file).arg(&server().key_file);
    let _server = Program::start(&mut command);
    wait_for(port);
    let fetch =
        |ca: &Path| Program::run(caller(&client, &daemon).args(["localhost", &port.to_string()]).arg(ca));
    for _ in 0..3 {
        assert!(fetch(&pki().ca.file).ok().ends_with("hello from C\n"));
    }
    let fooled = fetch(&pki().other_ca.file);
    assert_eq!((fooled.status.code(), fooled.stdout.as_str()), (Some(98), ""), "{}", fooled.stderr);
    assert!(fetch(&pki().ca.file).ok().ends_with("hello from C\n"), "one bad client ended the server");
}

/// The first block of PROTOCOL.md in this language behind the callers' heading.
fn block_of_the_protocol(language: &str) -> String {
    block_behind("## Two complete callers", language)
}

fn block_behind(heading: &str, language: &str) -> String {
    let document =
        fs::read_to_string(here().join("../../client-shim/PROTOCOL.md")).expect("the document is there");
    let (_, callers) = document.split_once(heading).expect("it has this heading");
    let (_, block) = callers.split_once(&format!("```{language}\n")).expect("one in this language");
    block.split("```").next().expect("a block ends").to_owned()
}

/// Runs one of the document's servers as a stranger would, and has a page of it.
fn serves_one_page(command: &mut Command, port: u16) -> String {
    command.arg(port.to_string()).arg(&server().certificate_file).arg(&server().key_file);
    let program = Program::start(command);
    // It accepts once: the first connection is the one that counts.
    let socket = until(LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok()).expect("it listens");
    let config = client_config(pki().ca.roots(), BOTH_VERSIONS, None);
    let mut peer = Peer::client(socket, config, "localhost");
    peer.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it speaks TLS");
    let (page, end) = peer.read_to_end().expect("it answers");
    assert_eq!(end, End::CloseNotify);
    assert!(page.ends_with(b"\r\n\r\nhello\n"), "{}", String::from_utf8_lossy(&page));
    peer.close_notify().expect("the other half is open");
    program.wait().ok()
}

#[test]
fn the_documents_caller_in_c_serves() {
    let Some(cc) = tool("cc") else { return };
    let (dir, daemon) = (TempDir::new("document"), TestDaemon::start());
    let (source, program) = (dir.path().join("caller.c"), dir.path().join("caller"));
    fs::write(&source, block_of_the_protocol("c")).expect("the temporary folder can be written");
    Program::run(Command::new(cc).args(["-Wall", "-O1", "-o"]).arg(&program).arg(&source)).ok();
    let said = serves_one_page(&mut caller(&program, &daemon), port());
    assert!(said.starts_with("tlsify/1 ended\n") && said.contains("\nhow=close-notify\n"), "{said}");
    // And it says what is wrong: here a key that is none.
    let mut command = caller(&program, &daemon);
    command.arg(port().to_string()).arg(&server().certificate_file).arg(&server().certificate_file);
    let said = Program::run(&mut command);
    assert_eq!(said.status.code(), Some(98));
    assert!(said.stderr.contains("code=key-invalid"), "{}", said.stderr);
}

#[test]
fn the_documents_caller_in_python_serves() {
    let Some(python) = tool("python3") else {
        return;
    };
    let (dir, daemon) = (TempDir::new("document"), TestDaemon::start());
    let source = dir.path().join("caller.py");
    fs::write(&source, block_of_the_protocol("python")).expect("the temporary folder can be written");
    let said = serves_one_page(caller(&python, &daemon).arg(&source), port());
    assert!(said.starts_with("TLSv1.3 TLS_") && said.ends_with(" close-notify\n"), "{said}");
    let mut command = caller(&python, &daemon);
    command.arg(&source).arg(port().to_string());
    let said = Program::run(command.args([&server().certificate_file, &server().certificate_file]));
    assert!(!said.status.success() && said.stderr.contains("code=key-invalid"), "{}", said.stderr);
}

/// What a client gets at this port that asks for this name; its certificate is the name's own, or the handshake fails.
fn page_of(port: u16, name: &str) -> Result<String, String> {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let mut peer = Peer::client(socket, client_config(pki().ca.roots(), BOTH_VERSIONS, None), name);
    peer.handshake().map_err(|error| error.to_string())?;
    peer.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it is open");
    let (page, end) = peer.read_to_end().expect("it answers");
    assert_eq!(end, End::CloseNotify);
    peer.close_notify().expect("the other half is open");
    Ok(String::from_utf8(page).expect("a page in ASCII"))
}

/// What comes back at this port for these first words.
fn plain_of(port: u16, words: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    socket.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    socket.write_all(words.as_bytes()).expect("it is open");
    let mut answer = vec![0; 9];
    socket.read_exact(&mut answer).expect("an answer without TLS");
    String::from_utf8(answer).expect("an answer in ASCII")
}

#[test]
fn the_documents_port_for_several_names_and_protocols_serves_them_all() {
    let Some(python) = tool("python3") else {
        return;
    };
    let (dir, daemon) = (TempDir::new("document"), TestDaemon::start());
    let source = dir.path().join("port.py");
    let text = block_behind("## One port for several names and protocols", "python");
    fs::write(&source, text).expect("the temporary folder can be written");
    let (port, other) = (port(), pki().server_for(OTHER_NAME));
    let mut command = caller(&python, &daemon);
    command.arg(&source).arg(port.to_string());
    for (name, identity) in [(SERVER_NAME, server()), (OTHER_NAME, &other)] {
        command.arg(name).arg(&identity.certificate_file).arg(&identity.key_file);
    }
    let mut program = Program::start(&mut command);
    program.line_with("defined other.example");
    // Somebody who says nothing stands in nobody's way.
    let _silent = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    for name in [SERVER_NAME, OTHER_NAME] {
        assert!(page_of(port, name).expect("it has a profile").ends_with("\r\n\r\nhello\n"));
    }
    let refused = page_of(port, "nobody.example").unwrap_err();
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    assert_eq!(plain_of(port, "GET / HTTP/1.0\r\n\r\n"), "HTTP/1.0 ");
    assert_eq!(plain_of(port, "SSH-2.0-test\r\n"), "SSH-2.0-e");
    program.line_with("failed  refused-by-caller");
    assert!(program.poll().is_none(), "{}", program.stderr());
}

#[test]
fn the_python_of_the_readme_runs_as_it_stands() {
    let Some(python) = tool("python3") else {
        return;
    };
    let (dir, daemon) = (TempDir::new("readme"), TestDaemon::start());
    let readme = readme();
    let port = port();
    for block in readme.split("```python\n# ").skip(1) {
        let (name, _) = block.split_once(':').expect("a block begins with its name");
        let text = block.split("```").next().expect("a block ends").replace("8443", &port.to_string());
        fs::write(dir.path().join(name), format!("# {text}")).expect("the temporary folder can be written");
    }
    fs::copy(&server().certificate_file, dir.path().join("cert.pem")).expect("the certificate is a file");
    fs::copy(&server().key_file, dir.path().join("key.pem")).expect("the key is a file");
    fs::copy(&pki().ca.file, dir.path().join("ca.pem")).expect("the CA is a file");
    let run = |name: &str| {
        let mut command = caller(&python, &daemon);
        command.arg("-u").arg(name).current_dir(dir.path());
        command
    };
    let mut server = Program::start(&mut run("server.py"));
    server.line_with("tlsify/1 defined");
    wait_for(port);
    let said = Program::run(&mut run("client.py")).ok();
    assert!(said.contains("hello from Python") && said.contains("\nhow=close-notify\n"), "{said}");
    server.line_with("how=");
    fs::copy(&pki().other_ca.file, dir.path().join("ca.pem")).expect("the CA is a file");
    let said = Program::run(&mut run("client.py")).ok();
    assert!(said.contains("code=unknown-issuer") && !said.contains("hello"), "{said}");
}

#[test]
fn the_c_of_the_readme_is_the_c_that_is_tested() {
    let readme = readme();
    for name in ["server.c", "client.c"] {
        let text = fs::read_to_string(here().join(name)).expect("it is there");
        assert!(readme.contains(&format!("```c\n{text}```")), "README.md shows another {name}");
    }
}
