//! `cargo xtask attacks`: the attack suite, both halves of it, and generated runs that show each defence.
//!
//! The suites are tests of `dmls-sim`. Here they are built from the tree with switches (`cargo xtask mutants`), so that
//! single defences can be switched off, and what they list is held against the list of threats.

use std::collections::BTreeSet;

use crate::gate::{Counts, Error, Table, run_tests};
use crate::mutants::{Mutant, Noticed, Tree};

/// Families of the threat list with how many ids each has: F1 to F22, and so on.
const THREATS: [(&str, usize); 11] = [
    ("F", 22),
    ("I", 12),
    ("X", 10),
    ("K", 6),
    ("H", 9),
    ("S", 11),
    ("D", 10),
    ("P", 10),
    ("Z", 5),
    ("C", 22),
    ("R", 32),
];

/// Runs the attacks that one of `filters` (ids, or first letters of ids) names, or all, and says how many there were.
///
/// # Errors
/// [`Error::Failed`] if an attack is alive; [`Error::Findings`] if the whole suite leaves out a threat.
pub fn attacks(filters: &[String], counts: &mut Counts) -> Result<String, Error> {
    let mut listed = Listed::default();
    let tree = Tree::write()?;
    // The third replays what failed once against adversaries.
    for suite in ["attacks", "bites", "world"] {
        // The whole workspace is selected, so that all dependencies are those of the ordinary build.
        let mut command = tree.cargo(&["test", "--locked", "--workspace", "--test", suite, "--"]);
        command.args(filters);
        run_tests(command, counts, |line| listed.note(line))?;
    }
    if filters.is_empty() {
        listed.check(&tree.mutants)?;
    }
    Ok(listed.summary())
}

/// What the suite said of each id.
#[derive(Default)]
struct Listed {
    killed: BTreeSet<String>,
    not_killed: BTreeSet<String>,
    /// Shown by plain tests.
    tested: BTreeSet<String>,
    later: BTreeSet<String>,
    /// Shown by a generated run, too.
    bites: BTreeSet<String>,
}

impl Listed {
    /// Takes in a line of the suites: `F2   KILLED   attack | defence`, `K4   LATER    reason`, `F2   BITES    seed`.
    fn note(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some(id), Some(word)) = (words.next(), words.next()) else { return };
        match word {
            "KILLED" => self.killed.insert(id.to_owned()),
            "ALIVE" | "BROKEN" | "PANIC" => self.not_killed.insert(id.to_owned()),
            "TESTED" => self.tested.insert(id.to_owned()),
            "LATER" => self.later.insert(id.to_owned()),
            "BITES" => self.bites.insert(id.to_owned()),
            _ => false,
        };
    }

    fn summary(&self) -> String {
        let Self { killed, not_killed, tested, later, bites } = self;
        let (killed, not_killed, bites) = (killed.len(), not_killed.len(), bites.len());
        let (tested, later) = (tested.len(), later.len());
        format!("{killed} attacks KILLED, {not_killed} not, {tested} TESTED, {later} LATER, {bites} shown by seeds")
    }

    /// Every threat is tried or put off with a reason, and nothing else is; an attack is there for each mutant that
    /// says so.
    fn check(&self, mutants: &[Mutant]) -> Result<(), Error> {
        let mut findings = Table::new(&["id", "why not"]);
        let tried = self.killed.iter().chain(&self.not_killed).chain(&self.tested);
        let tried: BTreeSet<_> = tried.map(String::as_str).collect();
        let threats: BTreeSet<_> = threats().collect();
        for id in &threats {
            match (tried.contains(id.as_str()), self.later.contains(id)) {
                (false, false) => findings.push(&[id, "neither an attack of the suite nor put off with a reason"]),
                (true, true) => findings.push(&[id, "both an attack of the suite and put off"]),
                _ => {}
            }
        }
        for id in tried.into_iter().chain(self.later.iter().map(String::as_str)).filter(|id| !threats.contains(*id)) {
            findings.push(&[id, "not in the list of threats"]);
        }
        let shown = mutants.iter().filter(|mutant| mutant.noticed_by == Noticed::ByAttack);
        for mutant in shown.filter(|mutant| !self.killed.contains(&mutant.id)) {
            findings.push(&[&mutant.id, "a mutant, but no attack is KILLED that shows it"]);
        }
        if findings.is_empty() {
            return Ok(());
        }
        Err(Error::Findings { what: "the attack suite and the list of threats differ".to_owned(), table: findings })
    }
}

/// All ids of the threat list.
fn threats() -> impl Iterator<Item = String> {
    THREATS.into_iter().flat_map(|(family, count)| (1..=count).map(move |number| format!("{family}{number}")))
}

#[cfg(test)]
mod tests {
    use super::{Listed, threats};

    fn listed(lines: &[&str]) -> Listed {
        let mut listed = Listed::default();
        lines.iter().for_each(|line| listed.note(line));
        listed
    }

    fn whole_list_but(missing: &str) -> Vec<String> {
        let lines = threats().filter(|id| id != missing).map(|id| format!("{id:<4} LATER    nothing to attack"));
        lines.collect()
    }

    #[test]
    fn the_list_has_all_threats() {
        assert_eq!(threats().count(), 149);
        assert!(threats().any(|id| id == "C22") && threats().all(|id| id != "Z6"));
    }

    #[test]
    fn lines_of_the_suite_are_understood_and_others_are_not() {
        let listed = listed(&[
            "F2   KILLED   grinds the tie | the tie is fixed before the commit",
            "F5   ALIVE    commits from an old epoch | heads by outsiders come last",
            "S10  TESTED   Debug is written by hand | some/file.rs: a_test",
            "K4   LATER    no SAS here",
            "F2   BITES    hostile seed 1 | Steered",
            "test result: FAILED. 1 passed; 1 failed",
            "running 2 attacks",
        ]);
        assert_eq!(listed.summary(), "1 attacks KILLED, 1 not, 1 TESTED, 1 LATER, 1 shown by seeds");
    }

    #[test]
    fn a_threat_that_is_left_out_is_named() {
        let mut lines = whole_list_but("Z3");
        let check = |lines: &[String]| listed(&lines.iter().map(String::as_str).collect::<Vec<_>>()).check(&[]);
        let error = check(&lines).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("Z3") && !error.contains("Z2"), "{error}");
        lines.push("Z3 KILLED a | b".to_owned());
        assert!(check(&lines).is_ok());
    }

    #[test]
    fn what_is_no_threat_or_both_tried_and_put_off_is_named() {
        let mut lines = whole_list_but("");
        lines.extend(["F1 KILLED a | b".to_owned(), "Q1 KILLED a | b".to_owned()]);
        let error = listed(&lines.iter().map(String::as_str).collect::<Vec<_>>()).check(&[]);
        let error = error.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("both an attack") && error.contains("Q1"), "{error}");
    }
}
