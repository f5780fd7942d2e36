//! The `dmls` command without any homeserver: usage, exit codes, what it says when something is wrong.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod login;
mod store;
mod usage;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Somebody with an empty home directory.
pub(crate) struct Home {
    dir: TempDir,
}

/// A command that has ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file in the home directory.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The directory of a profile.
    pub(crate) fn profile(&self, name: &str) -> PathBuf {
        self.path().join("dmls").join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmls"));
        command.args(arguments).stdin(Stdio::null()).env_clear();
        command.env("HOME", self.path()).env("DMLS_HOME", self.path().join("dmls"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ended =
            Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) };
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        ended
    }

    /// It failed so: exit code and the code in the one JSON object on stderr. Nothing is on stdout.
    #[track_caller]
    pub(crate) fn fails(&self, exit: i32, code: &str) {
        assert_eq!(self.code, exit, "{}", self.stderr);
        assert_eq!(self.stdout, "");
        let error: Value = serde_json::from_str(&self.stderr).unwrap_or_else(|_| panic!("{}", self.stderr));
        assert_eq!((&error["schema"], &error["error"]["code"]), (&Value::from(1), &Value::from(code)), "{error}");
        assert!(error["error"]["message"].as_str().unwrap().len() > 5, "{error}");
    }
}
