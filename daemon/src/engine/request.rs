//! `accept` and `connect`: from a request to a session on its way to a worker. The fourth of the
//! eight stops ends here.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tlsify_protocol::{Blame, Code, FdName, ProfileName, Role, ServerName, Start};

use super::caller::Caller;
use super::handoff::{Ask, Deferred, Export, Handoff, Opening, Prepared, Store, Waiting, Wants};
use super::operator::{Label, Operator, Profile};
use super::parts::{Parts, split};
use super::refusal::Refusal;
use super::worker::Worker;
use crate::io::{
    BothWays, Cache, Destination, Dial, Ends, Family, Given, OneWay, Timeouts, Unconnected, is_at_hand,
    take_net,
};
use crate::policy::{HandshakeSlot, SessionSlot};
use crate::tls::{Ech, ReferenceId, Roots, ServerNameChoice, Version};

/// How long a caller is waited for that was asked and did not say how long. A program that decides by a table
/// answers within a millisecond; a peer waits for ten seconds or more.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

impl Caller {
    /// Begins a session. On a refusal the descriptors that are left in `fds` are the caller of this
    /// function's to close.
    pub(super) async fn start(
        &mut self,
        request: &Start<'_>,
        role: Role,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::draining());
        }
        if self.link.place(request.id).is_some() {
            let text = format!("a session with id {} is open on this control connection", request.id);
            return Err(Refusal::new(Code::IdInUse, Some("id"), text));
        }
        if request.batch {
            self.link.take_batches();
        }
        let since = Instant::now();
        self.may_begin(request, role)?;
        let session_slot = self.footing.account.session()?;
        let handshake_slot = self.footing.account.handshake(since)?;
        let mut parts = split(&request.fds, fds)?;
        match self.prepare(request, role, &mut parts, (session_slot, handshake_slot), since).await {
            Ok(Prepared::Connected(handoff)) => {
                self.worker.dispatch(handoff);
                Ok(())
            }
            Ok(Prepared::Deferred(deferred)) => {
                self.worker.dial(deferred);
                Ok(())
            }
            Ok(Prepared::Waiting(waiting)) => {
                self.worker.wait_for_hello(waiting);
                Ok(())
            }
            Err(refusal) => {
                fds.extend(parts.into_rest());
                Err(refusal)
            }
        }
    }

    /// What rules say of the request before anything of it is looked at.
    fn may_begin(&self, request: &Start<'_>, role: Role) -> Result<(), Refusal> {
        let (ruling, cred) = (&self.footing.ruling, &self.link.cred);
        ruling.role(cred, role)?;
        if request.to.is_some() {
            ruling.connect_to(cred)?;
        }
        if request.profile.is_none() {
            ruling.define(cred)?;
        }
        Ok(())
    }

    /// Everything that can refuse the request. The sockets stay in `parts` until nothing can any more.
    async fn prepare(
        &mut self,
        request: &Start<'_>,
        role: Role,
        parts: &mut Parts,
        (session_slot, handshake_slot): (SessionSlot, HandshakeSlot),
        since: Instant,
    ) -> Result<Prepared, Refusal> {
        let operator = self.operator();
        let (names, server_name, exports) = check(request)?;
        let label = request.profile.and_then(|name| self.label_of(name, &operator));
        let nets = match request.to {
            None => Nets::Connected(parts.inspect(FdName::Net)?),
            Some(to) => Nets::Unconnected(to.into(), parts.inspect_unconnected()?),
        };
        if parts.has(FdName::Plain) {
            parts.inspect(FdName::Plain)?;
        }
        parts.inspect_data()?;
        let (profile, system) = self.profile_of(request, role, !names.is_empty(), &operator, parts).await?;
        let ech = encrypted_hello(request, &profile, &names, &server_name)?;
        let plain = take_plain(&self.worker, parts).await?;
        let resume = self.store(request, role, parts.take(FdName::Tickets)).await?;
        let cache = match (&resume, request.profile) {
            (Some(Store::Keys(_)), Some(name)) => self.cache_of(name, &operator),
            _ => None,
        };
        let opening = Box::new(Opening {
            link: Arc::clone(&self.link),
            id: request.id,
            profile,
            label,
            names,
            server_name,
            ech,
            cache,
            cached: None,
            resume,
            system,
            plain,
            exports,
            channel_binding: request.channel_binding,
            learn: request.learn,
            chain: request.chain,
            bind: request.bind,
            outbound_end: request.outbound_end,
            timeouts: timeouts(request, &operator),
            session_slot,
            local: None,
            handshake_slot: Some(handshake_slot),
        });
        self.send_on(request, opening, nets, parts, since)
    }

    /// The sockets, now that nothing of the request refuses it, and where it goes with them.
    fn send_on(
        &self,
        request: &Start<'_>,
        opening: Box<Opening>,
        nets: Nets,
        parts: &mut Parts,
        since: Instant,
    ) -> Result<Prepared, Refusal> {
        let mut take = || {
            let lost = || Refusal::internal("the network socket was lost".to_owned());
            parts.take(FdName::Net).ok_or_else(lost)
        };
        Ok(match nets {
            Nets::Connected(ends) => {
                let received = request.received.map_or_else(Vec::new, |bytes| bytes.iter().collect());
                match wants(request, opening.cache.is_some()) {
                    None => {
                        let net = take_net(take()?, ends);
                        Prepared::Connected(Handoff {
                            opening,
                            net,
                            received,
                            since,
                            deferred: false,
                            refused: None,
                        })
                    }
                    Some(wants) => {
                        Prepared::Waiting(Waiting { opening, net: take()?, ends, received, since, wants })
                    }
                }
            }
            Nets::Unconnected(to, families) => {
                let sockets: Result<_, Refusal> =
                    families.into_iter().map(|family| Ok((take()?, family))).collect();
                let dial = Dial {
                    to,
                    sockets: Unconnected::new(sockets?, request.fast_open),
                    deadline: since + opening.timeouts.handshake,
                    private: self.worker.shared.private,
                };
                Prepared::Deferred(Deferred { opening, dial, since })
            }
        })
    }

    /// The profile that the request names or says, and the system's CA pool if it needs that.
    async fn profile_of(
        &mut self,
        request: &Start<'_>,
        role: Role,
        with_names: bool,
        operator: &Arc<Operator>,
        parts: &mut Parts,
    ) -> Result<(Profile, Option<Roots>), Refusal> {
        let profile = match request.profile {
            Some(name) => self.named_profile(name, role, with_names, operator)?,
            None => self.build_profile(role, &request.tls, operator, parts).await?.0,
        };
        let system = match self.system_roots(&profile).await {
            // A first contact needs nobody's authorities: that they cannot be used is part of its answer.
            Err(refusal) if request.learn && refusal.code == Code::TrustUnusable => None,
            system => system?,
        };
        Ok((profile, system))
    }

    /// The profile of this name: the caller's own first, then the operator's.
    pub(super) fn named_profile(
        &mut self,
        name: ProfileName<'_>,
        role: Role,
        with_names: bool,
        operator: &Operator,
    ) -> Result<Profile, Refusal> {
        let name = name.as_str();
        let profile = if let Some(defined) = self.profiles.get_mut(name) {
            // Floors and rules bind sessions, not definitions: there may have been others then.
            let (ruling, cred) = (&self.footing.ruling, &self.link.cred);
            ruling.define(cred)?;
            if let Some(store) = &defined.store {
                ruling.store(cred, store)?;
            }
            let (floor, level) = self.footing.floor();
            if let Some(profile) = defined.profile.under(floor, level)? {
                defined.profile = profile;
            }
            defined.profile.clone()
        } else {
            let Some(known) = operator.profiles.get(name) else {
                if operator.withheld.iter().any(|withheld| withheld == name) {
                    self.footing.ruling.profile(&self.link.cred, name)?;
                    let text = format!("uid {} may not use profile \"{name}\"", self.link.cred.uid);
                    return Err(Refusal::new(Code::ProfileNotAllowed, Some("profile"), text));
                }
                let text = format!(
                    "no profile \"{name}\" was defined on this control connection or by the operator"
                );
                return Err(Refusal::new(Code::UnknownProfile, Some("profile"), text));
            };
            self.footing.ruling.profile(&self.link.cred, name)?;
            if !known.grant.allows(&self.link.cred) {
                let text = format!("uid {} may not use profile \"{name}\"", self.link.cred.uid);
                return Err(Refusal::new(Code::ProfileNotAllowed, Some("profile"), text));
            }
            operator.profile(name, known, &self.footing.ruling)?
        };
        match (&profile, role) {
            (Profile::Server(_), Role::Server) => Ok(profile),
            (Profile::Client(client), Role::Client) => {
                if with_names && client.expects_raw_key() {
                    let text = format!("profile \"{name}\" expects a raw public key, which names nobody");
                    return Err(Refusal::new(Code::KeyConflict, Some("name"), text));
                }
                if with_names && !client.names().is_empty() {
                    let text =
                        format!("profile \"{name}\" has names of its own, which a request cannot replace");
                    return Err(Refusal::new(Code::KeyConflict, Some("name"), text));
                }
                if !with_names && client.names().is_empty() && !client.has_pins() {
                    let text = format!(
                        "profile \"{name}\" has no names or pins, so the request must say whom it means"
                    );
                    return Err(Refusal::new(Code::MissingKey, Some("name"), text));
                }
                Ok(profile)
            }
            _ => {
                let text = format!("profile \"{name}\" is for the other role");
                Err(Refusal::new(Code::ProfileRole, Some("profile"), text))
            }
        }
    }

    /// What sessions with the profile of this name are listed under.
    pub(super) fn label_of(&self, name: ProfileName<'_>, operator: &Operator) -> Option<Label> {
        let name = name.as_str();
        let own = self.profiles.get(name).map(|defined| &defined.label);
        own.or_else(|| operator.profiles.get(name).map(|known| &known.label)).cloned()
    }

    /// The cache of the operator's profile of this name, which the caller's own hides.
    pub(super) fn cache_of(&self, name: ProfileName<'_>, operator: &Operator) -> Option<Arc<Cache>> {
        let name = name.as_str();
        let known = operator.profiles.get(name).filter(|_| !self.profiles.contains_key(name))?;
        known.cache.clone()
    }

    /// The system's CA pool, for a profile that needs it.
    pub(super) async fn system_roots(&self, profile: &Profile) -> Result<Option<Roots>, Refusal> {
        let needed = match profile {
            Profile::Server(server) => server.needs_system_roots(),
            Profile::Client(client) => client.needs_system_roots(),
        };
        if !needed {
            return Ok(None);
        }
        let pool = Arc::clone(&self.worker.shared.system);
        if let Some(roots) = pool.fresh() {
            return Ok(Some(roots));
        }
        let (doing, load) = ("loading the system's CA pool", move || pool.load());
        // The host's own files: a daemon that serves one session has nothing else to do meanwhile.
        let loaded = self.worker.wait_for(doing, self.worker.is_alone(), load).await?;
        // The host's pool is the operator's: the caller has nothing to correct.
        let unusable = |text| Refusal::new(Code::TrustUnusable, Some("trust"), text).blaming(Blame::Operator);
        loaded.map(Some).map_err(unusable)
    }
}

