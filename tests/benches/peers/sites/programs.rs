//! Servers and proxies of others, each tuned as whoever runs it for speed would: one worker, no logs, no limits that the
//! load would meet, and TLS as all sites have it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tlsifyd_tests::{KeyKind, TempDir, pki, tools};

use super::process::Process;
use super::{Group, Kind, SiteOptions, Tls};

/// Descriptors of a proxy: two for each of 8,000 sessions, and room.
const DESCRIPTORS: u32 = 19_900;
/// Files that nginx gives to downloads, in bytes.
const FILES: [u64; 2] = [64 * 1024 * 1024, 4 * 1024 * 1024];

/// A program and how it is told what to do.
pub(super) struct Front {
    name: &'static str,
    binary: &'static str,
    package: &'static str,
    kind: Kind,
    /// Its configuration.
    config: fn(&Asked<'_>) -> String,
    arguments: fn(&Path) -> Vec<String>,
}

/// What a configuration is made of.
struct Asked<'a> {
    options: &'a SiteOptions,
    listen: SocketAddr,
    back: SocketAddr,
    dir: &'a Path,
    certificate: &'a str,
    key: &'a str,
    /// Both in one file.
    both: &'a str,
}

impl Asked<'_> {
    fn version(&self, v12: &'static str, v13: &'static str) -> &'static str {
        match self.options.version {
            Tls::V12 => v12,
            Tls::V13 => v13,
        }
    }
}

const SUITE_12: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
const SUITE_13: &str = "TLS_AES_128_GCM_SHA256";
/// With TLS 1.2 the certificate's curve has to be among them (RFC 8422 section 5.1).
const GROUPS: &str = "X25519:P-256";

/// What the programs' own switches leave on: with tickets off, OpenSSL still sends two that name a session of a cache in
/// each full handshake of TLS 1.3, and hitch has no switch at all.
const NO_TICKETS: &str = "openssl_conf = main\n[main]\nssl_conf = ssl\n[ssl]\nsystem_default = site\n\
                          [site]\nNumTickets = 0\nOptions = -SessionTicket\n";

const FRONTS: [Front; 5] = [
    Front {
        name: "nginx https",
        binary: "nginx",
        package: "nginx-light",
        kind: Kind::Itself,
        config: nginx_https,
        arguments: nginx_arguments,
    },
    Front {
        name: "nginx stream",
        binary: "nginx",
        package: "libnginx-mod-stream",
        kind: Kind::Proxy,
        config: nginx_stream,
        arguments: nginx_arguments,
    },
    Front {
        name: "haproxy",
        binary: "haproxy",
        package: "haproxy",
        kind: Kind::Proxy,
        config: haproxy,
        arguments: |file| vec!["-db".to_owned(), "-f".to_owned(), file.display().to_string()],
    },
    Front {
        name: "hitch",
        binary: "hitch",
        package: "hitch",
        kind: Kind::Proxy,
        config: hitch,
        arguments: |file| vec![format!("--config={}", file.display())],
    },
    Front {
        name: "stunnel",
        binary: "stunnel4",
        package: "stunnel4",
        kind: Kind::Proxy,
        config: stunnel,
        arguments: |file| vec![file.display().to_string()],
    },
];

/// The program of this site.
pub(super) fn program(name: &str) -> Option<&'static Front> {
    FRONTS.iter().find(|front| front.name == name)
}

/// A program that is there.
pub(super) struct Ready<'a> {
    front: &'static Front,
    binary: PathBuf,
    options: &'a SiteOptions,
}

impl Front {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Finds the program.
    ///
    /// # Errors
    /// It is not there, or its library does not know the group.
    pub(super) fn prepare<'a>(&'static self, options: &'a SiteOptions) -> Result<Ready<'a>, String> {
        let binary = find(self.binary);
        let binary =
            binary.ok_or_else(|| format!("{} is not here (Debian: {})", self.binary, self.package))?;
        if options.group == Group::Hybrid && !openssl_is_hybrid() {
            return Err("its OpenSSL has no X25519MLKEM768".to_owned());
        }
        Ok(Ready { front: self, binary, options })
    }
}

