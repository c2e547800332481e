//! What `--help` and `--version` say: one screen each. The manual page says it at length.

pub(crate) const VERSION: &str = concat!("tlsify ", env!("CARGO_PKG_VERSION"), "\n");

pub(crate) const HELP: &str = "\
usage: tlsify connect [OPTIONS] HOST:PORT [-- PROGRAM ARGS...]
       tlsify connect --fd N [OPTIONS] [NAME] [-- PROGRAM ARGS...]
       tlsify accept [OPTIONS] [--fd N] [-- PROGRAM ARGS...]
TLS by tlsifyd on a socket; plaintext on stdin and stdout, or on those of PROGRAM.

  --fd N               the connected socket (accept: 0 unless said)
  --name NAME          whom to expect, repeatable (default: HOST)
  --server-name NAME   the server_name to send, or none
  --trust WHAT         system, pins, store:NAME, or a PEM file or folder of CAs
  --pin sha256:BASE64  the peer's public key must be this one, repeatable
  --cert, --key FILE   who we are (PEM); --ocsp FILE staples
  --profile NAME       the operator's settings and keys of this name
  --min, --max 1.2|1.3 versions of TLS
  --alpn NAME          application protocol, repeatable, best first
  --client-certificate optional|required    accept: ask the peer for one
  --allow RULE         accept: let in dns:NAME, uri:URI, mail:ADDRESS, sha256:BASE64
  --resume NAME        connect: keep tickets in this store, and use them
  --fast-open          connect: TCP Fast Open
  --timeout SECONDS    to be open; --idle-timeout SECONDS without data
  --hold               keep our side open until the peer has ended its own
  --handoff            leave when it is open; tlsifyd carries on
  --ucspi              plaintext on 6 and 7 of PROGRAM instead of 0 and 1
  --control FD         every event as text on FD, with the peer's certificates
  --allow-truncation   an end without close_notify is an end
  --no-fallback        only a running tlsifyd will do; --private: only our own
  --quiet              no messages; --help, --version

TLSIFY_SOCK names the daemon's socket; CERTFILE, KEYFILE, CAFILE, CADIR are defaults.
exit: 0 clean, 97 refused, 98 TLS failed or cut short, 99 time-out, 100 usage, 111 system
";
