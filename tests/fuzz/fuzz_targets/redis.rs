//! What a cache that speaks the protocol of Redis can answer: see `cache`.
#![no_main]

mod cache;

use libfuzzer_sys::fuzz_target;
use tlsifyd::io::cache::codec::Dialect;

fuzz_target!(|bytes: &[u8]| cache::answers(Dialect::Redis, bytes));
