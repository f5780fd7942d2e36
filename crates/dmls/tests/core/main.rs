//! Stories of the core: real cryptography, real store contract, no network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(dmls_mutants)]
mod craft;
mod edges;
mod hostile;
mod order;
mod properties;
mod rejoin;
mod rules;
#[cfg(dmls_mutants)]
mod speed;
mod split;
mod theft;
mod world;
