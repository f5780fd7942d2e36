//! The attack suite: every named attack fails against the library, and succeeds once its defence is switched off.
//!
//! In an ordinary build only the first half runs. `cargo xtask attacks` builds with `--cfg dmls_mutants` and runs both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod attack;
#[allow(dead_code)]
#[path = "../../../dmls-matrix/tests/binding/world.rs"]
mod binding_world;
mod c;
#[allow(dead_code)]
#[path = "../../../dmls/tests/core/world.rs"]
mod core_world;
mod d;
mod f;
mod h;
mod i;
mod k;
mod p;
mod r;
mod rooms;
mod s;
mod scene;
#[allow(dead_code)]
#[path = "../../../dmls-matrix/tests/binding/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "../../../dmls-matrix/tests/binding/watched.rs"]
mod watched;
mod x;
mod z;

use attack::{Attack, Elsewhere, Later, report};

/// All attacks that can be tried on what exists.
const ATTACKS: &[&[Attack]] = &[
    f::ATTACKS,
    i::ATTACKS,
    x::ATTACKS,
    k::ATTACKS,
    s::ATTACKS,
    d::ATTACKS,
    p::ATTACKS,
    z::ATTACKS,
    c::ATTACKS,
    r::ATTACKS,
];

/// Attacks whose defence plain tests show.
const ELSEWHERE: &[&[Elsewhere]] =
    &[i::ELSEWHERE, x::ELSEWHERE, s::ELSEWHERE, d::ELSEWHERE, p::ELSEWHERE, z::ELSEWHERE, c::ELSEWHERE, r::ELSEWHERE];

/// Attacks on what does not exist yet.
const LATER: &[&[Later]] = &[k::LATER, h::LATER, s::LATER, d::LATER, p::LATER, z::LATER, c::LATER, r::LATER];

fn main() -> std::process::ExitCode {
    let filters: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    report(&ATTACKS.concat(), &ELSEWHERE.concat(), &LATER.concat(), &filters)
}
