//! The server role: a profile that is prepared once, and the configuration of each session.

use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::compress::CompressionCache;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{CertificateType as Offered, NoClientAuth, NoServerSessionStorage};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tlsify_protocol::{AlpnMismatch, Blame, CertificateType, ClientCertificate, Level, Version};

use super::chain::Chain;
use super::client_hello::ClientHello;
use super::failure::Failure;
use super::identity::Identity;
use super::params::Params;
use super::params_spec::ParamsError;
use super::revocation::Revocation;
use super::roots::Roots;
use super::select::{SessionResolver, Table};
use super::signing::can_sign;
use super::spec::SpecError;
use super::ticket_keys::{Cached, Issuer, KeyStore, Returning, ServerResumption, Sought};
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
    /// What clients are to show. Not a certificate: it takes [`Trust::Pins`], pins of keys, and TLS 1.3.
    pub certificate_type: CertificateType,
    /// Whether clients are asked for a certificate.
    pub client_certificate: ClientCertificate,
    /// Whose client certificates are meant. [`Trust::System`] is never a default here.
    pub trust: Option<Trust>,
    /// When not empty, one of them is the client's certificate or key; in addition to `allow`.
    pub pins: Vec<Pin>,
    /// When not empty, one of them lets the client in.
    pub allow: Vec<AllowRule>,
    /// Revocation lists for the clients' chains, if there are any.
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

