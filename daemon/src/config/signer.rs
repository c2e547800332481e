//! `[[signer]]`: who else signs, with keys that this daemon never has. And where the key of an identity is.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::check::{beside, unique_name};
use super::error::{ConfigError, Lines};
use super::file;

/// How long one signature may take, unless said otherwise. A smart card takes some 300 ms for one of RSA; most peers give
/// up on a handshake after ten seconds.
pub const SIGNER_DEADLINE: Duration = Duration::from_secs(2);
/// Less is less than a process needs to be scheduled on a busy machine; more is more than any peer waits.
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);
/// The path of a Unix socket has room for so many bytes and a zero (`sun_path` in unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;
/// PKCS #11: a label has 32 bytes, padded with spaces.
const LONGEST_LABEL: usize = 32;

/// Where an identity's private key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKey {
    /// In this PEM file.
    File(PathBuf),
    /// With the keyholder, some day: `spki-sha256:…` of its public half. `ssh-add` brings it.
    Held(String),
    /// With the [`Signer`] of this name, which there is: the key of the identity's certificate.
    Signer(String),
}

/// `[[signer]]`: an agent or a token that holds private keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// As `signer = "NAME"` calls it: 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String,
    /// Where it is.
    pub place: SignerPlace,
    /// How long a signature may take, all waiting included: 100 ms to 30 s.
    pub deadline: Duration,
    /// The line of the signer's name, from 1.
    pub line: usize,
}

/// Where a signer is, and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerPlace {
    /// An ssh-agent (RFC 9987) at this Unix socket.
    Agent(PathBuf),
    /// A token behind a PKCS #11 module.
    Token(Token),
}

/// A token behind a PKCS #11 module, and what the process with the module may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The module, a shared library.
    pub module: PathBuf,
    /// Which of the module's tokens.
    pub token: TokenName,
    /// The file with the PIN of its user; `None`: nobody logs in.
    pub pin_file: Option<PathBuf>,
    /// Files and folders that the module may read and write, beside reading itself and what it is linked with.
    pub paths: Vec<PathBuf>,
    /// Whether the module may use the network: some tokens are boxes elsewhere.
    pub network: bool,
    /// What the module finds in its environment: many look there for their own configuration. The daemon's own is not passed on.
    pub environment: BTreeMap<String, String>,
}

/// How one of a module's tokens is found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TokenName {
    /// By its label: it stays the same wherever the token is plugged in.
    Label(String),
    /// By the number of its slot.
    Slot(u64),
}

pub(super) fn signers(said: Vec<file::Signer>, lines: &Lines<'_>) -> Result<Vec<Signer>, ConfigError> {
    let mut seen = HashMap::new();
    said.into_iter().map(|signer| self::signer(signer, &mut seen, lines)).collect()
}

fn signer(
    said: file::Signer,
    seen: &mut HashMap<String, usize>,
    lines: &Lines<'_>,
) -> Result<Signer, ConfigError> {
    let span = said.name.span();
    let name = unique_name("signer", said.name.clone(), seen, lines)?;
    let at = |span: &Range<usize>, why: &str| lines.at(span, format!("signer \"{name}\": {why}"));
    let deadline = match &said.deadline {
        None => SIGNER_DEADLINE,
        Some(deadline) if DEADLINES.contains(&deadline.get_ref().0) => deadline.get_ref().0,
        Some(deadline) => return Err(at(&deadline.span(), "deadline is not between 100ms and 30s")),
    };
    let place = match (said.agent.clone(), said.pkcs11.clone()) {
        (None, None) => return Err(at(&span, "neither \"agent\" nor \"pkcs11\" says where it is")),
        (Some(_), Some(module)) => {
            return Err(at(&module.span(), "both \"agent\" and \"pkcs11\", one is enough"));
        }
        (Some(agent), None) => {
            if let Some((key, span)) = first_of_a_token(&said) {
                return Err(at(&span, &format!("\"{key}\" belongs to \"pkcs11\", an agent has none")));
            }
            let span = agent.span();
            let path = beside(agent, lines)?;
            if path.as_os_str().len() > LONGEST_SOCKET_PATH {
                let why = format!("a socket's path has {LONGEST_SOCKET_PATH} bytes at most");
                return Err(at(&span, &why));
            }
            SignerPlace::Agent(path)
        }
        (None, Some(module)) => {
            let token = token_name(&said).map_err(|(span, why)| at(&span, &why))?;
            SignerPlace::Token(Token {
                module: beside(module, lines)?,
                token,
                pin_file: said.pin_file.map(|path| beside(path, lines)).transpose()?,
                paths: said.paths.into_iter().map(|path| beside(path, lines)).collect::<Result<_, _>>()?,
                network: said.network.is_some_and(Spanned::into_inner),
                environment: environment(said.environment).map_err(|(span, why)| at(&span, &why))?,
            })
        }
    };
    Ok(Signer { name, place, deadline, line: lines.line(&span) })
}

