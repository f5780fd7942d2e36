//! `dmls_sim::fuzz`'s target `messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dmls_sim::fuzz::messages(input));