/// How long to wait for what: as the request says, else the operator.
fn timeouts(request: &Start<'_>, operator: &Operator) -> Timeouts {
    Timeouts {
        handshake: request.handshake_timeout.unwrap_or(operator.timeouts.handshake),
        idle: request.idle_timeout.or(operator.timeouts.idle),
        linger: operator.timeouts.linger,
    }
}

/// Who wants to see the ClientHello before TLS starts, if anybody does.
fn wants(request: &Start<'_>, has_cache: bool) -> Option<Wants> {
    let ask = request.ask.then(|| Ask {
        timeout: request.ask_timeout.unwrap_or(ASK_TIMEOUT),
        default: request.ask_default.unwrap_or_default(),
        has_store: request.resume.is_some() || request.fds.iter().any(|name| name == FdName::Tickets),
    });
    (ask.is_some() || has_cache).then_some(Wants { ask })
}

/// What the `net` of a request are.
enum Nets {
    Connected(Ends),
    Unconnected(Destination, Vec<Family>),
}

type Checked = (Vec<ReferenceId>, ServerNameChoice, Vec<Export>);

/// What the text of a request says, as types that cannot be wrong.
fn check(request: &Start<'_>) -> Result<Checked, Refusal> {
    let names = request.names.iter().map(reference).collect::<Result<_, _>>()?;
    let server_name = match request.server_name {
        None => ServerNameChoice::FirstDns,
        Some(ServerName::Omit) => ServerNameChoice::Omit,
        Some(ServerName::Dns(name)) => ServerNameChoice::parse(name)
            .map_err(|error| Refusal::new(Code::BadValue, Some("server-name"), error.to_string()))?,
    };
    let exports = request
        .exports
        .iter()
        .map(|wanted| Export {
            label: wanted.label.to_owned(),
            context: wanted.context.map(|context| context.iter().collect()),
            length: wanted.length,
        })
        .collect();
    Ok((names, server_name, exports))
}

