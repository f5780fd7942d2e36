//! The Python environment with Synapse in it, shared by all instances.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::Error;
use super::paths;

/// The release that the tests are written against.
const SYNAPSE: &str = "matrix-synapse==1.163.2";
/// Written when the environment is whole; names the release, so that a new one is installed afresh.
const STAMP: &str = "complete-1.163.2";

/// Gives the environment's Python, after installing Synapse if need be (about a minute).
///
/// # Errors
/// [`Error::Python`] and [`Error::Install`]; the process's standard error shows what is done.
pub(super) fn python() -> Result<PathBuf, Error> {
    let venv = paths::target_dir().join("synapse-venv");
    let python = venv.join("bin").join("python");
    if venv.join(STAMP).exists() {
        return Ok(python);
    }
    let _lock = lock(&venv.with_extension("lock"))?;
    if !venv.join(STAMP).exists() {
        install(&venv, &python)?;
    }
    Ok(python)
}

/// Waits until no other process installs.
fn lock(path: &Path) -> Result<File, Error> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
    }
    let file = File::create(path).map_err(Error::file(path))?;
    file.lock().map_err(Error::file(path))?;
    Ok(file)
}

fn install(venv: &Path, python: &Path) -> Result<(), Error> {
    check_system_python()?;
    let _unseen = writeln!(std::io::stderr(), "installing {SYNAPSE} in {} (about a minute)", venv.display());
    paths::remove_dir(venv)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(venv)).map_err(Error::Python)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", SYNAPSE];
    run(Command::new(python).args(pip)).map_err(Error::Install)?;
    paths::write(&venv.join(STAMP), b"")
}

fn check_system_python() -> Result<(), Error> {
    let script = "import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 10) else sys.version)";
    run(Command::new("python3").args([OsStr::new("-c"), OsStr::new(script)])).map_err(Error::Python)
}

/// Runs a command to its end; gives what it said if it failed.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(&said).trim()))
}
