//! Session caches: the real ones, as processes of a test's own, and one that is made up and lies as it is told.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::Signal;

use crate::program::Program;
use crate::temp::TempDir;
use crate::tools::tool;
use crate::user::User;
use crate::wait::{LIMIT, until};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// memcached
    Memcached,
    /// redis-server
    Redis,
}

/// Both.
pub const CACHES: [CacheKind; 2] = [CacheKind::Memcached, CacheKind::Redis];

/// A cache at a Unix socket in a folder of its own, or at a port of the loopback interface.
#[derive(Debug)]
pub struct CacheServer {
    kind: CacheKind,
    tool: PathBuf,
    dir: TempDir,
    port: Option<u16>,
    password: Option<String>,
    program: Option<Program>,
}

impl CacheServer {
    /// At a Unix socket; `None` where the program is missing.
    pub fn start(kind: CacheKind) -> Option<Self> {
        Self::with(kind, None, None)
    }

    /// At a port that was free a moment ago.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start_at_port(kind: CacheKind) -> Option<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        Self::with(kind, Some(free.expect("a port is free").port()), None)
    }

    /// A Redis that wants this password.
    pub fn start_with_password(password: &str) -> Option<Self> {
        Self::with(CacheKind::Redis, None, Some(password.to_owned()))
    }

    fn with(kind: CacheKind, port: Option<u16>, password: Option<String>) -> Option<Self> {
        let tool = match kind {
            CacheKind::Memcached => tool("memcached"),
            CacheKind::Redis => tool("redis-server"),
        }?;
        let mut server = Self { kind, tool, dir: TempDir::new("cache"), port, password, program: None };
        server.begin();
        Some(server)
    }

    /// Starts it again, empty.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn begin(&mut self) {
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new(&self.tool);
        let port = self.port.unwrap_or(0).to_string();
        match self.kind {
            CacheKind::Memcached => {
                // It does not run as root unless that is said.
                command.args(["-u", "root", "-m", "8", "-t", "1"]);
                match self.port {
                    Some(_) => command.args(["-l", "127.0.0.1", "-p", &port]),
                    None => command.arg("-s").arg(self.socket()),
                };
            }
            CacheKind::Redis => {
                command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", &port]);
                command.arg("--dir").arg(self.dir.path());
                if self.port.is_none() {
                    command.arg("--unixsocket").arg(self.socket());
                }
                if let Some(password) = &self.password {
                    command.args(["--requirepass", password]);
                }
            }
        }
        self.program = Some(Program::start(&mut command));
        let listens = until(LIMIT, || self.reach().ok().map(drop));
        listens.unwrap_or_else(|| panic!("{:?} does not listen", self.kind));
    }

    /// Ends it, with everything in it.
    pub fn end(&mut self) {
        self.program = None;
    }

    /// It stays, and does nothing: connections are taken by the kernel, and nobody answers.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub fn hang(&mut self) {
        self.signal(Signal::SIGSTOP);
        let pid = self.program.as_ref().expect("it runs").pid();
        // The signal is sent before each of its threads has stopped.
        let stopped = || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
            let stopped = threads.flatten().all(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
            });
            stopped.then_some(())
        };
        until(LIMIT, stopped).expect("it stops");
    }

    /// It goes on.
    pub fn go_on(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&mut self, signal: Signal) {
        self.program.as_mut().expect("it runs").signal(signal);
    }

    /// As the configuration names it.
    pub fn address(&self) -> String {
        let kind = match self.kind {
            CacheKind::Memcached => "memcached",
            CacheKind::Redis => "redis",
        };
        match self.port {
            Some(port) => format!("{kind}://127.0.0.1:{port}"),
            None => format!("{kind}+unix://{}", self.socket().display()),
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn reach(&self) -> io::Result<Box<dyn ReadWrite>> {
        Ok(match self.port {
            Some(port) => Box::new(limited(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)?),
            None => {
                let stream = UnixStream::connect(self.socket())?;
                stream.set_read_timeout(Some(LIMIT))?;
                Box::new(stream)
            }
        })
    }

    /// How many entries it holds.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn count(&self) -> usize {
        let mut stream = BufReader::new(self.reach().expect("it listens"));
        let (command, prefix) = match self.kind {
            CacheKind::Memcached => ("stats\r\n", "STAT curr_items "),
            CacheKind::Redis => ("DBSIZE\r\n", ":"),
        };
        let lines = ask(&mut stream, command, |line| line == "END" || line.starts_with(':'));
        let count = lines.iter().find_map(|line| line.strip_prefix(prefix));
        count.and_then(|count| count.parse().ok()).expect("it counts")
    }

    /// All that it holds: name and value of each.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn entries(&self) -> Vec<(String, Vec<u8>)> {
        let mut stream = BufReader::new(self.reach().expect("it listens"));
        // memcached moves its entries about, and does not list one that is on its way.
        let names =
            until(LIMIT, || Some(self.names(&mut stream)).filter(|names| names.len() == self.count()));
        let names = names.expect("it lists what it counts").into_iter();
        names.filter_map(|name| Some((name.clone(), self.value(&mut stream, &name)?))).collect()
    }

    fn names(&self, stream: &mut BufReader<Box<dyn ReadWrite>>) -> Vec<String> {
        match self.kind {
            CacheKind::Memcached => {
                let lines = ask(stream, "lru_crawler metadump all\r\n", |line| line == "END");
                let names = lines.iter().filter_map(|line| line.strip_prefix("key=")?.split(' ').next());
                names.map(|name| name.replace("%3A", ":")).collect()
            }
            CacheKind::Redis => {
                let mut left = None;
                // An array of so many, two lines each.
                let lines = ask(stream, "KEYS *\r\n", |line| {
                    let left =
                        left.get_or_insert_with(|| 1 + 2 * line[1..].parse::<usize>().expect("a count"));
                    *left -= 1;
                    *left == 0
                });
                lines.into_iter().skip(1).filter(|line| !line.starts_with('$')).collect()
            }
        }
    }

    fn value(&self, stream: &mut BufReader<Box<dyn ReadWrite>>, name: &str) -> Option<Vec<u8>> {
        let head = ask(stream, &format!("get {name}\r\n"), |_| true).remove(0);
        let length = match self.kind {
            CacheKind::Memcached => head.strip_prefix("VALUE ")?.rsplit(' ').next()?.parse().ok()?,
            CacheKind::Redis => head.strip_prefix('$')?.parse().ok()?,
        };
        let mut value = vec![0; length];
        stream.read_exact(&mut value).expect("the value follows");
        let lines = if self.kind == CacheKind::Memcached { 2 } else { 1 };
        for _ in 0..lines {
            stream.read_line(&mut String::new()).expect("its end follows");
        }
        Some(value)
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn limited(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// The lines of an answer, up to the one that is the last.
fn ask(
    stream: &mut BufReader<Box<dyn ReadWrite>>,
    command: &str,
    mut is_last: impl FnMut(&str) -> bool,
) -> Vec<String> {
    stream.get_mut().write_all(command.as_bytes()).expect("it reads");
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("it answers");
        let line = line.trim_end().to_owned();
        let done = is_last(&line);
        lines.push(line);
        if done {
            return lines;
        }
    }
}

/// What a made-up cache does when it is asked for a value.
#[derive(Clone, Debug)]
pub enum Lie {
    /// Nothing wrong.
    None,
    /// It says this instead, as it is; `NAME` is the name that was asked for.
    Says(Vec<u8>),
    /// The same, and then it closes the connection.
    SaysAndLeaves(Vec<u8>),
    /// The value of another entry under this name.
    Another,
    /// It says that it deletes, and does not: what was used is there again.
    Forever,
    /// It closes the connection.
    Leaves,
    /// It says nothing, and stays.
    Silent,
}

/// A memcached in a few lines, which lies as it is told. It ends with the test's process.
#[derive(Debug)]
pub struct Liar {
    dir: TempDir,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug)]
