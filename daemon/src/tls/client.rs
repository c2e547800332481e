//! The client role: a profile that is prepared once, and the configuration of each session.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::compress::CompressionCache;
use tlsify_protocol::{AlpnMismatch, Blame, CertificateType, Code, Level, StapledOcsp, Version};

use super::chain::Chain;
use super::ech::Ech;
use super::failure::Failure;
use super::identity::Identity;
use super::learn::LearningVerifier;
use super::params::Params;
use super::params_spec::ParamsError;
use super::reference::ReferenceId;
use super::revocation::Revocation;
use super::roots::Roots;
use super::signing::{ClientIdentity, can_sign};
use super::sni::{ServerNameChoice, Sni};
use super::spec::SpecError;
use super::tickets::{Fingerprint, Resuming, TicketStore};
use super::trust::{Pin, Trust};
use super::verify_server::{ServerVerifier, Signatures};
use super::witness::Witness;

/// A client as an operator or a caller describes it.
#[derive(Clone, Debug)]
pub struct ClientSpec {
    /// What is shown to servers that ask for a client certificate.
    pub identity: Option<Identity>,
    /// Versions, suites and so on.
    pub params: Params,
    /// What the server is to show. Not a certificate: it takes [`Trust::Pins`], pins of keys, no names, and TLS 1.3.
    pub certificate_type: CertificateType,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// When not empty, one of them is the server's certificate or key; in addition to chain and names.
    pub pins: Vec<Pin>,
    /// Reference identifiers, one of which must match. May be empty in a profile whose sessions bring their
    /// own, and with pins.
    pub names: Vec<ReferenceId>,
    /// Revocation lists for the server's chain, if there are any.
    pub revocation: Option<Revocation>,
    /// Whether the server has to staple an OCSP response.
    pub stapled_ocsp: StapledOcsp,
}

/// A client that can open sessions.
#[derive(Debug)]
pub struct ClientProfile {
    /// The server shows a raw public key.
    raw: bool,
    trust: Trust,
    pins: Arc<[Pin]>,
    names: Vec<ReferenceId>,
    params: Params,
    signatures: Signatures,
    identity: Option<Identity>,
    /// Complete but for the verifier: this one refuses everybody.
    prepared: ClientConfig,
    revocation: Option<Arc<Revocation>>,
    stapled_ocsp: StapledOcsp,
}

impl ClientProfile {
    /// Checks a specification and prepares it.
    ///
    /// # Errors
    /// [`SpecError`] when it contradicts itself or lacks something.
    pub fn build(spec: ClientSpec) -> Result<Self, SpecError> {
        if matches!(spec.trust, Trust::Pins) && spec.pins.is_empty() {
            return Err(SpecError::NoPins);
        }
        check_pinned(&spec.trust, spec.revocation.as_ref(), spec.stapled_ocsp)?;
        let mut params = spec.params;
        super::raw_keys::check_ours(spec.identity.as_slice(), &mut params)?;
        let raw = spec.certificate_type == CertificateType::RawPublicKey;
        if raw {
            super::raw_keys::check_theirs(&spec.trust, &spec.pins, &spec.names, &[], &mut params)?;
        }
        let everything = super::params::provider().signature_verification_algorithms.supported_schemes();
        if let Some(identity) = &spec.identity
            && !can_sign(&*identity.certified().key, &everything, params.schemes.as_deref())
        {
            return Err(SpecError::KeyCannotSign(1));
        }
        let signatures = Signatures::new(&params.provider, params.verify_schemes());
        let prepared = configure(&params, &signatures, spec.identity.as_ref(), None);
        Ok(Self {
            raw,
            trust: spec.trust,
            pins: spec.pins.into(),
            names: spec.names,
            params,
            signatures,
            identity: spec.identity,
            prepared,
            revocation: spec.revocation.map(Arc::new),
            stapled_ocsp: spec.stapled_ocsp,
        })
    }

