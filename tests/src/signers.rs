//! Signers that are somebody else's: a real ssh-agent, one that is made up and lies, and a token in software.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::Signal;

use crate::pki::{Identity, KeyKind};
use crate::program::Program;
use crate::temp::TempDir;
use crate::tools::tool;
use crate::wait::{LIMIT, until};

/// An agent, at a socket in a folder of its own.
#[derive(Debug)]
pub struct SshAgent {
    /// Whether it is that of GnuPG, with its SSH support.
    gnupg: bool,
    agent: PathBuf,
    add: PathBuf,
    dir: TempDir,
    program: Option<Program>,
}

impl SshAgent {
    /// OpenSSH's, without keys; `None` where the program is missing.
    pub fn start() -> Option<Self> {
        let (agent, add) = (tool("ssh-agent")?, tool("ssh-add")?);
        Some(Self::with(agent, add, false))
    }

    /// That of GnuPG; `None` where the program is missing.
    pub fn start_gnupg() -> Option<Self> {
        let (agent, add) = (tool("gpg-agent")?, tool("ssh-add")?);
        Some(Self::with(agent, add, true))
    }

    fn with(agent: PathBuf, add: PathBuf, gnupg: bool) -> Self {
        let mut server = Self { gnupg, agent, add, dir: TempDir::new("agent"), program: None };
        server.begin();
        server
    }

    /// Starts it again at the same path, without keys.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn begin(&mut self) {
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new(&self.agent);
        if self.gnupg {
            // It keeps keys under a passphrase, for which it asks a program.
            let script = "echo OK\nwhile read -r word rest; do\n[ $word = GETPIN ] && echo 'D secret'\necho OK\n\
                          [ $word = BYE ] && exit\ndone";
            let asker = self.script("pinentry", script);
            command.args(["--daemon", "--no-detach", "--enable-ssh-support", "--homedir"]);
            command.arg(self.dir.path()).arg("--pinentry-program").arg(asker);
        } else {
            command.arg("-D").arg("-a").arg(self.socket());
        }
        self.program = Some(Program::start(&mut command));
        let listens = until(LIMIT, || UnixStream::connect(self.socket()).ok().map(drop));
        listens.expect("ssh-agent listens");
    }

    /// Kills it; its socket stays, and nobody is there.
    pub fn end(&mut self) {
        self.program = None;
    }

    /// It stays, and does nothing: connections are queued by the kernel, and nobody answers.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub fn hang(&mut self) {
        self.signal(Signal::SIGSTOP);
        let pid = self.program.as_ref().expect("it runs").pid();
        let stopped = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(") ").filter(|(_, rest)| rest.starts_with('T')).map(drop)
        };
        until(LIMIT, stopped).expect("it stops");
    }

    /// It goes on.
    pub fn go_on(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    /// Gives it the key of this identity.
    ///
    /// # Panics
    /// When it does not take it.
    pub fn add(&self, identity: &Identity) {
        let converted = openssh_key(identity, self.dir.path());
        self.ssh_add(&[converted.as_deref().unwrap_or(&identity.key_file).as_os_str()]);
    }

    /// Takes all keys away from it.
    pub fn forget_all(&self) {
        self.ssh_add(&["-D".as_ref()]);
    }

    /// `ssh-add -x`, with a passphrase.
    pub fn lock(&self) {
        self.with_passphrase("-x");
    }

    /// `ssh-add -X`, with the same.
    pub fn unlock(&self) {
        self.with_passphrase("-X");
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(if self.gnupg { "S.gpg-agent.ssh" } else { "agent.sock" })
    }

    fn signal(&mut self, signal: Signal) {
        self.program.as_mut().expect("it runs").signal(signal);
    }

    fn ssh_add(&self, words: &[&std::ffi::OsStr]) {
        let mut command = Command::new(&self.add);
        command.args(words).env("SSH_AUTH_SOCK", self.socket());
        let output = Program::run(&mut command);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// Without a terminal, ssh-add asks a program for the passphrase.
    fn with_passphrase(&self, word: &str) {
        let asker = self.script("passphrase", "echo secret");
        let mut command = Command::new(&self.add);
        command.arg(word).env("SSH_AUTH_SOCK", self.socket());
        command.env("SSH_ASKPASS", asker).env("SSH_ASKPASS_REQUIRE", "force");
        let output = Program::run(&mut command);
        assert!(output.status.success(), "{word}: {output:?}");
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&path);
        let written = file.as_mut().map(|file| write!(file, "#!/bin/sh\n{text}\n"));
        written.expect("the folder is ours").expect("written");
        path
    }
}

