//! All points of an operation, or some of them.

use std::collections::BTreeMap;

use dmls_sim::client::CrashPoint;
use dmls_store::MemoryStore;

use crate::operations::{ALL, Operation};
use crate::play::{Course, Play, play};
use crate::torn;
use crate::verdict::{Seen, wrong};

/// A kind of crash point.
type Kind = fn(usize) -> CrashPoint;

const OF_STORE: [Kind; 2] = [CrashPoint::Commit, CrashPoint::Stored];
const OF_NETWORK: [Kind; 4] = [CrashPoint::Request, CrashPoint::Answer, CrashPoint::Cut, CrashPoint::Torn];

/// Which points are tried.
#[derive(Clone, Copy)]
pub struct Choice {
    /// Every so many of them.
    pub every: usize,
    /// Whether each is tried both with a start at once and with a late one, or with one of the two in turn.
    pub both: bool,
}

const SOME: Choice = Choice { every: 5, both: false };
const EVERY: Choice = Choice { every: 1, both: true };

/// Tries points of an operation; how many, and what was wrong with each that was wrong.
pub fn try_points(operation: &Operation, choice: Choice) -> (usize, Vec<String>) {
    let unhindered = play(operation, Course::Unhindered);
    let done = Seen::of(&unhindered.outcome.trace);
    let undone = Seen::of(&play(operation, Course::Without).outcome.trace);
    let mut faults: Vec<_> = wrong(&unhindered.outcome.trace, &done, &undone);
    let mut snapshots = Snapshots::default();
    let (mut tried, mut number) = (0, 0);
    for (point, soon) in points(&unhindered, choice, &mut number) {
        let played = play(operation, Course::Crash(point, soon));
        tried += 1;
        let mut here = wrong(&played.outcome.trace, &done, &undone);
        // A crash that did not come would show nothing.
        let met = played.found.is_some() || matches!(point, CrashPoint::Cut(_));
        here.extend((!met).then(|| "the crash did not come".to_owned()));
        here.extend(snapshots.take(point, played.found));
        faults.extend(here.into_iter().map(|fault| format!("{} at {point}, soon {soon}: {fault}", operation.name)));
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
fn points(unhindered: &Play, choice: Choice, number: &mut usize) -> Vec<(CrashPoint, bool)> {
    let mut points = Vec::new();
    let kinds = OF_STORE.map(|kind| (kind, unhindered.commits)).into_iter();
    let kinds = kinds.chain(OF_NETWORK.map(|kind| (kind, unhindered.requests)));
    for (kind, count) in kinds {
        for place in 0..count {
            *number += 1;
            if !(*number).is_multiple_of(choice.every) {
                continue;
            }
            let soon = (*number / choice.every).is_multiple_of(2);
            points.push((kind(place), soon));
            if choice.both {
                points.push((kind(place), !soon));
            }
        }
    }
    points
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