    /// The same under another floor of the host's; `None`: this one is as it would be then.
    ///
    /// # Errors
    /// [`ParamsError`] when what the profile asks for is below it.
    pub fn under(&self, floor: Version, level: Option<Level>) -> Result<Option<Self>, ParamsError> {
        let Some(params) = self.params.under(floor, level)? else { return Ok(None) };
        let signatures = self.signatures.clone();
        let prepared = configure(&params, &signatures, self.identity.as_ref(), None);
        let (trust, pins, names) = (self.trust.clone(), self.pins.clone(), self.names.clone());
        Ok(Some(Self {
            raw: self.raw,
            trust,
            pins,
            names,
            params,
            signatures,
            identity: self.identity.clone(),
            prepared,
            revocation: self.revocation.clone(),
            stapled_ocsp: self.stapled_ocsp,
        }))
    }

    /// For tests: what its tickets are bound to.
    #[cfg(test)]
    pub(crate) fn print_for_tests(&self) -> [u8; 32] {
        let sni = self.sni(&[], &ServerNameChoice::FirstDns);
        let verifier = self.verifier(&[], &Witness::new(), None).expect("it needs no system roots");
        self.fingerprint(&verifier, &sni, false)
    }

    /// For tests: another clock.
    #[cfg(test)]
    pub(crate) fn set_clock(&mut self, clock: Arc<dyn rustls::time_provider::TimeProvider>) {
        self.prepared.time_provider = clock;
    }

    /// About how many bytes of certificates, lists and, if `trust` is not somebody else's, authorities it holds.
    pub fn weight(&self, trust: bool) -> u64 {
        self.identity.as_ref().map_or(0, Identity::weight)
            + if trust { self.trust.weight() } else { 0 }
            + self.revocation.as_ref().map_or(0, |lists| lists.crls.weight().into())
    }

    /// When the certificate that it shows to servers that ask ends, in seconds since 1970.
    pub fn identity_until(&self) -> Option<u64> {
        let identity = self.identity.as_ref().filter(|identity| !identity.is_raw())?;
        Some(identity.not_after().as_secs())
    }

    /// The profile's own reference identifiers.
    pub fn names(&self) -> &[ReferenceId] {
        &self.names
    }

    /// Whether the server shows a raw public key, which has no names to compare any with.
    pub fn expects_raw_key(&self) -> bool {
        self.raw
    }

    /// The signer that handshakes may have to wait for, if that is anybody: they run beside the loop then.
    pub fn waits_for(&self) -> Option<&str> {
        self.identity.as_ref().and_then(Identity::waits_for)
    }

    /// Whether the profile has pins.
    pub fn has_pins(&self) -> bool {
        !self.pins.is_empty()
    }

    /// Versions, suites and so on.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Whether sessions need the host's pool of authorities.
    pub fn needs_system_roots(&self) -> bool {
        matches!(self.trust, Trust::System)
    }

    /// Whether a server that chooses no application protocol is refused: the session layer does that after
    /// the handshake, with [`Failure::no_shared_alpn`], because rustls has no such setting.
    pub fn refuses_alpn_mismatch(&self) -> bool {
        self.params.alpn_mismatch == Some(AlpnMismatch::Refuse) && !self.params.alpn.is_empty()
    }

    /// The configuration for one session: a shallow copy whose verifier checks for `names` (the profile's own
    /// when empty) and writes into `witness`. `system` is the host's pool, needed when
    /// [`ClientProfile::needs_system_roots`].
    ///
    /// # Errors
    /// [`Failure`] with `missing-key` when there is neither a name nor a pin, because a chain alone does not
    /// say who the peer is; with `trust-unusable` when the host's pool is needed and there is none.
    pub fn session_config(
        &self,
        names: &[ReferenceId],
        witness: &Arc<Witness>,
        system: Option<&Roots>,
    ) -> Result<Arc<ClientConfig>, Failure> {
        let verifier = self.verifier(names, witness, system)?;
        let mut config = self.prepared.clone();
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        Ok(Arc::new(config))
    }

    /// The same for a session that resumes from `store`, and keeps there what the server gives it. `sni` is
    /// what [`ClientProfile::sni`] said, `exports` as for the session.
    ///
    /// # Errors
    /// As [`ClientProfile::session_config`].
    pub fn resuming_config(
        &self,
        names: &[ReferenceId],
        sni: &Sni,
        witness: &Arc<Witness>,
        system: Option<&Roots>,
        store: &TicketStore,
        exports: bool,
    ) -> Result<(Arc<ClientConfig>, Resuming), Failure> {
        let verifier = self.verifier(names, witness, system)?;
        let print = self.fingerprint(&verifier, sni, exports);
        let mut config = self.prepared.clone();
        let resuming = Resuming::new(store, print, verifier, &mut config);
        Ok((Arc::new(config), resuming))
    }