struct Held {
    values: HashMap<String, Vec<u8>>,
    lie: Lie,
    /// Look-ups that came.
    asked: usize,
}

impl Liar {
    /// Honest at first.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Self {
        let dir = TempDir::new("liar");
        let held = Arc::new(Mutex::new(Held { values: HashMap::new(), lie: Lie::None, asked: 0 }));
        let listener = UnixListener::bind(Self::socket(&dir)).expect("a socket in its own folder");
        let (shared, serves) = (Arc::clone(&held), move |stream: UnixStream, held: Arc<Mutex<Held>>| {
            // It is the daemon's to close; how that ended does not matter.
            thread::spawn(move || drop(serve(stream, &held)));
        });
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| serves(stream, Arc::clone(&shared)))
        });
        Self { dir, held }
    }

    fn socket(dir: &TempDir) -> PathBuf {
        let dir: &Path = dir.path();
        dir.join("socket")
    }

    /// Its folder is this user's alone from now on, and its socket, which has this mode, too.
    ///
    /// # Panics
    /// When this process is not root's.
    pub fn belongs_to(&self, user: &User, mode: u32) {
        let socket = Self::socket(&self.dir);
        for (path, mode) in [(self.dir.path(), 0o700), (&socket, mode)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is there");
            chown(path, Some(user.uid), Some(user.gid)).expect("root may");
        }
    }

    /// As the configuration names it.
    pub fn address(&self) -> String {
        format!("memcached+unix://{}", Self::socket(&self.dir).display())
    }

    /// From now on.
    ///
    /// # Panics
    /// When its own thread did.
    pub fn lies(&self, lie: Lie) {
        self.held.lock().expect("no thread of it panics").lie = lie;
    }

    /// How many look-ups have come.
    ///
    /// # Panics
    /// When its own thread did.
    pub fn asked(&self) -> usize {
        self.held.lock().expect("no thread of it panics").asked
    }
}

