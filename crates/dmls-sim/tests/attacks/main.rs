//! The attack suite: every named attack fails against the library, and succeeds once its defence is switched off.
//!
//! In an ordinary build only the first half runs. `cargo xtask attacks` builds with `--cfg dmls_mutants` and runs both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod attack;

use attack::{Attack, Later, report};

/// All attacks that can be tried on what exists.
const ATTACKS: &[&[Attack]] = &[];

/// Attacks on what does not exist yet.
const LATER: &[&[Later]] = &[];

fn main() -> std::process::ExitCode {
    let filters: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    report(&ATTACKS.concat(), &LATER.concat(), &filters)
}
