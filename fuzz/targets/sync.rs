//! `dmls_sim::fuzz`'s target `sync`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dmls_sim::fuzz::sync(input));
