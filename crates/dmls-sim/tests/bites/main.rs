//! The oracle bites: for each defence there is a generated run that passes, and fails once this defence is switched off.
//!
//! The seeds are in a table; `cargo xtask attacks` runs them. To find new ones:
//! `cargo test -p dmls-sim --test bites -- find [ID...]`, in the build with `xtask/mutants-rustc`, which tries the seeds
//! 0, 1, ... of each profile. In an ordinary build there are no switches, and nothing is run.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

#[cfg(dmls_mutants)]
mod find;
#[cfg(dmls_mutants)]
mod table;
#[cfg(dmls_mutants)]
mod trial;

use std::process::ExitCode;

#[cfg(dmls_mutants)]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match words.split_first() {
        Some((word, ids)) if word == "find" => find::find(ids),
        _ => table::check(&words),
    }
}

#[cfg(not(dmls_mutants))]
fn main() -> ExitCode {
    println!("test result: ok. 0 passed; 0 failed; defences are only switched off in the test build");
    ExitCode::SUCCESS
}
