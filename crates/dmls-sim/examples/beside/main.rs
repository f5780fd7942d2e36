//! OpenMLS beside us: it follows, by what is public, every commit that is posted in runs of the simulator.
//!
//! `beside --first N --count N [--profile eight|wide|long|hostile] [--seconds N]` runs seeds N, N+1, ... with real
//! cryptography and begins none after so many seconds. For each commit on each epoch it compares what OpenMLS says with
//! what our devices said: whether it is one, who are the members of the epoch that it makes, and what that epoch's id
//! is. A difference that should not be is said as `seed N FINDING why`; others are counted by name. The last lines are
//! the sums. Malicious devices forge only in the test build. Without arguments nothing is run.
//!
//! OpenMLS has no secrets here: membership and confirmation tags, sealed paths and PSKs are looked at by devices alone.
#![allow(clippy::print_stdout, reason = "a program")]

mod compare;
mod follower;
mod seen;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use dmls_sim::generate::{Profile, generate};
use dmls_sim::world::Crypto;

use compare::{Report, compare};

const USAGE: &str = "beside --first N --count N [--profile eight|wide|long|hostile] [--seconds N]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match follow(&arguments) {
        Some(report) if report.findings.is_empty() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => {
            println!("{USAGE}");
            ExitCode::FAILURE
        }
    }
}

/// `None` if it is not clear what is asked for.
fn follow(arguments: &[String]) -> Option<Report> {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("--first")?, number("--count")?);
    let time = number("--seconds").map_or(Duration::MAX, Duration::from_secs);
    let name = value("--profile").unwrap_or("eight");
    let profile = Profile { crypto: Crypto::Real, ..profile(name)? };
    let (begun, mut all) = (Instant::now(), Report::default());
    for seed in first..first.saturating_add(count) {
        if begun.elapsed() >= time {
            break;
        }
        all.add(run(seed, &profile));
        if all.seeds.is_multiple_of(100) {
            println!("profile {name}, {:.0?}: {all}", begun.elapsed());
        }
    }
    println!("profile {name} from {first}, {:.0?}: {all}", begun.elapsed());
    Some(all)
}

fn profile(name: &str) -> Option<Profile> {
    match name {
        "eight" => Some(Profile::REAL),
        "wide" => Some(Profile::FAST),
        "long" => Some(Profile { steps: 4_000, splits: 60, ..Profile::REAL }),
        "hostile" => Some(Profile::HOSTILE),
        _ => None,
    }
}

fn run(seed: u64, profile: &Profile) -> Report {
    let mut report = match seen::watch(&generate(seed, profile)) {
        Ok(seen) => compare(&seen),
        Err(why) => Report { seeds: 1, findings: vec![format!("the run broke off: {why}")], ..Report::default() },
    };
    for finding in &mut report.findings {
        println!("seed {seed} FINDING {finding}");
        *finding = format!("seed {seed}: {finding}");
    }
    report
}
