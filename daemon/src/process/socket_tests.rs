//! Starting twice, starting after a crash, and starting where others can write.

use std::os::unix::net::UnixListener;

use super::*;
use crate::process::test_folder::Folder;

impl Folder {
    fn place(&self) -> Place {
        Place { path: self.path("tlsifyd.sock"), mode: 0o600, folder_mode: 0o700 }
    }
}

fn call(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket = new_socket(SocketType::SEQPACKET)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_caller_finds_it_with_its_mode_and_it_goes_with_the_listener() {
    for wanted in [0o600, 0o660, 0o666] {
        // A lock of its own each: a test beside that forks holds a copy of the last one for a moment.
        let folder = Folder::new();
        let place = Place { mode: wanted, ..folder.place() };
        let listener = Listener::bind(&place).unwrap();
        assert_eq!(mode(&place.path), wanted);
        assert_eq!(listener.path(), Some(place.path.as_path()));
        call(&place.path).unwrap();
        drop(listener);
        assert!(!place.path.exists());
        assert!(!with_suffix(&place.path, ".new").exists());
    }
}

#[test]
fn a_missing_folder_is_made_with_its_mode() {
    let folder = Folder::new();
    for wanted in [0o700, 0o755] {
        let made = folder.0.join(format!("{wanted:o}"));
        let place = Place { path: made.join("tlsifyd.sock"), mode: 0o600, folder_mode: wanted };
        let _listener = Listener::bind(&place).unwrap();
        assert_eq!(mode(&made), wanted);
    }
    let deep = Place { path: folder.0.join("a/b/tlsifyd.sock"), ..folder.place() };
    let error = Listener::bind(&deep).unwrap_err().to_string();
    assert!(error.starts_with("cannot create ") && error.contains("/a/b: no such file"), "{error}");
}

#[test]
fn a_live_daemon_is_not_replaced() {
    let folder = Folder::new();
    let first = Listener::bind(&folder.place()).unwrap();
    let error = Listener::bind(&folder.place()).unwrap_err().to_string();
    assert!(
        error.starts_with("another tlsifyd listens at ") && error.ends_with("(it holds the lock)"),
        "{error}"
    );
    // Even where somebody has removed the lock file, the socket answers.
    fs::remove_file(with_suffix(&folder.place().path, ".lock")).unwrap();
    let error = Listener::bind(&folder.place()).unwrap_err().to_string();
    assert!(error.ends_with("(it answers)"), "{error}");
    call(first.path().unwrap()).unwrap();
}

#[test]
fn a_socket_left_by_a_crash_is_replaced() {
    let folder = Folder::new();
    let path = folder.place().path;
    for left in [path.clone(), with_suffix(&path, ".new")] {
        let dead = new_socket(SocketType::SEQPACKET).unwrap();
        bind(&dead, &SocketAddrUnix::new(&left).unwrap()).unwrap();
        drop(dead);
        assert!(left.exists());
    }
    let _listener = Listener::bind(&folder.place()).unwrap();
    call(&path).unwrap();
}

#[test]
fn another_programs_live_socket_is_not_replaced() {
    let folder = Folder::new();
    let path = folder.place().path;
    let _other = UnixListener::bind(&path).unwrap();
    let error = Listener::bind(&folder.place()).unwrap_err();
    assert!(matches!(error, ListenError::Live { .. }), "{error}");
    assert!(path.exists());
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let folder = Folder::new();
    let path = folder.place().path;
    let refused = |what: &str| {
        let error = Listener::bind(&folder.place()).unwrap_err().to_string();
        assert!(error.contains(&format!("there is {what} and not a socket")), "{error}");
    };
    fs::write(&path, "precious").unwrap();
    refused("a file");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("a folder");
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    refused("a symbolic link");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
}

#[test]
fn a_folder_that_others_can_write_to_is_refused_unless_it_is_sticky() {
    let folder = Folder::new();
    for (bits, safe) in [(0o777, false), (0o770, false), (0o1777, true), (0o755, true)] {
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(bits)).unwrap();
        let result = Listener::bind(&folder.place());
        assert_eq!(result.is_ok(), safe, "{bits:o}: {result:?}");
        if let Err(error) = result {
            assert!(
                error.to_string().contains(&format!("others may write to it (mode {bits:04o})")),
                "{error}"
            );
        }
    }
}

#[test]
fn only_our_own_socket_is_removed_at_the_end() {
    let folder = Folder::new();
    let path = folder.place().path;
    let listener = Listener::bind(&folder.place()).unwrap();
    // The inode number of a removed file can come again at once, so ours is kept under another name.
    fs::rename(&path, folder.0.join("moved")).unwrap();
    fs::write(&path, "somebody's").unwrap();
    drop(listener);
    assert_eq!(fs::read(&path).unwrap(), b"somebody's");
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let folder = Folder::new();
    let target = folder.0.join("target");
    std::os::unix::fs::symlink(&target, with_suffix(&folder.place().path, ".lock")).unwrap();
    let error = Listener::bind(&folder.place()).unwrap_err().to_string();
    assert!(error.starts_with("cannot open the lock "), "{error}");
    assert!(!target.exists());
}

