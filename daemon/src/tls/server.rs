//! The server role: a profile that is prepared once, and the configuration of each session.

use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::compress::CompressionCache;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tlsify_protocol::{AlpnMismatch, Blame, ClientCertificate};

use super::failure::Failure;
use super::identity::Identity;
use super::params::Params;
use super::revocation::Revocation;
use super::roots::Roots;
use super::select::{SessionResolver, Table};
use super::signing::can_sign;
use super::spec::SpecError;
use super::ticket_keys::{Issuer, KeyStore};
use super::tickets::Fingerprint;
use super::trust::{AllowRule, Pin, Trust};
use super::verify_client::{ClientRules, ClientVerifier};
use super::verify_server::Signatures;
use super::witness::Witness;

/// Tickets of TLS 1.3 per handshake. A client uses one for a session and gets one with it, so with one each it never
/// runs out, and a second would cost every session a key, a seal and 200 bytes. Who opens several sessions at once
/// gets one from each.
const TICKETS: usize = 1;
/// Unless the client says how many it wants (RFC 9149): up to so many.
const MOST_TICKETS: usize = 4;

/// A server as an operator or a caller describes it.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// At least one; the first answers clients that send no server_name.
    pub identities: Vec<Identity>,
    /// Whether a client with an unknown server_name gets the first identity instead of unrecognized_name.
    pub unknown_name_first: bool,
    /// Versions, suites and so on.
    pub params: Params,
    /// Whether clients are asked for a certificate.
    pub client_certificate: ClientCertificate,
    /// Whose client certificates are meant. [`Trust::System`] is never a default here.
    pub trust: Option<Trust>,
    /// When not empty, one of them is the client's certificate or key; in addition to `allow`.
    pub pins: Vec<Pin>,
    /// When not empty, one of them lets the client in.
    pub allow: Vec<AllowRule>,
    /// Lists to ask about the clients' chains; without effect with [`Trust::Pins`].
    pub revocation: Option<Revocation>,
}

/// A server that can serve sessions.
#[derive(Debug)]
pub struct ServerProfile {
    table: Arc<Table>,
    params: Params,
    /// Complete but for the resolver, and for the verifier when client certificates are asked for.
    prepared: ServerConfig,
    clients: Option<Clients>,
    /// What a ticket is bound to, made when a session that may resume first needs it.
    print: OnceLock<[u8; 32]>,
}

#[derive(Debug)]
struct Clients {
    mandatory: bool,
    trust: Trust,
    rules: ClientRules,
    signatures: Signatures,
    revocation: Option<Revocation>,
}

impl ServerProfile {
    /// Checks a specification and prepares it.
    ///
    /// # Errors
    /// [`SpecError`] when it contradicts itself or lacks something.
    pub fn build(spec: ServerSpec) -> Result<Self, SpecError> {
        if spec.identities.is_empty() {
            return Err(SpecError::NoIdentity);
        }
        let params = spec.params;
        let ours = params.schemes.as_deref();
        let everything = super::params::provider().signature_verification_algorithms.supported_schemes();
        let useless = |identity: &Identity| !can_sign(&*identity.certified().key, &everything, ours);
        if let Some(index) = spec.identities.iter().position(useless) {
            return Err(SpecError::KeyCannotSign(index + 1));
        }
        let clients = match spec.client_certificate {
            ClientCertificate::None if spec.revocation.is_some() => {
                return Err(SpecError::WithoutClientCertificate("crl"));
            }
            ask => build_clients(ask, spec.trust, spec.pins, spec.allow, &params)?,
        };
        let clients = clients.map(|clients| Clients { revocation: spec.revocation, ..clients });
        let table = Arc::new(Table::new(spec.identities, spec.unknown_name_first, params.schemes.clone()));
        // The resolver is replaced in every session; this one is never asked.
        let resolver = SessionResolver { table: table.clone(), witness: Witness::new() };
        let time: Arc<dyn TimeProvider> = Arc::new(DefaultTimeProvider);
        let prepared = configure(&params, time, Arc::new(NoClientAuth), resolver);
        Ok(Self { table, params, prepared, clients, print: OnceLock::new() })
    }