/// What a made-up agent answers to a request; `None`: it closes the connection.
pub type Behaviour = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

/// An agent that answers as a test tells it: whole frames in, any bytes out.
pub struct FakeAgent {
    dir: TempDir,
    behaviour: Arc<Mutex<Behaviour>>,
    asked: Arc<Mutex<u32>>,
}

impl FakeAgent {
    /// Answers each request as `behaviour` says.
    ///
    /// # Panics
    /// When there can be no socket.
    pub fn start(behaviour: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let dir = TempDir::new("fake-agent");
        let listener = UnixListener::bind(dir.path().join("agent.sock")).expect("the folder is ours");
        let behaviour: Arc<Mutex<Behaviour>> = Arc::new(Mutex::new(Box::new(behaviour)));
        let asked = Arc::new(Mutex::new(0));
        let (shared, count) = (behaviour.clone(), asked.clone());
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (behaviour, asked) = (shared.clone(), count.clone());
                thread::spawn(move || converse(stream, &behaviour, &asked));
            }
        });
        Self { dir, behaviour, asked }
    }

    /// From now on it answers like this.
    pub fn now(&self, behaviour: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) {
        *self.behaviour.lock().expect("nobody panicked") = Box::new(behaviour);
    }

    /// How many requests it has had.
    pub fn asked(&self) -> u32 {
        *self.asked.lock().expect("nobody panicked")
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }
}

fn converse(mut stream: UnixStream, behaviour: &Mutex<Behaviour>, asked: &Mutex<u32>) {
    loop {
        let mut length = [0; 4];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        if stream.read_exact(&mut request).is_err() {
            return;
        }
        *asked.lock().expect("nobody panicked") += 1;
        let answer = (behaviour.lock().expect("nobody panicked"))(&request);
        match answer {
            Some(answer) if stream.write_all(&answer).is_ok() => {}
            _ => return,
        }
    }
}

/// The strings of a SIGN_REQUEST (RFC 9987): the key, and what is to be signed.
pub fn sign_request(request: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = request.strip_prefix(&[13])?;
    let (key, rest) = string(rest)?;
    let (data, _) = string(rest)?;
    Some((key, data))
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// Strings of SSH, one behind the other.
pub fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let length = |part: &[u8]| u32::try_from(part.len()).expect("it is short").to_be_bytes();
    parts.iter().flat_map(|part| [&length(part)[..], part].concat()).collect()
}

/// A whole message: a kind and what follows, behind its length.
pub fn message(kind: u8, rest: &[u8]) -> Vec<u8> {
    strings(&[&[&[kind], rest].concat()])
}

/// Who the process with a token is when nobody is configured, of a daemon of root's on a host without the package's users.
pub const TOKEN_USER: &str = "61953";

/// A token of SoftHSM, with its own folder.
#[derive(Debug)]
pub struct SoftToken {
    util: PathBuf,
    module: PathBuf,
    dir: TempDir,
}

/// Where Debian's package has the module.
const MODULES: [&str; 2] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];

impl SoftToken {
    /// The label of the token.
    pub const LABEL: &'static str = "tls";
    /// The right PIN.
    pub const PIN: &'static str = "1234";

