//! Questions that no worker asks which is still ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::net::{AddressFamily, SocketFlags, socketpair};

use super::super::{Asking, Outside};
use super::*;
use crate::io::DescriptorError;
use crate::io::between::Asker;
use crate::process::test_folder::Folder;

/// Has a pool of one generation, and counts who asks for a dialer.
#[derive(Default)]
struct Supplies {
    dialers: AtomicUsize,
    cache: std::path::PathBuf,
}

impl Host for Supplies {
    fn system_pool(&self, have: Option<u64>) -> Result<Option<Pool>, String> {
        let ders = sealed_memfd("pool", b"ders").map_err(|error| error.to_string())?;
        Ok((have != Some(7)).then_some(Pool { generation: 7, ders }))
    }

    fn dialer(&self) -> io::Result<OwnedFd> {
        self.dialers.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::other("there is none"))
    }

    fn cache(&self, path: &Path) -> Result<OwnedFd, String> {
        if path == self.cache { crate::io::connect_cache_at(path) } else { Err("no such".to_owned()) }
    }
}

fn outside() -> (Outside, Arc<Supplies>) {
    supplied(Supplies::default())
}

fn supplied(supplies: Supplies) -> (Outside, Arc<Supplies>) {
    let (asker, desk) = Asker::pair().unwrap();
    let supplies = Arc::new(supplies);
    answer_beside(Desk::new(desk).unwrap(), Arc::clone(&supplies) as Arc<dyn Host>).unwrap();
    (Outside::Asking(Asking::new(asker)), supplies)
}

/// A control connection, whose caller is this process.
fn control() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// Whom the worker says its caller is: nobody believes it.
fn liar() -> CallerCred {
    CallerCred { uid: 0, gid: 0, groups: vec![0], pid: 1 }
}

fn ask(outside: &Outside, folder: &OwnedFd, control: &OwnedFd) -> Result<Vec<Vec<u8>>, DescriptorError> {
    outside.folder(folder, Suffixes::Certificates, &liar(), Some(control.as_fd()))
}

