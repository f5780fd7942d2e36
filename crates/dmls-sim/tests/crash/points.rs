//! All points of an operation, or some of them.

use std::collections::BTreeMap;

use dmls_sim::client::CrashPoint;
use dmls_sim::trace::Fact;
use dmls_store::MemoryStore;

use crate::operations::{ALL, Operation};
use crate::play::{Course, Play, Revival, play};
use crate::torn;
use crate::verdict::{Seen, wrong};

/// A kind of crash point.
type Kind = fn(usize) -> CrashPoint;

const OF_STORE: [Kind; 3] = [CrashPoint::Commit, CrashPoint::Stored, CrashPoint::Full];
const OF_NETWORK: [Kind; 4] = [CrashPoint::Request, CrashPoint::Answer, CrashPoint::Cut, CrashPoint::Torn];

/// Which points are tried.
#[derive(Clone, Copy)]
pub struct Choice {
    /// Every so many of them.
    pub every: usize,
    /// Whether each is tried with every kind of revival, or with one of them in turn.
    pub revivals: bool,
}

const SOME: Choice = Choice { every: 5, revivals: false };
const EVERY: Choice = Choice { every: 1, revivals: true };

/// Tries points of an operation; how many, and what was wrong with each that was wrong.
pub fn try_points(operation: &Operation, choice: Choice) -> (usize, Vec<String>) {
    let unhindered = play(operation, Course::Unhindered);
    let done = Seen::of(&unhindered.outcome.trace);
    let undone = Seen::of(&play(operation, Course::Without).outcome.trace);
    let mut faults: Vec<_> = wrong(&unhindered.outcome.trace, &done, &undone);
    let mut snapshots = Snapshots::default();
    let mut tried = 0;
    for (point, revival) in points(&unhindered, choice) {
        let played = play(operation, Course::Crash(point, revival));
        tried += 1;
        let mut here = wrong(&played.outcome.trace, &done, &undone);
        // A crash that did not come would show nothing.
        let met = match point {
            CrashPoint::Cut(_) => true,
            CrashPoint::Full(_) => played.outcome.trace.facts().any(|(_, fact)| matches!(fact, Fact::DiskFull { .. })),
            _ => played.found.is_some(),
        };
        here.extend((!met).then(|| "the crash did not come".to_owned()));
        here.extend(snapshots.take(point, played.found));
        faults.extend(here.into_iter().map(|fault| format!("{} at {point}, {revival:?}: {fault}", operation.name)));
    }
    let (torn, broken) = torn::try_all(&snapshots.0);
    faults.extend(broken.into_iter().map(|fault| format!("{}: {fault}", operation.name)));
    println!(
        "{}: {} transactions, {} requests, tried {tried} crashes and {torn} torn files: points={}",
        operation.name,
        unhindered.commits,
        unhindered.requests,
        tried + torn
    );
    (tried + torn, faults)
}

/// The points that are chosen; which kind comes with which number shifts, so that all kinds come.
fn points(unhindered: &Play, choice: Choice) -> Vec<(CrashPoint, Revival)> {
    let kinds = OF_STORE.map(|kind| (kind, unhindered.commits)).into_iter();
    let kinds = kinds.chain(OF_NETWORK.map(|kind| (kind, unhindered.requests)));
    let all = kinds.flat_map(|(kind, count)| (0..count).map(kind));
    let chosen = all.skip(choice.every - 1).step_by(choice.every).enumerate();
    let tries = chosen.flat_map(|(number, point)| {
        let turn = number % Revival::ALL.len();
        let revivals = if choice.revivals { &Revival::ALL[..] } else { &Revival::ALL[turn..=turn] };
        revivals.iter().map(move |revival| (point, *revival))
    });
    tries.collect()
}

/// What was stored after so many transactions of the operation, whichever crash showed it.
#[derive(Default)]
pub struct Snapshots(pub BTreeMap<usize, MemoryStore>);

impl Snapshots {
    /// What a crash left is what the transactions before it left, and nothing in between.
    fn take(&mut self, point: CrashPoint, found: Option<MemoryStore>) -> Option<String> {
        let commits = match point {
            CrashPoint::Commit(commits) => commits,
            CrashPoint::Stored(commits) => commits + 1,
            _ => return None,
        };
        let found = found?;
        let Some(known) = self.0.get(&commits) else {
            self.0.insert(commits, found);
            return None;
        };
        (!torn::same(known, &found)).then(|| format!("after {commits} transactions the store differs"))
    }
}

fn expect_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// SPEC §7.1, §7.2, §7.8: some points of each operation, all kinds among them.
#[test]
fn some_crash_points_of_every_operation() {
    for operation in &ALL {
        let (tried, faults) = try_points(operation, SOME);
        assert!(tried > 0, "{}", operation.name);
        expect_none(&faults);
    }
}

#[test]
#[ignore = "every point takes minutes; the lane `kill` runs it"]
fn every_crash_point_of_every_operation() {
    let mut all = Vec::new();
    for operation in &ALL {
        all.extend(try_points(operation, EVERY).1);
    }
    expect_none(&all);
}
