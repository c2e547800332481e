//! A dialer on a thread, asked as workers ask it, and as one asks that is not ours any more.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, getpeername, socket};
use tlsify_protocol::Socket;
use tokio::task::LocalSet;

use super::*;
use crate::io::between::{Asker, Pending};
use crate::io::{Asking, DialState, Host, Outside, Pool, answer_beside};

/// Long enough for any answer on a busy machine, where one is to come.
const LONG: Duration = Duration::from_secs(20);

/// A dialer that knows these caches, and whose look-ups are one user's if that is said. It ends with its askers.
fn dialer(caches: Vec<CachePlace>, only: Option<u32>) -> Asker {
    let (asker, desk) = Asker::pair().unwrap();
    std::thread::spawn(move || run(desk, caches, only));
    asker
}

fn run(desk: OwnedFd, caches: Vec<CachePlace>, only: Option<u32>) {
    let dialer = Dialer::new(false);
    dialer.set_caches(caches);
    block_on(dialer.serve(Desk::new(desk).unwrap(), only));
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

fn tcp() -> OwnedFd {
    socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn question(to: Destination) -> DialQuestion {
    DialQuestion::Connect { to, fast_open: false, within: LONG, uid: 1 }
}

fn ask(asker: &Asker, to: Destination, sockets: &[&OwnedFd]) -> Pending<DialNews> {
    let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    asker.ask(&question(to), &sockets).unwrap()
}

fn code(news: DialNews) -> Code {
    match news {
        DialNews::Failed(told) => told.failure().code,
        news => panic!("{news:?}"),
    }
}

/// Starts a dialer each time, and can end the last.
#[derive(Default)]
struct Dialers {
    last: std::sync::Mutex<Option<OwnedFd>>,
    /// Whether the next one answers nothing at all.
    dead: std::sync::atomic::AtomicBool,
}

impl Host for Dialers {
    fn system_pool(&self, _have: Option<u64>) -> Result<Option<Pool>, String> {
        Ok(None)
    }

    fn dialer(&self) -> std::io::Result<OwnedFd> {
        let (asker, desk) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        if self.dead.swap(false, std::sync::atomic::Ordering::Relaxed) {
            *self.last.lock().unwrap() = Some(desk);
        } else {
            std::thread::spawn(move || run(desk, Vec::new(), None));
        }
        Ok(asker)
    }

    fn cache(&self, path: &std::path::Path) -> Result<OwnedFd, String> {
        Err(format!("no cache at {}", path.display()))
    }
}

fn outside() -> (Outside, Arc<Dialers>) {
    let (asker, desk) = Asker::pair().unwrap();
    let dialers = Arc::<Dialers>::default();
    answer_beside(Desk::new(desk).unwrap(), Arc::clone(&dialers) as Arc<dyn Host>).unwrap();
    (Outside::Asking(Asking::new(asker)), dialers)
}

fn dial(to: Destination, socket: &OwnedFd) -> Dial {
    let sockets = Unconnected::new(vec![(socket.try_clone().unwrap(), Family::V4)], false);
    Dial { to, sockets, deadline: Instant::now() + LONG, private: false }
}

#[test]
fn a_workers_socket_is_connected_and_says_so_itself() {
    let (outside, _) = outside();
    let (_listener, there) = listener();
    for to in [Destination::Address(there), Destination::Name("localhost".to_owned(), there.port())] {
        let (socket, state) = (tcp(), DialState::default());
        let work = outside.dial(dial(to, &socket), 1, &state, std::future::pending::<()>());
        let dialed = block_on(work).unwrap().unwrap();
        assert!(!dialed.deferred);
        assert_eq!(dialed.net.ends.peer.to_string(), there.to_string());
        assert_eq!(SocketAddr::try_from(getpeername(&socket).unwrap().unwrap()).unwrap(), there);
        assert_eq!(state.socket(), Socket::Used);
    }
}

#[test]
fn what_comes_to_nothing_is_told_with_its_code_and_what_became_of_the_socket() {
    let (outside, _) = outside();
    let nowhere = listener().1;
    let unknown = Destination::Name("host.invalid".to_owned(), 1);
    for (to, codes, became) in [
        (Destination::Address(nowhere), vec![Code::ConnectionRefused], Socket::Used),
        (unknown, vec![Code::HostNotFound, Code::NameLookupFailed], Socket::Untouched),
    ] {
        let (socket, state) = (tcp(), DialState::default());
        let work = outside.dial(dial(to, &socket), 1, &state, std::future::pending::<()>());
        let failure = block_on(work).unwrap().unwrap_err();
        assert!(codes.contains(&failure.code), "{failure:?}");
        assert_eq!(state.socket(), became, "{failure:?}");
        assert!(unconnected_tcp(&socket).is_ok(), "it is as it was");
    }
}

#[test]
fn who_is_stopped_hears_it_when_the_socket_is_its_own_again() {
    let (outside, _) = outside();
    // A queue that is full, so that the next one waits.
    let full = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let there = full.local_addr().unwrap();
    let waiting: Vec<_> = (0..4).map(|_| tcp()).collect();
    for socket in &waiting {
        let flags = rustix::fs::fcntl_getfl(socket).unwrap() | rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(socket, flags).unwrap();
        let _ = rustix::net::connect(socket, &there);
    }
    let (socket, state) = (tcp(), DialState::default());
    let under_way = async {
        while unconnected_tcp(&socket).is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let work = outside.dial(dial(Destination::Address(there), &socket), 1, &state, under_way);
    assert!(block_on(work).is_err(), "it was stopped");
    assert_eq!(state.socket(), Socket::Used);
    assert!(unconnected_tcp(&socket).is_ok(), "it is put back");
}

#[test]
fn a_dialer_that_dies_fails_what_it_had_and_the_next_one_serves() {
    let (_listener, there) = listener();
    for (to, code, became) in [
        (Destination::Address(there), Code::Internal, Socket::Used),
        (Destination::Name("localhost".to_owned(), 1), Code::NameLookupFailed, Socket::Untouched),
    ] {
        let (outside, dialers) = outside();
        dialers.dead.store(true, std::sync::atomic::Ordering::Relaxed);
        let (socket, state) = (tcp(), DialState::default());
        let dies = async {
            let mut last = None;
            while last.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                last = dialers.last.lock().unwrap().take();
            }
            // The question is in its hands, as far as a worker can know.
            let desk = Desk::new(last.unwrap()).unwrap();
            drop(desk.next::<DialQuestion>().await.unwrap());
        };
        let work = outside.dial(dial(to, &socket), 1, &state, std::future::pending::<()>());
        let failure = block_on(async { tokio::join!(work, dies).0 }).unwrap().unwrap_err();
        assert_eq!((failure.code, state.socket()), (code, became), "{failure:?}");
        assert_eq!(failure.blame, Blame::Daemon, "{failure:?}");
        let state = DialState::default();
        let again =
            outside.dial(dial(Destination::Address(there), &socket), 1, &state, std::future::pending::<()>());
        assert!(block_on(again).unwrap().is_ok(), "another dialer");
    }
}

#[test]
fn a_cache_that_the_operator_has_not_named_is_refused() {
    let (_listener, named) = listener();
    let (_other_listener, other) = listener();
    let asker = dialer(vec![CachePlace::Address(named)], None);
    let connect = |place| {
        let pending = asker.ask::<CacheAnswer>(&DialQuestion::Cache { place, uid: 0 }, &[]).unwrap();
        pending.wait(Some(Instant::now() + LONG)).unwrap()
    };
    let (answer, sockets) = connect(CachePlace::Address(named));
    assert_eq!((answer, sockets.len()), (Ok(()), 1));
    let near = CachePlace::Name("localhost".to_owned(), named.port());
    for place in [CachePlace::Address(other), near, CachePlace::Path("/run/docker.sock".into())] {
        let (answer, sockets) = connect(place);
        assert_eq!(
            (answer.unwrap_err().as_str(), sockets.len()),
            ("the operator has named no such cache", 0)
        );
    }
}

#[test]
fn descriptors_that_are_no_sockets_at_rest_are_given_back_and_nothing_is_done_to_them() {
    let asker = dialer(Vec::new(), None);
    let (listener, there) = listener();
    let listening: OwnedFd = listener.into();
    let connected: OwnedFd = std::net::TcpStream::connect(there).unwrap().into();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let folder: OwnedFd = std::fs::File::open("/etc").unwrap().into();
    let to = || Destination::Address(there);
    let last = |pending: Pending<DialNews>| code(pending.wait(Some(Instant::now() + LONG)).unwrap().0);
    for wrong in [&listening, &connected, &writer, &folder] {
        assert_eq!(last(ask(&asker, to(), &[wrong])), Code::NetworkError);
    }
    drop(writer);
    assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0), "no copy is left");
    let one = tcp();
    assert_eq!(last(ask(&asker, to(), &[&one, &one])), Code::Internal, "one twice");
    assert_eq!(last(ask(&asker, to(), &[])), Code::Internal, "none");
    let many: Vec<_> = (0..MAX_NETS + 1).map(|_| tcp()).collect();
    assert_eq!(last(ask(&asker, to(), &many.iter().collect::<Vec<_>>())), Code::Internal, "too many");
    for name in [String::new(), "x".repeat(300), "a\0b".to_owned()] {
        assert_eq!(last(ask(&asker, Destination::Name(name, 1), &[&one])), Code::Internal);
    }
}

