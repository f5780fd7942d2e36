//! The tests of the copy, and whether they notice that a check is gone.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Mutant, Noticed, Tree};
use crate::assure::child::{self, End, Ended};
use crate::gate::{Error, output};

/// The crate whose tests are run.
const PACKAGE: &str = "dmls";
/// Tells the core which check is off.
pub(super) const OFF: &str = "DMLS_DEFENCE_OFF";
/// Without a check, tests may compute for long and are still no slower than this many times.
const PATIENCE: u32 = 10;
const LEAST: Duration = Duration::from_secs(60);
/// Without a check, tests may ask for memory without end: they get 4 GiB, counted in KiB.
const LIMITED: &str = "ulimit -v 4194304 && exec \"$0\" \"$@\"";

/// Whether tests noticed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// These failed, or one never ended.
    Killed(String),
    Alive,
    /// No test has the name that the mutant gives.
    NoTest,
}

impl Notice {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Killed(_) => "KILLED",
            Self::Alive => "ALIVE",
            Self::NoTest => "NO TEST",
        }
    }

    /// As the attack suite prints it: `M12   KILLED   what is weakened | tests`.
    pub(super) fn show(&self, mutant: &Mutant) -> Result<(), Error> {
        let by = match (self, &mutant.noticed_by) {
            (Self::Killed(by), _) => by.as_str(),
            (Self::NoTest, Noticed::By(name)) => name.as_str(),
            _ => "-",
        };
        let mut out = std::io::stdout().lock();
        let (id, word, weakens) = (&mutant.id, self.word(), &mutant.weakens);
        writeln!(out, "{id:<6} {word:<8} {weakens} | {by}").and_then(|()| out.flush()).map_err(Error::Output)
    }
}

/// Test programs of the copy.
pub(super) struct Tests {
    programs: Vec<PathBuf>,
    directory: PathBuf,
    limit: Duration,
}

impl Tests {
    /// Builds them, and sees that they pass as long as all checks are there.
    pub(super) fn build(tree: &Tree, names: &[String]) -> Result<Self, Error> {
        let mut command = tree.cargo(&["test", "--locked", "-p", PACKAGE, "--lib", "--no-run"]);
        command.arg("--message-format=json-render-diagnostics");
        for name in names {
            command.args(["--test", name]);
        }
        let programs = programs(&String::from_utf8_lossy(&output(command)?));
        let directory = tree.path.join("crates").join(PACKAGE);
        let mut tests = Self { programs, directory, limit: Duration::MAX };
        let begun = Instant::now();
        for program in &tests.programs {
            let ended = tests.run(program, None, None)?;
            if ended.end != End::Well {
                let _unseen = write!(std::io::stderr(), "{}", ended.said);
                let command = format!("{} with all checks", program.display());
                return Err(Error::Failed { command, status: "see above".to_owned() });
            }
        }
        tests.limit = LEAST.max(begun.elapsed() * PATIENCE);
        Ok(tests)
    }

    /// Runs them without the mutant's check, until one notices.
    pub(super) fn without(&self, mutant: &Mutant) -> Result<Notice, Error> {
        let name = match &mutant.noticed_by {
            Noticed::By(name) => Some(name.as_str()),
            Noticed::ByAny | Noticed::ByAttack => None,
        };
        let mut ran = 0;
        for program in &self.programs {
            let ended = self.run(program, Some(&mutant.id), name)?;
            ran += running(&ended.said);
            match ended.end {
                End::Well => {}
                End::Badly => return Ok(Notice::Killed(failed(&ended.said))),
                End::Hung => return Ok(Notice::Killed("does not end".to_owned())),
            }
        }
        Ok(if ran == 0 { Notice::NoTest } else { Notice::Alive })
    }

    fn run(&self, program: &PathBuf, off: Option<&str>, name: Option<&str>) -> Result<Ended, Error> {
        let mut command = Command::new("sh");
        command.args(["-c", LIMITED]).arg(program).args(name);
        command.current_dir(&self.directory).env_remove(OFF);
        if let Some(off) = off {
            command.env(OFF, off);
        }
        child::run(&command, self.limit).map_err(|error| Error::Assurance(Box::new(error)))
    }
}

/// The programs that a build made.
fn programs(said: &str) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    said.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable).collect()
}

/// How many tests libtest said that it runs: `running 3 tests`.
fn running(said: &str) -> u64 {
    let counts = said.lines().filter_map(|line| line.strip_prefix("running ")?.split(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

/// The tests that failed: `test a::b ... FAILED`; at most three by name.
fn failed(said: &str) -> String {
    let failed = |line: &str| line.strip_prefix("test ")?.strip_suffix(" ... FAILED").map(str::to_owned);
    let names: Vec<_> = said.lines().filter_map(failed).collect();
    match &names[..] {
        [] => "the whole program ended".to_owned(),
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        few => few.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::{failed, programs, running};

    #[test]
    fn what_libtest_says_is_understood() {
        let said = "\nrunning 2 tests\ntest a::one ... ok\ntest a::two ... FAILED\n\nfailures:\n";
        assert_eq!((running(said), failed(said).as_str()), (2, "a::two"));
        assert_eq!(running("running 0 tests\n\nrunning 1 test\n"), 1);
        let many: String = (1..=5).map(|number| format!("test t{number} ... FAILED\n")).collect();
        assert_eq!(failed(&many), "t1, t2, t3 and 2 more");
        assert_eq!(failed("thread main has overflowed its stack"), "the whole program ended");
    }

    #[test]
    fn programs_are_found_in_what_cargo_says() {
        let said = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n{\"executable\":\"/a/b\"}\nnot json\n";
        assert_eq!(programs(said), [std::path::PathBuf::from("/a/b")]);
    }
}
