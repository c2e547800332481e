//! What `tlsifyd check` says of a signer: whether it is there, and has the keys that are expected of it.
//!
//! Nothing is signed and nobody logs in: a check must not take a try of a PIN.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::connect;
use super::token::started;
use crate::config::{self, Config, IdentityKey, LogFormat, LogLevel, Signer, SignerPlace, TokenName};
use crate::io::agent::Stream;
use crate::io::agent::wire::{Answer, Opened, Request, blob_of_spki};
use crate::process::files;
use crate::process::logs::LogChoice;
use crate::process::sandbox::Settings;
use crate::tls::public_of_chain;

/// Some tokens take seconds to be initialised, and here somebody waits who asked for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries at an agent that has no time to accept.
const BUSY: Duration = Duration::from_millis(50);

/// What was seen.
pub(crate) struct Looked {
    /// One line: what it is, and what it has.
    pub(crate) line: String,
    /// What will not work.
    pub(crate) warnings: Vec<String>,
}

/// Looks at a signer, for ten seconds at most, as a daemon does whose processes of tokens are who `sandbox` says.
pub(crate) fn look(signer: &Signer, config: &Config, sandbox: &Settings) -> Looked {
    let what = match &signer.place {
        SignerPlace::Agent(path) => format!("signer \"{}\": agent at {}", signer.name, path.display()),
        SignerPlace::Token(token) => {
            let which = match &token.token {
                TokenName::Label(label) => format!("token \"{label}\""),
                TokenName::Slot(slot) => format!("slot {slot}"),
            };
            format!("signer \"{}\": {which} of {}", signer.name, token.module.display())
        }
    };
    let deadline = Instant::now() + PATIENCE;
    let keys = match keys(signer, deadline, sandbox) {
        Ok(keys) => keys,
        Err(why) => {
            let warning = format!("signer \"{}\": {why}", signer.name);
            return Looked { line: what, warnings: vec![warning] };
        }
    };
    let expected = expected(signer, config);
    let missing = expected.iter().filter(|(_, blob)| !keys.contains(blob));
    let warnings = missing.map(|(certificate, _)| {
        let where_else = match &signer.place {
            SignerPlace::Agent(_) => "add it with ssh-add",
            SignerPlace::Token(_) => "or does not show it without its PIN",
        };
        format!(
            "signer \"{}\": it does not have the key of {}, {where_else}",
            signer.name,
            certificate.display()
        )
    });
    let warnings: Vec<String> = warnings.collect();
    let has = expected.len() - warnings.len();
    Looked { line: format!("{what}, has {has} of {} keys", expected.len()), warnings }
}

/// The certificates whose keys it is to have, and these.
fn expected(signer: &Signer, config: &Config) -> BTreeMap<PathBuf, Vec<u8>> {
    let identities = config.profiles.iter().flat_map(|profile| &profile.identities);
    let theirs =
        identities.filter(|said| matches!(&said.key, IdentityKey::Signer(name) if *name == signer.name));
    let blobs = theirs.filter_map(|said| {
        let path = said.certificate.clone()?;
        // They were read a moment ago, by the loader, without complaint.
        let chain = files::read_public(&path, files::LARGEST_CHAIN).ok()?;
        let public = public_of_chain(&chain, None).ok()?;
        Some((path, blob_of_spki(&public.spki_der).ok()?))
    });
    blobs.collect()
}

fn keys(signer: &Signer, deadline: Instant, sandbox: &Settings) -> Result<Vec<Vec<u8>>, String> {
    // The process of a token lives as long as the channel to it.
    let (socket, _process) = match &signer.place {
        SignerPlace::Agent(path) => (agent(path, deadline)?, None),
        SignerPlace::Token(token) => {
            let token = config::Token { pin_file: None, ..token.clone() };
            let quiet = config::Log { level: LogLevel::Error, format: LogFormat::Human };
            let process =
                started(&signer.name, &token, &LogChoice::new(None, None, None, &quiet), Some(sandbox))?;
            (super::token::connection(&process.channel)?, Some(process))
        }
    };
    let request = Request::Identities.framed().map_err(|error| error.to_string())?;
    let mut stream = Stream::new(socket);
    let answer =
        stream.ask(&request, &[], deadline).map_err(|error| format!("it does not answer: {error}"))?;
    match Answer::parse(&answer) {
        Ok(Answer::Identities(listed)) => Ok(listed.into_iter().map(|key| key.blob.to_vec()).collect()),
        Ok(_) => Err(why(&mut stream, deadline)),
        Err(error) => Err(format!("it does not speak as an agent does: {error}")),
    }
}

fn agent(path: &std::path::Path, deadline: Instant) -> Result<OwnedFd, String> {
    loop {
        match connect::once(path) {
            (Opened::Here, Some(socket)) => return Ok(socket),
            (Opened::Away(why), _) => return Err(why),
            _ if Instant::now() >= deadline => return Err("it accepts no connection".to_owned()),
            _ => std::thread::sleep(BUSY),
        }
    }
}

/// A token's process says what the matter is.
fn why(stream: &mut Stream, deadline: Instant) -> String {
    use crate::io::agent::wire::{Extension, Reply};
    let asked = Request::Extension(Extension::LastFailure).framed().ok();
    let answer = asked.and_then(|request| stream.ask(&request, &[], deadline).ok());
    match answer.as_ref().map(|answer| Answer::parse(answer)) {
        Some(Ok(Answer::Extension(Reply::LastFailure(failure)))) if !failure.text.is_empty() => {
            failure.text.to_owned()
        }
        _ => "it does not say which keys it has".to_owned(),
    }
}
