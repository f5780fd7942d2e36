//! Why a story broke off.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::Ended;
use crate::homeserver;

/// Why a story broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The homeservers.
    #[error("homeservers: {0}")]
    Homeserver(#[from] homeserver::Error),
    /// The `dmls` binary could not be built.
    #[error("cargo build of dmls ended with {0}")]
    Build(std::process::ExitStatus),
    /// A command ended with another code than it should.
    #[error("a command should end with {wanted}: {ended}")]
    Exit {
        /// The code that was to come.
        wanted: i32,
        /// What came.
        ended: Box<Ended>,
    },
    /// A command took too long and was killed.
    #[error("a command took longer than {} s: {ended}", limit.as_secs())]
    Late {
        /// How long it might take.
        limit: Duration,
        /// What it had done by then.
        ended: Box<Ended>,
    },
    /// A command's output has another form than it should.
    #[error("{why}: {ended}")]
    Output {
        /// What is wrong with it.
        why: String,
        /// The command.
        ended: Box<Ended>,
    },
    /// A condition did not come true in time.
    #[error("waited {} s in vain for {what}", waited.as_secs())]
    InVain {
        /// The condition, and how things stood at the end.
        what: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A homeserver answered a plain request otherwise than it should.
    #[error("{request}: {detail}")]
    Request {
        /// Method and path.
        request: String,
        /// Status and body, or what failed.
        detail: String,
    },
    /// The story itself was told wrongly.
    #[error("the story has no {0}")]
    Missing(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A process could not be run, or a terminal not be written to.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: String,
        /// What went wrong.
        source: std::io::Error,
    },
}

impl Error {
    /// Makes a function that turns an I/O error about `path` into an [`Error`].
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// Makes a function that turns an I/O error of `what` into an [`Error`].
    pub(crate) fn system(what: &str) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::System { what, source }
    }
}
