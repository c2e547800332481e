//! Messages to bytes, keys in the order of PROTOCOL.md's tables.

use core::fmt::Write as _;

use crate::base64;
use crate::error::{Flaw, WriteError};
use crate::keys::Verb;
use crate::limits::MAX_PACKET;
use crate::lines::is_plain;
use crate::list::{Items, Words};
use crate::message::{
    Answer, Choice, Choose, ClientHello, Define, Defined, Ended, Established, Failed, Forget, Hello, Refused,
    Request, Start, StatusAnswer, StatusQuery, TlsKeys,
};
use crate::rules;
use crate::value::{
    Action, Alert, AlertText, Ask, Bind, ChannelBinding, Code, Millis, OutboundEnd, Role, Scope, TlsExporter,
    Value,
};

impl Request<'_> {
    /// Writes the packet to the front of `buf` and returns its length in bytes.
    ///
    /// # Errors
    /// The buffer is too small, or the daemon would refuse the request; `buf` is then of no use.
    pub fn write(&self, buf: &mut [u8]) -> Result<usize, WriteError> {
        let mut to = Packet::begin(buf, self.verb())?;
        match self {
            Self::Define(define) => to.define(define)?,
            Self::Accept(start) => to.start(start, Role::Server)?,
            Self::Connect(start) => to.start(start, Role::Client)?,
            Self::Cancel { id } => to.put("id", id)?,
            Self::Status(query) => to.status_query(query)?,
            Self::Forget(forget) => to.forget(forget)?,
            Self::Choose(choose) => to.choose(choose)?,
        }
        Ok(to.0.len())
    }
}

impl Answer<'_> {
    /// Writes the packet to the front of `buf` and returns its length in bytes.
    ///
    /// # Errors
    /// The buffer is too small, or a caller would not accept the answer; `buf` is then of no use.
    pub fn write(&self, buf: &mut [u8]) -> Result<usize, WriteError> {
        let mut to = Packet::begin(buf, self.verb())?;
        match self {
            Self::Hello(hello) => to.hello(hello)?,
            Self::Defined(defined) => to.defined(defined)?,
            Self::Refused(refused) => to.refused(refused)?,
            Self::Failed(failed) => to.failed(failed)?,
            Self::Established(established) => to.established(established)?,
            Self::Ended(ended) => to.ended(ended)?,
            Self::Status(status) => to.status_answer(status)?,
            Self::Forgotten { id, stores } => {
                to.put("id", id)?;
                to.put("stores", stores)?;
            }
            Self::ClientHello(hello) => to.client_hello(hello)?,
        }
        Ok(to.0.len())
    }
}

/// A packet that is being written.
struct Packet<'b>(Out<'b>);

impl<'b> Packet<'b> {
    fn begin(buf: &'b mut [u8], verb: Verb) -> Result<Self, WriteError> {
        let room = buf.len().min(MAX_PACKET);
        let mut to = Self(Out { buf: buf.get_mut(..room).unwrap_or_default(), len: 0 });
        for part in ["tlsify/1 ", verb.as_str(), "\n"] {
            to.0.push(part.as_bytes()).map_err(|_| WriteError::NoRoom)?;
        }
        Ok(to)
    }

    fn define(&mut self, define: &Define<'_>) -> Result<(), WriteError> {
        rules::define(define)?;
        self.put("id", &define.id)?;
        self.put("profile", &define.profile)?;
        self.put("role", &define.role)?;
        self.words("fds", &define.fds)?;
        self.maybe("resume", define.resume)?;
        self.tls(&define.tls)
    }

