//! The gate: everything that a change must pass, as `cargo xtask test` runs it.
//!
//! [`test()`] runs all steps and stops at the first that fails. [`spec`], [`mls`], [`arrows`] and [`licences`] are steps
//! of it that can be run alone.

mod arrows;
mod cargo;
mod counts;
mod error;
mod licences;
mod metadata;
mod mls;
mod paragraphs;
mod sources;
mod spdx;
mod spec;
mod steps;
mod table;

pub use arrows::arrows;
pub(crate) use cargo::{cargo, output, root, run, run_tests, works};
pub use counts::Counts;
pub use error::Error;
pub use licences::licences;
pub(crate) use metadata::{has_target, target_directory};
pub use mls::mls;
pub use spec::spec;
pub use steps::{Scope, test};
pub use table::Table;
