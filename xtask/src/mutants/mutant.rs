//! Mutants, as files under `assurance/mutants` describe them.

use std::path::{Path, PathBuf};

/// A check of the product, and what it is without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutant {
    /// Its name, which is also that of its switch.
    pub(crate) id: String,
    /// What is weakened, with where that is required.
    pub(crate) weakens: String,
    /// Who must notice.
    pub(crate) noticed_by: Noticed,
    /// What is rewritten.
    pub(super) edits: Vec<Edit>,
    /// Where it is described, for people.
    pub(super) place: String,
}

/// Who must notice that a check is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// Any test.
    ByAny,
    /// The tests that have this in their name.
    By(String),
    /// The attack of the same id.
    ByAttack,
}

/// One place of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// Relative to the workspace.
    pub(super) file: PathBuf,
    pub(super) original: String,
    pub(super) instead: Instead,
}

/// What stands there in the tree with switches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Instead {
    /// The original or this, by the switch.
    Weaker(String),
    /// This, in which `@on` asks the switch and `@original` is the original.
    Switched(String),
}

/// Why a file of mutants cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("neither a comment, `mutant ID`, a field, nor indented text of a field")]
    Line,
    #[error("a field before the first `mutant ID`")]
    NoMutant,
    #[error("an id is a capital letter, then letters and digits")]
    Id,
    #[error("`original:` without a `file:` before it")]
    NoFile,
    #[error("`weaker:` or `switched:` without an `original:` before it")]
    NoOriginal,
    #[error("`original:` without a `weaker:` or `switched:` after it")]
    NoInstead,
    #[error("it does not say what it weakens, or changes nothing")]
    Incomplete,
}

/// Reads a file of mutants; a fault comes with the number of its line, from 1.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Mutant>, (usize, Unreadable)> {
    let mut parser = Parser { path, mutants: Vec::new(), file: None, original: None };
    let lines: Vec<_> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let end = (at + 1..lines.len()).find(|next| begins(lines[*next])).unwrap_or(lines.len());
        parser.field(at, lines[at], &block(&lines[at + 1..end])).map_err(|why| (at + 1, why))?;
        at = end;
    }
    parser.end().map_err(|why| (lines.len(), why))
}

/// Whether a line begins something, and is no indented text of what is above it.
fn begins(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with(char::is_whitespace)
}

/// Indented lines, without what all are indented by.
fn block(lines: &[&str]) -> String {
    let indents = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len());
    let indent = indents.min().unwrap_or_default();
    let lines: Vec<_> = lines.iter().map(|line| line.get(indent..).unwrap_or_default().trim_end()).collect();
    lines.join("\n").trim_end().to_owned()
}

struct Parser<'a> {
    path: &'a Path,
    mutants: Vec<Mutant>,
    file: Option<PathBuf>,
    original: Option<String>,
}

