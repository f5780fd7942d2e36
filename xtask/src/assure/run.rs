//! The schedule: which lane goes next, on two processors.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::{Batch, Unwritten};
use super::build::Builder;
use super::error::Error;
use super::lane::Lane;
use super::ledger::{Ledger, holds};
use super::runner::Runner;
use super::tree::{Dirty, commit};
use crate::gate;

/// How many processes run at once.
const WORKERS: usize = 2;

/// What is run, and for how long.
#[derive(Debug)]
pub struct Options {
    /// Minutes, building not counted.
    pub minutes: u64,
    /// Which lanes; none means all that are there.
    pub lanes: Vec<Lane>,
    /// What if files differ from the commit.
    pub dirty: Dirty,
}

/// Runs lanes side by side and appends what they ran to the ledger.
///
/// # Errors
/// [`Error::Found`] if a lane found something; [`Error::NotThere`] if a lane that was asked for cannot run.
pub fn assure(options: &Options) -> Result<(), Error> {
    let before = commit(options.dirty)?;
    let ledger = Ledger::read()?;
    let lanes = build(&options.lanes)?;
    let after = commit(options.dirty)?;
    if options.dirty == Dirty::Refuse && after != before {
        return Err(Error::Moved { before, after });
    }
    let deadline = Instant::now() + Duration::from_secs(options.minutes.saturating_mul(60));
    let schedule = Schedule {
        lanes: lanes.into_iter().map(|(lane, runner)| (lane.clone(), Turns::new(runner, ledger.next(&lane)))).collect(),
        commit: before,
        ledger,
        found: Vec::new(),
    };
    let found = run_all(schedule, deadline)?;
    if found.is_empty() { Ok(()) } else { Err(Error::Found(found)) }
}

/// Builds what the lanes run. Of all lanes, those that are not there are told and left out.
fn build(asked: &[Lane]) -> Result<Vec<(Lane, Runner)>, Error> {
    let (lanes, all) = if asked.is_empty() { (Lane::all()?, true) } else { (asked.to_vec(), false) };
    let mut builder = Builder::default();
    let mut runners = Vec::new();
    for lane in lanes {
        match builder.runner(&lane) {
            Ok(runner) => runners.push((lane, runner)),
            Err(error @ Error::NotThere { .. }) if all => say(&error)?,
            Err(error) => return Err(error),
        }
    }
    Ok(runners)
}

/// The lanes, and who is next.
struct Schedule {
    lanes: BTreeMap<Lane, Turns>,
    commit: String,
    ledger: Ledger,
    found: Vec<String>,
}

/// How far a lane is.
struct Turns {
    runner: std::sync::Arc<Runner>,
    next: u64,
    /// Time that its goes took that ended.
    spent: Duration,
    /// When its other goes began.
    running: Vec<Instant>,
    /// What its last go took.
    expected: Duration,
    over: bool,
    unwritten: Unwritten,
}

impl Turns {
    fn new(runner: Runner, next: u64) -> Self {
        let (spent, expected) = (Duration::ZERO, Duration::from_secs(1));
        Self {
            runner: runner.into(),
            next,
            spent,
            running: Vec::new(),
            expected,
            over: false,
            unwritten: Unwritten::default(),
        }
    }
}

impl Turns {
    /// Time that it got, with what its running goes took so far, or will probably take.
    fn got(&self) -> Duration {
        let running = self.running.iter().map(|begun| begun.elapsed().max(self.expected));
        self.spent + running.sum::<Duration>()
    }

    /// What one seed took last time.
    fn one_seed(&self) -> Duration {
        self.expected / u32::try_from(self.runner.batch()).unwrap_or(u32::MAX)
    }
}

/// One go that a worker took on.
struct Go {
    lane: Lane,
    runner: std::sync::Arc<Runner>,
    first: u64,
    begun: Instant,
}

fn run_all(schedule: Schedule, deadline: Instant) -> Result<Vec<String>, Error> {
    let schedule = Mutex::new(schedule);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| work(&schedule, deadline))).collect();
        let ends = workers.into_iter().map(|worker| worker.join().unwrap_or(Ok(())));
        ends.collect::<Vec<_>>().into_iter().collect::<Result<(), Error>>()
    })?;
    let mut schedule = schedule.into_inner().unwrap_or_else(PoisonError::into_inner);
    for lane in schedule.lanes.keys().cloned().collect::<Vec<_>>() {
        schedule.write(&lane)?;
    }
    Ok(schedule.found)
}

