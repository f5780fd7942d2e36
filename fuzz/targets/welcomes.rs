//! `dmls_sim::fuzz`'s target `welcomes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dmls_sim::fuzz::welcomes(input));
