//! `cargo xtask mls`: each row of `docs/MLS.md` that is built is cited by code and by its test, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::sources::{Source, test_functions, test_lines, under};
use super::table::Table;

const MLS: &str = "docs/MLS.md";
const MODULE: &str = "crates/dmls/src/mls";
/// What stands for code that is not built yet.
const NOT_BUILT: &str = "-";

/// The number of a row: 12 of `M12`.
type Number = u32;

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    number: Number,
    is_built: bool,
    test: String,
}

/// Who cites a row.
#[derive(Default)]
struct Cited {
    by_code: bool,
    by_tests: BTreeSet<String>,
}

/// Checks the citing of the table of requirements.
///
/// # Errors
/// [`Error::Findings`] lists rows without a citation and citations without a row.
pub fn mls() -> Result<String, Error> {
    let mut findings = Table::new(&["row", "finding"]);
    let rows = rows(&Source::read(MLS)?, &mut findings);
    let known: BTreeSet<_> = rows.iter().map(|row| row.number).collect();
    let mut cited: BTreeMap<Number, Cited> = BTreeMap::new();
    for source in under("crates", "rs")? {
        for (at, number) in note(&source, &mut cited) {
            if !known.contains(&number) {
                findings.push(&[&format!("M{number}"), &format!("cited by {}, but not there", source.place(at))]);
            }
        }
    }
    for row in rows.iter().filter(|row| row.is_built) {
        for finding in missing(row, cited.get(&row.number)) {
            findings.push(&[&format!("M{}", row.number), &finding]);
        }
    }
    if !findings.is_empty() {
        return Err(Error::Findings { what: format!("{MLS} and what cites it do not agree"), table: findings });
    }
    let built = rows.iter().filter(|row| row.is_built).count();
    Ok(format!("{built} of {} rows built, each cited by code and by its test", rows.len()))
}

/// The rows; what is wrong with the table itself is added to `findings`.
fn rows(document: &Source, findings: &mut Table) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (at, line) in document.text.lines().enumerate().filter(|(_, line)| line.starts_with("| M")) {
        let Some(row) = row(line) else {
            findings.push(&[&document.place(at), "not of the form `| M1 | section | requirement | code | test |`"]);
            continue;
        };
        if rows.iter().any(|other| other.number == row.number) {
            findings.push(&[&format!("M{}", row.number), &format!("a second time at {}", document.place(at))]);
        }
        if rows.iter().any(|other| other.test == row.test) {
            findings.push(&[&format!("M{}", row.number), &format!("`{}` is the test of another row", row.test)]);
        }
        rows.push(row);
    }
    rows
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<_> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [number, section, requirement, code, test] = cells[..] else { return None };
    let number = number.strip_prefix('M')?.parse().ok()?;
    let test = test.strip_prefix('`')?.strip_suffix('`')?;
    let is_complete = section.starts_with('§') && !requirement.is_empty() && !code.is_empty() && !test.is_empty();
    is_complete.then(|| Row { number, is_built: code != NOT_BUILT, test: test.to_owned() })
}

/// Notes who cites what in a file; says on which lines.
fn note(source: &Source, cited: &mut BTreeMap<Number, Cited>) -> Vec<(usize, Number)> {
    let lines: Vec<_> = source.text.lines().collect();
    let (in_test, functions) = (test_lines(source), test_functions(&lines));
    let of_module = source.path.starts_with(MODULE);
    let mut places = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let test = functions.iter().find(|function| function.lines.contains(&at));
        for number in cited_in(line) {
            let entry = cited.entry(number).or_default();
            entry.by_code |= of_module && !in_test[at] && test.is_none();
            entry.by_tests.extend(test.map(|function| function.name.to_owned()));
            places.push((at, number));
        }
    }
    places
}

