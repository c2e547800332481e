//! What a cache that speaks memcached's protocol can answer: see `cache`.
#![no_main]

mod cache;

use libfuzzer_sys::fuzz_target;
use tlsifyd::io::cache::codec::Dialect;

fuzz_target!(|bytes: &[u8]| cache::answers(Dialect::Memcached, bytes));
