//! The first words about a session: the question to its caller, and `established`.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tlsify_protocol::{
    Alpn, Answer, Bytes, CertificateType, Established, ExportValue, FdName, Items, Matched, Sha256, Words,
};
use zeroize::Zeroizing;

use super::super::handoff::{Live, Opening, Until};
use super::super::operator::Profile;
use super::chain_file;
use crate::io::{End, Plain, Poller};
use crate::session::{Facts, Session};
use crate::tls::{AllowRule, ClientHello, Failure, Match, Offer, Pin};

/// Asks the caller what to do with a peer; `None`: it does not speak TLS.
pub(in crate::engine) fn ask(opening: &Opening, hello: Option<&ClientHello>) {
    let offer = hello.map(Offer::new);
    let words = |list: fn(&Offer) -> &Vec<Cow<'static, str>>| -> Vec<&str> {
        offer.iter().flat_map(list).map(AsRef::as_ref).collect()
    };
    let versions = words(|offer| &offer.versions);
    let ciphers = words(|offer| &offer.cipher_suites);
    let groups = words(|offer| &offer.groups);
    let key_shares = words(|offer| &offer.key_shares);
    let schemes = words(|offer| &offer.signature_schemes);
    let alpn: Vec<Alpn<'_>> =
        offer.iter().flat_map(|offer| &offer.alpn).filter_map(|name| Alpn::from_bytes(name)).collect();
    let answer = Answer::ClientHello(tlsify_protocol::ClientHello {
        id: opening.id,
        tls: hello.is_some(),
        server_name: hello.and_then(|hello| hello.server_name.as_deref()),
        alpn: Words::from_slice(&alpn),
        versions: Words::from_slice(&versions),
        ciphers: Words::from_slice(&ciphers),
        groups: Words::from_slice(&groups),
        key_shares: Words::from_slice(&key_shares),
        signature_schemes: Words::from_slice(&schemes),
        ja4: offer.as_ref().map(|offer| offer.ja4.as_str()),
        ech: hello.map(|hello| hello.ech),
    });
    opening.link.send(&answer, Vec::new());
}

/// RFC 9266 §4.2: the label, no context, and the length of tls-exporter.
const CHANNEL_BINDING: (&[u8], usize) = (b"EXPORTER-Channel-Binding", 32);

/// The session is open: its program's side is made or taken, and the caller is told.
///
/// # Errors
/// Something of ours failed, or the agreement is not what the caller can use; nothing was told.
pub(in crate::engine) fn established(live: &mut Live, poller: &Poller) -> Result<(), Failure> {
    let Some(mut opening) = live.opening.take() else {
        return Err(Failure::internal("established twice".to_owned()));
    };
    if opening.learn {
        // The session sees to it that this cannot be. No descriptor is made, whatever it thinks.
        live.opening = Some(opening);
        return Err(Failure::internal("a session opened that was to learn and nothing else".to_owned()));
    }
    match open(live, &mut opening, poller) {
        Ok(opened) => {
            // First, so that who hears it can begin the next one.
            drop(opening.handshake_slot.take());
            tell_established(live, &opening, opened);
            live.slot = Some(opening.session_slot);
            Ok(())
        }
        Err(failure) => {
            live.opening = Some(opening);
            Err(failure)
        }
    }
}

/// What `established` says beside the plain fields.
struct Opened {
    facts: Facts,
    fds: Vec<(FdName, OwnedFd)>,
    exports: Vec<Zeroizing<Vec<u8>>>,
    channel_binding: Option<Zeroizing<[u8; CHANNEL_BINDING.1]>>,
}

fn open(live: &mut Live, opening: &mut Opening, poller: &Poller) -> Result<Opened, Failure> {
    let facts = live.relay.session().take_facts();
    if let Profile::Client(profile) = &opening.profile
        && profile.refuses_alpn_mismatch()
        && facts.alpn.is_none()
    {
        return Err(Failure::no_shared_alpn());
    }
    if let (true, Some(resumption)) = (facts.resumed, opening.resumption()) {
        resumption.note_accepted();
    }
    let session: &Session = live.relay.session();
    let mut exports = Vec::new();
    for wanted in &opening.exports {
        let mut value = Zeroizing::new(vec![0; usize::from(wanted.length)]);
        session.export(&mut value, wanted.label.as_bytes(), wanted.context.as_deref())?;
        exports.push(value);
    }
    let channel_binding = if opening.channel_binding {
        let mut value = Zeroizing::new([0; CHANNEL_BINDING.1]);
        session.export(&mut *value, CHANNEL_BINDING.0, None)?;
        Some(value)
    } else {
        None
    };
    let chain = if opening.chain && !facts.chain.is_empty() { Some(chain_file(&facts)?) } else { None };
    // The program's side comes last: nothing of it is touched if anything above fails.
    let plain = match opening.plain.take() {
        Some(given) => {
            let started = given.start();
            let plain = started
                .map_err(|error| Failure::internal(format!("starting the data descriptors: {error}")))?;
            open_plain(live, plain, poller)?;
            None
        }
        None => Some(make_pair(live, poller)?),
    };
    let fds = [plain.map(|fd| (FdName::Plain, fd)), chain.map(|fd| (FdName::Chain, fd))];
    let fds = fds.into_iter().flatten().collect();
    Ok(Opened { facts, fds, exports, channel_binding })
}