    fn start(&mut self, start: &Start<'_>, role: Role) -> Result<(), WriteError> {
        rules::start(start, role)?;
        self.put("id", &start.id)?;
        self.words("fds", &start.fds)?;
        self.maybe("profile", start.profile)?;
        self.items("name", &start.names)?;
        self.maybe("server-name", start.server_name)?;
        self.maybe("ech-config", start.ech_config)?;
        self.maybe("ech", start.ech)?;
        self.maybe("to", start.to)?;
        self.maybe("fast-open", start.fast_open.then_some(true))?;
        self.maybe("resume", start.resume)?;
        self.maybe("bind", Some(start.bind).filter(|&bind| bind != Bind::default()))?;
        let end = Some(start.outbound_end).filter(|&end| end != OutboundEnd::default());
        self.maybe("outbound-end", end)?;
        self.maybe("batch", start.batch.then_some(true))?;
        self.maybe("handshake-timeout", start.handshake_timeout.map(Millis))?;
        self.maybe("idle-timeout", start.idle_timeout.map(Millis))?;
        self.maybe("chain", start.chain.then_some(true))?;
        self.items("export", &start.exports)?;
        self.maybe("channel-binding", start.channel_binding.then_some(TlsExporter))?;
        self.maybe("received", start.received)?;
        self.maybe("learn", start.learn.then_some(true))?;
        self.maybe("ask", start.ask.then_some(Ask::ClientHello))?;
        self.maybe("ask-timeout", start.ask_timeout.map(Millis))?;
        self.maybe("ask-default", start.ask_default)?;
        self.tls(&start.tls)
    }

    fn tls(&mut self, tls: &TlsKeys<'_>) -> Result<(), WriteError> {
        self.maybe("min", tls.min)?;
        self.maybe("max", tls.max)?;
        self.maybe("level", tls.level)?;
        self.maybe("ciphers", tls.ciphers)?;
        self.maybe("groups", tls.groups)?;
        self.maybe("signature-schemes", tls.signature_schemes)?;
        self.maybe("alpn", tls.alpn)?;
        self.maybe("alpn-mismatch", tls.alpn_mismatch)?;
        self.maybe("max-fragment", tls.max_fragment)?;
        self.maybe("extended-master-secret", tls.extended_master_secret)?;
        self.maybe("trust", tls.trust)?;
        self.items("pin", &tls.pins)?;
        self.maybe("client-certificate", tls.client_certificate)?;
        self.items("allow", &tls.allow)?;
        self.maybe("unknown-name", tls.unknown_name)?;
        self.maybe("certificate-type", tls.certificate_type)?;
        self.maybe("key-update-bytes", tls.key_update_bytes)?;
        self.maybe("key-update-interval", tls.key_update_interval.map(Millis))?;
        self.maybe("crl-check", tls.crl_check)?;
        self.maybe("crl-unknown", tls.crl_unknown)?;
        self.maybe("crl-stale", tls.crl_stale)?;
        self.maybe("stapled-ocsp", tls.stapled_ocsp)
    }

    fn status_query(&mut self, query: &StatusQuery) -> Result<(), WriteError> {
        self.put("id", &query.id)?;
        self.maybe("scope", Some(query.scope).filter(|&scope| scope != Scope::default()))?;
        self.maybe("sessions", query.sessions.then_some(true))?;
        self.maybe("stores", query.stores.then_some(true))?;
        self.maybe("callers", query.callers.then_some(true))
    }

    fn hello(&mut self, hello: &Hello<'_>) -> Result<(), WriteError> {
        self.put("versions", &hello.versions)?;
        self.put("daemon", &hello.daemon)?;
        self.words("features", &hello.features)?;
        self.put("max-packet", &hello.max_packet)?;
        self.put("max-descriptors", &hello.max_descriptors)?;
        self.put("max-sessions", &hello.max_sessions)?;
        self.put("max-handshakes", &hello.max_handshakes)?;
        self.put("max-profiles", &hello.max_profiles)?;
        self.put("floor", &hello.floor)?;
        self.maybe("level", hello.level)
    }

    fn defined(&mut self, defined: &Defined<'_>) -> Result<(), WriteError> {
        self.put("id", &defined.id)?;
        self.put("profile", &defined.profile)?;
        self.items("warning", &defined.warnings)
    }

