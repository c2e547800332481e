//! A caller shares its descriptions with the daemon, and with its other processes perhaps: flags stay as they are, and
//! what was not asked for is not consumed. They belong to the open file description, so a change would be felt on the
//! caller's side, and by the shell that it came from.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Seek, SeekFrom, Write, pipe};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tlsify_client::{Accept, Client, Code, Connect, Error, Profile, Trust};
use tlsifyd_tests::handover::{accept, begin, client_peer};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{KeyKind, TempDir, pki, tcp_pair};

use super::{terminal, with_client};

/// A file with this in it, open for reading and writing at its start.
fn file(dir: &TempDir, name: &str, content: &str) -> File {
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    File::options().read(true).write(true).open(path).unwrap()
}

/// Another descriptor of the same description.
fn copy(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

/// Descriptors with the flags that they had, to be compared later.
struct Flags(Vec<(String, OwnedFd, OFlags)>);

impl Flags {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// Remembers a descriptor's flags, after setting O_NONBLOCK as said.
    fn note(&mut self, what: &str, fd: impl AsFd, nonblocking: bool) {
        let mut flags = fcntl_getfl(&fd).unwrap();
        flags.set(OFlags::NONBLOCK, nonblocking);
        fcntl_setfl(&fd, flags).unwrap();
        let flags = fcntl_getfl(&fd).unwrap();
        assert_eq!(flags.contains(OFlags::NONBLOCK), nonblocking);
        self.0.push((what.to_owned(), copy(fd), flags));
    }

    #[track_caller]
    fn assert_same(&self, when: &str) {
        for (what, fd, flags) in &self.0 {
            assert_eq!(fcntl_getfl(fd).unwrap(), *flags, "{what}, {when}");
        }
    }
}

/// One of each kind that data can be given as, with input waiting in it.
struct Data {
    plain: [OwnedFd; 2],
    one_way: Vec<(OwnedFd, OwnedFd)>,
    unix: UnixStream,
    tcp: TcpStream,
    inbound_pipe: PipeReader,
    outbound_pipe: PipeWriter,
    file: File,
    person: File,
    program: File,
    flags: Flags,
    _dir: TempDir,
}

const INPUT: &str = "typed ahead";

impl Data {
    fn new(nonblocking: bool) -> Self {
        let dir = TempDir::new("flags");
        let mut flags = Flags::new();
        let (mut unix, given_unix) = UnixStream::pair().unwrap();
        let (mut tcp, given_tcp) = tcp_pair();
        let (inbound_pipe, given_in) = pipe().unwrap();
        let (given_out, mut outbound_pipe) = pipe().unwrap();
        let mut file = file(&dir, "file", &format!("before {INPUT}"));
        file.seek(SeekFrom::Start(7)).unwrap();
        let log = File::options().append(true).create(true).open(dir.path().join("log")).unwrap();
        let (mut person, program) = terminal();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        for far in [&mut unix as &mut dyn Write, &mut tcp, &mut outbound_pipe, &mut person] {
            far.write_all(INPUT.as_bytes()).unwrap();
        }
        flags.note("a Unix socket", &given_unix, nonblocking);
        flags.note("a TCP socket", &given_tcp, nonblocking);
        flags.note("a pipe to write", &given_in, nonblocking);
        flags.note("a pipe to read", &given_out, nonblocking);
        flags.note("a file", &file, nonblocking);
        flags.note("a log", &log, nonblocking);
        flags.note("a terminal", &program, nonblocking);
        flags.note("/dev/null", &null, nonblocking);
        let one_way = vec![
            (OwnedFd::from(given_in), OwnedFd::from(given_out)),
            (log.into(), copy(&file)),
            (copy(&program), copy(&program)),
            (copy(&null), copy(&null)),
        ];
        let plain = [given_unix.into(), given_tcp.into()];
        Self {
            plain,
            one_way,
            unix,
            tcp,
            inbound_pipe,
            outbound_pipe,
            file,
            person,
            program,
            flags,
            _dir: dir,
        }
    }

    /// Does `work` with a request for each kind.
    fn each(&self, work: impl Fn(&dyn Fn(Accept) -> Accept)) {
        for fd in &self.plain {
            work(&|request| request.plain(copy(fd)));
        }
        for (inbound, outbound) in &self.one_way {
            work(&|request| request.inbound(copy(inbound)).outbound(copy(outbound)));
        }
    }

    /// All input is still there for whoever reads it next, and nothing was written.
    #[track_caller]
    fn assert_unread(&mut self) {
        assert_eq!(self.file.stream_position().unwrap(), 7, "the file's offset");
        let mut sources: Vec<(&str, OwnedFd)> = vec![
            ("the Unix socket", copy(&self.plain[0])),
            ("the TCP socket", copy(&self.plain[1])),
            ("the pipe", copy(&self.one_way[0].1)),
            ("the file", copy(&self.file)),
            ("the terminal", copy(&self.program)),
        ];
        for (what, fd) in sources.drain(..) {
            let blocking = fcntl_getfl(&fd).unwrap() - OFlags::NONBLOCK;
            fcntl_setfl(&fd, blocking).unwrap();
            let mut input = [0; INPUT.len()];
            File::from(fd).read_exact(&mut input).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(input, INPUT.as_bytes(), "{what}");
        }
        // What the other way would have brought: only what is written now.
        let fds: [OwnedFd; 4] =
            [copy(&self.plain[0]), copy(&self.plain[1]), copy(&self.one_way[0].0), copy(&self.program)];
        for fd in fds {
            File::from(fd).write_all(b"!").unwrap();
        }
        self.unix.set_read_timeout(Some(LIMIT)).unwrap();
        self.tcp.set_read_timeout(Some(LIMIT)).unwrap();
        let far: [&mut dyn Read; 4] =
            [&mut self.unix, &mut self.tcp, &mut self.inbound_pipe, &mut self.person];
        for (which, far) in far.into_iter().enumerate() {
            let mut byte = [0];
            far.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"!", "{which}");
        }
        // And they are open: the other side is still heard.
        self.outbound_pipe.write_all(b"more").unwrap();
    }
}

