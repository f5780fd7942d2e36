//! The simulated world: what it promises to those who test with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(dmls_mutants)]
mod hostile;
mod runs;
mod story;
