//! Who asks decides: operator profiles, inventories and files, as seen by other users. The callers are processes that
//! become somebody else, which needs root.

use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};

use tlsify_client::{Code, Connect, Scope, Trust};
use tlsifyd_tests::child::{child_as, is_root, part, say, variable};
use tlsifyd_tests::handover::open;
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{KeyKind, Peer, RawCaller, TempDir, TestDaemon, pki, running, tcp_pair};

/// Somebody, and somebody else; no user of any host.
const ONE: u32 = 4_201_001;
const OTHER: u32 = 4_201_002;

/// Not a test of its own: a caller that sends one request and says what it hears.
#[test]
fn as_another_user() {
    let Some(request) = part() else { return };
    let caller = RawCaller::connect(variable("SOCKET"));
    let mut fds = Vec::new();
    for what in variable("FDS").split_whitespace() {
        fds.push(match what.parse::<u16>() {
            Ok(port) => OwnedFd::from(TcpStream::connect(("127.0.0.1", port)).unwrap()),
            Err(_) => File::open(what).unwrap().into(),
        });
    }
    let fds: Vec<&dyn AsFd> = fds.iter().map(|fd| fd as &dyn AsFd).collect();
    let answer = caller.ask(request, &fds);
    say(&format!("answer: {}", answer.text.trim().replace('\n', "|")));
}

/// What `uid` is answered to this request, with a socket to each port and each of these files open.
fn ask(daemon: &TestDaemon, uid: u32, request: &str, fds: &str) -> String {
    // The rig's folders are root's own.
    fs::set_permissions(daemon.dir(), Permissions::from_mode(0o711)).unwrap();
    let socket = daemon.socket();
    let variables = [("SOCKET", socket.to_str().unwrap()), ("FDS", fds)];
    child_as(uid, "users::as_another_user", request, &variables).line_with("answer: ")
}

/// A peer that closes at once, for requests of which only the first answer counts.
fn nobody() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

fn config(who: &str) -> String {
    let server = pki().server(KeyKind::EcdsaP256);
    format!(
        "[[profile]]\nname = \"web\"\nrole = \"server\"\n{who}\n[[profile.identity]]\n\
         certificate = \"{}\"\nkey = \"{}\"\n",
        server.certificate_file.display(),
        server.key_file.display()
    )
}

const ACCEPT: &str = "tlsify/1 accept\nid=1\nfds=net\nprofile=web\nhandshake-timeout=1\n";

#[test]
fn an_operators_profile_is_for_the_users_and_groups_that_it_names() {
    if !is_root("an_operators_profile_is_for_the_users_and_groups_that_it_names") {
        return;
    }
    for who in [format!("users = [{ONE}]"), format!("groups = [{ONE}]")] {
        let daemon = TestDaemon::with_config(config(&who));
        let (_listener, port) = nobody();
        // The handshake begins, with nobody to speak to.
        let answer = ask(&daemon, ONE, ACCEPT, &port);
        assert!(answer.contains("failed|") && answer.contains("code=handshake-timeout"), "{who}: {answer}");
        let answer = ask(&daemon, OTHER, ACCEPT, &port);
        assert!(
            answer.contains("refused|") && answer.contains("code=profile-not-allowed"),
            "{who}: {answer}"
        );
        assert!(answer.contains("blame=operator") && answer.contains(&format!("uid {OTHER}")), "{answer}");
    }
}

#[test]
fn only_root_and_the_operator_see_the_sessions_of_others() {
    if !is_root("only_root_and_the_operator_see_the_sessions_of_others") {
        return;
    }
    let daemon = TestDaemon::with_config(format!("[status]\noperators = [{ONE}]\n"));
    let client = daemon.client();
    let _session = open(&client);
    let all = "tlsify/1 status\nid=1\nscope=all\nsessions=yes\n";
    let own = "tlsify/1 status\nid=1\nsessions=yes\n";
    let answer = ask(&daemon, ONE, all, "");
    assert!(answer.contains("status|") && answer.contains("|sessions=1|"), "{answer}");
    let answer = ask(&daemon, ONE, own, "");
    assert!(answer.contains("|sessions=0|") && answer.contains("|callers=1|"), "{answer}");
    let answer = ask(&daemon, OTHER, all, "");
    assert!(answer.contains("refused|") && answer.contains("code=not-permitted"), "{answer}");
    let answer = ask(&daemon, OTHER, own, "");
    assert!(answer.contains("|sessions=0|"), "{answer}");
}

