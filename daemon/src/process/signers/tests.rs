//! The thread, asked as the keyholder asks it.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::config::{LogFormat, LogLevel, SignerPlace, Token, TokenName};
use crate::io::agent::wire::About;
use crate::io::between::{Asker, Pending};
use crate::process::test_folder::Folder;

fn log() -> LogChoice {
    let said = crate::config::Log { level: LogLevel::Error, format: LogFormat::Json };
    LogChoice::new(None, None, None, &said)
}

fn agent(name: &str, path: PathBuf) -> Signer {
    let place = SignerPlace::Agent(path);
    Signer { name: name.to_owned(), place, deadline: Duration::from_millis(700), line: 1 }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(10))
}

fn asker(signers: &Signers) -> Asker {
    let (theirs, desk) = way().unwrap();
    signers.admit(desk);
    Asker::new(theirs).unwrap()
}

fn about(asker: &Asker, name: &str) -> Option<About> {
    let pending: Pending<Option<About>> = asker.ask(&Asks::AboutSigner(name.to_owned()), &[]).unwrap();
    pending.wait(soon()).unwrap().0
}

fn open(asker: &Asker, name: &str) -> (Opened, usize) {
    let pending: Pending<Opened> = asker.ask(&Asks::OpenSigner(name.to_owned()), &[]).unwrap();
    let (opened, fds) = pending.wait(soon()).unwrap();
    (opened, fds.len())
}

#[test]
fn only_configured_signers_are_connected_to_and_a_reload_counts() {
    let folder = Folder::new();
    let (path, other) = (folder.path("a.sock"), folder.path("b.sock"));
    let listener = UnixListener::bind(&path).unwrap();
    let signers = Signers::start(vec![agent("a", path.clone()), agent("b", other)], log(), None).unwrap();
    let asker = asker(&signers);
    let first = about(&asker, "a").unwrap();
    assert_eq!((first.deadline_ms, first.token), (700, false));
    assert_eq!(about(&asker, "c"), None);
    assert_eq!(open(&asker, "a"), (Opened::Here, 1));
    listener.accept().unwrap();
    assert!(matches!(open(&asker, "b"), (Opened::Away(why), 0) if why.contains("no such file")));
    assert!(matches!(open(&asker, "/etc/passwd"), (Opened::Away(_), 0)));
    let same = Signer { line: 99, ..agent("a", path) };
    signers.replace(vec![same, agent("c", folder.path("c.sock"))]);
    assert_eq!(about(&asker, "a"), Some(first), "the same as before");
    assert_eq!(about(&asker, "b"), None);
    assert_ne!(about(&asker, "c").unwrap().epoch, first.epoch);
    signers.replace(vec![agent("a", folder.path("elsewhere.sock"))]);
    assert_ne!(about(&asker, "a").unwrap().epoch, first.epoch);
}

#[test]
fn another_keyholder_asks_as_the_first_did() {
    let token = Token {
        module: PathBuf::from("/nonexistent.so"),
        token: TokenName::Slot(0),
        pin_file: None,
        paths: Vec::new(),
        network: false,
        environment: BTreeMap::new(),
    };
    let signer = Signer {
        name: "t".to_owned(),
        place: SignerPlace::Token(token),
        deadline: Duration::from_secs(2),
        line: 1,
    };
    let signers = Signers::start(vec![signer], log(), None).unwrap();
    let first = asker(&signers);
    assert!(about(&first, "t").unwrap().token);
    drop(first);
    let second = asker(&signers);
    assert!(about(&second, "t").unwrap().token);
}
