//! What `--help` and `--version` say: one screen each. The manual page says it at length.

pub(crate) const VERSION: &str = concat!("tlsify ", env!("CARGO_PKG_VERSION"), "\n");

pub(crate) const HELP: &str = "\
usage: tlsify connect [OPTIONS] HOST:PORT [-- PROGRAM ARGS...]
       tlsify connect --fd N [OPTIONS] [NAME] [-- PROGRAM ARGS...]
       tlsify accept [OPTIONS] [--fd N] [-- PROGRAM ARGS...]
       tlsify pin [OPTIONS] HOST:PORT, or --fd N [NAME]: prints what --pin takes
TLS by tlsifyd on a socket; plaintext on stdin and stdout, or those of PROGRAM.
the peer   --name NAME (repeatable; HOST unless said)   --server-name NAME|none
           --trust system|pins|store:NAME|FILE|FOLDER   --pin sha256:BASE64 ...
           --client-certificate optional|required   --allow RULE ... (accept)
we         [--cert FILE] --key FILE [--ocsp FILE] ...   --profile NAME
TLS        --min 1.2|1.3   --max 1.2|1.3   --level NAME   --alpn NAME,NAME
           --resume NAME, --tickets PATH   --fast-open   --ech-config LIST
           --ech grease   --certificate-type x509|raw-public-key
time       --timeout SECONDS (until open)   --idle-timeout SECONDS
data       --hold  keep our side open until the peer has ended its own
           --allow-truncation  an end without close_notify is clean, too
           --ucspi  on 6 and 7 of PROGRAM instead of 0 and 1
process    --handoff  leave when the session is open; tlsifyd carries on
           --control FD  every event as text, with the peer's certificates
           --no-fallback  only a running tlsifyd   --private  only our own
           --quiet   --help   --version
TLSIFY_SOCK is the daemon's socket; CERTFILE, KEYFILE, CAFILE, CADIR: defaults.
exit status: 0 clean or PROGRAM's own, 97 refused or no daemon, 98 TLS failed or
data cut short, 99 time-out, 100 usage, 111 system (look-up and connect, too)
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_screen_and_names_every_option() {
        assert!(HELP.lines().count() <= 24);
        assert!(HELP.lines().all(|line| line.len() <= 80 && line.is_ascii()), "{HELP}");
        for name in crate::options::NAMES {
            let option = std::format!("--{name}");
            let found =
                HELP.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).any(|word| word == option);
            assert!(found || HELP.contains(&option), "{option}");
        }
    }
}
