//! The one place that makes certificates: good by default, and wrong in exactly the way that a case says.
//!
//! ```text
//!  leaf("shop.example").ended(DAY).by(&authority) ─▶ Certificate { der, key, subject }
//!                                                        └─ .by(&that) signs the next one, whatever it is
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;

use super::der::{
    bit_string, boolean, element, explicit, integer, named_bits, oid, sequence, time, unsigned,
};
use super::keys::{Hash, Key, Kind};

pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// id-kp-serverAuth, id-kp-clientAuth and anyExtendedKeyUsage (RFC 5280 section 4.2.1.12).
pub(crate) const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub(crate) const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
pub(crate) const ANY_PURPOSE: &str = "2.5.29.37.0";

/// Bits of keyUsage (RFC 5280 section 4.2.1.3).
pub(crate) const DIGITAL_SIGNATURE: u16 = 1 << 15;
pub(crate) const KEY_ENCIPHERMENT: u16 = 1 << 13;
pub(crate) const KEY_CERT_SIGN: u16 = 1 << 10;
pub(crate) const CRL_SIGN: u16 = 1 << 9;

/// A certificate that was issued, with the key that it is about.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    pub(crate) key: Arc<Key>,
    /// Its subject, a Name in DER.
    pub(crate) subject: Vec<u8>,
    /// Its serial number, an INTEGER in DER.
    pub(crate) serial: Vec<u8>,
}

/// A certificate that is to be issued.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    version: u8,
    subject: Vec<u8>,
    from: i64,
    until: i64,
    names: Option<Vec<Vec<u8>>>,
    authority: Option<(bool, Option<u8>)>,
    usage: Option<u16>,
    purposes: Option<Vec<&'static str>>,
    extensions: Vec<Vec<u8>>,
    hash: Hash,
    kind: Kind,
    key: Option<Arc<Key>>,
}

/// A server's certificate for this DNS name, good since yesterday and for 30 days.
pub(crate) fn leaf(name: &str) -> Draft {
    nameless(name).dns(name)
}

/// The same with a common name only.
pub(crate) fn nameless(common_name: &str) -> Draft {
    Draft {
        version: 3,
        subject: subject(common_name.as_bytes()),
        from: now() - DAY,
        until: now() + 30 * DAY,
        names: None,
        authority: None,
        usage: Some(DIGITAL_SIGNATURE),
        purposes: Some(vec![SERVER_AUTH]),
        extensions: Vec::new(),
        hash: Hash::Fitting,
        kind: Kind::P256,
        key: None,
    }
}

/// An authority of this name: a root when it signs itself, an intermediate when another does.
pub(crate) fn authority(name: &str) -> Draft {
    let plain = nameless(name);
    Draft { authority: Some((true, None)), usage: Some(KEY_CERT_SIGN | CRL_SIGN), purposes: None, ..plain }
}

/// An authority's Name, or a server's.
pub(crate) fn subject(common_name: &[u8]) -> Vec<u8> {
    let attribute = sequence(&[oid("2.5.4.3"), element(0x0c, common_name)]);
    sequence(&[element(0x31, attribute)])
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    i64::try_from(since.as_secs()).expect("the clock is before the end of time")
}

/// The words of a case, one wrong or special thing each.
impl Draft {
    /// Version 1 has no extensions.
    pub(crate) fn version(self, version: u8) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn subject(self, common_name: &[u8]) -> Self {
        Self { subject: subject(common_name), ..self }
    }

    /// An empty Name.
    pub(crate) fn without_subject(self) -> Self {
        Self { subject: sequence(&[]), ..self }
    }

    pub(crate) fn valid(self, from: i64, until: i64) -> Self {
        Self { from, until, ..self }
    }

    /// It ended so long ago.
    pub(crate) fn ended(self, ago: i64) -> Self {
        self.valid(now() - ago - 30 * DAY, now() - ago)
    }

    /// It begins only then.
    pub(crate) fn begins(self, ahead: i64) -> Self {
        self.valid(now() + ahead, now() + ahead + 30 * DAY)
    }

    pub(crate) fn dns(self, name: impl AsRef<[u8]>) -> Self {
        self.name(2, name.as_ref())
    }

    pub(crate) fn address(self, bytes: &[u8]) -> Self {
        self.name(7, bytes)
    }

    pub(crate) fn uri(self, uri: &str) -> Self {
        self.name(6, uri.as_bytes())
    }

    /// An SRVName (RFC 4985 section 2).
    pub(crate) fn service(self, name: &str) -> Self {
        let value = explicit(0, element(0x16, name));
        self.name(0, &[oid("1.3.6.1.5.5.7.8.7"), value].concat())
    }

    /// A GeneralName of any kind (RFC 5280 section 4.2.1.6).
    pub(crate) fn name(mut self, kind: u8, content: &[u8]) -> Self {
        // otherName is constructed, the others here are not.
        let tag = if kind == 0 { 0xa0 } else { 0x80 | kind };
        self.names.get_or_insert_default().push(element(tag, content));
        self
    }

    /// No subjectAltName.
    pub(crate) fn without_names(self) -> Self {
        Self { names: None, ..self }
    }

    /// A subjectAltName that lists nothing.
    pub(crate) fn with_empty_names(self) -> Self {
        Self { names: Some(Vec::new()), ..self }
    }

