//! What dmls costs, measured in one run beside the limit that its primitives set, and beside its peers.
//!
//! A contestant ([`contestant::Contestant`]) keeps a room of N devices; [`contest`] puts each through the same story.
//! [`past`] asks the core what its past costs, [`limit`] says what the primitives alone would, [`report`] compares.

pub mod bars;
pub mod contest;
pub mod contestant;
pub mod core;
pub mod limit;
pub mod meter;
pub mod module;
pub mod past;
pub mod peers;
pub mod report;
pub mod room;
pub mod roster;
pub mod run;
mod seeded;
pub mod sheet;
