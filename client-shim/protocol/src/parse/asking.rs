//! Questions before TLS starts, and their answers.

use super::{need, once, unknown};
use crate::error::Flaw;
use crate::lines::Lines;
use crate::message::{Choice, Choose, ClientHello};
use crate::value::{Action, Code};

pub(super) fn choose<'a>(lines: Lines<'a>) -> Result<Choose<'a>, Flaw<'a>> {
    let (mut id, mut action, mut profile, mut alert) = (None, None, None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "action" => once(&mut action, &line)?,
            "profile" => once(&mut profile, &line)?,
            "alert" => once(&mut alert, &line)?,
            _ => unknown(&line)?,
        }
    }
    let (id, action) = (need(id, "id")?, need(action, "action")?);
    if action != Action::Profile && profile.is_some() {
        return Err(Flaw::about(Code::KeyConflict, "profile", "it takes action=profile"));
    }
    if action != Action::Refuse && alert.is_some() {
        return Err(Flaw::about(Code::KeyConflict, "alert", "it takes action=refuse"));
    }
    let choice = match action {
        Action::Own => Choice::Own,
        Action::Profile => Choice::Profile(need(profile, "profile")?),
        Action::Refuse => Choice::Refuse(alert.unwrap_or_default()),
        Action::GiveBack => Choice::GiveBack,
    };
    Ok(Choose { id, choice })
}

pub(super) fn client_hello<'a>(lines: Lines<'a>) -> Result<ClientHello<'a>, Flaw<'a>> {
    let (mut id, mut tls, mut server_name, mut alpn, mut versions) = (None, None, None, None, None);
    let (mut ciphers, mut groups, mut key_shares, mut signature_schemes) = (None, None, None, None);
    let (mut ja4, mut ech) = (None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "tls" => once(&mut tls, &line)?,
            "server-name" => once(&mut server_name, &line)?,
            "alpn" => once(&mut alpn, &line)?,
            "versions" => once(&mut versions, &line)?,
            "ciphers" => once(&mut ciphers, &line)?,
            "groups" => once(&mut groups, &line)?,
            "key-shares" => once(&mut key_shares, &line)?,
            "signature-schemes" => once(&mut signature_schemes, &line)?,
            "ja4" => once(&mut ja4, &line)?,
            "ech" => once(&mut ech, &line)?,
            _ => unknown(&line)?,
        }
    }
    Ok(ClientHello {
        id: need(id, "id")?,
        tls: need(tls, "tls")?,
        server_name,
        alpn: alpn.unwrap_or_default(),
        versions: versions.unwrap_or_default(),
        ciphers: ciphers.unwrap_or_default(),
        groups: groups.unwrap_or_default(),
        key_shares: key_shares.unwrap_or_default(),
        signature_schemes: signature_schemes.unwrap_or_default(),
        ja4,
        ech,
    })
}
