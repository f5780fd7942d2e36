//! MLS groups (RFC 9420) whose epochs may fork and merge again, without a sequencer: the sans-IO core.

mod base;
mod codec;
#[cfg(dmls_mutants)]
pub mod craft;
mod dag;
pub mod defence;
pub mod device;
pub mod effect;
pub mod entropy;
pub mod error;
mod frame;
pub mod group;
#[cfg(feature = "hazmat")]
pub mod hazmat;
pub mod id;
pub mod input;
pub mod journal;
mod mls;
#[allow(dead_code)]
mod mls2;
#[cfg(test)]
mod model;
pub mod package;
mod pending;
mod plan;
#[cfg(dmls_mutants)]
pub mod seals;
mod secret;
#[cfg(dmls_mutants)]
pub mod stand_in;
pub mod suite;
mod wire;