/// What a row lacks that is built.
fn missing(row: &Row, cited: Option<&Cited>) -> Vec<String> {
    let mut findings = Vec::new();
    if !cited.is_some_and(|cited| cited.by_code) {
        findings.push(format!("cited by no code of {MODULE}"));
    }
    if !cited.is_some_and(|cited| cited.by_tests.contains(&row.test)) {
        findings.push(format!("not cited by a test called `{}`", row.test));
    }
    findings
}

/// All citations in a line: after the word MLS, a list of `M` and number.
fn cited_in(line: &str) -> Vec<Number> {
    let mut cited = Vec::new();
    for after in line.split("MLS M").skip(1) {
        let mut rest = after;
        while let Some((number, behind)) = leading_number(rest) {
            cited.push(number);
            let glue = [", and M", " and M", ", M", " or M"];
            let Some(next) = glue.iter().find_map(|glue| behind.strip_prefix(glue)) else { break };
            rest = next;
        }
    }
    cited
}

fn leading_number(text: &str) -> Option<(Number, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Row, Source, Table, cited_in, missing, note, row, rows};

    /// The citing word, which must not stand in this file itself.
    fn cite(text: &str) -> String {
        text.replace("CITE", "MLS")
    }

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: cite(text) }
    }

    #[test]
    fn citations_are_found() {
        assert_eq!(cited_in(&cite("/// As required (CITE M12).")), [12]);
        assert_eq!(cited_in(&cite("// CITE M1, M20 and M3; M4")), [1, 20, 3]);
        assert_eq!(cited_in(&cite("CITE M5 or M6, and CITE M7, and M8")), [5, 6, 7, 8]);
        assert!(cited_in("MLS messages, M12").is_empty());
    }

    #[test]
    fn rows_are_read() {
        let built = Row { number: 7, is_built: true, test: "a_test".to_owned() };
        assert_eq!(row("| M7 | §6.2 | That. | `commit::check` | `a_test` |"), Some(built));
        let later = Row { number: 8, is_built: false, test: "b".to_owned() };
        assert_eq!(row("| M8 | §6.2 | That. | - | `b` |"), Some(later));
        for bad in ["| M8 | §6 | That. | - |", "| M8 | §6 | That. | | `b` |", "| M8 | 6 | That. | - | `b` |", "| Mx |"]
        {
            assert_eq!(row(bad), None, "{bad}");
        }
    }

    #[test]
    fn rows_that_stand_twice_are_found() {
        let mut findings = Table::new(&["row", "finding"]);
        let text = "| | a |\n|---|---|\n| M1 | §6 | A. | - | `a` |\n| M1 | §6 | B. | - | `a` |\n| M2 |\n";
        assert_eq!(rows(&source("docs/MLS.md", text), &mut findings).len(), 2);
        let findings = findings.to_string();
        for finding in ["a second time", "the test of another row", "docs/MLS.md:5"] {
            assert!(findings.contains(finding), "{findings}");
        }
    }

    #[test]
    fn a_built_row_needs_code_of_the_module_and_its_own_test() {
        let mut cited = BTreeMap::new();
        let code = "/// CITE M1, M2.\nfn check() {\n}\n\n#[cfg(test)]\nmod tests {\n    /// CITE M1.\n    #[test]\n    \
                    fn one() {\n    }\n}\n";
        assert_eq!(note(&source("crates/dmls/src/mls/commit.rs", code), &mut cited).len(), 3);
        note(&source("crates/dmls/src/group/mod.rs", "/// CITE M3.\nfn code() {\n}\n"), &mut cited);
        note(&source("crates/dmls/tests/core/a.rs", "#[test]\nfn three() {\n    // CITE M3\n}\n"), &mut cited);
        let lacks = |number, test: &str| {
            missing(&Row { number, is_built: true, test: test.to_owned() }, cited.get(&number)).len()
        };
        assert_eq!((lacks(1, "one"), lacks(1, "other"), lacks(2, "two")), (0, 1, 1));
        assert_eq!((lacks(3, "three"), lacks(4, "four")), (1, 2), "code outside of the module is not the check");
    }
}
