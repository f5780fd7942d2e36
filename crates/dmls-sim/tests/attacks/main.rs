//! The attack suite: every named attack fails against the library, and succeeds once its defence is switched off.
//!
//! In an ordinary build only the first half runs. `cargo xtask attacks` builds with `--cfg dmls_mutants` and runs both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod attack;
mod c;
#[allow(dead_code)]
#[path = "../../../dmls/tests/core/world.rs"]
mod core_world;
mod f;
mod scene;

use attack::{Attack, Elsewhere, Later, report};

/// All attacks that can be tried on what exists.
const ATTACKS: &[&[Attack]] = &[f::ATTACKS, c::ATTACKS];

/// Attacks whose defence plain tests show.
const ELSEWHERE: &[&[Elsewhere]] = &[c::ELSEWHERE];

/// Attacks on what does not exist yet.
const LATER: &[&[Later]] = &[c::LATER];

fn main() -> std::process::ExitCode {
    let filters: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    report(&ATTACKS.concat(), &ELSEWHERE.concat(), &LATER.concat(), &filters)
}
