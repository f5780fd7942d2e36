//! Several machines on homeservers in memory: everyday life, crashes, splits, bad input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod asking;
mod crash;
mod everyday;
mod hostile;

mod server;
mod split;
mod watched;
mod world;
mod writes;
