//! What runs a lane, one go at a time.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::batch::Batch;
use super::child::{End, Ended, run};
use super::error::Error;
use super::fuzz;
use super::ledger::{OK, UNGUIDED};
use crate::gate::root;

/// How long one go of a fuzz target is.
const FUZZ: Duration = Duration::from_secs(60);

/// What a go may take beyond its time: the seed or the input that it is at. Soaks are long.
const SLACK: Duration = Duration::from_secs(900);

/// A program, and how it is asked to run seeds.
pub(super) enum Runner {
    /// `PROGRAM --first N --count N --seconds N` and what the world is to be: says `seed N FAILED why` for each seed that fails, ends
    /// early after so many seconds, and says last `seeds N ok N failed N`.
    Seeds { program: PathBuf, world: &'static [&'static str], batch: u64 },
    /// Ignored tests, which run once: how far they went is the sum of the numbers behind `unit` in what they say.
    Test { program: PathBuf, filter: &'static str, unit: &'static str },
    /// A libFuzzer program; a seed is one minute of it.
    Guided { program: PathBuf, target: String },
    /// The same arguments as for seeds, and the target; a seed is a number of mutated inputs.
    Mutations { program: PathBuf, target: String },
}

impl Runner {
    /// A test program, if it has ignored tests that `filter` selects.
    pub(super) fn test(program: PathBuf, filter: &'static str, unit: &'static str) -> Option<Self> {
        let listed = Command::new(&program).args([filter, "--ignored", "--list"]).output().ok()?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        listed.lines().any(|line| line.ends_with(": test")).then_some(Self::Test { program, filter, unit })
    }

    /// Whether it finds the same each time, so that once is enough.
    pub(super) fn is_once(&self) -> bool {
        matches!(self, Self::Test { .. })
    }

    /// How many seeds are run in one go.
    pub(super) fn batch(&self) -> u64 {
        match self {
            Self::Seeds { batch, .. } => *batch,
            Self::Mutations { .. } => 20,
            Self::Test { .. } | Self::Guided { .. } => 1,
        }
    }

    /// Runs seeds from `first` on, for about as long as is left.
    pub(super) fn run(&self, first: u64, left: Duration) -> Result<Batch, Error> {
        match self {
            Self::Seeds { program, world, batch } => {
                let mut command = Command::new(program);
                command.args(*world);
                // Several lanes run at once; threads of one that wait for each other only take time from the rest.
                command.env("RAYON_NUM_THREADS", "1");
                seeds(command, first, *batch, left)
            }
            Self::Mutations { program, target } => {
                let mut command = Command::new(program);
                command.args(["--target", target]);
                let batch = seeds(command, first, self.batch(), left.min(FUZZ))?;
                // Without coverage the same time finds less; the ledger shows it.
                let result = if batch.result == OK { UNGUIDED.to_owned() } else { batch.result };
                Ok(Batch { result, ..batch })
            }
            Self::Test { program, filter, unit } => {
                let mut command = Command::new(program);
                command.args([filter, "--ignored", "--nocapture", "--test-threads=1"]);
                Ok(tested(run(&command, Duration::from_secs(3600))?, first, unit))
            }
            Self::Guided { program, target } => {
                let command = fuzz::command(program, target, first, left.min(FUZZ))?;
                let ended = run(&command, left.min(FUZZ) + SLACK)?;
                fuzz::keep_crash(target, &ended.said)?;
                let result = if ended.end == End::Well { OK.to_owned() } else { fuzz::blame(first, &ended) };
                Ok(Batch { first, last: first, seeds: 1, cpu_seconds: ended.cpu_seconds, result })
            }
        }
    }
}

fn seeds(mut command: Command, first: u64, count: u64, left: Duration) -> Result<Batch, Error> {
    command.current_dir(root());
    command.args(["--first", &first.to_string(), "--count", &count.to_string()]);
    command.args(["--seconds", &left.as_secs().max(1).to_string()]);
    Ok(seeded(run(&command, left + SLACK)?, first, count))
}

/// What a seed runner's words come to.
fn seeded(ended: Ended, first: u64, count: u64) -> Batch {
    let Ended { said, cpu_seconds, end } = ended;
    let summary = said.lines().rev().find_map(Summary::parse);
    let failed = said.lines().find_map(failing);
    let seeds = summary.as_ref().map_or(count, |summary| summary.seeds.min(count));
    let result = match (end, summary, failed) {
        (End::Hung, ..) => format!("hung in seeds {first} to {}", first + count - 1),
        (_, _, Some(failed)) => failed,
        (End::Well, Some(Summary { failed: 0, seeds }), None) if seeds > 0 => OK.to_owned(),
        _ => format!("seeds {first} to {}: {}", first + count - 1, last_words(&said)),
    };
    Batch { first, last: first + seeds.max(1) - 1, seeds, cpu_seconds, result }
}

/// The line `seeds N ok N failed N`.
struct Summary {
    seeds: u64,
    failed: u64,
}

