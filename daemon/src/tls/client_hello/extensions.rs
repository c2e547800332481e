//! The extensions that decisions are made from (RFC 9846 section 4.2). Others are counted and not opened.

use super::reader::Reader;
use super::{ClientHello, Flaw, host_name};

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SESSION_TICKET: u16 = 35;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// Sorted extensions are searched for one that came before: a hello of 64 KiB can hold 16,384 empty ones.
type Known = std::collections::BTreeSet<u16>;

impl ClientHello {
    pub(super) fn read_extensions(&mut self, mut all: Reader<'_>) -> Result<(), Flaw> {
        let mut known = Known::new();
        while !all.is_empty() {
            let kind = all.u16()?;
            let data = all.vector16()?;
            if !known.insert(kind) {
                return Err(Flaw::illegal("an extension comes twice"));
            }
            // RFC 9846 §4.2.11: what its binders cover ends with it.
            if kind == PRE_SHARED_KEY && !all.is_empty() {
                return Err(Flaw::illegal("an extension follows pre_shared_key"));
            }
            self.extensions.push(kind);
            self.read_extension(kind, data)?;
        }
        Ok(())
    }

    fn read_extension(&mut self, kind: u16, mut data: Reader<'_>) -> Result<(), Flaw> {
        match kind {
            SERVER_NAME => self.server_name = server_name(data.vector16()?)?,
            ALPN => self.alpn = alpn(data.vector16()?)?,
            SUPPORTED_VERSIONS => self.versions = data.vector8()?.numbers()?,
            SUPPORTED_GROUPS => self.groups = data.vector16()?.numbers()?,
            SIGNATURE_ALGORITHMS => self.signature_schemes = data.vector16()?.numbers()?,
            KEY_SHARE => self.key_shares = key_shares(data.vector16()?)?,
            PRE_SHARED_KEY => self.psk_identities = psk_identities(&mut data)?,
            SESSION_TICKET => {
                self.session_ticket = Some(data.rest().to_vec());
                return Ok(());
            }
            ENCRYPTED_CLIENT_HELLO => {
                self.ech = true;
                return Ok(());
            }
            _ => return Ok(()),
        }
        data.end()
    }
}

/// RFC 6066 section 3: one name of each type, and there is one type.
fn server_name(mut list: Reader<'_>) -> Result<Option<String>, Flaw> {
    if list.u8()? != 0 {
        return Err(Flaw::decode("its server_name is not a host_name"));
    }
    let name = list.vector16()?.rest();
    list.end()?;
    if name.is_empty() {
        return Err(Flaw::decode("its server_name is empty"));
    }
    host_name(name)
}

/// RFC 7301 section 3.1: at least one name, none of them empty.
fn alpn(mut list: Reader<'_>) -> Result<Vec<Vec<u8>>, Flaw> {
    let mut names = Vec::new();
    loop {
        let name = list.vector8()?.rest();
        if name.is_empty() {
            return Err(Flaw::decode("an application protocol has no name"));
        }
        names.push(name.to_vec());
        if list.is_empty() {
            return Ok(names);
        }
    }
}

/// RFC 9846 section 4.2.8: none is fine, two of one group are not.
fn key_shares(mut list: Reader<'_>) -> Result<Vec<u16>, Flaw> {
    let mut known = Known::new();
    let mut groups = Vec::new();
    while !list.is_empty() {
        let group = list.u16()?;
        if list.vector16()?.is_empty() {
            return Err(Flaw::decode("a key share is empty"));
        }
        if !known.insert(group) {
            return Err(Flaw::illegal("two key shares are of one group"));
        }
        groups.push(group);
    }
    Ok(groups)
}

/// RFC 9846 section 4.2.11: identities, and as many binders of at least 32 bytes.
fn psk_identities(data: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Flaw> {
    let mut list = data.vector16()?;
    let mut identities = Vec::new();
    loop {
        let identity = list.vector16()?.rest();
        if identity.is_empty() {
            return Err(Flaw::decode("a pre-shared key has no identity"));
        }
        let _obfuscated_age = list.take(4)?;
        identities.push(identity.to_vec());
        if list.is_empty() {
            break;
        }
    }
    let mut binders = data.vector16()?;
    let mut count = 0;
    while !binders.is_empty() {
        if binders.vector8()?.rest().len() < 32 {
            return Err(Flaw::decode("a binder is shorter than 32 bytes"));
        }
        count += 1;
    }
    if count != identities.len() {
        return Err(Flaw::illegal("there are not as many binders as pre-shared keys"));
    }
    Ok(identities)
}