    /// The same for a session that learns what could be pinned, and never opens: it shows no certificate of ours, and
    /// resumes nothing. Without the host's pool where that is needed, nobody would have passed.
    ///
    /// # Errors
    /// [`Failure`] with `missing-key` as [`ClientProfile::session_config`].
    pub fn learning_config(
        &self,
        names: &[ReferenceId],
        witness: &Arc<Witness>,
        system: Option<&Roots>,
    ) -> Result<Arc<ClientConfig>, Failure> {
        // A notebook of its own: what is not proved must not get into the session's.
        let (verifier, complaint) = match self.verifier(names, &Witness::new(), system) {
            Ok(verifier) => (verifier, None),
            Err(failure) if failure.code == Code::TrustUnusable => (nobody(&self.signatures), Some(failure)),
            Err(failure) => return Err(failure),
        };
        let against = match self.trust {
            Trust::System => "this host's authorities",
            Trust::Roots(_) => "the authorities that were given",
            Trust::Pins => "the pins",
        };
        let mut config = self.prepared.clone();
        let verifier = LearningVerifier::new(verifier, against, witness, complaint);
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        config.client_auth_cert_resolver = Arc::new(ClientIdentity::nobody(self.identity.as_ref()));
        Ok(Arc::new(config))
    }

    /// The same for a session with Encrypted Client Hello, which is of TLS 1.3 and hides the name in `sni` if `ech` does; with
    /// `store`, as [`ClientProfile::resuming_config`]. The profile allows TLS 1.3 (see [`Params::versions`]), and there is a
    /// name to hide.
    ///
    /// # Errors
    /// As [`ClientProfile::session_config`].
    #[expect(clippy::too_many_arguments, reason = "what the two others take, and one more")]
    pub fn ech_config(
        &self,
        ech: &Ech,
        names: &[ReferenceId],
        sni: &Sni,
        witness: &Arc<Witness>,
        system: Option<&Roots>,
        store: Option<&TicketStore>,
        exports: bool,
    ) -> Result<(Arc<ClientConfig>, Option<Resuming>), Failure> {
        let hidden = ech.hides().then(|| sni.name.clone());
        let verifier = ServerVerifier { hidden, ..self.verifier(names, witness, system)? };
        let mut config = configure(&self.params, &self.signatures, self.identity.as_ref(), Some(ech));
        config.time_provider = Arc::clone(&self.prepared.time_provider);
        let resuming = match store {
            None => {
                config.dangerous().set_certificate_verifier(Arc::new(verifier));
                None
            }
            Some(store) => {
                let print = self.fingerprint(&verifier, sni, exports);
                Some(Resuming::new(store, print, verifier, &mut config))
            }
        };
        Ok((Arc::new(config), resuming))
    }

    fn verifier(
        &self,
        names: &[ReferenceId],
        witness: &Arc<Witness>,
        system: Option<&Roots>,
    ) -> Result<ServerVerifier, Failure> {
        let names = if names.is_empty() { &self.names } else { names };
        if self.raw && !names.is_empty() {
            let why = "a raw public key names nobody, a pin says who is meant";
            return Err(Failure::spec(&SpecError::RawKeys { about: "name", why }, Blame::Caller));
        }
        if names.is_empty() && self.pins.is_empty() {
            return Err(Failure::spec(&SpecError::NobodyMeant, Blame::Caller));
        }
        let roots = match &self.trust {
            Trust::Pins => None,
            Trust::Roots(roots) => Some(roots.clone()),
            Trust::System => Some(system.ok_or_else(|| Failure::no_system_roots(Blame::Operator))?.clone()),
        };
        Ok(ServerVerifier {
            raw: self.raw,
            chain: roots.map(|roots| Chain { roots, revocation: self.revocation.clone() }),
            stapled_ocsp: self.stapled_ocsp,
            names: names.to_vec(),
            pins: self.pins.clone(),
            signatures: self.signatures.clone(),
            witness: witness.clone(),
            hidden: None,
        })
    }