    /// basicConstraints: CA or not, and how many intermediates may follow.
    pub(crate) fn constrained(self, ca: bool, path: Option<u8>) -> Self {
        Self { authority: Some((ca, path)), ..self }
    }

    pub(crate) fn unconstrained(self) -> Self {
        Self { authority: None, ..self }
    }

    pub(crate) fn usage(self, usage: impl Into<Option<u16>>) -> Self {
        Self { usage: usage.into(), ..self }
    }

    /// extKeyUsage; without any, there is none.
    pub(crate) fn purposes(self, purposes: &[&'static str]) -> Self {
        Self { purposes: (!purposes.is_empty()).then(|| purposes.to_vec()), ..self }
    }

    /// nameConstraints (RFC 5280 section 4.2.1.10), each a GeneralName's kind and content.
    pub(crate) fn names_within(self, permitted: &[(u8, &[u8])], excluded: &[(u8, &[u8])]) -> Self {
        let subtrees = |number: u8, names: &[(u8, &[u8])]| {
            let trees = names.iter().map(|(kind, content)| sequence(&[element(0x80 | kind, content)]));
            let trees = trees.collect::<Vec<_>>().concat();
            if trees.is_empty() { Vec::new() } else { explicit(number, trees) }
        };
        self.extension("2.5.29.30", true, &sequence(&[subtrees(0, permitted), subtrees(1, excluded)]))
    }

    /// One more extension of this content.
    pub(crate) fn extension(mut self, identifier: &str, critical: bool, content: &[u8]) -> Self {
        self.extensions.push(extension(identifier, critical, content));
        self
    }

    pub(crate) fn key(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The key of another one.
    pub(crate) fn key_of(self, other: &Certificate) -> Self {
        Self { key: Some(Arc::clone(&other.key)), ..self }
    }

    /// Signed with an old hash: for an issuer whose key is in a file.
    pub(crate) fn hash(self, hash: Hash) -> Self {
        Self { hash, ..self }
    }

    /// Issued by this one, which need not be an authority.
    pub(crate) fn by(self, issuer: &Certificate) -> Certificate {
        self.issue(&issuer.key.clone(), &issuer.subject)
    }

    /// Issued by itself.
    pub(crate) fn self_signed(mut self) -> Certificate {
        let key = self.key.take().unwrap_or_else(|| Key::new(self.kind));
        self.key = Some(Arc::clone(&key));
        let subject = self.subject.clone();
        self.issue(&key, &subject)
    }

    fn issue(self, issuer: &Key, issuer_name: &[u8]) -> Certificate {
        static SERIAL: AtomicU64 = AtomicU64::new(0x1000);
        let serial = unsigned(&SERIAL.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let key = self.key.clone().unwrap_or_else(|| Key::new(self.kind));
        let algorithm = issuer.algorithm(self.hash);
        let extensions = match self.version {
            3 => explicit(3, sequence(&self.all_extensions(&key, issuer))),
            _ => Vec::new(),
        };
        let body = sequence(&[
            // Version 1 is the default, which DER leaves out.
            if self.version == 1 { Vec::new() } else { explicit(0, integer(self.version - 1)) },
            serial.clone(),
            algorithm.clone(),
            issuer_name.to_vec(),
            sequence(&[time(self.from), time(self.until)]),
            self.subject.clone(),
            key.spki().to_vec(),
            extensions,
        ]);
        let signature = issuer.sign(self.hash, &body);
        let der = sequence(&[body, algorithm, bit_string(&signature)]);
        Certificate { der, key, subject: self.subject, serial }
    }

    fn all_extensions(&self, key: &Key, issuer: &Key) -> Vec<Vec<u8>> {
        let mut all = vec![
            extension("2.5.29.14", false, &element(4, key_identifier(key))),
            extension("2.5.29.35", false, &sequence(&[element(0x80, key_identifier(issuer))])),
        ];
        if let Some(usage) = self.usage {
            all.push(extension("2.5.29.15", true, &named_bits(usage)));
        }
        if let Some((ca, path)) = self.authority {
            // FALSE is the default, which DER leaves out.
            let ca = if ca { boolean(true) } else { Vec::new() };
            let content = sequence(&[ca, path.map(integer).unwrap_or_default()]);
            all.push(extension("2.5.29.19", true, &content));
        }
        if let Some(names) = &self.names {
            all.push(extension("2.5.29.17", false, &sequence(names)));
        }
        if let Some(purposes) = &self.purposes {
            let purposes: Vec<Vec<u8>> = purposes.iter().map(|purpose| oid(purpose)).collect();
            all.push(extension("2.5.29.37", false, &sequence(&purposes)));
        }
        all.extend(self.extensions.iter().cloned());
        all
    }
}

fn extension(identifier: &str, critical: bool, content: &[u8]) -> Vec<u8> {
    let critical = if critical { boolean(true) } else { Vec::new() };
    sequence(&[oid(identifier), critical, element(4, content)])
}

/// Any number that the key always gives (RFC 7093 section 2, method 1).
fn key_identifier(key: &Key) -> Vec<u8> {
    sha256(key.spki())[..20].to_vec()
}

/// Certificates in PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    text("CERTIFICATE", der)
}

/// A section of PEM.
pub(crate) fn text(label: &str, der: &[u8]) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), lines)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}
