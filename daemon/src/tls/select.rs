//! Which of a server's identities a client gets, by its server_name (RFC 6066 section 3).
//!
//! Names are looked up in a hash map, so that a profile may hold thousands of them: once for the exact name,
//! once for the pattern with the left-most label replaced (RFC 9525 section 6.3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;
use super::signing::{can_sign, restrict};
use super::witness::{Verdict, Witness};

/// A server's identities by name.
#[derive(Debug)]
pub(super) struct Table {
    identities: Vec<Identity>,
    exact: HashMap<Box<str>, Vec<u32>>,
    /// By the part after `*.`.
    wildcard: HashMap<Box<str>, Vec<u32>>,
    /// The first identity, and others with the same names (another kind of key, say).
    default: Vec<u32>,
    unknown_name_first: bool,
    /// All are raw public keys; its owner has checked that none is, otherwise.
    raw: bool,
    schemes: Option<Arc<[SignatureScheme]>>,
}

/// The resolver of one session.
#[derive(Debug)]
pub(super) struct SessionResolver {
    pub(super) table: Arc<Table>,
    pub(super) witness: Arc<Witness>,
}

impl Table {
    /// `identities` is not empty: its owner has checked that.
    pub(super) fn new(
        identities: Vec<Identity>,
        unknown_name_first: bool,
        schemes: Option<Arc<[SignatureScheme]>>,
    ) -> Self {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (index, identity) in (0..).zip(&identities) {
            for name in identity.names() {
                let (map, key): (&mut HashMap<Box<str>, Vec<u32>>, &str) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut wildcard, suffix),
                    None => (&mut exact, name),
                };
                map.entry(key.into()).or_default().push(index);
            }
        }
        let default = (0..)
            .zip(&identities)
            .filter(|(index, identity)| *index == 0 || identity.names() == identities[0].names())
            .map(|(index, _)| index)
            .collect();
        let raw = identities.iter().all(Identity::is_raw);
        // A raw public key names nobody, so that none is the wrong one for a name, unless its owner gave it names.
        let unknown_name_first = unknown_name_first || (raw && exact.is_empty() && wildcard.is_empty());
        Self { identities, exact, wildcard, default, unknown_name_first, raw, schemes }
    }

    pub(super) fn identities(&self) -> &[Identity] {
        &self.identities
    }

    pub(super) fn unknown_name_first(&self) -> bool {
        self.unknown_name_first
    }

    /// The identity for a name: exact before wildcard; among several, the first whose key can sign what the
    /// client verifies, else the first at all, so that the client learns what is wrong. `None`: unknown name.
    fn choose(&self, name: Option<&str>, offered: &[SignatureScheme]) -> Option<&Identity> {
        let Some(name) = name else {
            return self.first_usable(self.default.iter(), offered);
        };
        let lowered;
        let mut name = name.strip_suffix('.').unwrap_or(name);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lowered = name.to_ascii_lowercase();
            name = &lowered;
        }
        let exact = self.exact.get(name).into_iter().flatten();
        let wildcard = name.split_once('.').and_then(|(_, suffix)| self.wildcard.get(suffix));
        let fallback = if self.unknown_name_first { &self.default[..] } else { &[] };
        let known = exact.chain(wildcard.into_iter().flatten());
        self.first_usable(known, offered).or_else(|| self.first_usable(fallback.iter(), offered))
    }

    fn first_usable<'a>(
        &self,
        candidates: impl Iterator<Item = &'a u32> + Clone,
        offered: &[SignatureScheme],
    ) -> Option<&Identity> {
        let mut all = candidates.map(|index| &self.identities[*index as usize]);
        let first = all.clone().next()?;
        let fits =
            |identity: &&Identity| can_sign(&*identity.certified().key, offered, self.schemes.as_deref());
        Some(all.find(fits).unwrap_or(first))
    }
}

impl ResolvesServerCert for SessionResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        self.witness.seen().sni = name.map(str::to_ascii_lowercase);
        let Some(identity) = self.table.choose(name, hello.signature_schemes()) else {
            self.witness.refuse(Verdict::UnknownServerName(name.unwrap_or_default().to_owned()));
            return None;
        };
        self.witness.seen().certificate_until = (!identity.is_raw()).then(|| identity.not_after().as_secs());
        Some(restrict(identity.certified(), self.table.schemes.clone(), Some(self.witness.clone())))
    }

    fn only_raw_public_keys(&self) -> bool {
        self.table.raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair::Authority;

    const ALL: &[SignatureScheme] =
        &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519, SignatureScheme::RSA_PSS_SHA256];

    fn table(names: &[&[&str]], unknown_name_first: bool) -> Table {
        let ca = Authority::new("test");
        let identity = |names: &&[&str]| ca.identity(&["unused.example"]).with_names(owned(names));
        Table::new(names.iter().map(identity).collect(), unknown_name_first, None)
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn chosen<'a>(table: &'a Table, name: &str) -> Option<&'a str> {
        table.choose(Some(name), ALL).map(|identity| identity.names()[0].as_str())
    }

    #[test]
    fn exact_comes_before_wildcard_whatever_the_order() {
        let table = table(&[&["*.shop.example"], &["www.shop.example"]], false);
        assert_eq!(chosen(&table, "www.shop.example"), Some("www.shop.example"));
        assert_eq!(chosen(&table, "api.shop.example"), Some("*.shop.example"));
    }

    #[test]
    fn a_wildcard_is_one_label() {
        let table = table(&[&["*.shop.example"]], false);
        assert_eq!(chosen(&table, "a.b.shop.example"), None);
        assert_eq!(chosen(&table, "shop.example"), None);
    }

    #[test]
    fn letter_case_and_a_trailing_dot_do_not_matter() {
        let table = table(&[&["Shop.Example."]], false);
        assert_eq!(chosen(&table, "sHOP.example."), Some("shop.example"));
    }

    #[test]
    fn an_unknown_name_is_refused_or_gets_the_first() {
        assert_eq!(chosen(&table(&[&["a.example"], &["b.example"]], false), "c.example"), None);
        assert_eq!(chosen(&table(&[&["a.example"], &["b.example"]], true), "c.example"), Some("a.example"));
    }

    #[test]
    fn without_a_name_the_first_identity_answers() {
        let table = table(&[&["a.example"], &["b.example"]], false);
        assert_eq!(table.choose(None, ALL).unwrap().names(), ["a.example"]);
    }

    #[test]
    fn the_clients_schemes_choose_among_keys_of_one_name() {
        let ca = Authority::new("test");
        let identities = vec![ca.identity(&["a.example"]), ca.ed25519(&["a.example"])];
        let spki: Vec<_> = identities.iter().map(Identity::spki_sha256).collect();
        let table = Table::new(identities, false, None);
        for name in [Some("a.example"), None] {
            let of = |offered: &[SignatureScheme]| table.choose(name, offered).unwrap().spki_sha256();
            assert_eq!(of(ALL), spki[0]);
            assert_eq!(of(&[SignatureScheme::ED25519]), spki[1]);
            assert_eq!(of(&[SignatureScheme::RSA_PSS_SHA256]), spki[0], "nothing fits, so the first");
        }
    }
}