fn serve(stream: UnixStream, held: &Mutex<Held>) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.get(1).copied().unwrap_or_default().to_owned();
        match words.first().copied() {
            Some("version") => out.write_all(b"VERSION 0\r\n")?,
            Some("set") => {
                let length: usize = words.last().and_then(|word| word.parse().ok()).unwrap_or(0);
                let mut value = vec![0; length + 2];
                input.read_exact(&mut value)?;
                value.truncate(length);
                held.lock().expect("no thread panics").values.insert(name, value);
                out.write_all(b"STORED\r\n")?;
            }
            Some("delete") => {
                let mut held = held.lock().expect("no thread panics");
                let there = match held.lie {
                    Lie::Silent => continue,
                    Lie::Forever | Lie::Another => true,
                    _ => held.values.remove(&name).is_some(),
                };
                drop(held);
                out.write_all(if there { b"DELETED\r\n" } else { b"NOT_FOUND\r\n" })?;
            }
            _ => {
                let (lie, mine, other) = {
                    let mut held = held.lock().expect("no thread panics");
                    held.asked += 1;
                    let other = held.values.iter().find(|(other, _)| **other != name).map(|(_, value)| value);
                    (held.lie.clone(), held.values.get(&name).cloned(), other.cloned())
                };
                let value = |value: Option<Vec<u8>>| match value {
                    None => b"END\r\n".to_vec(),
                    Some(value) => {
                        let head = format!("VALUE {name} 0 {}\r\n", value.len());
                        [head.as_bytes(), &value, b"\r\nEND\r\n"].concat()
                    }
                };
                match lie {
                    Lie::None | Lie::Forever => out.write_all(&value(mine))?,
                    Lie::Another => out.write_all(&value(other))?,
                    Lie::Says(text) => out.write_all(&named(&text, &name))?,
                    Lie::SaysAndLeaves(text) => return out.write_all(&named(&text, &name)),
                    Lie::Leaves => return Ok(()),
                    Lie::Silent => {}
                }
            }
        }
    }
}

fn named(text: &[u8], name: &str) -> Vec<u8> {
    match text.windows(4).position(|part| part == b"NAME") {
        Some(at) => [&text[..at], name.as_bytes(), &text[at + 4..]].concat(),
        None => text.to_vec(),
    }
}