#[test]
fn a_path_that_does_not_fit_says_so() {
    let folder = Folder::new();
    let place = Place { path: folder.0.join("x".repeat(120)), ..folder.place() };
    let error = Listener::bind(&place).unwrap_err().to_string();
    assert!(
        error.ends_with("longer than 103 bytes, which is all that a socket's address has room for"),
        "{error}"
    );
}

#[test]
fn the_place_is_the_flag_then_the_variable_then_the_file_then_the_usual() {
    let environment = |name: &str| match name {
        "TLSIFY_SOCK" => Some(OsString::from("/env.sock")),
        "XDG_RUNTIME_DIR" => Some(OsString::from("/run/user/1000")),
        _ => None,
    };
    let bare = |name: &str| environment(name).filter(|_| name != "TLSIFY_SOCK");
    let mut config = Config::defaults(Path::new("x"));
    let chosen = |flag, config: &Config, uid, with_variable: bool| {
        let place = if with_variable {
            Place::choose(flag, config, uid, environment)
        } else {
            Place::choose(flag, config, uid, bare)
        };
        place.unwrap().path
    };
    assert_eq!(chosen(None, &config, 1000, false), Path::new("/run/user/1000/tlsifyd.sock"));
    assert_eq!(chosen(None, &config, 0, false), Path::new(SYSTEM_SOCKET));
    config.socket = Some(PathBuf::from("/file.sock"));
    assert_eq!(chosen(None, &config, 0, false), Path::new("/file.sock"));
    assert_eq!(chosen(None, &config, 1000, true), Path::new("/env.sock"));
    assert_eq!(chosen(Some(Path::new("/flag.sock")), &config, 1000, true), Path::new("/flag.sock"));
    let nowhere = Place::choose(None, &Config::defaults(Path::new("x")), 1000, |_| None);
    assert!(matches!(nowhere, Err(ListenError::Nowhere)));
}

#[test]
fn a_personal_socket_is_its_users_and_the_systems_is_everybodys() {
    let mut config = Config::defaults(Path::new("x"));
    let choose = |config: &Config, uid| Place::choose(Some(Path::new("/s")), config, uid, |_| None).unwrap();
    assert_eq!((choose(&config, 0).mode, choose(&config, 0).folder_mode), (0o666, 0o755));
    assert_eq!((choose(&config, 1000).mode, choose(&config, 1000).folder_mode), (0o600, 0o700));
    config.socket_mode = Some(0o660);
    assert_eq!((choose(&config, 0).mode, choose(&config, 1000).mode), (0o660, 0o660));
}

#[test]
fn the_keys_socket_is_beside_the_callers_and_where_the_configuration_says() {
    let nowhere = |_: &str| None;
    let home = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| OsString::from("/run/user/7"));
    let mut config = Config::defaults(Path::new("/etc/tlsifyd/tlsifyd.toml"));
    let at = |config: &Config, callers: Option<&str>, uid| {
        Place::of_keys(config, callers.map(Path::new), uid, home)
            .map(|place| place.path.display().to_string())
    };
    assert_eq!(at(&config, Some(SYSTEM_SOCKET), 0).as_deref(), Some(SYSTEM_KEYS));
    assert_eq!(at(&config, None, 0).as_deref(), Some(SYSTEM_KEYS));
    assert_eq!(at(&config, None, 7).as_deref(), Some("/run/user/7/tlsifyd-keys.sock"));
    assert_eq!(at(&config, Some("/tmp/x/one.sock"), 0).as_deref(), Some("/tmp/x/one-keys.sock"));
    assert!(Place::of_keys(&config, None, 7, nowhere).is_none());
    let usual = Place::of_keys(&config, None, 0, nowhere).unwrap();
    assert_eq!(usual.mode, 0o600, "not for everybody, as the callers' is");
    config.keys.socket = KeysSocket::At("/srv/k".into());
    assert_eq!(at(&config, Some(SYSTEM_SOCKET), 0).as_deref(), Some("/srv/k"));
    config.keys.socket = KeysSocket::None;
    assert_eq!(at(&config, Some(SYSTEM_SOCKET), 0), None);
}

#[test]
fn a_stream_socket_is_not_stolen_from_who_listens_with_another_kind() {
    let folder = Folder::new();
    let _live = Listener::bind_stream(&folder.place()).unwrap();
    assert!(matches!(Listener::bind_stream(&folder.place()), Err(ListenError::Live { .. })));
    fs::remove_file(folder.path("tlsifyd.sock.lock")).unwrap();
    // Without the lock it is asked itself: of another type, and of its own.
    assert!(matches!(Listener::bind(&folder.place()), Err(ListenError::Live { .. })));
    fs::remove_file(folder.path("tlsifyd.sock.lock")).unwrap();
    assert!(matches!(Listener::bind_stream(&folder.place()), Err(ListenError::Live { .. })));
}