#[derive(Clone, Debug)]
struct Clients {
    /// They show raw public keys.
    raw: bool,
    mandatory: bool,
    trust: Trust,
    rules: ClientRules,
    signatures: Signatures,
    revocation: Option<Arc<Revocation>>,
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
        let mut params = spec.params;
        super::raw_keys::check_ours(&spec.identities, &mut params)?;
        let ours = params.schemes.as_deref();
        let everything = super::params::provider().signature_verification_algorithms.supported_schemes();
        let useless = |identity: &Identity| !can_sign(&*identity.certified().key, &everything, ours);
        if let Some(index) = spec.identities.iter().position(useless) {
            return Err(SpecError::KeyCannotSign(index + 1));
        }
        let raw = spec.certificate_type == CertificateType::RawPublicKey;
        if raw && spec.client_certificate == ClientCertificate::None {
            return Err(SpecError::WithoutClientCertificate("certificate-type"));
        }
        if let (true, Some(trust)) = (raw, &spec.trust) {
            super::raw_keys::check_theirs(trust, &spec.pins, &[], &spec.allow, &mut params)?;
        }
        let clients = build_clients(spec.client_certificate, spec.trust, spec.pins, spec.allow, &params)?;
        let clients = match clients {
            None if spec.revocation.is_some() => return Err(SpecError::WithoutClientCertificate("crl")),
            Some(Clients { trust: Trust::Pins, .. }) if spec.revocation.is_some() => {
                return Err(SpecError::WithPins("crl"));
            }
            None => None,
            Some(clients) => Some(Clients { raw, revocation: spec.revocation.map(Arc::new), ..clients }),
        };
        let table = Arc::new(Table::new(spec.identities, spec.unknown_name_first, params.schemes.clone()));
        // The resolver is replaced in every session; this one is never asked.
        let resolver = SessionResolver { table: table.clone(), witness: Witness::new() };
        let time: Arc<dyn TimeProvider> = Arc::new(DefaultTimeProvider);
        let prepared = configure(&params, time, Arc::new(NoClientAuth), resolver);
        Ok(Self { table, params, prepared, clients, print: OnceLock::new() })
    }

    /// The same under another floor of the host's; `None`: this one is as it would be then.
    ///
    /// # Errors
    /// [`ParamsError`] when what the profile asks for is below it.
    pub fn under(&self, floor: Version, level: Option<Level>) -> Result<Option<Self>, ParamsError> {
        let Some(params) = self.params.under(floor, level)? else { return Ok(None) };
        let (table, clients) = (self.table.clone(), self.clients.clone());
        let resolver = SessionResolver { table: table.clone(), witness: Witness::new() };
        let time = self.prepared.time_provider.clone();
        let prepared = configure(&params, time, Arc::new(NoClientAuth), resolver);
        // A floor changes neither schemes nor identities, so the table and the rules are the same.
        Ok(Some(Self { table, params, prepared, clients, print: OnceLock::new() }))
    }

    /// About how many bytes of certificates, lists and, if `trust` is not somebody else's, authorities it holds.
    pub fn weight(&self, trust: bool) -> u64 {
        let identities: u64 = self.table.identities().iter().map(Identity::weight).sum();
        let clients = self.clients.as_ref().map_or(0, |clients| {
            let trust = if trust { clients.trust.weight() } else { 0 };
            trust + clients.revocation.as_ref().map_or(0, |lists| lists.crls.weight().into())
        });
        identities + clients
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

    /// The same for a session that resumes, and gives its client what it can resume with. What
    /// [`ServerProfile::returning`] gives has to be asked when the handshake is done.
    ///
    /// # Errors
    /// As [`ServerProfile::session_config`].
    pub fn resuming_config(
        &self,
        witness: &Arc<Witness>,
        system: Option<&Roots>,
        without_alpn: bool,
        resumption: &ServerResumption,
    ) -> Result<Arc<ServerConfig>, Failure> {
        let mut config = self.make(witness, system, without_alpn)?;
        match resumption {
            ServerResumption::Tickets(store) => {
                let mut issuer = Issuer::new(store, self.print(system), config.time_provider.clone());
                if let Some(clients) = &self.clients {
                    issuer = issuer.asking(witness, !matches!(clients.trust, Trust::Pins));
                }
                config.ticketer = Arc::new(issuer);
            }
            ServerResumption::Cached(cached) => config.session_storage = cached.clone(),
        }
        config.send_tls13_tickets = TICKETS;
        config.max_tls13_tickets = MOST_TICKETS;
        Ok(Arc::new(config))
    }

    /// Checks the certificates of clients that resume, for a profile that asks for any: rustls takes those in a ticket as
    /// they are. As for [`ServerProfile::session_config`].
    ///
    /// # Errors
    /// As there.
    pub fn returning(
        &self,
        witness: &Arc<Witness>,
        system: Option<&Roots>,
    ) -> Result<Option<Returning>, Failure> {
        let Some(clients) = &self.clients else { return Ok(None) };
        let verifier = clients.verifier(witness, system)?;
        Ok(Some(Returning::new(verifier, self.prepared.time_provider.clone())))
    }

    /// What a ticket is bound to: where the host's pool is what clients are checked against, it is the pool of today.
    fn print(&self, system: Option<&Roots>) -> [u8; 32] {
        let print = self.print.get_or_init(|| self.fingerprint());
        match system.filter(|_| self.needs_system_roots()) {
            None => *print,
            Some(pool) => {
                let mut with_pool = Fingerprint::new();
                with_pool.field(print).field(pool.fingerprint());
                with_pool.finish()
            }
        }
    }

    /// What one session finds in a cache and leaves there, with the keys of `store`; `None` for a profile that asks
    /// for client certificates: its clients hold tickets, which say until when their certificates are good.
    #[must_use]
    pub fn cached(&self, store: &KeyStore, hello: &ClientHello) -> Option<Arc<Cached>> {
        if self.clients.is_some() {
            return None;
        }
        let (least, greatest) = self.params.versions();
        let (time, sought) = (self.prepared.time_provider.clone(), Sought::new(hello, least, greatest));
        Some(Arc::new(Cached::new(store, self.print(None), time, sought)))
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

    /// All that a server shows, chooses, and checks of its clients: a ticket is good where this is the same.
    fn fingerprint(&self) -> [u8; 32] {
        let mut print = Fingerprint::new();
        print.field(b"tlsify server ticket 2");
        for identity in self.table.identities() {
            print.field(&[u8::from(identity.is_raw())]);
            print.list(identity.chain());
            print.list(identity.names());
        }
        print.field(&[u8::from(self.table.unknown_name_first())]);
        self.params.add_to(&mut print);
        print.field(&[u8::from(self.params.alpn_mismatch == Some(AlpnMismatch::Ignore))]);
        if let Some(clients) = &self.clients {
            clients.add_to(&mut print);
        }
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
    ///
    /// rustls also refuses a client that does not offer to show a raw public key where one is asked for, so where a
    /// client may show none, those are served by [`ServerProfile::for_client`].
    pub fn needs_hello(&self) -> bool {
        let ignores = self.params.alpn_mismatch == Some(AlpnMismatch::Ignore) && !self.params.alpn.is_empty();
        ignores || self.may_stay_unknown()
    }

    /// The same without asking for raw public keys, for a client that offers to show these types (RFC 7250), none of them
    /// a raw public key, and need not show one. `None`: this profile serves.
    pub fn for_client(&self, offered: Option<&[Offered]>) -> Option<Self> {
        let offers = offered.is_some_and(|types| types.contains(&Offered::RawPublicKey));
        if offers || !self.may_stay_unknown() {
            return None;
        }
        let (table, params, prepared) = (self.table.clone(), self.params.clone(), self.prepared.clone());
        Some(Self { table, params, prepared, clients: None, print: OnceLock::new() })
    }

    /// Whether clients are asked for raw public keys, and may show none.
    fn may_stay_unknown(&self) -> bool {
        self.clients.as_ref().is_some_and(|clients| clients.raw && !clients.mandatory)
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

    /// The first signer that handshakes may have to wait for, if that is anybody: they run beside the loop then.
    pub fn waits_for(&self) -> Option<&str> {
        self.identities().iter().find_map(Identity::waits_for)
    }

    /// Versions, suites and so on.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

impl Clients {
    /// Everything that decides whom we let in, but for the host's pool.
    fn add_to(&self, print: &mut Fingerprint) {
        print.field(if self.mandatory { b"required" } else { b"optional" });
        match &self.trust {
            Trust::Pins => print.field(b"pins"),
            Trust::System => print.field(b"system"),
            Trust::Roots(roots) => print.field(b"roots").field(roots.fingerprint()),
        };
        self.rules.add_to(print);
        print.field(&[u8::from(self.raw), u8::from(self.revocation.is_some())]);
        if let Some(revocation) = &self.revocation {
            revocation.add_to(print);
        }
    }

    fn verifier(&self, witness: &Arc<Witness>, system: Option<&Roots>) -> Result<ClientVerifier, Failure> {
        let roots = match &self.trust {
            Trust::Pins => None,
            Trust::Roots(roots) => Some(roots),
            Trust::System => Some(system.ok_or_else(|| Failure::no_system_roots(Blame::Operator))?),
        };
        Ok(ClientVerifier {
            raw: self.raw,
            chain: roots.map(|roots| Chain { roots: roots.clone(), revocation: self.revocation.clone() }),
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
        raw: false,
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
