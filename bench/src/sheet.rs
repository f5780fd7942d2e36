//! The rows that are measured, and what is told while they are.

use std::io::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Who stands for the primitives alone.
pub const LIMIT: &str = "limit";
/// Our own group, without the core around it.
pub const MODULE: &str = "module";
/// The core: `dmls::group::Group` over a journal in memory.
pub const CORE: &str = "core";
/// Who is compared with the others, not one of them.
const OURS: [&str; 3] = [LIMIT, MODULE, CORE];

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Milliseconds of processor time.
    Ms,
    /// Microseconds of processor time.
    Us,
    /// Bytes.
    #[serde(rename = "B")]
    B,
}

impl Unit {
    /// How it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Us => "µs",
            Self::B => "B",
        }
    }
}

/// One value of one contestant.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was done: `rekey/send`.
    pub op: String,
    /// In a room of how many devices.
    pub n: u32,
    /// By whom.
    pub who: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// How much.
    pub value: f64,
}

/// Something that was not measured, and why.
#[derive(Debug, Clone)]
pub struct Unmeasured {
    /// Which row.
    pub op: String,
    /// In a room of how many devices; 0 where that makes no difference.
    pub n: u32,
    /// By whom.
    pub who: &'static str,
    /// Why not.
    pub why: String,
}

/// All rows of a run.
#[derive(Debug, Default)]
pub struct Sheet {
    /// What was measured.
    pub rows: Vec<Row>,
    /// What was not.
    pub unmeasured: Vec<Unmeasured>,
    /// Only rows whose names begin so; all, if there is none.
    only: Vec<String>,
    budget: Duration,
}

impl Sheet {
    /// An empty one, for rows that begin as one of `only` says. Making ready for one row may take `budget`.
    pub fn new(only: Vec<String>, budget: Duration) -> Self {
        Self { only, budget, ..Self::default() }
    }

    /// Whether a row of this name, or one that begins so, is asked for.
    pub fn wants(&self, op: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| op.starts_with(only.as_str()) || only.starts_with(op))
    }

    /// When whatever is begun now has taken too long.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.budget
    }

    /// Enters a value.
    pub fn put(&mut self, op: impl Into<String>, n: u32, who: &'static str, unit: Unit, value: f64) {
        let op = op.into();
        if self.wants(&op) {
            self.rows.push(Row { op, n, who, unit, value });
        }
    }

    /// Enters that something was not measured.
    pub fn miss(&mut self, op: impl Into<String>, n: u32, who: &'static str, why: impl Into<String>) {
        let (op, why) = (op.into(), why.into());
        say(&format!("{who}, {n} devices: {op}: {why}"));
        if self.wants(&op) {
            self.unmeasured.push(Unmeasured { op, n, who, why });
        }
    }

    /// What somebody needs for something.
    pub fn value(&self, op: &str, n: u32, who: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.op == op && row.n == n && row.who == who).map(|row| row.value)
    }

    /// How often the primitives' limit a row comes to.
    pub fn per_limit(&self, row: &Row) -> Option<f64> {
        self.value(&row.op, row.n, LIMIT).map(|limit| row.value / limit)
    }

    /// How often the best peer's value a row comes to.
    pub fn per_best_peer(&self, row: &Row) -> Option<f64> {
        let same = self.rows.iter().filter(|other| other.op == row.op && other.n == row.n);
        let peers = same.filter(|other| !OURS.contains(&other.who) && other.value > 0.0);
        peers.map(|peer| peer.value).min_by(f64::total_cmp).map(|best| row.value / best)
    }
}

/// Tells what is going on, on standard error.
pub fn say(line: &str) {
    let _unseen = writeln!(std::io::stderr(), "{line}");
}