impl Ready<'_> {
    /// Starts it, with this back end.
    ///
    /// # Errors
    /// As [`Process::front`].
    pub(super) fn start(
        self,
        back: Option<SocketAddr>,
        core: Option<usize>,
    ) -> Result<(Process, SocketAddr), String> {
        let dir = TempDir::new("site");
        let identity = pki().server(KeyKind::EcdsaP256);
        let both = dir.path().join("both.pem");
        fs::write(&both, format!("{}{}", identity.certificate_pem, identity.key_pem))
            .expect("the temporary folder can be written");
        let listen = free_address();
        let asked = Asked {
            options: self.options,
            listen,
            back: back.unwrap_or(listen),
            dir: dir.path(),
            certificate: &identity.certificate_file.display().to_string(),
            key: &identity.key_file.display().to_string(),
            both: &both.display().to_string(),
        };
        let file = dir.path().join("config");
        fs::write(&file, (self.front.config)(&asked)).expect("the temporary folder can be written");
        let mut command = Command::new(&self.binary);
        command.args((self.front.arguments)(&file)).current_dir(dir.path());
        if !self.options.tickets {
            let library = dir.path().join("openssl");
            fs::write(&library, NO_TICKETS).expect("the temporary folder can be written");
            command.env("OPENSSL_CONF", library);
        }
        Process::front(command, listen, dir, core).map(|process| (process, listen))
    }
}

fn nginx_arguments(file: &Path) -> Vec<String> {
    let prefix = file.parent().map(|dir| dir.display().to_string()).unwrap_or_default();
    ["-c", &file.display().to_string(), "-p", &prefix, "-e", "stderr"].map(str::to_owned).to_vec()
}

/// In front of `http` or `stream`.
fn nginx(asked: &Asked<'_>) -> String {
    format!(
        "daemon off;\nworker_processes 1;\nworker_rlimit_nofile {DESCRIPTORS};\n{}pid {}/pid;\n\
         error_log stderr crit;\nevents {{ worker_connections {DESCRIPTORS}; multi_accept on; }}\n",
        // Without it the worker would be a user that cannot read our folder.
        if is_root() { "user root;\n" } else { "" },
        asked.dir.display()
    )
}

fn nginx_tls(asked: &Asked<'_>) -> String {
    format!(
        "ssl_certificate {};\nssl_certificate_key {};\nssl_protocols {};\nssl_ciphers {SUITE_12};\n\
         ssl_conf_command Ciphersuites {SUITE_13};\nssl_ecdh_curve {};\nssl_session_cache off;\nssl_session_tickets {};\n",
        asked.certificate,
        asked.key,
        asked.version("TLSv1.2", "TLSv1.3"),
        group(asked.options),
        if asked.options.tickets { "on" } else { "off" }
    )
}

fn nginx_https(asked: &Asked<'_>) -> String {
    let bytes = asked.dir.join("bytes");
    fs::create_dir(&bytes).expect("the temporary folder can be written");
    for count in FILES {
        let file =
            fs::File::create(bytes.join(count.to_string())).expect("the temporary folder can be written");
        // Holes are read as zeros, from memory like any other file that was read before.
        file.set_len(count).expect("the temporary folder can be written");
    }
    let dir = asked.dir.display();
    format!(
        "{}http {{\naccess_log off;\nkeepalive_timeout 3600s;\nkeepalive_requests 1000000000;\n\
         client_max_body_size 0;\ntcp_nodelay on;\nopen_file_cache max=16;\n\
         client_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\nfastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi;\nscgi_temp_path {dir}/scgi;\n\
         server {{\nlisten {} ssl backlog=4096;\n{}\
         location = / {{ return 200 \"hello\"; }}\nlocation /bytes/ {{ root {dir}; }}\n}}\n}}\n",
        nginx(asked),
        asked.listen,
        nginx_tls(asked)
    )
}

