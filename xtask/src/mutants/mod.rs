//! `cargo xtask mutants`: each check that a mutant takes away is missed by a test.
//!
//! A mutant is a few lines of text under `assurance/mutants`: which part of the source is a check, and what would stand
//! there without. Their switches are written into a copy of the workspace, so the product has none of them; the copy is
//! built once, and its tests are run once for each mutant, with that one check switched off. `cargo xtask attacks`
//! builds from the same copy.

mod lexer;
mod mutant;
mod run;
mod switches;
mod tree;

use std::collections::BTreeSet;

use crate::gate::{Counts, Error, Table};
pub(crate) use mutant::{Mutant, Noticed};
use run::{Notice, Tests};
pub(crate) use tree::Tree;

/// What is run.
#[derive(Debug, Default)]
pub struct Options {
    /// Only these: ids, or first letters of ids; all, if there is none.
    pub ids: Vec<String>,
    /// Integration tests of the core to run beside its unit tests.
    pub tests: Vec<String>,
    /// Whether only the copy is written, for other builds from it.
    pub write_only: bool,
}

/// Runs the tests without each check, and says how many mutants were noticed.
///
/// # Errors
/// [`Error::Findings`] lists mutants that do not apply, or that no test noticed.
pub fn mutants(options: &Options, counts: &mut Counts) -> Result<String, Error> {
    let tree = Tree::write()?;
    if options.write_only {
        return Ok(format!("{}: {} mutants", tree.path.display(), tree.mutants.len()));
    }
    check_ids(&tree.mutants, &options.ids)?;
    let chosen: Vec<_> = tree.mutants.iter().filter(|mutant| is_chosen(&mutant.id, &options.ids)).collect();
    let (attacks, others): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|mutant| mutant.noticed_by == Noticed::ByAttack);
    let mut findings = Table::new(&["mutant", "finding", "weakens"]);
    if !others.is_empty() {
        let tests = Tests::build(&tree, &options.tests)?;
        for mutant in &others {
            let notice = tests.without(mutant)?;
            notice.show(mutant)?;
            match notice {
                Notice::Killed(_) => counts.passed += 1,
                Notice::Alive | Notice::NoTest => {
                    counts.failed += 1;
                    findings.push(&[&mutant.id, notice.word(), &mutant.weakens]);
                }
            }
        }
    }
    if findings.is_empty() {
        return Ok(format!("{} mutants KILLED, {} more are for the attack suite", others.len(), attacks.len()));
    }
    Err(Error::Findings { what: "no test notices that these checks are gone".to_owned(), table: findings })
}

/// Whether one of `filters` names it, or there is none.
fn is_chosen(id: &str, filters: &[String]) -> bool {
    let named = |filter: &String| id == filter || (filter.len() == 1 && id.starts_with(filter.as_str()));
    filters.is_empty() || filters.iter().any(named)
}

fn check_ids(mutants: &[Mutant], filters: &[String]) -> Result<(), Error> {
    let mut findings = Table::new(&["asked for", "finding"]);
    for filter in filters.iter().collect::<BTreeSet<_>>() {
        if !mutants.iter().any(|mutant| is_chosen(&mutant.id, std::slice::from_ref(filter))) {
            findings.push(&[filter, "no mutant is called so"]);
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(Error::Findings { what: "some of these are not there".to_owned(), table: findings })
}

#[cfg(test)]
mod tests {
    use super::is_chosen;

    #[test]
    fn mutants_are_chosen_by_id_or_first_letter() {
        let chosen = |filters: &[&str]| {
            let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
            ["M1", "M12", "I7"].into_iter().filter(|id| is_chosen(id, &filters)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[]), ["M1", "M12", "I7"]);
        assert_eq!(chosen(&["M1"]), ["M1"]);
        assert_eq!(chosen(&["M", "I7"]), ["M1", "M12", "I7"]);
        assert!(chosen(&["M2", "m"]).is_empty());
    }
}
