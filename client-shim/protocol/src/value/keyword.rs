//! Values that are one of a few words.

/// An enum whose variants are words: text, parser and list come from one table.
macro_rules! keywords {
    ($(#[$meta:meta])* $name:ident, $expected:literal { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// Every value, in the order of PROTOCOL.md.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The value of a word; `None` for another word.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::value::Value<'_> for $name {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                Self::parse(text)
            }

            fn write(&self, out: &mut $crate::write::Out<'_>) -> Result<(), $crate::write::Fault> {
                out.push(self.as_str().as_bytes())
            }
        }
    };
}
pub(crate) use keywords;

keywords! {
    /// Which side of TLS the daemon plays for a caller.
    Role, "server or client" {
        /// It answers a ClientHello: `accept`.
        Server = "server",
        /// It sends one: `connect`.
        Client = "client",
    }
}

keywords! {
    /// A version of TLS, as `min`, `max` and `floor` say it.
    #[derive(PartialOrd, Ord)]
    Version, "1.2 or 1.3" {
        /// RFC 5246.
        Tls12 = "1.2",
        /// RFC 9846, formerly RFC 8446.
        Tls13 = "1.3",
    }
}

keywords! {
    /// A security level by its name, the lowest first: each takes a part of what the one before it takes.
    #[derive(PartialOrd, Ord)]
    Level, "intermediate, modern or post-quantum-required" {
        /// TLS 1.2 and 1.3, ephemeral keys and AEAD only.
        Intermediate = "intermediate",
        /// TLS 1.3 alone, hybrid post-quantum key exchange preferred.
        Modern = "modern",
        /// TLS 1.3 with hybrid post-quantum key exchange, and nothing else.
        PostQuantumRequired = "post-quantum-required",
    }
}

keywords! {
    /// What a client sends of Encrypted Client Hello (RFC 9849) without a configuration of the server's.
    Ech, "grease" {
        /// Bytes that look like it and say nothing (RFC 9849 section 6.2).
        Grease = "grease",
    }
}

keywords! {
    /// What came of Encrypted Client Hello (RFC 9849).
    EchDone, "accepted or grease" {
        /// The server decrypted it: the server_name was not to be seen on the way.
        Accepted = "accepted",
        /// It was sent to look like it, and the server_name was in the clear.
        Grease = "grease",
    }
}

keywords! {
    /// What a descriptor is, in `fds`.
    FdName, "a list of net, plain, inbound, outbound, certificate, key, ocsp, ca, crl, tickets, chain, sessions, stores" {
        /// The connected stream socket on which TLS is spoken.
        Net = "net",
        /// The program's side: one connected stream socket, both directions.
        Plain = "plain",
        /// The daemon writes plaintext from the peer to it.
        Inbound = "inbound",
        /// The daemon reads plaintext for the peer from it.
        Outbound = "outbound",
        /// A certificate chain in PEM, end entity first.
        Certificate = "certificate",
        /// The private key of the certificate before it, in PEM; without one, its public half is a raw public key.
        Key = "key",
        /// The OCSP response to staple for the certificate before it, in DER.
        Ocsp = "ocsp",
        /// The certification authorities to trust: a PEM bundle or a directory of PEM files.
        Ca = "ca",
        /// Lists of revoked certificates: a PEM bundle, one list in DER, or a directory of such files.
        Crl = "crl",
        /// A store: a file or directory of the caller's own. The daemon writes nothing but a server's keys, into a file.
        Tickets = "tickets",
        /// The peer's certificate chain in PEM: a sealed memfd.
        Chain = "chain",
        /// One line per session: a sealed memfd.
        Sessions = "sessions",
        /// One line per store: a sealed memfd.
        Stores = "stores",
        /// One line per process that asks for something: a sealed memfd.
        Callers = "callers",
    }
}

