//! `assurance/ledger.csv`: what was run, on which commit, with what result.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use super::error::Error;
use super::lane::Lane;
use crate::gate::root;

const HEADER: &str = "commit,lane,seeds,first_seed,last_seed,cpu_seconds,result";

/// What a range that found nothing says.
pub(super) const OK: &str = "ok";

/// What a range of a fuzz target says that found nothing, and that no coverage guided.
pub(super) const UNGUIDED: &str = "ok unguided";

/// Whether a result is that nothing was found.
pub(super) fn holds(result: &str) -> bool {
    result == OK || result == UNGUIDED
}

/// One range of seeds that a lane ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The short hash, with `-dirty` if there were changes that it does not have.
    pub(super) commit: String,
    pub(super) lane: String,
    /// How many were run; of the model, how many states it has; of the crash points, how many they are.
    pub(super) seeds: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) cpu_seconds: u64,
    /// [`OK`], or what failed, with the first failing seed.
    pub(super) result: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commit, lane, seeds, first, last, cpu_seconds, result } = self;
        write!(f, "{commit},{lane},{seeds},{first},{last},{cpu_seconds},{}", plain(result))
    }
}

/// In one field of one line.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|letter| if letter == ',' { ';' } else { letter }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.split(',').collect();
        let [commit, lane, seeds, first, last, cpu_seconds, result] = fields.as_slice() else { return None };
        let number = |text: &str| text.parse::<u64>().ok();
        let line = Self {
            commit: (*commit).to_owned(),
            lane: (*lane).to_owned(),
            seeds: number(seeds)?,
            first: number(first)?,
            last: number(last)?,
            cpu_seconds: number(cpu_seconds)?,
            result: (*result).to_owned(),
        };
        (line.first <= line.last && !line.result.is_empty() && line.lane.parse::<Lane>().is_ok()).then_some(line)
    }
}

/// All lines so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lines: Vec<Line>,
}

impl Ledger {
    /// Reads the ledger of this checkout; one that is not there yet is empty.
    pub(super) fn read() -> Result<Self, Error> {
        let path = path();
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::file(&path)(error)),
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let bad = |line: usize, text: &str| Error::Ledger { line: line + 1, text: text.to_owned() };
        let mut lines = text.lines().enumerate();
        match lines.next() {
            None | Some((_, HEADER)) => {}
            Some((at, other)) => return Err(bad(at, other)),
        }
        let lines = lines.map(|(at, text)| Line::parse(text).ok_or_else(|| bad(at, text)));
        Ok(Self { lines: lines.collect::<Result<_, _>>()? })
    }

    /// The seed after the last one that the lane ran.
    pub(super) fn next(&self, lane: &Lane) -> u64 {
        let of_lane = self.lines.iter().filter(|line| line.lane == lane.to_string());
        of_lane.map(|line| line.last + 1).max().unwrap_or(1)
    }

    /// `count` seeds that the lane once ran and found nothing in, chosen by `draw`; fewer if the range is smaller.
    pub(super) fn draw(&self, lane: &Lane, count: u64, draw: u64) -> Option<(u64, u64)> {
        let lines: Vec<_> = self.lines.iter().filter(|l| l.lane == lane.to_string() && l.result == OK).collect();
        let line = lines.get(usize::try_from(draw % lines.len().max(1) as u64).ok()?)?;
        let ranges = (line.last - line.first + 1).saturating_sub(count) + 1;
        let first = line.first + draw / (lines.len() as u64) % ranges;
        Some((first, count.min(line.last - first + 1)))
    }

    /// Appends a line, in the file too.
    pub(super) fn append(&mut self, line: Line) -> Result<(), Error> {
        let path = path();
        let fresh = !path.exists();
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(Error::file(&path))?;
        let text = if fresh { format!("{HEADER}\n{line}\n") } else { format!("{line}\n") };
        file.write_all(text.as_bytes()).map_err(Error::file(&path))?;
        self.lines.push(line);
        Ok(())
    }
}

fn path() -> PathBuf {
    root().join("assurance").join("ledger.csv")
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Ledger, Line};
    use crate::assure::Lane;

    fn ledger(lines: &[&str]) -> Option<Ledger> {
        Ledger::parse(&format!("{HEADER}\n{}", lines.join("\n"))).ok()
    }

    #[test]
    fn seeds_go_on_after_the_last_one_of_their_lane() {
        let read = ledger(&["a1b2c3d,real,20,1,20,91,ok", "a1b2c3d,fast,500,1,500,60,ok", "a1b2c3d,real,3,21,23,9,ok"]);
        let next = |lane: Lane| read.as_ref().map(|ledger| ledger.next(&lane));
        assert_eq!(next(Lane::Real), Some(24));
        assert_eq!(next(Lane::Fast), Some(501));
        assert_eq!(next(Lane::Soak), Some(1));
    }

    #[test]
    fn a_line_of_another_form_is_named() {
        for line in [
            "a1b2c3d,real,20,1,20,91",
            "a1b2c3d,real,20,20,1,91,ok",
            "a1b2c3d,surreal,20,1,20,91,ok",
            "a1b2c3d,real,20,1,20,91,ok,more",
            "a1b2c3d,real,many,1,20,91,ok",
            "",
        ] {
            let error = Ledger::parse(&format!("{HEADER}\n{line}\na1b2c3d,real,1,1,1,1,ok")).err();
            assert!(error.is_some_and(|error| error.to_string().contains("line 2")), "{line}");
        }
        assert!(Ledger::parse("commit,lane\n").is_err(), "another header");
    }

    #[test]
    fn what_failed_stays_in_its_field_and_its_line() {
        let line = Line {
            commit: "a1b2c3d-dirty".to_owned(),
            lane: "fuzz-frames".to_owned(),
            seeds: 1,
            first: 7,
            last: 7,
            cpu_seconds: 3,
            result: "seed 7: index 3,\n of 2".to_owned(),
        };
        assert_eq!(line.to_string(), "a1b2c3d-dirty,fuzz-frames,1,7,7,3,seed 7: index 3; of 2");
        let read = Line::parse(&line.to_string());
        assert_eq!(read.map(|line| line.result).as_deref(), Some("seed 7: index 3; of 2"));
    }

    #[test]
    fn what_is_drawn_was_run_and_found_nothing() {
        let read = ledger(&["a,real,100,1,100,9,ok", "b,real,9,101,109,9,seed 104: lost", "c,real,2,110,111,9,ok"]);
        let mut starts = std::collections::BTreeSet::new();
        for draw in 0..400 {
            let drawn = read.as_ref().and_then(|ledger| ledger.draw(&Lane::Real, 3, draw));
            let (first, count) = drawn.unwrap_or_default();
            assert!((1..=98).contains(&first) && count == 3 || (first, count) == (110, 2), "{first} {count}");
            starts.insert(first);
        }
        assert_eq!(starts.len(), 99, "every range can be drawn");
        assert_eq!(read.and_then(|ledger| ledger.draw(&Lane::Fast, 3, 5)), None);
    }
}