    /// The configuration for one session: a shallow copy whose resolver and verifier write into `witness`.
    ///
    /// `system` is the host's pool, needed when [`ServerProfile::needs_system_roots`]. `without_alpn` leaves
    /// ALPN out of this session, see [`ServerProfile::needs_hello`].
    ///
    /// # Errors
    /// [`Failure`] with `trust-unusable` when the host's pool is needed and there is none.
    pub fn session_config(
        &self,
        witness: &Arc<Witness>,
        system: Option<&Roots>,
        without_alpn: bool,
    ) -> Result<Arc<ServerConfig>, Failure> {
        self.make(witness, system, without_alpn).map(Arc::new)
    }

    /// The same for a session that resumes with tickets of `store`, and gives its client new ones. Not so for a
    /// profile that asks for client certificates: rustls takes the one in a ticket as it is, and it may have ended or
    /// be trusted no more.
    ///
    /// # Errors
    /// As [`ServerProfile::session_config`].
    pub fn resuming_config(
        &self,
        witness: &Arc<Witness>,
        system: Option<&Roots>,
        without_alpn: bool,
        store: &KeyStore,
    ) -> Result<Arc<ServerConfig>, Failure> {
        let mut config = self.make(witness, system, without_alpn)?;
        if self.clients.is_none() {
            let print = *self.print.get_or_init(|| self.fingerprint());
            config.ticketer = Arc::new(Issuer::new(store, print, config.time_provider.clone()));
            config.send_tls13_tickets = TICKETS;
            config.max_tls13_tickets = MOST_TICKETS;
        }
        Ok(Arc::new(config))
    }

    fn make(
        &self,
        witness: &Arc<Witness>,
        system: Option<&Roots>,
        without_alpn: bool,
    ) -> Result<ServerConfig, Failure> {
        let resolver = SessionResolver { table: self.table.clone(), witness: witness.clone() };
        let mut config = match &self.clients {
            None => {
                let mut config = self.prepared.clone();
                config.cert_resolver = Arc::new(resolver);
                config
            }
            // rustls does not let the verifier of a server's configuration be replaced, so this one is made
            // anew: 0.65 µs instead of 0.28 µs (measured), beside two more signatures of 20 µs or more.
            Some(clients) => {
                let verifier = clients.verifier(witness, system)?;
                configure(&self.params, self.prepared.time_provider.clone(), Arc::new(verifier), resolver)
            }
        };
        if without_alpn {
            config.alpn_protocols = Vec::new();
        }
        Ok(config)
    }

    /// All that a server without client certificates shows and chooses: a ticket is good where this is the same.
    fn fingerprint(&self) -> [u8; 32] {
        let mut print = Fingerprint::new();
        print.field(b"tlsify server ticket 1");
        for identity in self.table.identities() {
            print.list(identity.chain());
            print.list(identity.names());
        }
        print.field(&[u8::from(self.table.unknown_name_first())]);
        self.params.add_to(&mut print);
        print.field(&[u8::from(self.params.alpn_mismatch == Some(AlpnMismatch::Ignore))]);
        print.finish()
    }

    /// For tests: another clock.
    #[cfg(test)]
    pub(crate) fn set_clock(&mut self, clock: Arc<dyn TimeProvider>) {
        self.prepared.time_provider = clock;
    }

    /// Whether the ClientHello must be looked at before [`ServerProfile::session_config`]: rustls refuses a
    /// client without a common application protocol, so `alpn-mismatch=ignore` is done by leaving ALPN out of
    /// the sessions where [`ServerProfile::alpn_matches`] says no.
    pub fn needs_hello(&self) -> bool {
        self.params.alpn_mismatch == Some(AlpnMismatch::Ignore) && !self.params.alpn.is_empty()
    }

