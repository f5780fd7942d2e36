//! MLS groups (RFC 9420) whose epochs may fork and merge again, without a sequencer: the sans-IO core.

pub mod entropy;
pub mod id;
pub mod journal;
mod mls;
