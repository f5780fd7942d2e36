//! What was run in one go, and how goes add up to lines of the ledger.

use super::lane::Lane;
use super::ledger::{Line, holds};

/// Seeds that were run in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) last: u64,
    /// How many; see [`Line`].
    pub(super) seeds: u64,
    pub(super) cpu_seconds: u64,
    /// `ok`, or what failed.
    pub(super) result: String,
}

/// When a lane's goes are written down at the latest, in seconds of processor time.
const OFTEN_ENOUGH: u64 = 600;

/// Goes of one lane that no line of the ledger says yet.
#[derive(Debug, Default)]
pub(super) struct Unwritten(Vec<Batch>);

impl Unwritten {
    pub(super) fn push(&mut self, batch: Batch) {
        self.0.push(batch);
    }

    /// Whether too much would be lost if this process were ended now.
    pub(super) fn is_much(&self) -> bool {
        self.0.iter().map(|batch| batch.cpu_seconds).sum::<u64>() >= OFTEN_ENOUGH
            || self.0.iter().any(|batch| !holds(&batch.result))
    }

    /// One line for each range without a gap; what failed has a line of its own.
    pub(super) fn lines(&mut self, commit: &str, lane: &Lane) -> Vec<Line> {
        let mut batches = std::mem::take(&mut self.0);
        batches.sort_by_key(|batch| batch.first);
        let mut lines: Vec<Line> = Vec::new();
        for batch in batches {
            match lines.last_mut() {
                Some(line) if holds(&line.result) && line.result == batch.result && line.last + 1 == batch.first => {
                    line.seeds += batch.seeds;
                    line.last = batch.last;
                    line.cpu_seconds += batch.cpu_seconds;
                }
                _ => lines.push(line(commit, lane, batch)),
            }
        }
        lines
    }
}

fn line(commit: &str, lane: &Lane, batch: Batch) -> Line {
    let Batch { first, last, seeds, cpu_seconds, result } = batch;
    Line { commit: commit.to_owned(), lane: lane.to_string(), seeds, first, last, cpu_seconds, result }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Lane, Unwritten};

    fn batch(first: u64, last: u64, result: &str) -> Batch {
        Batch { first, last, seeds: last - first + 1, cpu_seconds: 10, result: result.to_owned() }
    }

    #[test]
    fn goes_without_a_gap_are_one_line_whichever_ended_first() {
        let mut unwritten = Unwritten::default();
        for (first, last) in [(11, 20), (1, 10), (31, 40)] {
            unwritten.push(batch(first, last, "ok"));
        }
        let lines: Vec<_> = unwritten.lines("c", &Lane::Fast).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["c,fast,20,1,20,20,ok", "c,fast,10,31,40,10,ok"]);
        assert!(unwritten.lines("c", &Lane::Fast).is_empty(), "what is written is not written again");
    }

    #[test]
    fn what_failed_has_its_own_line_and_is_written_at_once() {
        let mut unwritten = Unwritten::default();
        unwritten.push(batch(1, 10, "ok"));
        assert!(!unwritten.is_much());
        unwritten.push(batch(11, 20, "seed 14: lost"));
        assert!(unwritten.is_much());
        unwritten.push(batch(21, 30, "ok"));
        let lines: Vec<_> = unwritten.lines("c", &Lane::Real).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["c,real,10,1,10,10,ok", "c,real,10,11,20,10,seed 14: lost", "c,real,10,21,30,10,ok"]);
    }
}
