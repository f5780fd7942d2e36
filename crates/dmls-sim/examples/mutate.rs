//! Fuzz targets without coverage: mutations of a corpus, the same for the same seed.
//!
//! `mutate --target NAME --first N --count N [--seconds N]` runs seeds N, N+1, ...; each is [`INPUTS`] inputs. A seed
//! that fails says `seed N FAILED why`; the last line is `seeds N ok N failed N`. Without arguments: one seed of each
//! target, as a sample.
#![allow(clippy::print_stdout, reason = "a program")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dmls_sim::entropy::Stream;
use dmls_sim::fuzz::{TARGETS, Target, mutated, target};

/// How many inputs a seed stands for.
const INPUTS: usize = 100;

/// How many are a sample.
const SAMPLE: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        for target in TARGETS {
            let ok = seed(target, 1, SAMPLE).is_ok();
            println!("{}: {SAMPLE} inputs {}", target.name, if ok { "ok" } else { "FAILED" });
        }
        return ExitCode::SUCCESS;
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let (Some(target), Some(first), Some(count)) =
        (value("--target").and_then(|name| target(&name)), number("--first"), number("--count"))
    else {
        println!("mutate --target NAME --first N --count N [--seconds N]");
        return ExitCode::FAILURE;
    };
    let until = Instant::now() + Duration::from_secs(number("--seconds").unwrap_or(u64::from(u32::MAX)));
    let (mut ok, mut failed) = (0, 0);
    for number in first..first.saturating_add(count) {
        if ok + failed > 0 && Instant::now() >= until {
            break;
        }
        match seed(target, number, INPUTS) {
            Ok(()) => ok += 1,
            Err(why) => {
                failed += 1;
                println!("seed {number} FAILED {why}");
            }
        }
    }
    println!("seeds {} ok {ok} failed {failed}", ok + failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the inputs of a seed; the first that fails is left beside the corpus's build.
fn seed(target: Target, seed: u64, inputs: usize) -> Result<(), String> {
    let corpus = corpus(target.name);
    let mut chance = Stream::new(seed, target.name);
    for number in 0..inputs {
        let input = mutated(&corpus, &mut chance);
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            return Err(format!("input {number}: {}", hex(&input)));
        }
    }
    Ok(())
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