    /// All that a session checks and shows: only who has the same may use its tickets.
    fn fingerprint(&self, verifier: &ServerVerifier, sni: &Sni, exports: bool) -> [u8; 32] {
        let mut print = Fingerprint::new();
        print.field(&[u8::from(self.raw), u8::from(self.identity.as_ref().is_some_and(Identity::is_raw))]);
        print.field(match self.trust {
            Trust::System => b"system",
            Trust::Roots(_) => b"roots",
            Trust::Pins => b"pins",
        });
        print.list(verifier.chain.iter().map(|chain| chain.roots.fingerprint()));
        print.field(&[
            u8::from(self.revocation.is_some()),
            u8::from(self.stapled_ocsp == StapledOcsp::Required),
        ]);
        if let Some(revocation) = &self.revocation {
            revocation.add_to(&mut print);
        }
        print.list(verifier.names.iter().map(|name| name.as_text().into_owned()));
        print.list(self.pins.iter().map(|pin| pin.to_field()));
        print.list(&sni.sent);
        print.list(self.identity.iter().flat_map(Identity::chain));
        self.params.add_to(&mut print);
        // Exporter values need the extended master secret (RFC 7627 section 5.4), which a session may lack that was
        // opened without asking for them.
        print.field(&[u8::from(exports)]);
        // What was got in hiding is not shown in the open.
        print.field(&[u8::from(verifier.hidden.is_some())]);
        print.finish()
    }

    /// What to tell rustls about server_name for these reference identifiers (the profile's own when empty).
    pub fn sni(&self, names: &[ReferenceId], choice: &ServerNameChoice) -> Sni {
        choice.for_names(if names.is_empty() { &self.names } else { names })
    }
}

/// Who trusts pins alone looks at no chain, and revocation belongs to one.
fn check_pinned(
    trust: &Trust,
    revocation: Option<&Revocation>,
    stapled_ocsp: StapledOcsp,
) -> Result<(), SpecError> {
    match (trust, revocation, stapled_ocsp) {
        (Trust::Pins, Some(_), _) => Err(SpecError::WithPins("crl")),
        (Trust::Pins, None, StapledOcsp::Required) => Err(SpecError::WithPins("stapled-ocsp")),
        _ => Ok(()),
    }
}

/// The whole configuration, in one place. What is not set here is rustls' default: no early data, no key log,
/// no extraction of secrets, an application protocol that was not offered is refused.
fn configure(
    params: &Params,
    signatures: &Signatures,
    identity: Option<&Identity>,
    ech: Option<&Ech>,
) -> ClientConfig {
    // Replaced in every session: forgetting that refuses everybody.
    let nobody = nobody(signatures);
    let builder = ClientConfig::builder_with_provider(params.provider.clone());
    let builder = match ech {
        None => builder.with_protocol_versions(&params.versions),
        // Of TLS 1.3 alone.
        Some(ech) => builder.with_ech(ech.mode()),
    };
    let mut config = match builder {
        Ok(builder) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(nobody))
            .with_client_cert_resolver(Arc::new(ClientIdentity::new(identity, params.schemes.as_ref()))),
        // Params::build has made sure that every version has a suite and a group.
        Err(error) => unreachable!("checked parameters: {error}"),
    };
    config.alpn_protocols.clone_from(&params.alpn);
    config.max_fragment_size = params.rustls_fragment();
    config.require_ems = params.require_ems;
    // What a store of the caller's replaces, and nothing else does.
    config.resumption = Resumption::disabled();
    config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
    config
}

/// Refuses everybody. Without a name, a chain and a pin it would check nothing, so it has a pin that nothing hashes to.
fn nobody(signatures: &Signatures) -> ServerVerifier {
    ServerVerifier {
        raw: false,
        chain: None,
        stapled_ocsp: StapledOcsp::Optional,
        names: Vec::new(),
        pins: Arc::new([Pin::Certificate([0; 32])]),
        signatures: signatures.clone(),
        witness: Witness::new(),
        hidden: None,
    }
}
