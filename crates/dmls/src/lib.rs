//! MLS groups (RFC 9420) whose epochs may fork and merge again, without a sequencer: the sans-IO core.

mod base;
mod codec;
mod contrast;
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
mod held;
pub mod id;
pub mod input;
pub mod journal;
mod members;
mod mls;
#[cfg(test)]
mod model;
pub mod package;
mod pending;
mod plan;
mod secret;
pub mod suite;
mod wire;