fn open(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

#[test]
fn a_folder_comes_through_as_it_is_and_without_private_keys() {
    let (outside, _) = outside();
    let (control, _caller) = control();
    let folder = Folder::new();
    fs::write(folder.path("a.pem"), "first").unwrap();
    fs::write(folder.path("b.crt"), "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\nsecond")
        .unwrap();
    for other in ["c.key", ".d.pem", "e.crl"] {
        fs::write(folder.path(other), "third").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", folder.path("f.pem")).unwrap();
    fs::create_dir(folder.path("g.pem")).unwrap();
    let files = ask(&outside, &open(&folder.0), &control).unwrap();
    let second = b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\nsecond".to_vec();
    assert_eq!(files, [b"first".to_vec(), second]);
    let lists = outside.folder(&open(&folder.0), Suffixes::Lists, &liar(), Some(control.as_fd()));
    assert_eq!(lists.unwrap(), [b"first".to_vec(), b"third".to_vec()]);
}

#[test]
fn what_is_no_folder_or_no_control_connection_opens_nothing() {
    let (outside, _) = outside();
    let (control, _caller) = control();
    let folder = Folder::new();
    fs::write(folder.path("a.pem"), "text").unwrap();
    let said = |folder: &OwnedFd, control: &OwnedFd| ask(&outside, folder, control).unwrap_err().to_string();
    let file = open(&folder.path("a.pem"));
    assert!(said(&file, &control).contains("must be a directory"), "{}", said(&file, &control));
    let (pipe, _writer) = rustix::pipe::pipe().unwrap();
    assert!(said(&pipe, &control).contains("must be a directory"));
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let path_only = rustix::fs::open(&folder.0, flags, rustix::fs::Mode::empty()).unwrap();
    assert!(said(&path_only, &control).contains("opened as a path only"));
    let directory = open(&folder.0);
    let tcp = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    for wrong in [&file, &pipe, &tcp, &directory] {
        said(&directory, wrong);
    }
    assert!(outside.folder(&directory, Suffixes::Lists, &liar(), None).is_err(), "nobody's");
    assert_eq!(ask(&outside, &directory, &control).unwrap().len(), 1, "it answers on");
}

#[test]
fn the_kernel_says_whose_folder_it_is_and_not_the_worker() {
    // Somebody who is not root, with a folder of root's: the test has to be root to set that up.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    fs::write(folder.path("a.pem"), "private").unwrap();
    fs::write(folder.path("b.pem"), "public").unwrap();
    fs::set_permissions(folder.path("a.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let cred = CallerCred { uid: 4711, gid: 4711, groups: Vec::new(), pid: 1 };
    let files = folder::read(open(&folder.0), Suffixes::Certificates, &cred).unwrap();
    assert_eq!(files, [b"public".to_vec()]);
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o744)).unwrap();
    assert!(folder::read(open(&folder.0), Suffixes::Certificates, &cred).is_err(), "it may not enter");
    // And by the connection: this process is root, whatever else is said.
    let (outside, _) = outside();
    let (control, _caller) = control();
    let user = CallerCred { uid: 4711, ..liar() };
    let files = outside.folder(&open(&folder.0), Suffixes::Certificates, &user, Some(control.as_fd()));
    assert_eq!(files.unwrap().len(), 2);
}

#[test]
fn thousands_of_questions_at_once_hold_up_nobody_else() {
    let (asker, desk) = Asker::pair().unwrap();
    answer_beside(Desk::new(desk).unwrap(), Arc::<Supplies>::default()).unwrap();
    let (control, _caller) = control();
    let folder = Folder::new();
    fs::write(folder.path("a.pem"), "text").unwrap();
    let directory = open(&folder.0);
    let mut asked = Vec::new();
    let (mut sent, mut full) = (0, false);
    while sent < 3000 && !full {
        match asker
            .ask::<Contents>(&Question::Folder(Suffixes::Certificates), &[directory.as_fd(), control.as_fd()])
        {
            Ok(pending) => {
                asked.push(pending);
                sent += 1;
            }
            Err(error) => full = error.is_late() && asked.len() > 50,
        }
        if asked.len() > 400 {
            // Answers and refusals, and never silence.
            asked.drain(..).for_each(|pending| drop(pending.wait(None).expect("an answer")));
        }
    }
    asked.drain(..).for_each(|pending| drop(pending.wait(None).expect("an answer")));
    let (other, _) = outside();
    assert_eq!(ask(&other, &directory, &control).unwrap().len(), 1);
}

#[test]
fn a_pool_is_handed_over_when_it_is_new_and_a_dialer_that_is_not_there_is_said_to_be() {
    let (outside, supplies) = outside();
    let pool = outside.system_pool(None).unwrap().unwrap();
    assert_eq!(pool.generation, 7);
    assert_eq!(*crate::io::read_regular(&pool.ders, 100).unwrap(), b"ders");
    assert!(outside.system_pool(Some(7)).unwrap().is_none());
    assert!(outside.system_pool(Some(6)).unwrap().is_some());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = crate::config::CachePlace::Address(([127, 0, 0, 1], 1).into());
    let said = runtime.block_on(outside.connect_cache(&place, 0)).unwrap_err();
    assert!(said.contains("there is none"), "{said}");
    assert_eq!(supplies.dialers.load(Ordering::Relaxed), 1);
    assert!(Outside::default().system_pool(None).is_err());
}

#[test]
fn a_cache_at_a_path_is_the_supervisors_to_connect_and_the_dialer_is_not_asked() {
    let folder = Folder::new();
    let path = folder.path("cache.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (outside, supplies) = supplied(Supplies { cache: path.clone(), ..Supplies::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = |path| {
        let place = crate::config::CachePlace::Path(path);
        runtime.block_on(outside.connect_cache(&place, 0))
    };
    let socket = connect(path.clone()).unwrap();
    let flags = rustix::fs::fcntl_getfl(&socket).unwrap();
    assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    let (mut there, _) = listener.accept().unwrap();
    io::Write::write_all(&mut there, b"word").unwrap();
    let mut word = [0; 4];
    assert_eq!(rustix::io::read(&socket, &mut word).unwrap(), 4);
    assert_eq!(connect(folder.path("other.sock")).unwrap_err(), "no such");
    drop((listener, fs::remove_file(&path)));
    let said = connect(path).unwrap_err();
    assert!(said.contains("No such file"), "{said}");
    assert_eq!(supplies.dialers.load(Ordering::Relaxed), 0);
}

#[test]
fn what_is_no_question_ends_the_answers() {
    let (asker, desk) = Asker::pair().unwrap();
    let desk = Desk::new(desk).unwrap();
    let _pending = asker.ask::<u32>(&(200_u8, "x"), &[]).unwrap();
    let host: Arc<dyn Host> = Arc::<Supplies>::default();
    assert!(matches!(answer(&desk, &host), Err(ChannelError::Nonsense)));
}
