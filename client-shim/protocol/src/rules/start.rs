//! `accept` and `connect`: what the role, the sockets and the profile leave to be said.

use super::descriptors::Fds;
use super::tls::{first_tls_key, parameters};
use super::{Checked, bad, conflict, missing};
use crate::limits::{MAX_ECH_CONFIG, MAX_EXPORTS, MAX_NAMES, MAX_NETS, MAX_RECEIVED};
use crate::message::Start;
use crate::value::{CertificateType, Role, ServerName, Version, is_name};

pub(crate) fn start(start: &Start<'_>, role: Role) -> Checked {
    let fds = Fds::look(start.fds)?;
    if fds.nets == 0 {
        return missing("fds", "it has to name net");
    }
    if fds.plain && (fds.inbound || fds.outbound) {
        return conflict("fds", "plain is both directions, and excludes inbound and outbound");
    }
    if role == Role::Server && !start.names.is_empty() {
        return conflict("name", "only connect has it");
    }
    if role == Role::Server && start.server_name.is_some() {
        return conflict("server-name", "only connect has it");
    }
    connecting(start, role, &fds)?;
    learning(start, role, &fds)?;
    asking(start, role)?;
    encrypted_hello(start, role)?;
    if fds.tickets && start.resume.is_some() {
        return conflict("resume", "a tickets descriptor is the store, and needs no name");
    }
    if start.names.len() > MAX_NAMES {
        return bad("name", "at most 16 names");
    }
    if !start.names.iter().all(is_name) {
        return bad(
            "name",
            "a DNS name in its A-label form, an IP address, srv:_service.name or uri:scheme:host",
        );
    }
    if start.exports.len() > MAX_EXPORTS {
        return bad("export", "at most 8 exports");
    }
    if start.received.is_some_and(|received| received.len() > MAX_RECEIVED) {
        return bad("received", "at most 16384 bytes");
    }
    if start.profile.is_some() {
        if let Some(key) = first_tls_key(&start.tls) {
            return conflict(key, "the profile says it");
        }
        if fds.identities > 0 || fds.ca || fds.crl {
            return conflict("fds", "certificate, key, ocsp, ca and crl come with the profile");
        }
        return Ok(());
    }
    let raw = start.tls.certificate_type == Some(CertificateType::RawPublicKey);
    if raw && !start.names.is_empty() {
        return conflict("name", "a raw public key names nobody: a pin says who is meant");
    }
    // A raw public key takes a pin in any case, which is said below.
    if role == Role::Client && !raw && start.names.is_empty() && start.tls.pins.is_empty() {
        return missing("name", "without a name or a pin any certificate of the authorities would do");
    }
    parameters(&start.tls, role, &fds)
}

/// What belongs to Encrypted Client Hello.
fn encrypted_hello(start: &Start<'_>, role: Role) -> Checked {
    if role == Role::Server && start.ech_config.is_some() {
        return conflict("ech-config", "only connect has it");
    }
    if role == Role::Server && start.ech.is_some() {
        return conflict("ech", "only connect has it");
    }
    if start.ech_config.is_some_and(|list| list.len() > MAX_ECH_CONFIG) {
        return bad("ech-config", "at most 8192 bytes");
    }
    if start.ech_config.is_some() && start.ech.is_some() {
        return conflict("ech", "with ech-config the real one is sent");
    }
    if start.ech_config.is_some() && start.server_name == Some(ServerName::Omit) {
        return conflict("ech-config", "with server-name=none there is nothing to hide");
    }
    if start.ech_config.is_some() && start.tls.max == Some(Version::Tls12) {
        return conflict("ech-config", "it takes TLS 1.3, and max is below");
    }
    if start.ech.is_some() && start.tls.max == Some(Version::Tls12) {
        return conflict("ech", "it takes TLS 1.3, and max is below");
    }
    Ok(())
}

/// What belongs to a socket that is not connected yet.
fn connecting(start: &Start<'_>, role: Role, fds: &Fds) -> Checked {
    if role == Role::Server && start.to.is_some() {
        return conflict("to", "only connect has it");
    }
    if start.to.is_none() && start.fast_open {
        return conflict("fast-open", "it takes to: a connected socket is open already");
    }
    if start.to.is_some() && start.received.is_some() {
        return conflict("received", "nothing can have come from a socket that is not connected");
    }
    if start.to.is_none() && fds.nets > 1 {
        return bad("fds", "net once; several only with to");
    }
    if fds.nets > MAX_NETS {
        return bad("fds", "net at most 8 times");
    }
    Ok(())
}

/// What makes no sense where nothing is opened. Whom to expect and whom to trust do: the answer says what would have
/// come of them.
fn learning(start: &Start<'_>, role: Role, fds: &Fds) -> Checked {
    if !start.learn {
        return Ok(());
    }
    if role == Role::Server {
        return conflict("learn", "only connect has it");
    }
    if fds.plain || fds.inbound || fds.outbound || fds.tickets {
        return conflict("fds", "learn opens nothing that plain, inbound, outbound or tickets could be for");
    }
    if start.resume.is_some() {
        return conflict("resume", "learn takes a full handshake, and opens nothing that could be resumed");
    }
    if !start.exports.is_empty() {
        return conflict("export", "learn opens nothing to export from");
    }
    if start.channel_binding {
        return conflict("channel-binding", "learn opens nothing to bind to");
    }
    // A server that cannot decrypt the ClientHello shows the certificate of its public name, and that is not to be pinned.
    if start.ech_config.is_some() {
        return conflict(
            "ech-config",
            "learn sends the name in the clear, and what it would show is not hidden",
        );
    }
    if start.ech.is_some() {
        return conflict("ech", "learn sends no Encrypted Client Hello, nor what looks like it");
    }
    Ok(())
}

/// What belongs to questions before TLS starts.
fn asking(start: &Start<'_>, role: Role) -> Checked {
    if role == Role::Client && start.ask {
        return conflict("ask", "only accept has a ClientHello to wait for");
    }
    if !start.ask && start.ask_timeout.is_some() {
        return conflict("ask-timeout", "it takes ask");
    }
    if !start.ask && start.ask_default.is_some() {
        return conflict("ask-default", "it takes ask");
    }
    Ok(())
}