fn token_name(said: &file::Signer) -> Result<TokenName, (Range<usize>, String)> {
    match (&said.token, &said.slot) {
        (None, None) => {
            let why = "neither \"token\" (a label) nor \"slot\" (a number) says which token of the module";
            Err((said.name.span(), why.to_owned()))
        }
        (Some(_), Some(slot)) => Err((slot.span(), "both \"token\" and \"slot\", one is enough".to_owned())),
        (None, Some(slot)) => Ok(TokenName::Slot(*slot.get_ref())),
        (Some(token), None) => match token.get_ref() {
            label if (1..=LONGEST_LABEL).contains(&label.len()) => Ok(TokenName::Label(label.clone())),
            _ => Err((token.span(), format!("the label of a token has 1 to {LONGEST_LABEL} bytes"))),
        },
    }
}

/// Names as a shell takes them, and values that a C string can have.
fn environment(
    said: Option<Spanned<BTreeMap<String, String>>>,
) -> Result<BTreeMap<String, String>, (Range<usize>, String)> {
    let Some(said) = said else { return Ok(BTreeMap::new()) };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let wrong = said.get_ref().iter().find(|(name, value)| {
        name.is_empty()
            || !name.bytes().all(plain)
            || name.as_bytes()[0].is_ascii_digit()
            || value.contains('\0')
    });
    match wrong {
        Some((name, _)) => {
            Err((said.span(), format!("\"{name}\" is no variable, or has a value that none can have")))
        }
        None => Ok(said.into_inner()),
    }
}

/// The first key that only a token has.
fn first_of_a_token(said: &file::Signer) -> Option<(&'static str, Range<usize>)> {
    [
        ("token", said.token.as_ref().map(Spanned::span)),
        ("slot", said.slot.as_ref().map(Spanned::span)),
        ("pin-file", said.pin_file.as_ref().map(Spanned::span)),
        ("paths", said.paths.first().map(Spanned::span)),
        ("network", said.network.as_ref().map(Spanned::span)),
        ("environment", said.environment.as_ref().map(Spanned::span)),
    ]
    .into_iter()
    .find_map(|(key, span)| span.map(|span| (key, span)))
}

/// Where the key of an identity is: a file, a hash, or a signer.
///
/// # Errors
/// The place, if there is one, and what is wrong.
pub(super) fn identity_key(
    said: &file::Identity,
    signers: &[Signer],
    lines: &Lines<'_>,
) -> Result<IdentityKey, (Option<Range<usize>>, String)> {
    let wrong = |span: Range<usize>, why: &str| Err((Some(span), why.to_owned()));
    match (&said.key, &said.signer) {
        (None, None) => {
            let span = said.certificate.as_ref().map(Spanned::span);
            Err((span, "an identity has neither \"key\" nor \"signer\"".to_owned()))
        }
        (Some(_), Some(signer)) => wrong(signer.span(), "both \"key\" and \"signer\", one is enough"),
        (None, Some(signer)) => {
            let name = signer.get_ref();
            if !signers.iter().any(|known| known.name == *name) {
                return wrong(signer.span(), &format!("there is no [[signer]] named \"{name}\""));
            }
            if said.certificate.is_none() {
                let why = "\"signer\" needs \"certificate\", which says which of the signer's keys is meant";
                return wrong(signer.span(), why);
            }
            Ok(IdentityKey::Signer(name.clone()))
        }
        (Some(key), None) if is_hash(key.get_ref()) => {
            if said.certificate.is_none() {
                let why = "a hash is not yet a public key: it needs \"certificate\"";
                return wrong(key.span(), why);
            }
            Ok(IdentityKey::Held(key.get_ref().to_string_lossy().into_owned()))
        }
        (Some(key), None) => beside(key.clone(), lines)
            .map(IdentityKey::File)
            .map_err(|error| (Some(key.span()), error.cause().to_owned())),
    }
}