/// What the request says of Encrypted Client Hello, if the session can have it.
fn encrypted_hello(
    request: &Start<'_>,
    profile: &Profile,
    names: &[ReferenceId],
    server_name: &ServerNameChoice,
) -> Result<Option<Ech>, Refusal> {
    let ech = match (request.ech_config, request.ech) {
        (Some(list), _) => Ech::from_list(&list.iter().collect::<Vec<_>>())?,
        (None, Some(tlsify_protocol::Ech::Grease)) => Ech::grease()?,
        (None, None) => return Ok(None),
    };
    let conflict = |text: &str| Refusal::new(Code::KeyConflict, Some(ech.key()), text.to_owned());
    let Profile::Client(client) = profile else { return Err(conflict("only connect has it")) };
    if client.params().versions().1 < Version::Tls13 {
        return Err(conflict(
            "Encrypted Client Hello is of TLS 1.3, which the other keys or the profile rule out",
        ));
    }
    if ech.hides() && client.sni(names, server_name).sent.is_none() {
        return Err(conflict("there is no server_name to hide, say a DNS name with name or server-name"));
    }
    Ok(Some(ech))
}

/// A reference identifier of a request.
fn reference(text: &str) -> Result<ReferenceId, Refusal> {
    ReferenceId::parse(text).map_err(|error| Refusal::new(Code::BadValue, Some("name"), error.to_string()))
}

/// The program's side, if the caller gives it. What is not a socket is looked at beside the loop.
async fn take_plain(worker: &Worker, parts: &mut Parts) -> Result<Option<Given>, Refusal> {
    if let Some(fd) = parts.take(FdName::Plain) {
        return Ok(Some(Given::Socket(BothWays::new(fd))));
    }
    let (inbound, outbound) = (parts.take(FdName::Inbound), parts.take(FdName::Outbound));
    if inbound.is_none() && outbound.is_none() {
        return Ok(None);
    }
    let at_hand = || inbound.iter().chain(&outbound).all(is_at_hand);
    let here = worker.is_alone() && at_hand();
    let checked = move || {
        let check = |name: &str, fd: Option<OwnedFd>, writable| {
            let end = fd.map(|fd| OneWay::check(fd, writable)).transpose();
            end.map_err(|error| Refusal::descriptor(name, &error))
        };
        Ok(Given::Split {
            inbound: check("inbound", inbound, true)?,
            outbound: check("outbound", outbound, false)?,
        })
    };
    worker.wait_for("looking at the data descriptors", here, checked).await?.map(Some)
}
