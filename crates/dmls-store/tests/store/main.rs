//! The stores as their users meet them: contract, model, crashes, thieves, old files.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod child;
mod crash;
mod golden;
mod keys;
mod model;
mod residue;
mod slots;
mod statements;
mod tamper;
mod world;