fn is_hash(key: &Path) -> bool {
    key.as_os_str().as_encoded_bytes().starts_with(b"spki-sha256:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Identity};

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/tlsifyd/tlsifyd.toml")).map_err(|error| error.to_string())
    }

    fn signer(keys: &str) -> Result<Signer, String> {
        parse(&format!("[[signer]]\nname = \"s\"\n{keys}\n")).map(|config| config.signers[0].clone())
    }

    fn identity(keys: &str) -> Result<Identity, String> {
        let text = "[[signer]]\nname = \"s\"\nagent = \"a.sock\"\n[[profile]]\nname = \"p\"\nrole = \"server\"\n\
                    users = [\"*\"]\n[[profile.identity]]\n";
        parse(&format!("{text}{keys}\n")).map(|config| config.profiles[0].identities[0].clone())
    }

    #[test]
    fn an_agent_is_a_path_beside_the_file_and_a_deadline() {
        let said = signer("agent = \"run/a.sock\"\ndeadline = \"500ms\"").unwrap();
        assert_eq!(said.place, SignerPlace::Agent(PathBuf::from("/etc/tlsifyd/run/a.sock")));
        assert_eq!((said.deadline, said.line), (Duration::from_millis(500), 2));
        assert_eq!(signer("agent = \"/a\"").unwrap().deadline, SIGNER_DEADLINE);
    }

    #[test]
    fn a_token_is_found_by_its_label_or_its_slot() {
        let said =
            signer("pkcs11 = \"/m.so\"\ntoken = \"tls\"\npin-file = \"pin\"\npaths = [\"/var/t\"]").unwrap();
        let token = Token {
            module: PathBuf::from("/m.so"),
            token: TokenName::Label("tls".to_owned()),
            pin_file: Some(PathBuf::from("/etc/tlsifyd/pin")),
            paths: vec![PathBuf::from("/var/t")],
            network: false,
            environment: BTreeMap::new(),
        };
        assert_eq!(said.place, SignerPlace::Token(token));
        let said = signer("pkcs11 = \"/m.so\"\nslot = 3\nnetwork = true").unwrap();
        assert!(matches!(
            said.place,
            SignerPlace::Token(Token { token: TokenName::Slot(3), network: true, pin_file: None, .. })
        ));
        let said = signer("pkcs11 = \"/m.so\"\nslot = 3\nenvironment = { A_1 = \"x\" }").unwrap();
        let SignerPlace::Token(token) = said.place else { panic!("a token") };
        assert_eq!(token.environment.get("A_1").map(String::as_str), Some("x"));
    }

    #[test]
    fn a_signer_that_makes_no_sense_is_refused_with_its_line() {
        let long = format!("agent = \"/{}\"", "x".repeat(LONGEST_SOCKET_PATH));
        let label = format!("pkcs11 = \"/m.so\"\ntoken = \"{}\"", "x".repeat(LONGEST_LABEL + 1));
        for (keys, line, cause) in [
            ("", 2, "neither \"agent\" nor \"pkcs11\""),
            ("agent = \"a\"\npkcs11 = \"b\"", 4, "both \"agent\" and \"pkcs11\""),
            ("agent = \"a\"\ntoken = \"b\"", 4, "\"token\" belongs to \"pkcs11\""),
            ("agent = \"a\"\nnetwork = false", 4, "\"network\" belongs to \"pkcs11\""),
            ("agent = \"\"", 3, "a path is empty"),
            (&long, 3, "107 bytes at most"),
            ("pkcs11 = \"a\"", 2, "neither \"token\" (a label) nor \"slot\""),
            ("pkcs11 = \"a\"\ntoken = \"b\"\nslot = 1", 5, "both \"token\" and \"slot\""),
            ("pkcs11 = \"a\"\ntoken = \"\"", 4, "1 to 32 bytes"),
            (&label, 4, "1 to 32 bytes"),
            ("pkcs11 = \"a\"\nslot = 1\nenvironment = { \"A=B\" = \"\" }", 5, "\"A=B\" is no variable"),
            ("pkcs11 = \"a\"\nslot = 1\nenvironment = { A = \"\\u0000\" }", 5, "\"A\" is no variable"),
            ("agent = \"a\"\ndeadline = \"99ms\"", 4, "not between 100ms and 30s"),
            ("agent = \"a\"\ndeadline = \"31s\"", 4, "not between 100ms and 30s"),
            ("agent = \"a\"\n[[signer]]\nname = \"s\"\nagent = \"b\"", 5, "is there already, on line 2"),
        ] {
            let error = signer(keys).expect_err(keys);
            assert!(error.contains(&format!("toml:{line}: ")) && error.contains(cause), "{keys}: {error}");
        }
    }

    #[test]
    fn an_identitys_key_is_one_of_three() {
        let key = |keys: &str| identity(keys).map(|identity| identity.key);
        let file = PathBuf::from("/etc/tlsifyd/k");
        assert_eq!(key("certificate = \"c\"\nkey = \"k\""), Ok(IdentityKey::File(file)));
        let hash = "spki-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let held = key(&format!("certificate = \"c\"\nkey = \"{hash}\""));
        assert_eq!(held, Ok(IdentityKey::Held(hash.to_owned())));
        assert_eq!(key("certificate = \"c\"\nsigner = \"s\""), Ok(IdentityKey::Signer("s".to_owned())));
        for (keys, line, cause) in [
            ("certificate = \"c\"", 9, "neither \"key\" nor \"signer\""),
            ("names = [\"a.example\"]", 5, "neither \"key\" nor \"signer\""),
            ("certificate = \"c\"\nkey = \"k\"\nsigner = \"s\"", 11, "both \"key\" and \"signer\""),
            ("certificate = \"c\"\nsigner = \"t\"", 10, "there is no [[signer]] named \"t\""),
            ("signer = \"s\"", 9, "needs \"certificate\""),
            ("key = \"spki-sha256:x\"", 9, "needs \"certificate\""),
        ] {
            let error = key(keys).expect_err(keys);
            assert!(error.contains(&format!("toml:{line}: ")) && error.contains(cause), "{keys}: {error}");
        }
    }
}