    fn refused(&mut self, refused: &Refused<'_>) -> Result<(), WriteError> {
        self.maybe("id", refused.id)?;
        self.put("code", &refused.code)?;
        self.put("blame", &refused.blame)?;
        self.maybe("about", refused.about)?;
        self.maybe("text", Some(refused.text).filter(|text| !text.is_empty()))
    }

    fn failed(&mut self, failed: &Failed<'_>) -> Result<(), WriteError> {
        rules::failed(failed)?;
        self.put("id", &failed.id)?;
        self.put("code", &failed.code)?;
        self.put("blame", &failed.blame)?;
        self.put("socket", &failed.socket)?;
        self.alert(failed.alert)?;
        self.maybe("spki-sha256", failed.spki_sha256)?;
        self.maybe("certificate-sha256", failed.certificate_sha256)?;
        self.maybe("ech-retry", failed.ech_retry)?;
        self.words("fds", &failed.fds)?;
        self.maybe("text", Some(failed.text).filter(|text| !text.is_empty()))?;
        self.maybe("would", failed.would)?;
        self.items("note", &failed.notes)
    }

    fn established(&mut self, established: &Established<'_>) -> Result<(), WriteError> {
        rules::established(established)?;
        self.put("id", &established.id)?;
        self.words("fds", &established.fds)?;
        self.put("protocol", &established.protocol)?;
        self.put("cipher", &established.cipher)?;
        self.maybe("group", established.group)?;
        self.maybe("signature", established.signature)?;
        self.maybe("level", established.level)?;
        self.maybe("alpn", established.alpn)?;
        self.maybe("server-name", established.server_name)?;
        self.maybe("ech", established.ech)?;
        self.put("resumed", &established.resumed)?;
        self.maybe("peer", established.peer)?;
        self.maybe("local", established.local)?;
        self.items("matched", &established.matched)?;
        self.maybe("spki-sha256", established.spki_sha256)?;
        self.maybe("certificate-sha256", established.certificate_sha256)?;
        self.items("export", &established.exports)?;
        self.maybe("channel-binding", established.channel_binding.map(ChannelBinding))?;
        self.maybe("certificate-type", established.certificate_type)
    }

    fn ended(&mut self, ended: &Ended<'_>) -> Result<(), WriteError> {
        rules::ended(ended)?;
        self.put("id", &ended.id)?;
        self.put("how", &ended.how)?;
        self.put("in", &ended.bytes_in)?;
        self.put("out", &ended.bytes_out)?;
        self.alert(ended.alert)?;
        self.maybe("code", ended.code)?;
        self.maybe("blame", ended.blame)?;
        self.maybe("text", ended.text)
    }

    fn forget(&mut self, forget: &Forget<'_>) -> Result<(), WriteError> {
        rules::forget(forget)?;
        self.put("id", &forget.id)?;
        self.maybe("store", forget.store)?;
        self.words("fds", &forget.fds)?;
        self.maybe("role", forget.role)
    }

    fn choose(&mut self, choose: &Choose<'_>) -> Result<(), WriteError> {
        self.put("id", &choose.id)?;
        match choose.choice {
            Choice::Own => self.put("action", &Action::Own),
            Choice::Profile(profile) => {
                self.put("action", &Action::Profile)?;
                self.put("profile", &profile)
            }
            Choice::Refuse(alert) => {
                self.put("action", &Action::Refuse)?;
                self.put("alert", &alert)
            }
            Choice::GiveBack => self.put("action", &Action::GiveBack),
        }
    }

    fn client_hello(&mut self, hello: &ClientHello<'_>) -> Result<(), WriteError> {
        self.put("id", &hello.id)?;
        self.put("tls", &hello.tls)?;
        self.maybe("server-name", hello.server_name)?;
        self.words("alpn", &hello.alpn)?;
        self.words("versions", &hello.versions)?;
        self.words("ciphers", &hello.ciphers)?;
        self.words("groups", &hello.groups)?;
        self.words("key-shares", &hello.key_shares)?;
        self.words("signature-schemes", &hello.signature_schemes)?;
        self.maybe("ja4", hello.ja4)?;
        self.maybe("ech", hello.ech)
    }

