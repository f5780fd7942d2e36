//! Builds what the lanes run, each once, aside from what later builds replace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::error::Error;
use super::fuzz::Fuzzers;
use super::lane::Lane;
use super::runner::Runner;
use crate::gate::{self, cargo, has_target, output, root};
use crate::mutants::Tree;

/// What was built so far.
#[derive(Default)]
pub(super) struct Builder {
    built: BTreeMap<&'static str, PathBuf>,
    fuzzers: Option<Fuzzers>,
}

impl Builder {
    /// What runs a lane.
    ///
    /// # Errors
    /// [`Error::NotThere`] says what the lane lacks.
    pub(super) fn runner(&mut self, lane: &Lane) -> Result<Runner, Error> {
        match lane {
            Lane::Real => self.seeds(lane, 10),
            Lane::Fast => self.seeds(lane, 50),
            Lane::Soak => self.seeds(lane, 1),
            Lane::Model => {
                let program =
                    self.program("model", || Ok(cargo(&["test", "--locked", "-p", "dmls", "--lib", "--no-run"])))?;
                Runner::test(program, "model", "unique=").ok_or_else(|| lacks(lane, "an ignored test `model` in dmls"))
            }
            Lane::Kill => {
                there(lane, "test", "crash")?;
                let build = || Ok(cargo(&["test", "--locked", "--workspace", "--test", "crash", "--no-run"]));
                let program = self.program("crash", build)?;
                Runner::test(program, "", "points=").ok_or_else(|| lacks(lane, "ignored tests in dmls-sim's `crash`"))
            }
            Lane::Fuzz(target) => self.fuzz(lane, target),
        }
    }

    /// The seed runner, with `batch` seeds in one go.
    pub(super) fn seeds(&mut self, lane: &Lane, batch: u64) -> Result<Runner, Error> {
        there(lane, "example", "seeds")?;
        let build = || Ok(Tree::write()?.cargo(&["build", "--locked", "--workspace", "--example", "seeds"]));
        let program = self.program("seeds", build)?;
        Ok(Runner::Seeds { program, world: lane.world(), batch })
    }

    /// Guided by coverage if that can be built here, else mutations as they come.
    fn fuzz(&mut self, lane: &Lane, target: &str) -> Result<Runner, Error> {
        if let Fuzzers::Guided(directory) = self.fuzzers.get_or_insert_with(Fuzzers::build) {
            return Ok(Runner::Guided { program: directory.join(target), target: target.to_owned() });
        }
        there(lane, "example", "mutate")?;
        let program =
            self.program("mutate", || Ok(cargo(&["build", "--locked", "--workspace", "--example", "mutate"])))?;
        Ok(Runner::Mutations { program, target: target.to_owned() })
    }

    /// Builds a program, once, and keeps a copy that no later build replaces.
    fn program(
        &mut self,
        name: &'static str,
        build: impl FnOnce() -> Result<Command, gate::Error>,
    ) -> Result<PathBuf, Error> {
        if let Some(path) = self.built.get(name) {
            return Ok(path.clone());
        }
        let mut command = build()?;
        command.arg("--message-format=json-render-diagnostics");
        let said = output(command)?;
        let built = executable(&String::from_utf8_lossy(&said));
        let built =
            built.ok_or_else(|| Error::NotThere { lane: name.to_owned(), why: "cargo built nothing".to_owned() })?;
        let path = keep(&built, name)?;
        self.built.insert(name, path.clone());
        Ok(path)
    }
}

/// A copy under `target/assure`; a running older copy is not disturbed.
fn keep(built: &Path, name: &str) -> Result<PathBuf, Error> {
    let directory = root().join("target").join("assure");
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let path = directory.join(name);
    let _absent = std::fs::remove_file(&path);
    std::fs::copy(built, &path).map_err(Error::file(&path))?;
    Ok(path)
}

/// The last executable that a build made.
fn executable(said: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    said.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable).next_back()
}

fn there(lane: &Lane, kind: &'static str, name: &str) -> Result<(), Error> {
    if has_target("dmls-sim", kind, name)? { Ok(()) } else { Err(lacks(lane, &format!("{kind} `{name}` in dmls-sim"))) }
}

fn lacks(lane: &Lane, what: &str) -> Error {
    Error::NotThere { lane: lane.to_string(), why: format!("not there yet: {what}") }
}
