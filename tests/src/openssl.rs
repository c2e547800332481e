//! OpenSSL's test client and server, which say much about a session and take every option that there is.

use std::path::Path;
use std::process::Command;

use crate::door::Typed;
use crate::pki::{Identity, pki};

/// `openssl s_client` to this port of 127.0.0.1, trusting the good CA. It goes on when it does not trust; its words
/// tell. Options that come later win.
pub fn s_client(openssl: &Path, port: u16, options: &[&str]) -> Typed {
    let mut command = Command::new(openssl);
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-CAfile"]).arg(&pki().ca.file);
    Typed::start(command.args(options))
}

/// `openssl s_server` for one connection, and its port of 127.0.0.1.
///
/// # Panics
/// When it does not listen in time.
pub fn s_server(openssl: &Path, identity: &Identity, options: &[&str]) -> (Typed, u16) {
    let mut command = Command::new(openssl);
    command.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-cert"]);
    command.arg(&identity.certificate_file).arg("-key").arg(&identity.key_file);
    let mut tool = Typed::start(command.args(options));
    let line = tool.program.line_with("ACCEPT 127.0.0.1:");
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says its port");
    (tool, port)
}
