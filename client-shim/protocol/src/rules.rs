//! The rules between keys. The parser applies them after reading, the writer before writing: one place, both sides.

use crate::error::Flaw;
use crate::limits::{
    MAX_ALLOWS, MAX_ALPN, MAX_ECH_CONFIG, MAX_EXPORTS, MAX_FRAGMENT, MAX_KEY_UPDATE_BYTES, MAX_NAMES,
    MAX_NETS, MAX_PINS, MAX_RECEIVED, MIN_FRAGMENT, MIN_KEY_UPDATE_BYTES, MIN_KEY_UPDATE_MS,
};
use crate::list::Words;
use crate::message::{Define, Ended, Established, Failed, Forget, Start, StatusAnswer, TlsKeys};
use crate::value::{
    Allow, CertificateType, ClientCertificate, Code, FdName, How, Pin, Role, ServerName, StapledOcsp, Trust,
    Version, is_name,
};

type Checked = Result<(), Flaw<'static>>;

pub(crate) fn define(define: &Define<'_>) -> Checked {
    let fds = Fds::look(define.fds)?;
    if fds.nets > 0 || fds.plain || fds.inbound || fds.outbound {
        return bad("fds", "certificate, key, ocsp, ca, crl and tickets in a profile");
    }
    if fds.tickets && define.resume.is_some() {
        return conflict("resume", "a tickets descriptor is the store, and needs no name");
    }
    parameters(&define.tls, define.role, &fds)
}

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
    if role == Role::Client && start.names.is_empty() && start.tls.pins.is_empty() {
        return missing("name", "without a name or a pin any certificate of the authorities would do");
    }
    if start.tls.certificate_type == Some(CertificateType::RawPublicKey) && !start.names.is_empty() {
        return conflict("name", "a raw public key names nobody: a pin says who is meant");
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

pub(crate) fn forget(forget: &Forget<'_>) -> Checked {
    if !forget.fds.iter().eq((!forget.fds.is_empty()).then_some(FdName::Tickets)) {
        return bad("fds", "tickets, once");
    }
    match (forget.store, forget.fds.is_empty()) {
        (None, true) => missing("store", "the name of one, or a tickets descriptor"),
        (Some(_), false) => conflict("store", "a tickets descriptor is the store, and needs no name"),
        _ => Ok(()),
    }
}

pub(crate) fn failed(failed: &Failed<'_>) -> Checked {
    match failed.code {
        Code::Learned if failed.spki_sha256.is_none() => return missing("spki-sha256", "code=learned"),
        Code::Learned if failed.would.is_none() => return missing("would", "code=learned"),
        Code::Learned | Code::Other => {}
        _ if failed.would.is_some() => return conflict("would", "it comes with code=learned only"),
        _ if !failed.notes.is_empty() => return conflict("note", "it comes with code=learned only"),
        _ => {}
    }
    if failed.ech_retry.is_some() && failed.code != Code::EchRejected {
        return conflict("ech-retry", "it comes with code=ech-rejected only");
    }
    answer_fds(failed.fds, &[FdName::Chain])
}

pub(crate) fn established(established: &Established<'_>) -> Checked {
    if established.exports.len() > MAX_EXPORTS {
        return bad("export", "at most 8 exports");
    }
    answer_fds(established.fds, &[FdName::Plain, FdName::Chain])
}

pub(crate) fn ended(ended: &Ended<'_>) -> Checked {
    match ended.how {
        How::Alert if ended.alert.is_none() => return missing("alert", "how=alert"),
        How::Error if ended.code.is_none() => return missing("code", "how=error"),
        How::Error if ended.blame.is_none() => return missing("blame", "how=error"),
        _ => {}
    }
    if !matches!(ended.how, How::Error | How::Other) && (ended.code.is_some() || ended.blame.is_some()) {
        return conflict("code", "code and blame come with how=error only");
    }
    Ok(())
}

pub(crate) fn status_answer(status: &StatusAnswer<'_>) -> Checked {
    answer_fds(status.fds, &[FdName::Sessions, FdName::Stores])
}

/// The TLS keys and the descriptors that belong to them.
fn parameters(tls: &TlsKeys<'_>, role: Role, fds: &Fds) -> Checked {
    if tls.min.zip(tls.max).is_some_and(|(min, max)| min > max) {
        return conflict("min", "it is above max");
    }
    if tls.alpn.is_some_and(|alpn| alpn.len() > MAX_ALPN) {
        return bad("alpn", "at most 32 names");
    }
    if tls.max_fragment.is_some_and(|bytes| !(MIN_FRAGMENT..=MAX_FRAGMENT).contains(&bytes)) {
        return bad("max-fragment", "512 to 16384");
    }
    if tls.pins.len() > MAX_PINS {
        return bad("pin", "at most 32 pins");
    }
    if tls.allow.len() > MAX_ALLOWS {
        return bad("allow", "at most 64 rules");
    }
    let descriptor = tls.trust == Some(Trust::Descriptor);
    if descriptor && !fds.ca {
        return missing("fds", "trust=descriptor takes a ca descriptor");
    }
    if fds.ca && !descriptor {
        return conflict("fds", "a ca descriptor takes trust=descriptor");
    }
    if tls.trust == Some(Trust::Pins) && tls.pins.is_empty() {
        return missing("pin", "trust=pins trusts nobody else");
    }
    revocation(tls, fds)?;
    match role {
        Role::Client => client(tls, fds)?,
        Role::Server => server(tls, fds)?,
    }
    raw_keys(tls, fds)?;
    key_updates(tls)
}

/// What goes with raw public keys (RFC 7250): of the peer, which nobody vouches for, and of our own.
fn raw_keys(tls: &TlsKeys<'_>, fds: &Fds) -> Checked {
    let theirs = tls.certificate_type == Some(CertificateType::RawPublicKey);
    if (theirs || fds.raw_keys > 0) && tls.max == Some(Version::Tls12) {
        return conflict("max", "raw public keys take TLS 1.3");
    }
    if !theirs {
        return Ok(());
    }
    match tls.trust {
        Some(Trust::Pins) => {}
        Some(_) => return conflict("trust", "nobody vouches for a raw public key: trust=pins"),
        None => return missing("trust", "nobody vouches for a raw public key: trust=pins"),
    }
    if tls.pins.iter().any(|pin| matches!(pin, Pin::Certificate(_))) {
        return conflict("pin", "a raw public key has no certificate: spki-sha256");
    }
    if !tls.allow.iter().all(|rule| matches!(rule, Allow::Pin(Pin::Spki(_)))) {
        return conflict("allow", "a raw public key has no certificate and no names: spki-sha256");
    }
    Ok(())
}

fn key_updates(tls: &TlsKeys<'_>) -> Checked {
    let sane = MIN_KEY_UPDATE_BYTES..=MAX_KEY_UPDATE_BYTES;
    if tls.key_update_bytes.is_some_and(|bytes| !sane.contains(&bytes)) {
        return bad("key-update-bytes", "65536 to 68719476736");
    }
    if tls.key_update_interval.is_some_and(|age| age.as_millis() < u128::from(MIN_KEY_UPDATE_MS)) {
        return bad("key-update-interval", "milliseconds, 60000 to 4294967295");
    }
    let given = [
        ("key-update-bytes", tls.key_update_bytes.is_some()),
        ("key-update-interval", tls.key_update_interval.is_some()),
    ];
    match given.into_iter().find(|&(_, given)| given && tls.max == Some(Version::Tls12)) {
        Some((key, _)) => conflict(key, "TLS 1.2 cannot do that"),
        None => Ok(()),
    }
}

/// Lists of revoked certificates are about a chain: without one they would look like a check and be none.
fn revocation(tls: &TlsKeys<'_>, fds: &Fds) -> Checked {
    if fds.crl && tls.trust == Some(Trust::Pins) {
        return conflict("fds", "crl has no effect with trust=pins: no chain is built");
    }
    if tls.stapled_ocsp == Some(StapledOcsp::Required) && tls.trust == Some(Trust::Pins) {
        return conflict("stapled-ocsp", "with trust=pins there is no issuer to believe");
    }
    let about = [
        ("crl-check", tls.crl_check.is_some()),
        ("crl-unknown", tls.crl_unknown.is_some()),
        ("crl-stale", tls.crl_stale.is_some()),
    ];
    match about.into_iter().find(|&(_, given)| given && !fds.crl) {
        Some((key, _)) => conflict(key, "it takes a crl descriptor"),
        None => Ok(()),
    }
}

fn client(tls: &TlsKeys<'_>, fds: &Fds) -> Checked {
    if fds.identities > 1 {
        return bad("fds", "at most one certificate, or key, for a client");
    }
    if tls.client_certificate.is_some() {
        return conflict("client-certificate", "only a server asks for one");
    }
    if !tls.allow.is_empty() {
        return conflict("allow", "only a server lets clients in");
    }
    if tls.unknown_name.is_some() {
        return conflict("unknown-name", "only a server is asked for names");
    }
    Ok(())
}

fn server(tls: &TlsKeys<'_>, fds: &Fds) -> Checked {
    if fds.identities == 0 {
        return missing("fds", "a server needs certificate and key, or a key");
    }
    let asks =
        matches!(tls.client_certificate, Some(ClientCertificate::Optional | ClientCertificate::Required));
    if asks && tls.trust.is_none() {
        return missing("trust", "client certificates have to be checked against something");
    }
    if fds.crl && !asks {
        return conflict("fds", "crl takes client-certificate=optional or required");
    }
    if tls.stapled_ocsp.is_some() {
        return conflict("stapled-ocsp", "only a server staples");
    }
    // A server that names what it trusts and does not ask would let everybody in: nobody means that.
    let unasked =
        [("allow", !tls.allow.is_empty()), ("pin", !tls.pins.is_empty()), ("trust", tls.trust.is_some())];
    let raw = ("certificate-type", tls.certificate_type == Some(CertificateType::RawPublicKey));
    match unasked.into_iter().chain([raw]).find(|&(_, given)| given && !asks) {
        Some((key, _)) => conflict(key, "it takes client-certificate=optional or required"),
        None => Ok(()),
    }
}

/// The first TLS key that was given.
fn first_tls_key(tls: &TlsKeys<'_>) -> Option<&'static str> {
    let given = [
        ("min", tls.min.is_some()),
        ("max", tls.max.is_some()),
        ("level", tls.level.is_some()),
        ("ciphers", tls.ciphers.is_some()),
        ("groups", tls.groups.is_some()),
        ("signature-schemes", tls.signature_schemes.is_some()),
        ("alpn", tls.alpn.is_some()),
        ("alpn-mismatch", tls.alpn_mismatch.is_some()),
        ("max-fragment", tls.max_fragment.is_some()),
        ("extended-master-secret", tls.extended_master_secret.is_some()),
        ("trust", tls.trust.is_some()),
        ("pin", !tls.pins.is_empty()),
        ("client-certificate", tls.client_certificate.is_some()),
        ("allow", !tls.allow.is_empty()),
        ("unknown-name", tls.unknown_name.is_some()),
        ("certificate-type", tls.certificate_type.is_some()),
        ("key-update-bytes", tls.key_update_bytes.is_some()),
        ("key-update-interval", tls.key_update_interval.is_some()),
        ("crl-check", tls.crl_check.is_some()),
        ("crl-unknown", tls.crl_unknown.is_some()),
        ("crl-stale", tls.crl_stale.is_some()),
        ("stapled-ocsp", tls.stapled_ocsp.is_some()),
    ];
    given.into_iter().find(|&(_, given)| given).map(|(key, _)| key)
}

/// What the `fds` of a request name.
#[derive(Default)]
struct Fds {
    nets: usize,
    plain: bool,
    inbound: bool,
    outbound: bool,
    ca: bool,
    crl: bool,
    tickets: bool,
    identities: usize,
    /// Those of them that are a key alone.
    raw_keys: usize,
}

impl Fds {
    fn look(names: Words<'_, FdName>) -> Result<Self, Flaw<'static>> {
        let mut fds = Self::default();
        let mut before = None;
        for name in names {
            if before == Some(FdName::Certificate) && name != FdName::Key {
                return Err(Flaw::about(Code::BadValue, "fds", "key right after its certificate"));
            }
            let slot = match name {
                FdName::Net => {
                    fds.nets += 1;
                    &mut false
                }
                FdName::Plain => &mut fds.plain,
                FdName::Inbound => &mut fds.inbound,
                FdName::Outbound => &mut fds.outbound,
                FdName::Ca => &mut fds.ca,
                FdName::Crl => &mut fds.crl,
                FdName::Tickets => &mut fds.tickets,
                FdName::Certificate => {
                    fds.identities += 1;
                    &mut false
                }
                FdName::Key if before == Some(FdName::Certificate) => &mut false,
                FdName::Ocsp if before == Some(FdName::Key) && fds.raw_keys == 0 => &mut false,
                FdName::Key => {
                    fds.identities += 1;
                    fds.raw_keys += 1;
                    &mut false
                }
                FdName::Ocsp => {
                    return Err(Flaw::about(Code::BadValue, "fds", "certificate and key right before ocsp"));
                }
                FdName::Chain | FdName::Sessions | FdName::Stores => {
                    return Err(Flaw::about(
                        Code::BadValue,
                        "fds",
                        "no chain, sessions and stores: the daemon sends them",
                    ));
                }
            };
            if core::mem::replace(slot, true) {
                return Err(Flaw::about(
                    Code::BadValue,
                    "fds",
                    "plain, inbound, outbound, ca, crl and tickets once at most",
                ));
            }
            before = Some(name);
        }
        if before == Some(FdName::Certificate) {
            return Err(Flaw::about(Code::BadValue, "fds", "key right after its certificate"));
        }
        if fds.raw_keys > 0 && fds.raw_keys < fds.identities {
            return Err(Flaw::about(
                Code::BadValue,
                "fds",
                "each key right after its certificate, or keys alone (raw public keys)",
            ));
        }
        Ok(fds)
    }
}

/// Each of `allowed` at most once, and nothing else.
fn answer_fds(names: Words<'_, FdName>, allowed: &[FdName]) -> Checked {
    let often = |name: FdName| names.iter().filter(|&other| other == name).count();
    if names.iter().all(|name| allowed.contains(&name) && often(name) == 1) {
        Ok(())
    } else {
        bad("fds", "each descriptor of this answer once at most")
    }
}

fn bad(about: &'static str, why: &'static str) -> Checked {
    Err(Flaw::about(Code::BadValue, about, why))
}

fn missing(about: &'static str, why: &'static str) -> Checked {
    Err(Flaw::about(Code::MissingKey, about, why))
}

fn conflict(about: &'static str, why: &'static str) -> Checked {
    Err(Flaw::about(Code::KeyConflict, about, why))
}
