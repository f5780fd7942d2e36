//! The oracle bites: for each defence there is a run that passes, and fails once this defence is switched off.
//!
//! Most are generated, and their seeds are in a table; what generated runs hardly ever come to is written as a script
//! (`scripts/ID.txt`). `cargo xtask attacks` runs all of them. To find new seeds:
//! `cargo test -p dmls-sim --test bites -- find [ID...]`, in the copy that `cargo xtask mutants --write` makes and the
//! build with `xtask/mutants-rustc`, which tries the seeds 0, 1, ... of each profile; `-- play ID...` prints all that the
//! oracle finds in a script, both ways. In an ordinary build there are no switches, and nothing is run.
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
        Some((word, ids)) if word == "play" => table::play(ids),
        _ => table::check(&words),
    }
}

#[cfg(not(dmls_mutants))]
fn main() -> ExitCode {
    println!("test result: ok. 0 passed; 0 failed; defences are only switched off in the test build");
    ExitCode::SUCCESS
}
