//! Why the gate is closed.

use std::path::{Path, PathBuf};

use super::table::Table;

/// Why the gate is closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The change does not pass.
    /// A command of a step failed; its own output says why.
    #[error("{command} failed ({status})")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
    },
    /// A check found something.
    #[error("{what}\n\n{table}")]
    Findings {
        /// What is wrong with all of them.
        what: String,
        /// One row for each.
        table: Table,
    },

    /// What the ledger says does not hold, or cannot be read.
    #[error(transparent)]
    Assurance(Box<crate::assure::Error>),

    // Missing.
    /// A tool that a step needs is not installed.
    #[error("{tool} is missing: {remedy}")]
    Missing {
        /// What.
        tool: &'static str,
        /// How to get it.
        remedy: &'static str,
    },

    // System.
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A command cannot be started or read from.
    #[error("{command}: {source}")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// `cargo metadata` said something unexpected.
    #[error("cargo metadata: {0}")]
    Metadata(serde_json::Error),
    /// Standard output is closed.
    #[error("writing to standard output: {0}")]
    Output(std::io::Error),
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_path_buf(), source }
    }
}
