//! `cargo xtask assure`: the long lanes, and the ledger of what they ran.
//!
//! A lane is a kind of evidence that grows with time: seeds of the simulated world, inputs of a fuzz target, the model,
//! the crash points. What each lane ran, on which commit and with what result is a line of `assurance/ledger.csv`.
//! [`again()`] runs a small part of a past line anew.

mod again;
mod batch;
mod build;
pub(crate) mod child;
mod error;
mod fuzz;
mod lane;
mod ledger;
mod run;
mod runner;
mod tree;

pub use again::again;
pub use error::Error;
pub use lane::Lane;
pub use run::{Options, assure};
pub use tree::Dirty;
