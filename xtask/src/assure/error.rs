//! Why a long run, or its ledger, is no good.

use std::path::{Path, PathBuf};

use crate::gate;

/// Why a long run, or its ledger, is no good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // What was found.
    /// Lanes found something; their lines in the ledger say what.
    #[error("found something: {}", .0.join(", "))]
    Found(Vec<String>),

    // Misuse.
    /// No lane has this name.
    #[error("no lane is called {0:?}: there are real, fast, model, kill, soak and fuzz-NAME for each fuzz/corpus/NAME")]
    UnknownLane(String),
    /// A line of the ledger must name a commit that has what was run.
    #[error("there are changes that no commit has ({0} ...): commit them, or --allow-dirty")]
    Dirty(String),
    /// The commit or the files changed while the runners were built.
    #[error("the checkout changed from {before} to {after} while it was built: begin again, or --allow-dirty")]
    Moved {
        /// What was there when the build began.
        before: String,
        /// What was there when it ended.
        after: String,
    },
    /// A line of the ledger is not of its form.
    #[error(
        "assurance/ledger.csv, line {line}: {text:?} is not commit,lane,seeds,first_seed,last_seed,cpu_seconds,result"
    )]
    Ledger {
        /// Its number, from 1.
        line: usize,
        /// The line.
        text: String,
    },

    // Missing.
    /// A lane cannot run here.
    #[error("{lane}: {why}")]
    NotThere {
        /// Which.
        lane: String,
        /// What is missing.
        why: String,
    },

    // System.
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A command of a build failed, or could not be started.
    #[error(transparent)]
    Gate(#[from] gate::Error),
}

impl Error {
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_path_buf(), source }
    }
}