impl Summary {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["seeds", seeds, "ok", ok, "failed", failed] = words.as_slice() else { return None };
        let (seeds, ok, failed) = (seeds.parse().ok()?, ok.parse::<u64>().ok()?, failed.parse().ok()?);
        (ok + failed == seeds).then_some(Self { seeds, failed })
    }
}

/// What the line `seed N FAILED why` says.
fn failing(line: &str) -> Option<String> {
    let (seed, why) = line.strip_prefix("seed ")?.split_once(" FAILED")?;
    let seed: u64 = seed.parse().ok()?;
    Some(format!("seed {seed}: {}", why.trim()))
}

fn tested(ended: Ended, first: u64, unit: &str) -> Batch {
    let passed = crate::gate::Counts::of(&ended.said).passed;
    let units = ended.said.split_whitespace().filter_map(|word| word.strip_prefix(unit)?.parse::<u64>().ok()).sum();
    let result = match ended.end {
        End::Well if passed > 0 => OK.to_owned(),
        End::Hung => "hung".to_owned(),
        _ => last_words(&ended.said),
    };
    Batch { first, last: first, seeds: if units > 0 { units } else { passed }, cpu_seconds: ended.cpu_seconds, result }
}

/// The line in which a panic says why, else the last one.
pub(super) fn last_words(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at"));
    let place = lines.next().and_then(|line| line.split("panicked at").nth(1));
    match (place, lines.next()) {
        (Some(place), Some(why)) => format!("panic at {}: {}", portable(place.trim()), why.trim()),
        _ => said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned(),
    }
}

/// A place in the source as it is called on every machine: from the root of this repository or of its package on.
fn portable(place: &str) -> &str {
    let root = format!("{}/", crate::gate::root().display());
    let package = place.split_once("/registry/src/").and_then(|(_, rest)| Some(rest.split_once('/')?.1));
    package.or_else(|| place.strip_prefix(&root)).unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::{End, Ended, last_words, seeded, tested};

    #[test]
    fn places_name_no_machine() {
        let root = crate::gate::root();
        for (place, told) in [
            (
                "/home/x/.cargo/registry/src/registry.test-1949/openmls-0.9.2/src/a.rs:3:9:".to_owned(),
                "openmls-0.9.2/src/a.rs:3:9:",
            ),
            (format!("{}/crates/dmls/src/a.rs:3:9:", root.display()), "crates/dmls/src/a.rs:3:9:"),
            ("crates/dmls/src/a.rs:3:9:".to_owned(), "crates/dmls/src/a.rs:3:9:"),
        ] {
            let said = format!("thread 'main' panicked at {place}\nwhy\n");
            assert_eq!(last_words(&said), format!("panic at {told}: why"));
        }
    }

    fn ended(said: &str, end: End) -> Ended {
        Ended { said: said.to_owned(), cpu_seconds: 5, end }
    }

    #[test]
    fn seeds_that_all_hold_are_ok_as_far_as_they_were_run() {
        let batch = seeded(ended("seeds 7 ok 7 failed 0\n", End::Well), 101, 10);
        assert_eq!((batch.first, batch.last, batch.seeds, batch.result.as_str()), (101, 107, 7, "ok"));
    }

    #[test]
    fn the_first_failing_seed_is_the_result() {
        let said = "seed 104 FAILED diverged: 2 heads\nseed 106 FAILED lost\nseeds 10 ok 8 failed 2\n";
        let batch = seeded(ended(said, End::Badly), 101, 10);
        assert_eq!((batch.last, batch.result.as_str()), (110, "seed 104: diverged: 2 heads"));
    }

    #[test]
    fn a_runner_that_panics_hangs_or_says_nothing_is_never_ok() {
        let panic = "thread 'main' panicked at src/world.rs:7:5:\nno such device\nnote: run with RUST_BACKTRACE\n";
        let result = |said: &str, end| seeded(ended(said, end), 1, 10).result;
        assert_eq!(result(panic, End::Badly), "seeds 1 to 10: panic at src/world.rs:7:5:: no such device");
        assert_eq!(result("", End::Hung), "hung in seeds 1 to 10");
        assert_eq!(result("", End::Well), "seeds 1 to 10: it said nothing");
        assert_ne!(result("seeds 10 ok 10 failed 0", End::Badly), "ok");
        assert_ne!(result("seeds 0 ok 0 failed 0", End::Well), "ok");
    }

    #[test]
    fn tests_that_run_once_tell_how_far_they_went() {
        let said = "model a states=9 unique=700\nmodel b states=5 unique=300\ntest result: ok. 2 passed; 0 failed\n";
        let batch = tested(ended(said, End::Well), 4, "unique=");
        assert_eq!((batch.first, batch.last, batch.seeds, batch.result.as_str()), (4, 4, 1000, "ok"));
        let none = tested(ended("test result: ok. 0 passed; 0 failed", End::Well), 1, "unique=");
        assert_ne!(none.result, "ok", "nothing was run");
    }
}
