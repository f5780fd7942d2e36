//! The `dmls` command on real, federated homeservers.
//!
//! A harness of its own: the tests share two homeservers, which end with it, however it ends. Most run beside one another,
//! those that sever the link or stop a server alone. `cargo test -p xtask --test servers -- WORD` runs those whose
//! name contains the word; `--list` names all.
#![expect(clippy::print_stdout, reason = "a test harness tells what it does")]

mod company;
mod everyday;
mod frames;
mod hostile;
mod limits;
mod split;
mod trouble;

use std::collections::VecDeque;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use xtask::homeserver::RateLimits;
use xtask::story::{Program, Servers};

/// How many tests run at the same time; they mostly wait for servers.
const AT_ONCE: usize = 4;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What every test is given.
struct Stage {
    program: Program,
    servers: Servers,
}

type Test = (&'static str, fn(&Stage) -> Outcome);

/// Which tests were asked for.
struct Wanted(Vec<String>);

impl Wanted {
    fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| name.contains(word.as_str()))
    }

    fn of(&self, tests: &[Test]) -> Vec<Test> {
        tests.iter().filter(|(name, _)| self.has(name)).copied().collect()
    }
}

fn main() -> ExitCode {
    let (options, words): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word.starts_with('-'));
    if options.iter().any(|option| option == "--list") {
        list();
        return ExitCode::SUCCESS;
    }
    match run(&Wanted(words)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("\n{failed} failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("\nbroke off: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    for (name, _) in
        [everyday::TESTS, hostile::TESTS, hostile::ALONE, trouble::TESTS, trouble::ALONE, limits::TESTS].concat()
    {
        println!("{name}: test");
    }
    for play in split::plays() {
        println!("{}: test", play.name);
    }
}

/// Runs what was asked for; gives how many tests failed.
fn run(wanted: &Wanted) -> Outcome<usize> {
    let program = Program::build()?;
    std::thread::scope(|scope| {
        let limited = scope.spawn(|| run_limited(wanted, &program));
        let failed = run_raised(wanted, &program)?;
        let limited = limited.join().unwrap_or_else(|_| Err("the harness panicked".into()));
        Ok(failed + limited?)
    })
}

/// Runs the tests on servers whose limits nobody meets.
fn run_raised(wanted: &Wanted, program: &Program) -> Outcome<usize> {
    // The longest first, so that the others fill the time beside it.
    let together = wanted.of(&[hostile::TESTS, trouble::TESTS, everyday::TESTS].concat());
    let alone = wanted.of(&[hostile::ALONE, trouble::ALONE].concat());
    let plays: Vec<_> = split::plays().into_iter().filter(|play| wanted.has(&play.name)).collect();
    if together.is_empty() && alone.is_empty() && plays.is_empty() {
        return Ok(0);
    }
    let stage = Stage { program: program.clone(), servers: Servers::up("servers", RateLimits::Raised)? };
    let mut failed = at_once(together, |(name, test)| report(name, || test(&stage)));
    failed += split::play(&stage, plays);
    failed += alone.iter().map(|(name, test)| report(name, || test(&stage))).sum::<usize>();
    end(stage, failed)?;
    Ok(failed)
}

/// Runs the tests on servers with Synapse's own limits.
fn run_limited(wanted: &Wanted, program: &Program) -> Outcome<usize> {
    let tests = wanted.of(limits::TESTS);
    if tests.is_empty() {
        return Ok(0);
    }
    let stage = Stage { program: program.clone(), servers: Servers::up("limits", RateLimits::Default)? };
    let failed = tests.iter().map(|(name, test)| report(name, || test(&stage))).sum();
    end(stage, failed)?;
    Ok(failed)
}

/// Ends the servers; keeps their logs if a test has failed.
fn end(stage: Stage, failed: usize) -> Outcome {
    if failed == 0 {
        return Ok(stage.servers.end()?);
    }
    let dropped = std::thread::spawn(move || {
        let _kept = stage;
        std::panic::resume_unwind(Box::new("a test has failed"));
    });
    // Its panic is what keeps the logs.
    let _panic = dropped.join();
    Ok(())
}

/// Does the same with all of these, a few at a time; gives the sum of what each gives.
fn at_once<T: Send>(work: impl IntoIterator<Item = T>, run: impl Fn(T) -> usize + Sync) -> usize {
    let queue = Mutex::new(work.into_iter().collect::<VecDeque<_>>());
    let next = || queue.lock().ok().and_then(|mut queue| queue.pop_front());
    std::thread::scope(|scope| {
        let worker = || {
            let mut sum = 0;
            while let Some(item) = next() {
                sum += run(item);
            }
            sum
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(1)).sum()
    })
}

/// Runs one test and tells how it went; gives 1 if it failed.
fn report(name: &str, test: impl FnOnce() -> Outcome + Send) -> usize {
    let start = Instant::now();
    // The thread's name is in the message of a panic.
    let outcome = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, test);
        match thread.map(|thread| thread.join()) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("it panicked".into()),
            Err(error) => Err(error.into()),
        }
    });
    let took = start.elapsed();
    match outcome {
        Ok(()) => {
            println!("test {name} ... ok ({took:.1?})");
            0
        }
        Err(error) => {
            println!("test {name} ... FAILED ({took:.1?})\n{error}\n");
            1
        }
    }
}
