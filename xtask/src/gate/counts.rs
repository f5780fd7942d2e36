//! What test runs say of themselves.

use std::fmt;

/// Tests of all runs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many passed.
    pub passed: u64,
    /// How many failed.
    pub failed: u64,
}

impl Counts {
    /// What a test program said of itself.
    pub(crate) fn of(said: &str) -> Self {
        let mut counts = Self::default();
        said.lines().for_each(|line| counts.note(line));
        counts
    }

    /// Adds what a line of libtest's output says: `test result: ok. 3 passed; 0 failed; ...`.
    pub(super) fn note(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result:") else { return };
        self.passed += count(result, "passed");
        self.failed += count(result, "failed");
    }
}

fn count(result: &str, word: &str) -> u64 {
    let words = || result.split([' ', ';', '.']).filter(|word| !word.is_empty());
    let pairs = words().zip(words().skip(1));
    pairs.filter(|(_, second)| *second == word).filter_map(|(first, _)| first.parse::<u64>().ok()).sum()
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn results_are_summed_and_other_lines_are_not() {
        let mut counts = Counts::default();
        for line in [
            "running 4 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "a line that says 7 passed; 7 failed",
        ] {
            counts.note(line);
        }
        assert_eq!(counts, Counts { passed: 14, failed: 3 });
        assert_eq!(counts.to_string(), "14 passed, 3 failed");
    }
}
