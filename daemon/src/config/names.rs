//! What can be a name of a peer or of an identity.

use std::net::IpAddr;

/// Whether `*` may be the first label.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wildcards {
    Allowed,
    Refused,
}

/// A DNS name in A-label form (RFC 5890) or an IP address; `*` as the whole first label where wildcards may stand
/// (RFC 9525 section 6.3).
pub(super) fn check_name(name: &str, wildcards: Wildcards) -> Result<(), String> {
    if name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    if wildcards == Wildcards::Refused {
        // Their first parts are looked at where the profile is made.
        for (kind, separator) in [("srv:", '.'), ("uri:", ':')] {
            if let Some((_, host)) = name.strip_prefix(kind).and_then(|rest| rest.split_once(separator)) {
                return check_name(host, wildcards);
            }
        }
    }
    let plain = match name.strip_prefix("*.") {
        Some(_) if wildcards == Wildcards::Refused => {
            return Err("a wildcard cannot be asked for".to_owned());
        }
        Some(rest) if !rest.contains('.') => {
            return Err("a wildcard needs two labels behind it".to_owned());
        }
        Some(rest) => rest,
        None => name,
    };
    if plain.is_empty() || name.len() > 253 {
        return Err(format!("it has {} bytes, expected 1 to 253", name.len()));
    }
    for label in plain.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(format!("a label has {} bytes, expected 1 to 63", label.len()));
        }
        if !label.is_ascii() {
            return Err("it is not ASCII, write the A-label form (xn--…)".to_owned());
        }
        if let Some(odd) =
            label.chars().find(|char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_'))
        {
            return Err(format!("{odd:?} cannot be in a DNS name"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label begins or ends with \"-\"".to_owned());
        }
    }
    // RFC 1123 section 2.1: a name whose last label is all digits would be read as an IPv4 address.
    if plain.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("it ends like an IP address and is none".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_a_whole_first_label_above_two_others() {
        assert!(check_name("*.shop.example", Wildcards::Allowed).is_ok());
        for wrong in ["*", "*.", "*.example", "w*.shop.example", "www.*.example", "*.*.example"] {
            assert!(check_name(wrong, Wildcards::Allowed).is_err(), "{wrong} was taken");
        }
        assert!(check_name("*.shop.example", Wildcards::Refused).is_err());
    }

    #[test]
    fn names_that_dns_cannot_have_are_refused() {
        for right in [
            "a",
            "db.example",
            "xn--bcher-kva.example",
            "srv:_imaps.mail.example",
            "uri:sip:voice.example",
            "_tls.example",
            "4.example",
            "::1",
            "10.0.0.1",
        ] {
            assert!(check_name(right, Wildcards::Refused).is_ok(), "{right} was refused");
        }
        let long = format!("{}.example", "a".repeat(64));
        let longer = "a.".repeat(127) + "a";
        for wrong in
            ["", ".", "a.", ".a", "-a.example", "a-.example", "a b", "a/b", "256.0.0.1", &long, &longer]
        {
            assert!(check_name(wrong, Wildcards::Refused).is_err(), "{wrong} was taken");
        }
    }
}
