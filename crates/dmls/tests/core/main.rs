//! Stories of the core: real cryptography, real store contract, no network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(dmls_mutants)]
mod craft;
mod edges;
mod hostile;
mod long_talk;
mod order;
mod past;
mod properties;
mod rejoin;
mod rules;
mod speed;
mod split;
#[path = "../../../dmls-sim/src/suites/stand_in.rs"]
mod stand_in;
mod theft;
mod world;
