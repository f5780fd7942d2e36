//! Why an operation on test homeservers failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::names::{InstanceName, ServerCount, ServerNumber};

/// Why an operation on test homeservers failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // Misuse.
    /// A server was named that no instance can have.
    #[error("no server is called {0:?}: servers are hs1 to hs9 (or hs1.test to hs9.test)")]
    ServerName(String),
    /// A number of servers was asked for that is not supported.
    #[error("an instance has 1 to 9 servers, not {0}")]
    ServerCount(u8),
    /// An instance was given a name that cannot be a directory's.
    #[error("{0:?} cannot name an instance: use 1 to 40 of a-z, 0-9 and '-'")]
    InstanceName(String),
    /// The server is not one of this instance's.
    #[error("{server} is not in this instance, which has {count} servers")]
    UnknownServer {
        /// The server that was named.
        server: ServerNumber,
        /// How many there are.
        count: ServerCount,
    },
    /// A link needs two different servers.
    #[error("{0} has no link with itself")]
    SameServer(ServerNumber),
    /// Another process runs this instance.
    #[error("instance {0} is already up in another process")]
    Busy(InstanceName),
    /// Nothing runs under this name.
    #[error("instance {0} is not up")]
    NotUp(InstanceName),
    /// The instance exists with other options.
    #[error("instance {instance} exists with {existing}: take it down first")]
    Mismatch {
        /// The instance.
        instance: InstanceName,
        /// What it was made with.
        existing: String,
    },
    /// The server is stopped, so the request cannot be made.
    #[error("{0} is stopped")]
    Stopped(ServerNumber),
    /// A user of this name has another password.
    #[error("user {0} exists with another password")]
    UserExists(String),

    // Missing.
    /// Python or its `venv` module is absent or too old.
    #[error("Synapse needs Python 3.10 or newer with venv and pip: {0}")]
    Python(String),
    /// Synapse could not be installed.
    #[error("Synapse could not be installed: {0}")]
    Install(String),

    // Peer.
    /// A server ended by itself.
    #[error("{server} ended by itself ({status}); its last lines:\n{log}")]
    Exited {
        /// The server.
        server: ServerNumber,
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A condition did not come true in time.
    #[error("waited {} s in vain for {what}", waited.as_secs())]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A server could not be reached.
    #[error("request to {server} failed: {detail}")]
    Unreachable {
        /// The server.
        server: ServerNumber,
        /// What the HTTP client said.
        detail: String,
    },
    /// A server refused a request.
    #[error("{server} answered {status}: {body}")]
    Refused {
        /// The server.
        server: ServerNumber,
        /// The HTTP status.
        status: u16,
        /// The answer's body.
        body: String,
    },
    /// The process that runs the instance reported an error.
    #[error("{message}")]
    Switch {
        /// The error's [`Error::code`] over there.
        code: String,
        /// Its text.
        message: String,
    },
    /// The process that runs the instance broke off.
    #[error("the switch of the instance broke off: {0}")]
    SwitchLost(String),

    // Store.
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A process or a socket could not be made.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Keys or certificates could not be made.
    #[error("keys and certificates: {0}")]
    Keys(String),
}

impl Error {
    /// Gives the error's stable name, for JSON.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::ServerName(_) => "server_name",
            Self::ServerCount(_) => "server_count",
            Self::InstanceName(_) => "instance_name",
            Self::UnknownServer { .. } => "unknown_server",
            Self::SameServer(_) => "same_server",
            Self::Busy(_) => "busy",
            Self::NotUp(_) => "not_up",
            Self::Mismatch { .. } => "mismatch",
            Self::Stopped(_) => "stopped",
            Self::UserExists(_) => "user_exists",
            Self::Python(_) => "python",
            Self::Install(_) => "install",
            Self::Exited { .. } => "exited",
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Switch { code, .. } => code,
            Self::SwitchLost(_) => "switch_lost",
            Self::File { .. } => "file",
            Self::System { .. } => "system",
            Self::Keys(_) => "keys",
        }
    }

    /// Makes a function that turns an I/O error about `path` into an [`Error`].
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// Makes a function that turns an I/O error of `what` into an [`Error`].
    pub(super) fn system(what: &str) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::System { what, source }
    }
}
