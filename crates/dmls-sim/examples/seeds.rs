//! Runs seeds of the simulated world and lets the oracle judge each: what the lanes `real`, `fast` and `soak` run.
//!
//! `seeds --first N --count N [--crypto real|stand-in] [--profile eight|wide|long] [--seconds N] [-v]` runs seeds N,
//! N+1, ... and begins none after so many seconds. A seed that fails says `seed N FAILED why`; the last line is
//! `seeds N ok N failed N`. `seeds FIRST LAST` runs these with real cryptography. Without arguments nothing is run.
#![allow(clippy::print_stdout, reason = "a program")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dmls_sim::generate::{Profile, generate};
use dmls_sim::oracle::judge;
use dmls_sim::run::run_watched;
use dmls_sim::world::{Crypto, World};

const USAGE: &str = "seeds --first N --count N [--crypto real|stand-in] [--profile eight|wide|long] [--seconds N] [-v]";

/// What is asked for.
struct Asked {
    first: u64,
    count: u64,
    profile: Profile,
    time: Duration,
    /// Tell each seed.
    tell: bool,
    /// Tell each step.
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match asked(&arguments) {
        Some(asked) => run_all(&asked),
        None => {
            println!("{USAGE}");
            if arguments.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn asked(arguments: &[String]) -> Option<Asked> {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let plain: Vec<u64> = arguments.iter().map_while(|argument| argument.parse().ok()).collect();
    let (first, count) = match plain.as_slice() {
        [first, last] => (*first, last.saturating_sub(*first) + 1),
        _ => (number("--first")?, number("--count")?),
    };
    let profile = match value("--profile") {
        None | Some("eight") => Profile::REAL,
        Some("wide") => Profile::FAST,
        Some("hostile") => Profile::HOSTILE,
        Some("long") => Profile { steps: 4_000, splits: 60, crypto: Crypto::StandIn, ..Profile::REAL },
        Some(_) => return None,
    };
    let crypto = match value("--crypto") {
        None => profile.crypto,
        Some("real") => Crypto::Real,
        Some("stand-in") => Crypto::StandIn,
        Some(_) => return None,
    };
    let time = Duration::from_secs(number("--seconds").unwrap_or(u64::from(u32::MAX)));
    let verbose = arguments.iter().any(|argument| argument == "-v");
    let tell = verbose || !plain.is_empty();
    Some(Asked { first, count, profile: Profile { crypto, ..profile }, time, tell, verbose })
}

fn run_all(asked: &Asked) -> ExitCode {
    let (begun, mut ok, mut failed) = (Instant::now(), 0_u64, 0_u64);
    for seed in asked.first..asked.first.saturating_add(asked.count) {
        if ok + failed > 0 && begun.elapsed() >= asked.time {
            break;
        }
        let started = Instant::now();
        let end = catch_unwind(AssertUnwindSafe(|| run_seed(seed, asked)));
        match end.unwrap_or_else(|_| Err("panic".to_owned())) {
            Ok(told) => {
                ok += 1;
                if asked.tell {
                    println!("seed {seed} ok {told} {:.1?}", started.elapsed());
                }
            }
            Err(why) => {
                failed += 1;
                println!("seed {seed} FAILED {why}");
            }
        }
    }
    println!("seeds {} ok {ok} failed {failed}", ok + failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_seed(seed: u64, asked: &Asked) -> Result<String, String> {
    let script = generate(seed, &asked.profile);
    let mut watch = |step: usize, world: &mut World| {
        if asked.verbose {
            println!("{step} {} {:?}", script.steps[step], world.counts());
        }
    };
    let outcome = run_watched(&script, &mut watch).map_err(|broken| broken.to_string())?;
    let findings = judge(&outcome.trace);
    match findings.first() {
        None => {
            let digest: String = outcome.digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(format!("{:?} digest {digest}", outcome.counts))
        }
        Some(first) => Err(format!("{first} (and {} more)", findings.len() - 1)),
    }
}