fn work(schedule: &Mutex<Schedule>, deadline: Instant) -> Result<(), Error> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(go) = lock(schedule).take(left) else { return Ok(()) };
        let batch = go.runner.run(go.first, left)?;
        let Batch { first, last, seeds, cpu_seconds, result } = &batch;
        let left = deadline.saturating_duration_since(Instant::now()).as_secs().div_ceil(60);
        let lane = go.lane.to_string();
        say(&format!("{lane:<16} {first} to {last} ({seeds}): {result}, {cpu_seconds} s; {left} min left"))?;
        lock(schedule).took(&go, batch, go.begun.elapsed())?;
    }
}

fn lock(schedule: &Mutex<Schedule>) -> MutexGuard<'_, Schedule> {
    schedule.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Schedule {
    /// The lane that got least of its share is next.
    fn take(&mut self, left: Duration) -> Option<Go> {
        if left.is_zero() {
            return None;
        }
        let waiting = self.lanes.iter_mut().filter(|(_, turns)| !turns.over && turns.one_seed() <= left);
        let (lane, turns) = waiting.min_by_key(|(lane, turns)| turns.got() / lane.weight())?;
        let go = Go { lane: lane.clone(), runner: turns.runner.clone(), first: turns.next, begun: Instant::now() };
        turns.next += turns.runner.batch();
        turns.running.push(go.begun);
        turns.over = turns.runner.is_once();
        Some(go)
    }

    fn took(&mut self, go: &Go, batch: Batch, time: Duration) -> Result<(), Error> {
        let Some(turns) = self.lanes.get_mut(&go.lane) else { return Ok(()) };
        turns.running.retain(|begun| *begun != go.begun);
        turns.spent += time;
        turns.expected = time;
        if !holds(&batch.result) {
            turns.over = true;
            self.found.push(format!("{}: {}", go.lane, batch.result));
        }
        turns.unwritten.push(batch);
        if turns.unwritten.is_much() { self.write(&go.lane) } else { Ok(()) }
    }

    fn write(&mut self, lane: &Lane) -> Result<(), Error> {
        let Some(turns) = self.lanes.get_mut(lane) else { return Ok(()) };
        for line in turns.unwritten.lines(&self.commit, lane) {
            say(&format!("ledger: {line}"))?;
            self.ledger.append(line)?;
        }
        Ok(())
    }
}

pub(super) fn say(line: &impl Display) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| gate::Error::Output(error).into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{Lane, Ledger, Runner, Schedule, Turns};
    use crate::assure::batch::Batch;

    fn seeds() -> Runner {
        Runner::Seeds { program: "none".into(), world: &[], batch: 10 }
    }

    fn schedule() -> Schedule {
        let lanes = BTreeMap::from([
            (Lane::Real, Turns::new(seeds(), 21)),
            (Lane::Soak, Turns::new(seeds(), 1)),
            (Lane::Model, Turns::new(Runner::Test { program: "none".into(), filter: "", unit: "" }, 1)),
        ]);
        Schedule { lanes, commit: "c".to_owned(), ledger: Ledger::default(), found: Vec::new() }
    }

    fn result(first: u64, result: &str) -> Batch {
        Batch { first, last: first + 9, seeds: 10, cpu_seconds: 1, result: result.to_owned() }
    }

    #[test]
    fn each_lane_gets_its_share_and_no_seed_twice() {
        let (mut schedule, minute) = (schedule(), Duration::from_secs(60));
        let mut goes: BTreeMap<Lane, Vec<u64>> = BTreeMap::new();
        for _ in 0..41 {
            let Some(go) = schedule.take(minute) else { break };
            let done = schedule.took(&go, result(go.first, "ok"), Duration::from_secs(1));
            assert!(done.is_ok());
            goes.entry(go.lane).or_default().push(go.first);
        }
        assert_eq!(goes[&Lane::Model], [1], "once");
        assert_eq!((goes[&Lane::Real].len(), goes[&Lane::Soak].len()), (32, 8), "four to one");
        assert_eq!(goes[&Lane::Real][..3], [21, 31, 41]);
    }

    #[test]
    fn nothing_begins_when_the_time_is_up() {
        assert!(schedule().take(Duration::ZERO).is_none());
    }
}