#[test]
fn who_asks_more_than_there_is_room_for_waits_and_others_do_not() {
    block_on(async {
        let dialer = Rc::new(Dialer { room: 2 * MOST, ..Rc::into_inner(Dialer::new(false)).unwrap() });
        let serve = |only| {
            let (asker, desk) = Asker::pair().unwrap();
            tokio::task::spawn_local(Rc::clone(&dialer).serve(Desk::new(desk).unwrap(), only));
            asker
        };
        let (greedy, other) = (serve(None), serve(Some(2)));
        let full = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        rustix::net::listen(&full, 0).unwrap();
        let silent = full.local_addr().unwrap();
        let (_listener, there) = listener();
        let sockets: Vec<_> = (0..200).map(|_| tcp()).collect();
        let mut waiting = Vec::new();
        for socket in &sockets {
            // Until the dialer takes no more, and the way to it is full.
            match greedy.ask::<DialNews>(&question(Destination::Address(silent)), &[socket.as_fd()]) {
                Ok(pending) => waiting.push(pending),
                Err(error) if error.is_late() => break,
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        }
        let quick = tcp();
        let answer = ask(&other, Destination::Address(there), &[&quick]).answered();
        let (news, _) = timeout(LONG, answer).await.expect("in time").unwrap();
        assert_eq!(news, DialNews::Connected { socket: 0, to: there });
        // Giving up gives the room back.
        let late = waiting.pop().unwrap();
        drop(waiting);
        late.stop();
        let last = timeout(LONG, late.heard()).await.expect("in time").unwrap().0;
        assert_eq!(last, DialNews::Stopped);
    });
}