    /// Whether a client that offers these protocols has one in common with us. A client that offers none does
    /// not mind, so it matches.
    pub fn alpn_matches<'a>(&self, offered: Option<impl Iterator<Item = &'a [u8]>>) -> bool {
        match offered {
            None => true,
            Some(mut offered) => offered.any(|theirs| self.params.alpn.iter().any(|ours| ours == theirs)),
        }
    }

    /// Whether sessions need the host's pool of authorities.
    pub fn needs_system_roots(&self) -> bool {
        self.clients.as_ref().is_some_and(|clients| matches!(clients.trust, Trust::System))
    }

    /// Who this server is.
    pub fn identities(&self) -> &[Identity] {
        self.table.identities()
    }

    /// Versions, suites and so on.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

impl Clients {
    fn verifier(&self, witness: &Arc<Witness>, system: Option<&Roots>) -> Result<ClientVerifier, Failure> {
        let roots = match &self.trust {
            Trust::Pins => None,
            Trust::Roots(roots) => Some(roots),
            Trust::System => Some(system.ok_or_else(|| Failure::no_system_roots(Blame::Operator))?),
        };
        Ok(ClientVerifier {
            roots: roots.cloned(),
            revocation: self.revocation.clone(),
            hints: matches!(&self.trust, Trust::Roots(roots) if roots.has_few_names()),
            mandatory: self.mandatory,
            rules: self.rules.clone(),
            signatures: self.signatures.clone(),
            witness: witness.clone(),
        })
    }
}

fn build_clients(
    ask: ClientCertificate,
    trust: Option<Trust>,
    pins: Vec<Pin>,
    allow: Vec<AllowRule>,
    params: &Params,
) -> Result<Option<Clients>, SpecError> {
    if ask == ClientCertificate::None {
        return match (trust.is_some(), pins.is_empty(), allow.is_empty()) {
            (true, _, _) => Err(SpecError::WithoutClientCertificate("trust")),
            (_, false, _) => Err(SpecError::WithoutClientCertificate("pin")),
            (_, _, false) => Err(SpecError::WithoutClientCertificate("allow")),
            _ => Ok(None),
        };
    }
    let trust = trust.ok_or(SpecError::NoTrust)?;
    if matches!(trust, Trust::Pins) && pins.is_empty() {
        return Err(SpecError::NoPins);
    }
    Ok(Some(Clients {
        mandatory: ask == ClientCertificate::Required,
        trust,
        rules: ClientRules::new(pins, allow)?,
        signatures: Signatures::new(&params.provider, params.verify_schemes()),
        revocation: None,
    }))
}

/// The whole configuration, in one place. What is not set here is rustls' default: the server's order of
/// preference, no early data, no key log, no extraction of secrets.
fn configure(
    params: &Params,
    time: Arc<dyn TimeProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    resolver: SessionResolver,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_details(params.provider.clone(), time)
        .with_protocol_versions(&params.versions);
    let mut config = match builder {
        Ok(builder) => builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(resolver)),
        // Params::build has made sure that every version has a suite and a group.
        Err(error) => unreachable!("checked parameters: {error}"),
    };
    config.alpn_protocols.clone_from(&params.alpn);
    config.max_fragment_size = params.rustls_fragment();
    config.require_ems = params.require_ems;
    // Without a store there is no resumption: no tickets, and session ids never.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair::{Authority, server_spec};

    #[test]
    fn a_client_is_told_our_authorities_but_not_the_hosts_many() {
        let ca = Authority::new("ca");
        for (trust, hints) in [(ca.trust(), 1), (Trust::System, 0)] {
            let spec = ServerSpec {
                client_certificate: ClientCertificate::Required,
                trust: Some(trust),
                ..server_spec(vec![ca.identity(&["a.example"])])
            };
            let profile = ServerProfile::build(spec).unwrap();
            let clients = profile.clients.as_ref().unwrap();
            let verifier = clients.verifier(&Witness::new(), Some(&ca.roots())).unwrap();
            assert_eq!(verifier.root_hint_subjects().len(), hints);
        }
    }
}
