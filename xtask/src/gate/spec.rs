//! `cargo xtask spec`: each paragraph of `docs/SPEC.md` is cited by code and by a test, and nothing else is cited.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::paragraphs::{Number, cited_in, opened_by};
use super::sources::{Source, test_functions, test_lines, under};
use super::table::Table;

const SPEC: &str = "docs/SPEC.md";

/// Who cites a paragraph.
#[derive(Default)]
struct Cited {
    by_code: bool,
    by_test: bool,
}

/// Checks the citing of the specification.
///
/// # Errors
/// [`Error::Findings`] lists paragraphs without a citation and citations without a paragraph.
pub fn spec() -> Result<String, Error> {
    let (known, mut findings) = paragraphs(&Source::read(SPEC)?);
    let mut cited: BTreeMap<Number, Cited> = BTreeMap::new();
    let mut sources = under("crates", "rs")?;
    sources.extend(under("xtask/tests", "rs")?);
    for source in &sources {
        for (at, number, by) in citations(source) {
            if !known.contains(&number) {
                findings.push(&[&number.to_string(), &format!("cited by {}, but not there", source.place(at))]);
            }
            let entry = cited.entry(number).or_default();
            entry.by_code |= by == By::Code;
            entry.by_test |= by == By::Test;
        }
    }
    let paragraphs: Vec<_> = known.into_iter().filter(|number| number.is_paragraph()).collect();
    for number in &paragraphs {
        let by = cited.get(number);
        let missing = match (by.is_some_and(|by| by.by_code), by.is_some_and(|by| by.by_test)) {
            (true, true) => continue,
            (true, false) => "cited by no test",
            (false, true) => "cited by no code",
            (false, false) => "cited by neither code nor test",
        };
        findings.push(&[&number.to_string(), missing]);
    }
    if findings.is_empty() {
        return Ok(format!("{} paragraphs cited by code and by tests", paragraphs.len()));
    }
    Err(Error::Findings { what: format!("{SPEC} and what cites it do not agree"), table: findings })
}

fn paragraphs(spec: &Source) -> (BTreeSet<Number>, Table) {
    let mut findings = Table::new(&["paragraph", "finding"]);
    let mut known = BTreeSet::new();
    for (at, number) in spec.text.lines().enumerate().filter_map(|(at, line)| Some((at, opened_by(line)?))) {
        if !known.insert(number) {
            findings.push(&[&number.to_string(), &format!("opened a second time at {}", spec.place(at))]);
        }
    }
    (known, findings)
}

/// What a citation stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Code,
    Test,
    /// Test code outside a test function: it proves nothing by itself.
    Support,
}

fn citations(source: &Source) -> Vec<(usize, Number, By)> {
    let in_test = test_lines(source);
    let lines: Vec<_> = source.text.lines().collect();
    let functions = in_test_functions(&lines);
    let code = source.path.components().any(|part| part.as_os_str() == "src");
    let by = |at: usize| match (functions[at], in_test[at] || !code) {
        (true, _) => By::Test,
        (false, true) => By::Support,
        (false, false) => By::Code,
    };
    let cited = |(at, line): (usize, &&str)| cited_in(line).into_iter().map(|number| (at, number, by(at))).collect();
    lines.iter().enumerate().flat_map::<Vec<_>, _>(cited).collect()
}

/// Which lines belong to a test function.
fn in_test_functions(lines: &[&str]) -> Vec<bool> {
    let mut marked = vec![false; lines.len()];
    for function in test_functions(lines) {
        marked[function.lines].fill(true);
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::{By, Source, citations};

    fn of(path: &str, text: &str) -> Vec<(String, By)> {
        let source = Source { path: path.into(), text: text.replace("SPEC ", "SPEC §") };
        citations(&source).into_iter().map(|(_, number, by)| (number.to_string(), by)).collect()
    }

    #[test]
    fn who_cites_is_told_apart() {
        let text = "//! Module (SPEC 1.1).\n/// Code (SPEC 1.2).\nfn code() {}\n\n#[cfg(test)]\nmod tests {\n    \
                    /// Helper (SPEC 1.3).\n    fn helper() {}\n\n    /// Test (SPEC 1.4).\n    #[test]\n    \
                    fn test() {\n        // Inside (SPEC 1.5).\n    }\n}\n";
        let found = of("crates/a/src/lib.rs", text);
        let expected =
            [("1.1", By::Code), ("1.2", By::Code), ("1.3", By::Support), ("1.4", By::Test), ("1.5", By::Test)];
        assert_eq!(found, expected.map(|(number, by)| (number.to_owned(), by)));
    }

    #[test]
    fn a_module_declaration_ends_with_its_line() {
        let text = "#[cfg(test)]\nmod tests;\n\n/// Code (SPEC 2.1).\nfn code() {\n}\n";
        assert_eq!(of("crates/a/src/lib.rs", text), [("2.1".to_owned(), By::Code)]);
        assert_eq!(of("crates/a/src/tests.rs", "// SPEC 2.2\n"), [("2.2".to_owned(), By::Support)]);
        assert_eq!(of("crates/a/tests/a/main.rs", "// SPEC 2.2\n"), [("2.2".to_owned(), By::Support)]);
    }
}
