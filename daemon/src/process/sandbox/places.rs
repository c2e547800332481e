//! Where in the file system a part may do what. The worker and the keyholder have no line here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Part, Settings};

/// A file, or a folder with everything below it, and what may be done there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Followed to the end when the rules are made: what a symbolic link points at later is another place.
    pub path: PathBuf,
    /// What may be done.
    pub may: May,
}

/// What may be done in a place. The rights of users hold as everywhere: this takes, and gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum May {
    /// Read files, list folders.
    Read,
    /// And start programs.
    Run,
    /// Read and write what is there.
    Write,
    /// Read, and make and remove sockets and the locks beside them.
    Listen,
    /// Everything but devices.
    Change,
}

impl Place {
    /// A place.
    pub fn new(path: impl Into<PathBuf>, may: May) -> Self {
        Self { path: path.into(), may }
    }
}

/// What the name service reads: its own configuration, the tables, and what its modules keep (systemd's user records,
/// sssd's memory-mapped caches). The folder of certificates and that of everybody's passwords are not there.
const NAME_SERVICE: [&str; 16] = [
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/userdb",
    "/run/userdb",
    "/run/systemd/userdb",
    "/run/systemd/resolve",
    "/run/nscd",
    "/var/lib/sss",
];

/// What the loader reads to start a program or a module.
const LOADER: [&str; 3] = ["/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf"];

/// What programs ask about the machine and themselves: how many processors there are, which limit the group has.
const MACHINE: [&str; 4] = ["/proc", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/dev/urandom"];

/// All places of this part.
pub(super) fn of(part: Part, settings: &Settings) -> Vec<Place> {
    let read = |paths: &[&str]| paths.iter().map(|path| Place::new(*path, May::Read)).collect::<Vec<_>>();
    let libraries = |may| libraries().into_iter().map(move |path| Place { path, may });
    let mut places = match part {
        Part::Worker | Part::Keyholder => return Vec::new(),
        Part::Dialer => [read(&NAME_SERVICE), read(&LOADER)].concat(),
        Part::Token => [read(&LOADER), read(&MACHINE), read(&["/etc/nsswitch.conf", "/etc/passwd"])].concat(),
        // Its rules bind its parts too: what they read it has to read.
        Part::Supervisor => [read(&NAME_SERVICE), read(&LOADER), read(&MACHINE)].concat(),
    };
    match part {
        Part::Supervisor => {
            // It starts the parts: itself, and the loader, which lies among the libraries.
            places.push(Place::new("/proc/self/exe", May::Run));
            // Where a part has no standard stream, and says what it would say there.
            places.push(Place::new("/dev/null", May::Write));
            places.extend(libraries(May::Run));
        }
        _ => places.extend(libraries(May::Read)),
    }
    places.extend(settings.places.iter().cloned());
    places
}

/// The folders of the libraries that this process has loaded. Folders, because an update of the system puts new files there
/// while we run, and a part that is started again after it loads these.
fn libraries() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let own = fs::read_link("/proc/self/exe").ok();
    let mut folders = folders_of_libraries(&maps, own.as_deref());
    // A static build has loaded none, and a module of the name service brings its own.
    folders.extend(["/lib", "/usr/lib", "/lib64", "/usr/lib64"].map(PathBuf::from));
    folders
}

fn folders_of_libraries(maps: &str, own: Option<&Path>) -> BTreeSet<PathBuf> {
    maps.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (rights, path) = (fields.nth(1)?, line.find('/').map(|at| Path::new(&line[at..]))?);
            (rights.contains('x') && Some(path) != own).then(|| path.parent().map(Path::to_owned))?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_libraries_are_found_and_not_that_of_the_program() {
        let maps = "55d0-55d1 r-xp 00000000 fe:00 1 /opt/x/tlsifyd\n\
                    7f00-7f01 r--p 00000000 fe:00 2 /usr/share/locale/x\n\
                    7f02-7f03 r-xp 00000000 fe:00 3 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f04-7f05 r-xp 00000000 fe:00 4 /a b/lib.so (deleted)\n\
                    7ffc-7ffd r-xp 00000000 00:00 0 [vdso]\n";
        let found = folders_of_libraries(maps, Some(Path::new("/opt/x/tlsifyd")));
        let expected = ["/a b", "/usr/lib/x86_64-linux-gnu"].map(PathBuf::from);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_worker_and_the_keyholder_are_nowhere_whatever_they_are_told() {
        let settings = Settings { places: vec![Place::new("/", May::Change)], ..Settings::default() };
        assert_eq!(of(Part::Worker, &settings), []);
        assert_eq!(of(Part::Keyholder, &settings), []);
    }

    #[test]
    fn the_supervisor_may_do_what_its_parts_may() {
        let supervisors = of(Part::Supervisor, &Settings::default());
        for part in [Part::Dialer, Part::Token] {
            for place in of(part, &Settings::default()) {
                let covers = |wider: &Place| place.path.starts_with(&wider.path) && wider.may >= place.may;
                assert!(supervisors.iter().any(covers), "{part}: {place:?}");
            }
        }
    }

    #[test]
    fn nobody_writes_or_listens_where_nobody_said_so() {
        for part in Part::ALL {
            for place in of(part, &Settings::default()) {
                let harmless =
                    matches!(place.may, May::Read | May::Run) || place.path == Path::new("/dev/null");
                assert!(harmless, "{part}: {place:?}");
            }
        }
    }
}