/// A network socket whose peer has left.
fn abandoned() -> TcpStream {
    let (_, net) = tcp_pair();
    net
}

/// A session that comes to nothing; the flags of its network socket are looked at, too.
fn failed(client: &Client, nonblocking: bool, options: impl FnOnce(Accept) -> Accept) {
    let (ours, net) = tcp_pair();
    let mut flags = Flags::new();
    flags.note("net", &net, nonblocking);
    let pending = client.start_accept(&options(accept(net))).unwrap();
    drop(ours);
    assert_eq!(pending.wait().unwrap_err().code(), Some(Code::ClosedByPeer));
    flags.assert_same("after a handshake that failed");
}

#[test]
fn flags_stay_as_they_are_while_a_session_runs_and_after() {
    with_client(|client, daemon| {
        for nonblocking in [false, true] {
            let data = Data::new(nonblocking);
            data.each(|options| {
                let (ours, net) = tcp_pair();
                let mut net_flags = Flags::new();
                net_flags.note("net", &net, nonblocking);
                let request = options(accept(copy(&net)));
                let pending = client.start_accept(&request).unwrap();
                let mut peer = client_peer(ours);
                peer.handshake().unwrap();
                let established = pending.wait().unwrap();
                peer.write_all(b"data").unwrap();
                data.flags.assert_same("in an open session");
                net_flags.assert_same("in an open session");
                peer.half_close().unwrap();
                established.session.cancel().unwrap();
                established.session.ended().unwrap();
                daemon.baseline();
                data.flags.assert_same("after a session");
                net_flags.assert_same("after a session");
            });
        }
    });
}

#[test]
fn a_handshake_that_fails_has_taken_nothing_of_the_input() {
    with_client(|client, daemon| {
        for nonblocking in [false, true] {
            let mut data = Data::new(nonblocking);
            data.each(|options| failed(client, nonblocking, options));
            data.flags.assert_same("after a handshake that failed");
            daemon.baseline();
            data.assert_unread();
        }
    });
}

