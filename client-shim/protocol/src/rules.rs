//! The rules between keys. The parser applies them after reading, the writer before writing: one place, both sides.

use crate::error::Flaw;
use crate::limits::{
    MAX_ALLOWS, MAX_ALPN, MAX_EXPORTS, MAX_FRAGMENT, MAX_NAMES, MAX_NETS, MAX_PINS, MAX_RECEIVED,
    MIN_FRAGMENT,
};
use crate::list::Words;
use crate::message::{Define, Ended, Established, Failed, Start, StatusAnswer, TlsKeys};
use crate::value::{ClientCertificate, Code, FdName, How, Role, StapledOcsp, Trust, is_name};

type Checked = Result<(), Flaw<'static>>;

pub(crate) fn define(define: &Define<'_>) -> Checked {
    let fds = Fds::look(define.fds)?;
    if fds.nets > 0 || fds.plain || fds.inbound || fds.outbound || fds.tickets {
        return bad("fds", "certificate, key, ocsp, ca and crl in a profile");
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
    if fds.tickets && role == Role::Client {
        return conflict("fds", "only accept has tickets");
    }
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
    parameters(&start.tls, role, &fds)
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

pub(crate) fn failed(failed: &Failed<'_>) -> Checked {
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
        Role::Client => client(tls, fds),
        Role::Server => server(tls, fds),
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
        return bad("fds", "at most one certificate for a client");
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
        return missing("fds", "a server needs certificate and key");
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
    match unasked.into_iter().find(|&(_, given)| given && !asks) {
        Some((key, _)) => conflict(key, "it takes client-certificate=optional or required"),
        None => Ok(()),
    }
}

/// The first TLS key that was given.
fn first_tls_key(tls: &TlsKeys<'_>) -> Option<&'static str> {
    let given = [
        ("min", tls.min.is_some()),
        ("max", tls.max.is_some()),
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
                FdName::Ocsp if before == Some(FdName::Key) => &mut false,
                FdName::Key => {
                    return Err(Flaw::about(Code::BadValue, "fds", "a certificate right before its key"));
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
