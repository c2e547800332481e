//! What a client offers, in words: IANA's names for what is in use, `0x` and four digits for the rest.

use std::borrow::Cow;

use tlsify_protocol::{MAX_ALPN, MAX_WORDS};

use super::{ClientHello, is_grease};

/// Lists of words, each cut where an answer's lists are, without reserved values. Together they are never more than 32 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `1.3`, `1.2`, …; of a hello without supported_versions the one that it has.
    pub versions: Vec<Cow<'static, str>>,
    /// Cipher suites.
    pub cipher_suites: Vec<Cow<'static, str>>,
    /// Key-exchange groups.
    pub groups: Vec<Cow<'static, str>>,
    /// Groups whose key shares came.
    pub key_shares: Vec<Cow<'static, str>>,
    /// Signature schemes.
    pub signature_schemes: Vec<Cow<'static, str>>,
    /// Application protocols.
    pub alpn: Vec<Vec<u8>>,
    /// [`ClientHello::ja4`].
    pub ja4: String,
}

impl Offer {
    /// Puts it into words.
    #[must_use]
    pub fn new(hello: &ClientHello) -> Self {
        let legacy = [hello.legacy_version];
        let versions = if hello.versions.is_empty() { &legacy[..] } else { &hello.versions };
        Self {
            versions: words(versions, VERSIONS),
            cipher_suites: words(&hello.cipher_suites, CIPHER_SUITES),
            groups: words(&hello.groups, GROUPS),
            key_shares: words(&hello.key_shares, GROUPS),
            signature_schemes: words(&hello.signature_schemes, SIGNATURE_SCHEMES),
            alpn: hello.alpn.iter().filter(|name| !is_reserved(name)).take(MAX_ALPN).cloned().collect(),
            ja4: hello.ja4(),
        }
    }
}

/// RFC 8701 section 2: reserved application protocols are two bytes as the reserved numbers are.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    matches!(*name, [a, b] if is_grease(u16::from_be_bytes([a, b])))
}

type Table = [(u16, &'static str)];

fn words(values: &[u16], table: &Table) -> Vec<Cow<'static, str>> {
    let plain = values.iter().filter(|value| !is_grease(**value));
    plain.take(MAX_WORDS).map(|value| word(*value, table)).collect()
}

fn word(value: u16, table: &Table) -> Cow<'static, str> {
    match table.iter().find(|(known, _)| *known == value) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("0x{value:04x}")),
    }
}

const VERSIONS: &Table =
    &[(0x0304, "1.3"), (0x0303, "1.2"), (0x0302, "1.1"), (0x0301, "1.0"), (0x0300, "ssl3")];

/// What the clients of the last fifteen years offer.
#[rustfmt::skip]
const CIPHER_SUITES: &Table = &[
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    (0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    (0xc09e, "TLS_DHE_RSA_WITH_AES_128_CCM"),
    (0xc09f, "TLS_DHE_RSA_WITH_AES_256_CCM"),
    (0xc09c, "TLS_RSA_WITH_AES_128_CCM"),
    (0xc09d, "TLS_RSA_WITH_AES_256_CCM"),
    (0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
    (0x5600, "TLS_FALLBACK_SCSV"),
];

#[rustfmt::skip]
const GROUPS: &Table = &[
    (0x11ec, "X25519MLKEM768"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (0x0200, "MLKEM512"),
    (0x0201, "MLKEM768"),
    (0x0202, "MLKEM1024"),
    (0x001d, "x25519"),
    (0x001e, "x448"),
    (0x0017, "secp256r1"),
    (0x0018, "secp384r1"),
    (0x0019, "secp521r1"),
    (0x0100, "ffdhe2048"),
    (0x0101, "ffdhe3072"),
    (0x0102, "ffdhe4096"),
    (0x0103, "ffdhe6144"),
    (0x0104, "ffdhe8192"),
];

#[rustfmt::skip]
const SIGNATURE_SCHEMES: &Table = &[
    (0x0403, "ecdsa_secp256r1_sha256"),
    (0x0503, "ecdsa_secp384r1_sha384"),
    (0x0603, "ecdsa_secp521r1_sha512"),
    (0x0807, "ed25519"),
    (0x0808, "ed448"),
    (0x0804, "rsa_pss_rsae_sha256"),
    (0x0805, "rsa_pss_rsae_sha384"),
    (0x0806, "rsa_pss_rsae_sha512"),
    (0x0809, "rsa_pss_pss_sha256"),
    (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"),
    (0x0401, "rsa_pkcs1_sha256"),
    (0x0501, "rsa_pkcs1_sha384"),
    (0x0601, "rsa_pkcs1_sha512"),
    (0x0201, "rsa_pkcs1_sha1"),
    (0x0203, "ecdsa_sha1"),
    (0x0904, "mldsa44"),
    (0x0905, "mldsa65"),
    (0x0906, "mldsa87"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{cipher_suite_name, group_name, signature_scheme_name};

    #[test]
    fn the_same_things_have_the_same_names_everywhere() {
        let compare = |table: &Table, name: &dyn Fn(u16) -> &'static str| {
            let known: Vec<_> = table.iter().filter(|(value, _)| name(*value) != "unknown").collect();
            assert!(known.len() > 5, "{known:?}");
            for (value, word) in known {
                assert_eq!(name(*value), *word, "{value:04x}");
            }
        };
        compare(CIPHER_SUITES, &|value| cipher_suite_name(value.into()));
        compare(GROUPS, &|value| group_name(value.into()));
        compare(SIGNATURE_SCHEMES, &|value| signature_scheme_name(value.into()));
    }

    #[test]
    fn a_list_is_cut_and_reserved_values_do_not_show() {
        let hello = ClientHello {
            legacy_version: 0x0303,
            cipher_suites: (0x0a0a..0x0b0a).collect(),
            alpn: vec![vec![0x1a, 0x1a], b"h2".to_vec()],
            ..ClientHello::default()
        };
        let offer = Offer::new(&hello);
        assert_eq!((offer.cipher_suites.len(), &*offer.cipher_suites[0]), (MAX_WORDS, "0x0a0b"));
        assert_eq!((offer.versions, offer.alpn), (vec!["1.2".into()], vec![b"h2".to_vec()]));
    }
}