#[test]
fn a_cancelled_handshake_has_taken_nothing_of_the_input() {
    with_client(|client, daemon| {
        let mut data = Data::new(false);
        data.each(|options| {
            let (pending, _peer) = begin(client, options);
            pending.cancel().unwrap();
            assert_eq!(pending.wait().unwrap_err().code(), Some(Code::Cancelled));
        });
        data.flags.assert_same("after a handshake that was cancelled");
        daemon.baseline();
        data.assert_unread();
    });
}

#[test]
fn a_refusal_has_touched_neither_the_data_nor_the_network_socket() {
    with_client(|client, _| {
        let mut data = Data::new(false);
        data.each(|options| {
            let (mut peer, net) = tcp_pair();
            peer.write_all(b"not yet read").unwrap();
            let mut flags = Flags::new();
            flags.note("net", &net, true);
            let request = options(Accept::new(copy(&net)).profile("never-defined"));
            match client.accept(&request) {
                Err(Error::Refused(refused)) => assert_eq!(refused.code, Code::UnknownProfile),
                other => panic!("{other:?}"),
            }
            flags.assert_same("after a refusal");
            net.set_nonblocking(false).unwrap();
            let mut input = [0; 12];
            (&net).read_exact(&mut input).unwrap();
            assert_eq!(&input, b"not yet read");
            (&net).write_all(b"still open").unwrap();
            let mut output = [0; 10];
            peer.read_exact(&mut output).unwrap();
        });
        data.flags.assert_same("after a refusal");
        data.assert_unread();
    });
}

#[test]
fn certificates_keys_and_authorities_are_read_from_their_start_and_their_offsets_stay() {
    with_client(|client, _| {
        let server = pki().server(KeyKind::EcdsaP256);
        let open = |path| {
            let mut file = File::open(path).unwrap();
            file.seek(SeekFrom::Start(11)).unwrap();
            file
        };
        let (mut certificate, mut key, mut ca) =
            (open(&server.certificate_file), open(&server.key_file), open(&pki().ca.file));
        let mut flags = Flags::new();
        flags.note("certificate", &certificate, true);
        flags.note("key", &key, false);
        flags.note("ca", &ca, true);
        // A session, a failure and a refusal.
        let identity = |net| Accept::new(net).certificate(copy(&certificate)).key(copy(&key));
        let (ours, net) = tcp_pair();
        let pending = client.start_accept(&identity(net)).unwrap();
        client_peer(ours).handshake().unwrap();
        pending.wait().unwrap();
        assert_eq!(client.accept(&identity(abandoned())).unwrap_err().code(), Some(Code::ClosedByPeer));
        let swapped = Accept::new(abandoned()).certificate(copy(&key)).key(copy(&certificate));
        assert_eq!(client.accept(&swapped).unwrap_err().code(), Some(Code::CertificateInvalid));
        let connect = Connect::new(abandoned()).name(SERVER_NAME).trust(Trust::ca(copy(&ca)));
        assert_eq!(client.connect_tls(&connect).unwrap_err().code(), Some(Code::ClosedByPeer));
        // The same as profiles, of which the last is refused.
        client.define(&Profile::server("p").certificate(copy(&certificate)).key(copy(&key))).unwrap();
        client.define(&Profile::client("c").trust(Trust::ca(copy(&ca)))).unwrap();
        client.define(&Profile::server("q").certificate(copy(&key)).key(copy(&certificate))).unwrap_err();
        let connect = Connect::new(abandoned()).name(SERVER_NAME).profile("c");
        assert_eq!(client.connect_tls(&connect).unwrap_err().code(), Some(Code::ClosedByPeer));
        flags.assert_same("after all of it");
        for file in [&mut certificate, &mut key, &mut ca] {
            assert_eq!(file.stream_position().unwrap(), 11);
        }
    });
}
