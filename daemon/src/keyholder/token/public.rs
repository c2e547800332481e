//! Which private keys a token has: their public halves, wherever the token keeps them.
//!
//! A private RSA key has its modulus; one on a curve often has no point, which then is at the public key with the same
//! CKA_ID, or in the certificate with it.

use cryptoki::error::Error;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::Decode;
use der::asn1::OctetStringRef;

use super::module::TokenKey;
use super::pkcs11::objects;
use crate::io::agent::wire::{
    Curve, blob_of_ed25519, blob_of_point, blob_of_rsa, blob_of_spki, kind_of_blob,
};

/// Private keys that are looked at; a token for one host has a handful.
const MOST_KEYS: usize = 256;

/// CKA_EC_PARAMS: the curve's OBJECT IDENTIFIER in DER.
const CURVES: [(&[u8], Curve); 3] = [
    (&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], Curve::P256),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22], Curve::P384),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], Curve::P521),
];

const WANTED: [AttributeType; 8] = [
    AttributeType::Id,
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::EcParams,
    AttributeType::EcPoint,
    AttributeType::Modulus,
    AttributeType::PublicExponent,
    AttributeType::AlwaysAuthenticate,
];

/// A public half that stands apart from its private one: their common CKA_ID, and the key as SSH writes it.
type Elsewhere = (Vec<u8>, Vec<u8>);

/// What an object says of itself.
#[derive(Default)]
struct Said {
    id: Vec<u8>,
    label: Vec<u8>,
    kind: Option<KeyType>,
    curve: Vec<u8>,
    point: Vec<u8>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    asks_each_time: bool,
}

/// The keys that can be offered, and the handles of their private halves.
pub(super) fn list(session: &Session) -> Result<(Vec<TokenKey>, Vec<ObjectHandle>), Error> {
    let mut private = objects(session, ObjectClass::PRIVATE_KEY, &WANTED)?;
    private.truncate(MOST_KEYS);
    // Looked for when the first private key needs them.
    let mut others: Option<Vec<Elsewhere>> = None;
    let mut keys = Vec::new();
    for (object, attributes) in private {
        let said = Said::of(attributes);
        let blob = match said.blob() {
            Some(blob) => Some(blob),
            None => {
                let others = match &mut others {
                    Some(others) => others,
                    none => none.insert(elsewhere(session)?),
                };
                others.iter().find(|(id, _)| !id.is_empty() && *id == said.id).map(|(_, blob)| blob.clone())
            }
        };
        let Some((blob, kind)) = blob.and_then(|blob| kind_of_blob(&blob).ok().map(|kind| (blob, kind)))
        else {
            continue;
        };
        keys.push((TokenKey { blob, kind, label: said.label, asks_each_time: said.asks_each_time }, object));
    }
    Ok(keys.into_iter().unzip())
}

/// What can be seen without its PIN of a token that has one: public halves, and nothing to sign with.
pub(super) fn list_public(session: &Session) -> Result<Vec<TokenKey>, Error> {
    let seen = elsewhere(session)?.into_iter().take(MOST_KEYS);
    let keys = seen.filter_map(|(_, blob)| {
        let kind = kind_of_blob(&blob).ok()?;
        Some(TokenKey { blob, kind, label: Vec::new(), asks_each_time: false })
    });
    Ok(keys.collect())
}

/// The public halves at public keys and in certificates, by their CKA_ID.
fn elsewhere(session: &Session) -> Result<Vec<Elsewhere>, Error> {
    let mut found = Vec::new();
    for (_, attributes) in objects(session, ObjectClass::PUBLIC_KEY, &WANTED)? {
        let said = Said::of(attributes);
        found.extend(said.blob().map(|blob| (said.id, blob)));
    }
    let wanted = [AttributeType::Id, AttributeType::Value];
    for (_, attributes) in objects(session, ObjectClass::CERTIFICATE, &wanted)? {
        let (mut id, mut value) = (Vec::new(), Vec::new());
        for attribute in attributes {
            match attribute {
                Attribute::Id(bytes) => id = bytes,
                Attribute::Value(bytes) => value = bytes,
                _ => {}
            }
        }
        if let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&value) {
            found.extend(blob_of_spki(certificate.public_key().raw).ok().map(|blob| (id, blob)));
        }
    }
    Ok(found)
}

impl Said {
    fn of(attributes: Vec<Attribute>) -> Self {
        let mut said = Self::default();
        for attribute in attributes {
            match attribute {
                Attribute::Id(bytes) => said.id = bytes,
                Attribute::Label(bytes) => said.label = bytes,
                Attribute::KeyType(kind) => said.kind = Some(kind),
                Attribute::EcParams(bytes) => said.curve = bytes,
                Attribute::EcPoint(bytes) => said.point = bytes,
                Attribute::Modulus(bytes) => said.modulus = bytes,
                Attribute::PublicExponent(bytes) => said.exponent = bytes,
                Attribute::AlwaysAuthenticate(each) => said.asks_each_time = each,
                _ => {}
            }
        }
        said
    }

    /// The public half, if it is all there and of a kind that TLS has.
    fn blob(&self) -> Option<Vec<u8>> {
        // CKA_EC_POINT is an OCTET STRING in DER; some tokens leave that away, and what is inside begins with a 4 as well.
        let point = OctetStringRef::from_der(&self.point).map_or(&*self.point, |inner| inner.as_bytes());
        match self.kind? {
            KeyType::RSA if !self.modulus.is_empty() && !self.exponent.is_empty() => {
                blob_of_rsa(&self.modulus, &self.exponent).ok()
            }
            KeyType::EC => {
                let (_, curve) = CURVES.iter().find(|(oid, _)| *oid == self.curve)?;
                blob_of_point(*curve, point).or_else(|_| blob_of_point(*curve, &self.point)).ok()
            }
            KeyType::EC_EDWARDS => blob_of_ed25519(point).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_with_and_without_its_wrapping() {
        let mut point = vec![4];
        point.extend_from_slice(&[7; 64]);
        let wrapped = [&[0x04, 0x41][..], &point].concat();
        let blob = |bytes: &[u8]| {
            let curve = CURVES[0].0.to_vec();
            let attributes = vec![
                Attribute::KeyType(KeyType::EC),
                Attribute::EcParams(curve),
                Attribute::EcPoint(bytes.to_vec()),
            ];
            Said::of(attributes).blob()
        };
        assert_eq!(blob(&wrapped), blob(&point));
        assert!(blob(&point).is_some());
        assert!(blob(&wrapped[..60]).is_none() && blob(b"").is_none());
    }

    #[test]
    fn what_tls_does_not_sign_with_is_not_offered() {
        let said = |kind| Said { kind: Some(kind), point: vec![1; 32], ..Said::default() };
        assert!(said(KeyType::EC_EDWARDS).blob().is_some());
        assert!(said(KeyType::EC_MONTGOMERY).blob().is_none());
        assert!(said(KeyType::RSA).blob().is_none(), "without a modulus");
        assert!(said(KeyType::EC).blob().is_none(), "without a curve");
    }
}
