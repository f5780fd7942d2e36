//! MLS groups (RFC 9420) whose epochs may fork and merge again, without a sequencer: the sans-IO core.

mod codec;
pub mod device;
pub mod effect;
pub mod entropy;
pub mod error;
pub mod group;
pub mod id;
pub mod input;
pub mod journal;
mod mls;
pub mod package;