fn nginx_stream(asked: &Asked<'_>) -> String {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let load = if Path::new(module).exists() { format!("load_module {module};\n") } else { String::new() };
    format!(
        "{load}{}stream {{\nserver {{\nlisten {} ssl backlog=4096;\n{}tcp_nodelay on;\nproxy_timeout 3600s;\n\
         proxy_pass {};\n}}\n}}\n",
        nginx(asked),
        asked.listen,
        nginx_tls(asked),
        asked.back
    )
}

fn haproxy(asked: &Asked<'_>) -> String {
    let version = asked.version("TLSv1.2", "TLSv1.3");
    format!(
        "global\n maxconn {}\n nbthread 1\n ssl-default-bind-ciphersuites {SUITE_13}\n\
         \x20ssl-default-bind-ciphers {SUITE_12}\n ssl-default-bind-curves {}\n tune.ssl.cachesize 0\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n\
         frontend front\n bind {} ssl crt {} ssl-min-ver {version} ssl-max-ver {version} backlog 4096{}\n\
         \x20default_backend back\nbackend back\n server back {}\n",
        DESCRIPTORS / 2 - 200,
        group(asked.options),
        asked.listen,
        asked.both,
        if asked.options.tickets { "" } else { " no-tls-tickets" },
        asked.back
    )
}

fn hitch(asked: &Asked<'_>) -> String {
    // Its workers refuse to be root; the certificate was read before.
    let user = if is_root() { "user = \"nobody\"\ngroup = \"nogroup\"\n" } else { "" };
    format!(
        "frontend = \"[{}]:{}\"\nbackend = \"[{}]:{}\"\npem-file = \"{}\"\ntls-protos = {}\nciphers = \"{SUITE_12}\"\n\
         ciphersuites = \"{SUITE_13}\"\necdh-curve = \"{}\"\nworkers = 1\nbacklog = 4096\nquiet = on\nlog-level = 1\n\
         syslog = off\ndaemon = off\n{user}",
        asked.listen.ip(),
        asked.listen.port(),
        asked.back.ip(),
        asked.back.port(),
        asked.both,
        asked.version("TLSv1.2", "TLSv1.3"),
        group(asked.options)
    )
}

fn stunnel(asked: &Asked<'_>) -> String {
    format!(
        "foreground = quiet\ndebug = emerg\nsyslog = no\npid =\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n\
         [site]\naccept = {}\nconnect = {}\ncert = {}\nkey = {}\nsslVersion = {}\nciphers = {SUITE_12}\n\
         ciphersuites = {SUITE_13}\ncurves = {}\nTIMEOUTidle = 3600\n{}",
        asked.listen,
        asked.back,
        asked.certificate,
        asked.key,
        asked.version("TLSv1.2", "TLSv1.3"),
        group(asked.options),
        if asked.options.tickets { "" } else { "sessionResume = no\n" }
    )
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn group(options: &SiteOptions) -> &'static str {
    match options.group {
        Group::X25519 => GROUPS,
        Group::Hybrid => "X25519MLKEM768",
    }
}

/// Servers lie where only the administrator's PATH looks.
fn find(name: &str) -> Option<PathBuf> {
    tools::find(name).or_else(|| Some(Path::new("/usr/sbin").join(name)).filter(|file| file.is_file()))
}

/// OpenSSL has X25519MLKEM768 from 3.5 on.
fn openssl_is_hybrid() -> bool {
    let output = find("openssl").and_then(|openssl| Command::new(openssl).arg("version").output().ok());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut numbers = text.split([' ', '.']).skip(1).map_while(|word| word.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(3), Some(5))
}

/// Free a moment ago: the programs cannot say which port they chose.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it is bound")
}