keywords! {
    /// Who sent an alert.
    Party, "peer or us" {
        /// The far TLS endpoint.
        Peer = "peer",
        /// The daemon.
        Us = "us",
    }
}

keywords! {
    /// What became of the network socket of a session that failed.
    Socket, "untouched, used or closed" {
        /// Not a byte was read or written: the caller can go on with it.
        Untouched = "untouched",
        /// Bytes were read or written, it is open: the caller may close it, and nothing else makes sense.
        Used = "used",
        /// It was shut down in both directions; the caller's copy is of no use.
        Closed = "closed",
    }
}

keywords! {
    /// What a session's life is bound to.
    #[derive(Default)]
    Bind, "descriptors or control" {
        /// Its descriptors: it outlives the control connection that asked for it.
        #[default]
        Descriptors = "descriptors",
        /// The control connection: it ends with it.
        Control = "control",
    }
}

keywords! {
    /// When the peer is told that the program has ended its stream.
    #[derive(Default)]
    OutboundEnd, "notify or hold" {
        /// At once, by a close_notify: the other direction goes on (RFC 9846 section 6.1).
        #[default]
        Notify = "notify",
        /// When the peer has ended its own: for peers that take a close_notify as the end of both.
        Hold = "hold",
    }
}

keywords! {
    /// Whose sessions a `status` counts.
    #[derive(Default)]
    Scope, "own or all" {
        /// The sessions of the caller's uid.
        #[default]
        Own = "own",
        /// Everybody's: for root and the operator's uid.
        All = "all",
    }
}

keywords! {
    /// What happens when the peer's ALPN names and ours have none in common.
    AlpnMismatch, "refuse or ignore" {
        /// The handshake fails (no_application_protocol, RFC 7301 section 3.2).
        Refuse = "refuse",
        /// It goes on without ALPN.
        Ignore = "ignore",
    }
}

keywords! {
    /// Whether TLS 1.2 needs RFC 7627.
    ExtendedMasterSecret, "required or optional" {
        /// A peer without it is refused.
        Required = "required",
        /// It is used when the peer has it.
        Optional = "optional",
    }
}

keywords! {
    /// What an end of a session shows as its identity (RFC 7250).
    CertificateType, "x509 or raw-public-key" {
        /// A certificate chain.
        X509 = "x509",
        /// A public key and nothing else.
        RawPublicKey = "raw-public-key",
    }
}

keywords! {
    /// Whether a server asks for the client's certificate.
    ClientCertificate, "none, optional or required" {
        /// It does not ask.
        None = "none",
        /// It asks; a certificate that comes has to be good.
        Optional = "optional",
        /// It asks, and a client without a good one is refused.
        Required = "required",
    }
}

keywords! {
    /// What a client gets that asks for a server name which no identity has.
    UnknownName, "refuse or first" {
        /// unrecognized_name (RFC 6066 section 3).
        Refuse = "refuse",
        /// The first identity.
        First = "first",
    }
}

keywords! {
    /// Which certificates of the peer's chain have to be in no list of revoked ones.
    #[derive(Default)]
    CrlCheck, "chain or end-entity" {
        /// All of them, but for the authority that is trusted.
        #[default]
        Chain = "chain",
        /// The peer's own.
        EndEntity = "end-entity",
    }
}

keywords! {
    /// What a certificate gets about which the lists of revoked ones say nothing, or nothing of today.
    #[derive(Default)]
    CrlDoubt, "refuse or allow" {
        /// It is refused.
        #[default]
        Refuse = "refuse",
        /// It passes as if there were no lists; a list that is too old counts as far as it goes.
        Allow = "allow",
    }
}

keywords! {
    /// Whether a server has to staple what its authority says of its certificate (RFC 6066 section 8, RFC 6960).
    #[derive(Default)]
    StapledOcsp, "optional or required" {
        /// Only where its certificate says so (RFC 7633); one that comes is judged.
        #[default]
        Optional = "optional",
        /// Always.
        Required = "required",
    }
}
