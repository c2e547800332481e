//! The bed: servers that the tests make, good ones and bad ones, each with the code, the blame and the alert that must
//! come out; and the same through packets written by hand, the library and the command. `tests/BED.md` lists them for
//! people.
//!
//! ```text
//!  good, bad_names, bad_chains, bad_keys, revoked, no_tls     the lists: one line, one server, one outcome
//!     │ certificates, lists ◀─ keys, der, authorities       makes what is shown
//!     ▼
//!  judge ── server                                   shows it, and keeps what it heard
//!     └──── ask                                      asks in three ways, and with both versions of TLS
//! ```
//!
//! It asks nothing of the daemon's code; what is not here: clients' certificates (`interop/client_certificates`), and
//! peers that break the protocol behind the handshake (`hostile_peer`, `forged`).

mod ask;
mod authorities;
mod bad_chains;
mod bad_keys;
mod bad_names;
mod case;
mod certificates;
mod der;
mod document;
mod good;
mod judge;
mod keys;
mod lists;
mod no_tls;
mod revoked;
mod second_opinion;
mod server;

use case::Case;
use judge::judge;

/// All lists, each with its heading.
fn groups() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("Good names", good::names()),
        ("Good chains and pins", good::chains()),
        ("Good keys", good::keys()),
        ("Good dates", good::dates()),
        ("Wrong names", bad_names::identifiers()),
        ("Wildcards", bad_names::wildcards()),
        ("Services and URIs", bad_names::applications()),
        ("Addresses", bad_names::addresses()),
        ("Name constraints", bad_names::constraints()),
        ("Pins", bad_names::pins()),
        ("Dates", bad_chains::dates()),
        ("Issuers", bad_chains::issuers()),
        ("Rights", bad_chains::rights()),
        ("Bytes", bad_chains::bytes()),
        ("Revocation lists", revoked::by_lists()),
        ("Stapled OCSP responses", revoked::by_staples()),
        ("Keys and signatures", bad_keys::keys()),
        ("Sizes", bad_keys::sizes()),
        ("Versions and suites", no_tls::versions()),
        ("No TLS", no_tls::strangers()),
    ]
}

#[test]
fn a_good_server_is_found_under_each_of_its_names() {
    judge(&good::names());
}

#[test]
fn a_good_server_may_show_its_chain_in_any_order_and_more_than_that() {
    judge(&good::chains());
}

#[test]
fn a_good_server_may_have_any_kind_of_strong_key() {
    judge(&good::keys());
}

#[test]
fn a_good_server_is_good_from_its_first_second_to_its_last() {
    judge(&good::dates());
}

#[test]
fn no_name_but_the_one_that_was_asked_opens() {
    judge(&bad_names::identifiers());
}

#[test]
fn a_wildcard_is_one_whole_label_in_front() {
    judge(&bad_names::wildcards());
}

#[test]
fn a_service_is_not_its_domain_and_a_uri_is_not_its_host() {
    judge(&bad_names::applications());
}

#[test]
fn an_address_is_no_name_and_a_name_no_address() {
    judge(&bad_names::addresses());
}

#[test]
fn an_issuer_vouches_only_for_names_that_it_may() {
    judge(&bad_names::constraints());
}

#[test]
fn a_pin_that_does_not_match_never_opens() {
    judge(&bad_names::pins());
}

#[test]
fn nobody_in_the_chain_may_be_too_old_or_too_new() {
    judge(&bad_chains::dates());
}

#[test]
fn only_whom_a_trusted_authority_vouches_for_gets_in() {
    judge(&bad_chains::issuers());
}

#[test]
fn who_may_not_issue_or_serve_does_not() {
    judge(&bad_chains::rights());
}

#[test]
fn bytes_that_nobody_signed_are_told_as_such() {
    judge(&bad_chains::bytes());
}

#[test]
fn who_is_in_a_list_is_revoked_and_who_is_in_no_list_is_unknown() {
    judge(&revoked::by_lists());
}

#[test]
fn a_stapled_response_is_believed_when_it_proves_something() {
    judge(&revoked::by_staples());
}

#[test]
fn weak_keys_and_old_hashes_prove_nothing() {
    judge(&bad_keys::keys());
}

#[test]
fn a_chain_may_be_large_and_not_too_large() {
    judge(&bad_keys::sizes());
}

#[test]
fn old_versions_and_empty_suites_are_not_spoken() {
    judge(&no_tls::versions());
}

#[test]
fn what_is_no_tls_is_told_as_what_it_is() {
    judge(&no_tls::strangers());
}