#[test]
fn a_list_of_sessions_says_whose_they_are_and_how_far() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut session = open(&client);
    session.assert_alive();
    let (_pending, _socket) = tlsifyd_tests::handover::begin(&client, |accept| accept);
    let status = client.status(Scope::Own, true).unwrap();
    assert_eq!((status.callers, status.sessions, status.handshakes, status.profiles), (1, 1, 1, 0));
    let list = status.list_text().unwrap();
    let [open, handshaking] = list.lines().collect::<Vec<_>>()[..] else { panic!("{list}") };
    let (open, handshaking) =
        if open.contains("handshaking") { (handshaking, open) } else { (open, handshaking) };
    for word in ["state=established", "in=14", "out=11", "role=server", "server-name=server.example"] {
        assert!(open.split(' ').any(|have| have == word), "{word}: {list}");
    }
    assert!(handshaking.contains("state=handshaking"), "{list}");
    assert!(client.status(Scope::Own, false).unwrap().list.is_none(), "it was not asked for");
}

/// A peer with the good certificate, and the handshake's answer for a client with this folder of authorities.
fn connect_with(client: &tlsify_client::Client, folder: &TempDir) -> Result<(), tlsify_client::Error> {
    let (net, far) = tcp_pair();
    let peer = running("server", move || {
        let identity = pki().server(KeyKind::EcdsaP256);
        let _ = Peer::server(far, server_config(identity, BOTH_VERSIONS)).handshake();
    });
    let ca = File::open(folder.path()).unwrap();
    let result = client.connect_tls(&Connect::new(net).name(SERVER_NAME).trust(Trust::ca(ca)));
    peer.join();
    result.map(|_| ())
}

#[test]
fn a_folder_of_authorities_needs_no_hashing_and_only_plain_files_in_it_count() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for name in ["mine.pem", "mine.crt"] {
        let folder = TempDir::new("ca");
        fs::write(folder.path().join("other.pem"), &pki().other_ca.pem).unwrap();
        fs::write(folder.path().join(name), &pki().ca.pem).unwrap();
        connect_with(&client, &folder).unwrap();
    }
    for name in ["mine.txt", ".mine.pem", "mine.pem.bak", "0123abcd.0"] {
        let folder = TempDir::new("ca");
        fs::write(folder.path().join("other.pem"), &pki().other_ca.pem).unwrap();
        fs::write(folder.path().join(name), &pki().ca.pem).unwrap();
        assert_eq!(connect_with(&client, &folder).unwrap_err().code(), Some(Code::UnknownIssuer), "{name}");
    }
    let folder = TempDir::new("ca");
    assert_eq!(connect_with(&client, &folder).unwrap_err().code(), Some(Code::TrustUnusable), "an empty one");
    fs::write(folder.path().join("other.pem"), &pki().other_ca.pem).unwrap();
    symlink(&pki().ca.file, folder.path().join("mine.pem")).unwrap();
    fs::create_dir(folder.path().join("folder.pem")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("fifo.pem"), rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(connect_with(&client, &folder).unwrap_err().code(), Some(Code::UnknownIssuer), "a link");
}

#[test]
fn a_file_that_the_caller_may_not_read_is_no_authority_for_it() {
    if !is_root("a_file_that_the_caller_may_not_read_is_no_authority_for_it") {
        return;
    }
    let daemon = TestDaemon::start();
    let folder = TempDir::new("ca");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("other.pem"), &pki().other_ca.pem).unwrap();
    let secret = folder.path().join("mine.pem");
    fs::write(&secret, &pki().ca.pem).unwrap();
    for (mode, expected) in [(0o600, "code=unknown-issuer"), (0o644, "established|")] {
        fs::set_permissions(&secret, Permissions::from_mode(mode)).unwrap();
        let (listener, port) = nobody();
        let peer = running("server", move || {
            let identity = pki().server(KeyKind::EcdsaP256);
            let far = listener.accept().unwrap().0;
            let _ = Peer::server(far, server_config(identity, BOTH_VERSIONS)).handshake();
        });
        let request = format!("tlsify/1 connect\nid=1\nname={SERVER_NAME}\ntrust=descriptor\nfds=net ca\n");
        let answer = ask(&daemon, ONE, &request, &format!("{port} {}", folder.path().display()));
        assert!(answer.contains(expected), "mode {mode:o}: {answer}");
        peer.join();
    }
}