    fn status_answer(&mut self, status: &StatusAnswer<'_>) -> Result<(), WriteError> {
        rules::status_answer(status)?;
        self.put("id", &status.id)?;
        self.put("callers", &status.callers)?;
        self.put("sessions", &status.sessions)?;
        self.put("handshakes", &status.handshakes)?;
        self.put("profiles", &status.profiles)?;
        self.words("fds", &status.fds)
    }

    fn alert(&mut self, alert: Option<Alert>) -> Result<(), WriteError> {
        self.maybe("alert", alert.map(|alert| AlertText(alert.description)))?;
        self.maybe("alert-from", alert.map(|alert| alert.from))
    }

    fn maybe<'a, T: Value<'a>>(&mut self, key: &'static str, value: Option<T>) -> Result<(), WriteError> {
        value.map_or(Ok(()), |value| self.put(key, &value))
    }

    fn words<'a, T: Value<'a>>(&mut self, key: &'static str, words: &Words<'a, T>) -> Result<(), WriteError> {
        if words.is_empty() { Ok(()) } else { self.put(key, words) }
    }

    fn items<'a, T: Value<'a>>(&mut self, key: &'static str, items: &Items<'a, T>) -> Result<(), WriteError> {
        items.iter().try_for_each(|value| self.put(key, &value))
    }

    fn put<'a, T: Value<'a>>(&mut self, key: &'static str, value: &T) -> Result<(), WriteError> {
        self.line(key, value).map_err(|fault| match fault {
            Fault::NoRoom => WriteError::NoRoom,
            Fault::Bad(why) => WriteError::Refused { code: Code::BadValue, about: key, why },
        })
    }

    fn line<'a, T: Value<'a>>(&mut self, key: &'static str, value: &T) -> Result<(), Fault> {
        self.0.push(key.as_bytes())?;
        self.0.push(b"=")?;
        let start = self.0.len();
        value.write(&mut self.0)?;
        // Where a text could end its own line and begin another: nothing gets past this.
        match self.0.since(start) {
            [] => Err(Fault::Bad("a value that is not empty")),
            text if !is_plain(text) => Err(Fault::Bad("a value without control characters")),
            _ => self.0.push(b"\n"),
        }
    }
}

impl From<Flaw<'static>> for WriteError {
    fn from(flaw: Flaw<'static>) -> Self {
        Self::Refused { code: flaw.code, about: flaw.about.unwrap_or_default(), why: flaw.why }
    }
}

/// Why a value was not written.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    NoRoom,
    Bad(&'static str),
}

/// The front of a buffer, filled from left to right.
#[doc(hidden)]
pub struct Out<'b> {
    buf: &'b mut [u8],
    len: usize,
}

impl Out<'_> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// What was written since `start`.
    pub(crate) fn since(&self, start: usize) -> &[u8] {
        self.buf.get(start..self.len).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let end = self.len + bytes.len();
        self.buf.get_mut(self.len..end).ok_or(Fault::NoRoom)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    pub(crate) fn base64(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        bytes.chunks(3).try_for_each(|group| self.push(&base64::encode_group(group)))
    }

    pub(crate) fn decimal(&mut self, number: u64) -> Result<(), Fault> {
        // 20 digits are u64::MAX.
        let mut digits = [b'0'; 20];
        let mut left = number;
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
            used += 1;
            if left == 0 {
                break;
            }
        }
        self.push(digits.get(20 - used..).unwrap_or_default())
    }

    pub(crate) fn display(&mut self, value: &dyn core::fmt::Display) -> Result<(), Fault> {
        write!(self, "{value}").map_err(|_| Fault::NoRoom)
    }
}

impl core::fmt::Write for Out<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.push(text.as_bytes()).map_err(|_| core::fmt::Error)
    }
}
