//! The tree with switches: a copy of the workspace under `target`, in which each mutant can be chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mutant::{Edit, Instead, Mutant, parse};
use super::run::OFF;
use super::switches::switched;
use crate::gate::{Error, Table, cargo, output, root, target_directory};

/// Where mutants are described.
const MUTANTS: &str = "assurance/mutants";

/// The copy, and the mutants that can be chosen in it.
pub(crate) struct Tree {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// In the order of their files.
    pub(crate) mutants: Vec<Mutant>,
    target: PathBuf,
}

impl Tree {
    /// Brings the copy up to date. What is not different stays untouched, so that cargo builds only what is.
    ///
    /// # Errors
    /// [`Error::Findings`] lists mutants that cannot be read or do not apply.
    pub(crate) fn write() -> Result<Self, Error> {
        let files = files()?;
        let mutants = read(&files)?;
        let rewritten = rewrite(&mutants)?;
        let target = target_directory()?;
        let path = target.join("mutants");
        for file in &files {
            copy(file, rewritten.get(file), &path)?;
        }
        prune(&path, &path, &files)?;
        Ok(Self { path, mutants, target })
    }

    /// `cargo ...` in the copy, with switches compiled in. Dependencies are shared with the ordinary build: only the
    /// crates of this workspace are compiled a second time.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        command.current_dir(&self.path).env("CARGO_TARGET_DIR", &self.target);
        command.env("RUSTC_WORKSPACE_WRAPPER", root().join("xtask").join("mutants-rustc"));
        command
    }
}

/// What the repository holds, new files too, but nothing that it ignores; relative to it.
fn files() -> Result<BTreeSet<PathBuf>, Error> {
    let mut command = Command::new("git");
    command.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let said = output(command)?;
    let names = said.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let paths = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()));
    // Files that were deleted and not yet committed are still listed.
    Ok(paths.filter(|path| root().join(path).is_file()).collect())
}

fn read(files: &BTreeSet<PathBuf>) -> Result<Vec<Mutant>, Error> {
    let (mut mutants, mut findings) = (Vec::new(), Table::new(&["place", "finding"]));
    for path in
        files.iter().filter(|path| path.starts_with(MUTANTS) && path.extension().is_some_and(|ext| ext == "txt"))
    {
        match parse(path, &text(path)?) {
            Ok(read) => mutants.extend(read),
            Err((line, why)) => findings.push(&[&format!("{}:{line}", path.display()), &why.to_string()]),
        }
    }
    let mut known = BTreeSet::new();
    for mutant in &mutants {
        if !known.insert(&mutant.id) {
            findings.push(&[&mutant.place, &format!("{} is another mutant already", mutant.id)]);
        }
    }
    if findings.is_empty() { Ok(mutants) } else { Err(found(findings)) }
}

/// In the copy, a check can be off in all threads: tests start threads of their own. The product reads no environment.
fn off_in_process() -> Edit {
    let switched = format!(
        "{{ static OFF_IN_PROCESS: std::sync::LazyLock<Option<String>> =
            std::sync::LazyLock::new(|| std::env::var({OFF:?}).ok());
        @original && OFF_IN_PROCESS.as_deref() != Some(id) }}"
    );
    let (file, original) = (PathBuf::from("crates/dmls/src/defence.rs"), "OFF.get() != Some(id)".to_owned());
    Edit { file, original, instead: Instead::Switched(switched) }
}

/// The files that mutants change, with all their switches.
fn rewrite(mutants: &[Mutant]) -> Result<BTreeMap<PathBuf, String>, Error> {
    let in_process = off_in_process();
    // Who asks for a change, for people; the id of the switch; the change.
    let mut changes = vec![(file!(), "", &in_process)];
    for mutant in mutants {
        changes.extend(mutant.edits.iter().map(|edit| (mutant.place.as_str(), mutant.id.as_str(), edit)));
    }
    let mut by_file: BTreeMap<&Path, Vec<_>> = BTreeMap::new();
    for change in changes {
        by_file.entry(&change.2.file).or_default().push(change);
    }
    let (mut rewritten, mut findings) = (BTreeMap::new(), Table::new(&["place", "finding"]));
    for (file, changes) in by_file {
        let edits: Vec<_> = changes.iter().map(|(_, id, edit)| (*id, *edit)).collect();
        match switched(&text(file)?, &edits) {
            Ok(text) => drop(rewritten.insert(file.to_path_buf(), text)),
            Err((at, why)) => {
                let (place, id, _) = changes[at];
                findings.push(&[place, &format!("{id} does not apply to {}: {why}", file.display())]);
            }
        }
    }
    if findings.is_empty() { Ok(rewritten) } else { Err(found(findings)) }
}

fn found(table: Table) -> Error {
    Error::Findings { what: format!("{MUTANTS} and the source do not agree"), table }
}

fn text(path: &Path) -> Result<String, Error> {
    let full = root().join(path);
    std::fs::read_to_string(&full).map_err(Error::file(&full))
}

/// Writes a file, unless it is there already as it should be.
fn copy(file: &Path, rewritten: Option<&String>, tree: &Path) -> Result<(), Error> {
    let (from, to) = (root().join(file), tree.join(file));
    let wanted = match rewritten {
        Some(text) => text.clone().into_bytes(),
        None => std::fs::read(&from).map_err(Error::file(&from))?,
    };
    if std::fs::read(&to).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
    }
    std::fs::write(&to, wanted).map_err(Error::file(&to))
}

/// Removes what is in the copy only: cargo finds tests and examples by looking.
fn prune(tree: &Path, directory: &Path, files: &BTreeSet<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(directory).map_err(Error::file(directory))? {
        let path = entry.map_err(Error::file(directory))?.path();
        if path.is_dir() {
            prune(tree, &path, files)?;
        } else if !path.strip_prefix(tree).is_ok_and(|relative| files.contains(relative)) {
            std::fs::remove_file(&path).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{files, read, rewrite};

    #[test]
    fn all_mutants_of_the_repository_apply() {
        let mutants = files().and_then(|files| read(&files));
        let rewritten = mutants.as_ref().map_err(ToString::to_string).map(|mutants| rewrite(mutants).map(|_| ()));
        assert!(matches!(rewritten, Ok(Ok(()))), "{rewritten:?}");
    }
}
