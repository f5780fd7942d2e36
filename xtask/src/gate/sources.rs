//! The source files of the workspace.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::cargo::root;
use super::error::Error;

/// A text file, its path relative to the workspace.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// Reads one file.
    pub(super) fn read(path: &str) -> Result<Self, Error> {
        let full = root().join(path);
        let text = std::fs::read_to_string(&full).map_err(Error::file(&full))?;
        Ok(Self { path: PathBuf::from(path), text })
    }

    /// Whether it holds tests only: it lies in a `tests` directory, in the core's `model` or is called `tests.rs`.
    pub(super) fn is_test(&self) -> bool {
        let directory = |name: &str| self.path.components().any(|part| part.as_os_str() == name);
        directory("tests") || directory("model") || self.path.ends_with("tests.rs")
    }

    /// Where a line is, for people.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{}", self.path.display(), line + 1)
    }
}

/// All files under `directory` (relative to the workspace) with this extension, in the order of their paths.
pub(super) fn under(directory: &str, extension: &str) -> Result<Vec<Source>, Error> {
    let mut found = Vec::new();
    let mut work = vec![root().join(directory)];
    while let Some(path) = work.pop() {
        if path.is_dir() {
            work.extend(entries(&path)?);
        } else if path.extension().is_some_and(|other| other == extension) {
            let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
            let path = path.strip_prefix(root()).unwrap_or(&path).to_path_buf();
            found.push(Source { path, text });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = std::fs::read_dir(directory).map_err(Error::file(directory))?;
    listed.map(|entry| entry.map(|entry| entry.path()).map_err(Error::file(directory))).collect()
}

/// Which lines of a file belong to an item under `#[cfg(test)]`, by rustfmt's indentation.
pub(super) fn test_lines(source: &Source) -> Vec<bool> {
    let lines: Vec<_> = source.text.lines().collect();
    let mut marked = vec![source.is_test(); lines.len()];
    let starts = (0..lines.len()).filter(|at| lines[*at].trim_start().starts_with("#[cfg(test)]"));
    for start in starts.collect::<Vec<_>>() {
        let end = item_end(&lines, start);
        marked[start..=end].fill(true);
    }
    marked
}

/// A function that the test runner calls.
pub(super) struct TestFunction<'a> {
    pub(super) name: &'a str,
    /// With its comments and attributes.
    pub(super) lines: RangeInclusive<usize>,
}

/// The test functions of a file, in their order.
pub(super) fn test_functions<'a>(lines: &[&'a str]) -> Vec<TestFunction<'a>> {
    let mut found = Vec::new();
    for at in 0..lines.len() {
        let attribute = lines[at].trim();
        if attribute != "#[test]" && !attribute.starts_with("#[tokio::test") {
            continue;
        }
        let before = lines[..at].iter().rev().take_while(|line| {
            let line = line.trim_start();
            line.starts_with("//") || line.starts_with("#[")
        });
        let start = at - before.count();
        let end = item_end(lines, at);
        let name = lines[at..=end].iter().find_map(|line| function_name(line)).unwrap_or_default();
        found.push(TestFunction { name, lines: start..=end });
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// The last line of the item whose first attribute is on line `start`.
pub(super) fn item_end(lines: &[&str], start: usize) -> usize {
    let indent = indent(lines[start]);
    let ends = |line: &&str| {
        self::indent(line) == indent && (line.trim_end().ends_with(';') || line.trim_start().starts_with('}'))
            || self::indent(line) == indent && line.trim_end().ends_with('}') && line.contains('{')
    };
    let length = lines[start..].iter().position(ends);
    length.map_or(lines.len() - 1, |length| start + length)
}

fn indent(line: &str) -> usize {
    if line.trim().is_empty() { usize::MAX } else { line.len() - line.trim_start().len() }
}