/// The daemon's own plaintext pair; the caller's end is returned.
fn make_pair(live: &mut Live, poller: &Poller) -> Result<OwnedFd, Failure> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| Failure::internal(format!("making the plaintext socket pair: {error}")))?;
    crate::sys::refuse_descriptors(&ours);
    open_plain(live, Plain::Socket(End::pair(ours)), poller)?;
    Ok(theirs)
}

fn open_plain(live: &mut Live, plain: Plain, poller: &Poller) -> Result<(), Failure> {
    live.relay
        .open(plain, poller)
        .map_err(|error| Failure::internal(format!("polling the program's side: {error}")))
}

fn tell_established(live: &mut Live, opening: &Opening, opened: Opened) {
    let Opened { facts, fds, exports, channel_binding } = opened;
    let (names, fds): (Vec<FdName>, Vec<OwnedFd>) = fds.into_iter().unzip();
    let server_name = opening.sent_name().or(facts.server_name);
    let matched: Vec<Matched<'_>> = facts.matched.iter().map(matched).collect();
    let exports: Vec<ExportValue<'_>> = opening
        .exports
        .iter()
        .zip(&exports)
        .map(|(wanted, value)| ExportValue {
            label: &wanted.label,
            context: wanted.context.as_deref().map(Bytes::from_slice),
            value: Bytes::from_slice(value),
        })
        .collect();
    let answer = Answer::Established(Established {
        id: live.id,
        fds: Words::from_slice(&names),
        protocol: facts.protocol,
        cipher: facts.cipher,
        group: facts.group,
        signature: facts.signature,
        level: facts.level,
        alpn: facts.alpn.as_deref().and_then(Alpn::from_bytes),
        server_name: server_name.as_deref(),
        ech: opening.ech_done(),
        resumed: facts.resumed,
        peer: Some(live.brief.peer),
        local: opening.local,
        matched: Items::from_slice(&matched),
        spki_sha256: facts.spki_sha256.map(Sha256),
        certificate_sha256: facts.certificate_sha256.map(Sha256),
        exports: Items::from_slice(&exports),
        channel_binding: channel_binding.map(|value| Sha256(*value)),
        certificate_type: facts.raw_key.then_some(CertificateType::RawPublicKey),
    });
    live.link.queue(&answer, fds);
    live.brief.certificate_until = Until::seconds(match &opening.profile {
        Profile::Server(_) => facts.certificate_until,
        Profile::Client(profile) => profile.identity_until(),
    });
    live.brief.label.clone_from(&opening.label);
    live.peer_until = Until::seconds(facts.chain.first().and_then(|leaf| crate::tls::ends(leaf)));
    live.brief.server_name = server_name.map(String::into_boxed_str);
    live.brief.level = facts.level;
}

fn matched(found: &Match) -> Matched<'_> {
    match found {
        Match::Name(name) => Matched::Name(name),
        Match::Pin(pin) => Matched::Pin(protocol_pin(pin)),
        Match::Allow(rule) => Matched::Allow(match rule {
            AllowRule::Pin(pin) => tlsify_protocol::Allow::Pin(protocol_pin(pin)),
            AllowRule::Dns(name) => tlsify_protocol::Allow::Dns(name),
            AllowRule::Uri(uri) => tlsify_protocol::Allow::Uri(uri),
            AllowRule::Mail(address) => tlsify_protocol::Allow::Mail(address),
        }),
    }
}

fn protocol_pin(pin: &Pin) -> tlsify_protocol::Pin {
    match pin {
        Pin::Spki(hash) => tlsify_protocol::Pin::Spki(Sha256(*hash)),
        Pin::Certificate(hash) => tlsify_protocol::Pin::Certificate(Sha256(*hash)),
    }
}