impl Parser<'_> {
    fn field(&mut self, at: usize, line: &str, block: &str) -> Result<(), Unreadable> {
        if line.starts_with('#') || line.trim().is_empty() {
            return if block.is_empty() { Ok(()) } else { Err(Unreadable::Line) };
        }
        if let Some(id) = line.strip_prefix("mutant ") {
            return self.begin(at, id.trim());
        }
        let (name, value) = line.split_once(':').ok_or(Unreadable::Line)?;
        let said = [value.trim(), block].join("\n").trim().to_owned();
        self.set(name, said)
    }

    fn begin(&mut self, at: usize, id: &str) -> Result<(), Unreadable> {
        self.complete()?;
        if !id.starts_with(|char: char| char.is_ascii_uppercase()) || !id.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Unreadable::Id);
        }
        let place = format!("{}:{}", self.path.display(), at + 1);
        let (weakens, noticed_by, edits) = (String::new(), Noticed::ByAny, Vec::new());
        self.mutants.push(Mutant { id: id.to_owned(), weakens, noticed_by, edits, place });
        self.file = None;
        Ok(())
    }

    fn set(&mut self, name: &str, said: String) -> Result<(), Unreadable> {
        let mutant = self.mutants.last_mut().ok_or(Unreadable::NoMutant)?;
        match name {
            "weakens" => mutant.weakens = said.split_whitespace().collect::<Vec<_>>().join(" "),
            "test" => mutant.noticed_by = Noticed::By(said),
            "shown by" if said == "attack" => mutant.noticed_by = Noticed::ByAttack,
            "file" => self.file = Some(PathBuf::from(said)),
            "original" if self.original.is_some() => return Err(Unreadable::NoInstead),
            "original" if self.file.is_none() => return Err(Unreadable::NoFile),
            "original" => self.original = Some(said),
            "weaker" => self.edit(Instead::Weaker(said))?,
            "switched" => self.edit(Instead::Switched(said))?,
            _ => return Err(Unreadable::Line),
        }
        Ok(())
    }

    fn edit(&mut self, instead: Instead) -> Result<(), Unreadable> {
        let original = self.original.take().ok_or(Unreadable::NoOriginal)?;
        let file = self.file.clone().ok_or(Unreadable::NoFile)?;
        let mutant = self.mutants.last_mut().ok_or(Unreadable::NoMutant)?;
        mutant.edits.push(Edit { file, original, instead });
        Ok(())
    }

    /// Whether all of the mutant so far is there.
    fn complete(&self) -> Result<(), Unreadable> {
        if self.original.is_some() {
            return Err(Unreadable::NoInstead);
        }
        let incomplete = |mutant: &Mutant| mutant.weakens.is_empty() || mutant.edits.is_empty();
        if self.mutants.last().is_some_and(incomplete) { Err(Unreadable::Incomplete) } else { Ok(()) }
    }

    fn end(self) -> Result<Vec<Mutant>, Unreadable> {
        self.complete()?;
        Ok(self.mutants)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Instead, Noticed, Unreadable, parse};

    const TWO: &str = "\
# About these.
mutant M12
weakens: RFC 9420 §12.2: an ExternalInit stands
    in a member's commit
test: external_init_in_a_members_commit
file: crates/dmls/src/mls/commit.rs
original:
    if external > 0 {
        return Err(Refusal::NotAllowed);
    }
weaker:

mutant I7
weakens: SPEC §3.1: a second PSK
shown by: attack
file: crates/dmls/src/mls/commit.rs
original: [psk] => one(psk),
switched:
    [psk] => one(psk),
    [psk, _] if !@on => one(psk),
";

    #[test]
    fn mutants_are_read() -> Result<(), (usize, Unreadable)> {
        let mutants = parse(Path::new("a.txt"), TWO)?;
        assert_eq!(mutants.len(), 2);
        let (first, second) = (&mutants[0], &mutants[1]);
        assert_eq!((first.id.as_str(), first.place.as_str()), ("M12", "a.txt:2"));
        assert_eq!(first.weakens, "RFC 9420 §12.2: an ExternalInit stands in a member's commit");
        assert_eq!(first.noticed_by, Noticed::By("external_init_in_a_members_commit".to_owned()));
        assert_eq!(first.edits[0].original, "if external > 0 {\n    return Err(Refusal::NotAllowed);\n}");
        assert_eq!(first.edits[0].instead, Instead::Weaker(String::new()));
        assert_eq!(second.noticed_by, Noticed::ByAttack);
        let switched = "[psk] => one(psk),\n[psk, _] if !@on => one(psk),";
        assert_eq!(second.edits[0].instead, Instead::Switched(switched.to_owned()));
        Ok(())
    }

    #[test]
    fn a_fault_is_told_with_its_line() {
        let fault = |text: &str| parse(Path::new("a.txt"), text).err();
        assert_eq!(fault("weakens: a\n"), Some((1, Unreadable::NoMutant)));
        assert_eq!(fault("mutant m1\n"), Some((1, Unreadable::Id)));
        assert_eq!(fault("mutant M1\nweakens: a\noriginal: b\n"), Some((3, Unreadable::NoFile)));
        assert_eq!(fault("mutant M1\nfile: f\nweaker: b\n"), Some((3, Unreadable::NoOriginal)));
        assert_eq!(fault("mutant M1\nfile: f\noriginal: b\n\nmutant M2\n"), Some((5, Unreadable::NoInstead)));
        assert_eq!(fault("mutant M1\nfile: f\noriginal: b\nweaker: c\n"), Some((4, Unreadable::Incomplete)));
        assert_eq!(fault("mutant M1\nstrange: b\n"), Some((2, Unreadable::Line)));
        assert_eq!(fault("# a\n  b\n"), Some((1, Unreadable::Line)));
    }
}