    /// An empty token; `None` where the program is missing.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn start() -> Option<Self> {
        let util = tool("softhsm2-util")?;
        let module = MODULES.into_iter().map(PathBuf::from).find(|path| path.exists());
        let token = Self { util, module: module.expect("the package has it"), dir: TempDir::new("token") };
        let tokens = token.dir.path().join("tokens");
        fs::create_dir(&tokens).expect("the folder is ours");
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        fs::write(token.conf(), text).expect("the folder is ours");
        token.pin_file(Self::PIN);
        token.run(&[
            "--init-token",
            "--free",
            "--label",
            Self::LABEL,
            "--pin",
            Self::PIN,
            "--so-pin",
            "5678",
        ]);
        Some(token)
    }

    /// Puts the key of this identity on it, under this number of two hexadecimal digits.
    pub fn import(&self, identity: &Identity, id: &str) {
        let key = identity.key_file.to_str().expect("our paths are text");
        self.run(&["--import", key, "--token", Self::LABEL, "--label", id, "--id", id, "--pin", Self::PIN]);
    }

    /// Writes the file with the PIN.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn pin_file(&self, pin: &str) -> PathBuf {
        let path = self.dir.path().join("pin");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.as_mut().map(|file| writeln!(file, "{pin}"));
        written.expect("the folder is ours").expect("written");
        path
    }

    /// The keys of its `[[signer]]`, without the name.
    pub fn keys(&self) -> String {
        format!(
            "pkcs11 = \"{}\"\ntoken = \"{}\"\npin-file = \"{}\"\npaths = [\"{dir}\"]\n\
             environment = {{ SOFTHSM2_CONF = \"{}\" }}\n",
            self.module.display(),
            Self::LABEL,
            self.dir.path().join("pin").display(),
            self.conf().display(),
            dir = self.dir.path().display(),
        )
    }

    fn conf(&self) -> PathBuf {
        self.dir.path().join("softhsm2.conf")
    }

    fn run(&self, words: &[&str]) {
        let mut command = Command::new(&self.util);
        command.args(words).env("SOFTHSM2_CONF", self.conf()).stdin(Stdio::null());
        let output = Program::run(&mut command);
        assert!(output.status.success(), "{words:?}: {output:?}");
        self.give_away();
    }

    /// Of root's daemon, the process with the token is another user, whose the files have to be then.
    fn give_away(&self) {
        if rustix::process::geteuid().is_root() {
            let dir = self.dir.path();
            let mut chown = Command::new("chown");
            chown.args(["-R", TOKEN_USER]).args([&dir.join("tokens"), &self.conf()]);
            Program::run(&mut chown).ok();
            Program::run(Command::new("chown").arg(TOKEN_USER).arg(dir)).ok();
        }
    }
}

/// An operator's server profile for everybody with a certificate whose key is with this signer.
pub fn signed_profile(name: &str, certificate: &Path, signer: &str) -> String {
    format!(
        "[[profile]]\nname = \"{name}\"\nrole = \"server\"\nusers = [\"*\"]\n[[profile.identity]]\n\
         certificate = \"{}\"\nsigner = \"{signer}\"\n",
        certificate.display()
    )
}

/// An Ed25519 key in OpenSSH's own form, since ssh-add of 2023 takes no other; `None` for other keys, of which it does.
fn openssh_key(identity: &Identity, dir: &Path) -> Option<PathBuf> {
    let der = pem::parse(&identity.key_pem).expect("our own key").into_contents();
    // PKCS#8 as RFC 8410 section 7 has it: 16 bytes, and the seed.
    let seed = der.get(16..).filter(|seed| seed.len() == 32)?;
    let public = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes");
    let public = aws_lc_rs::signature::KeyPair::public_key(&public).as_ref().to_vec();
    let blob = strings(&[b"ssh-ed25519", &public]);
    let mut private = [7_u8; 8].to_vec();
    private.extend(strings(&[b"ssh-ed25519", &public, &[seed, &public].concat(), b"test"]));
    private.extend((1..=8_u8).take((8 - private.len() % 8) % 8));
    let mut bytes = b"openssh-key-v1\0".to_vec();
    bytes.extend(strings(&[b"none", b"none", b""]));
    bytes.extend([0, 0, 0, 1]);
    bytes.extend(strings(&[&blob, &private]));
    let path = dir.join("ed25519");
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let text = pem::encode_config(&pem::Pem::new("OPENSSH PRIVATE KEY", bytes), lines);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.as_mut().expect("a folder of the test").write_all(text.as_bytes()).expect("written");
    Some(path)
}

/// The kinds of keys that agents sign with as TLS wants it.
pub const AGENTS_KINDS: [KeyKind; 3] = [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519];
