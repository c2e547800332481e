//! What has to hold, as the project promises it. Said under the tables; a bench does not fail.

use tlsifyd_tests::figures::scenario::{Claim, Than};

/// In the order of the report.
pub(crate) const BARS: [Claim; 18] = [
    claim("handshake_full_1_3", Than::Library, 1.30),
    claim("handshake_full_1_3", Than::BestProxy, 0.50),
    claim("handshake_full_1_3", Than::OneProcess, 1.10),
    claim("handshake_resumed_1_3", Than::Library, 1.45),
    claim("handshake_resumed_1_3", Than::BestProxy, 0.55),
    claim("download_64_mib", Than::Library, 1.35),
    claim("download_64_mib", Than::BestProxy, 0.55),
    claim("upload_64_mib", Than::Library, 1.40),
    claim("upload_64_mib", Than::BestProxy, 0.60),
    claim("request_keepalive", Than::Library, 2.20),
    claim("request_keepalive", Than::BestProxy, 0.75),
    claim("idle_1000", Than::Library, 0.35),
    claim("idle_1000", Than::BestProxy, 0.30),
    claim("idle_8000", Than::Library, 0.35),
    claim("idle_8000", Than::BestProxy, 0.30),
    claim("idle_8000", Than::Unit("KiB"), 4.0),
    claim("handshake_beside_8000_idle", Than::Scenario("handshake_beside_0_idle"), 1.10),
    claim("requests_in_a_flood", Than::BestProxy, 1.0),
];

const fn claim(scenario: &'static str, than: Than, at_most: f64) -> Claim {
    Claim { scenario, than, at_most }
}
