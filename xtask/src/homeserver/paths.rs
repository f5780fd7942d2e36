//! Where an instance keeps its files: `target/homeservers/INSTANCE/`.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::Error;
use super::names::{InstanceName, ServerNumber};

/// The directory that cargo builds into.
pub(super) fn target_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = workspace.canonicalize().unwrap_or(workspace);
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace.join(dir),
        None => workspace.join("target"),
    }
}

/// The files of one instance.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) instance: InstanceName,
    root: PathBuf,
}

impl Layout {
    /// Names the files of `instance` in the target directory.
    pub(super) fn new(instance: InstanceName) -> Self {
        Self { instance, root: target_dir().join("homeservers") }
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.root.join(self.instance.as_str())
    }

    /// Held for as long as a process runs the instance; beside the directory, so that the directory can go first.
    pub(super) fn lock(&self) -> PathBuf {
        self.root.join(format!("{}.lock", self.instance))
    }

    pub(super) fn record(&self) -> PathBuf {
        self.dir().join("instance.json")
    }

    pub(super) fn control(&self) -> PathBuf {
        self.dir().join("control.json")
    }

    pub(super) fn switch_pid(&self) -> PathBuf {
        self.dir().join("switch.pid")
    }

    pub(super) fn switch_log(&self) -> PathBuf {
        self.dir().join("switch.log")
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    pub(super) fn server(&self, server: ServerNumber) -> ServerFiles {
        ServerFiles { dir: self.dir().join(server.short()) }
    }

    /// Makes the instance's directory, closed to other users: it holds the administrators' secrets.
    pub(super) fn create(&self) -> Result<(), Error> {
        create_private(&self.dir())
    }
}

/// The files of one server.
#[derive(Clone, Debug)]
pub(super) struct ServerFiles {
    dir: PathBuf,
}

impl ServerFiles {
    pub(super) fn create(&self) -> Result<(), Error> {
        create_private(&self.dir)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("homeserver.yaml")
    }

    pub(super) fn log_config(&self) -> PathBuf {
        self.dir.join("log.yaml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("homeserver.log")
    }

    pub(super) fn output(&self) -> PathBuf {
        self.dir.join("output.log")
    }

    pub(super) fn pid(&self) -> PathBuf {
        self.dir.join("homeserver.pid")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.dir.join("homeserver.db")
    }

    pub(super) fn media(&self) -> PathBuf {
        self.dir.join("media")
    }

    pub(super) fn signing_key(&self) -> PathBuf {
        self.dir.join("signing.key")
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("tls.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.dir.join("tls.key")
    }
}

fn create_private(dir: &Path) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).map_err(Error::file(dir))
}

/// Writes a file whole.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    std::fs::write(path, content).map_err(Error::file(path))
}

/// Writes a file so that a reader sees all of it or none.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    write(&partial, content)?;
    std::fs::rename(&partial, path).map_err(Error::file(path))
}

/// Writes a value as JSON so that a reader sees all of it or none.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec(value).map_err(std::io::Error::from);
    write_whole(path, &text.map_err(Error::file(path))?)
}

/// Removes a directory and all in it, if it is there.
pub(super) fn remove_dir(dir: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::file(dir)(source)),
        _ => Ok(()),
    }
}

/// Gives the last lines of a text file, or nothing if it cannot be read.
pub(super) fn last_lines(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
