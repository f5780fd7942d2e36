//! The `dmls` binary of this checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::Error;

/// The `dmls` binary.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

impl Program {
    /// Builds the binary with the profile of this very program; cargo's words go to standard error.
    ///
    /// The environment's `DMLS_PROGRAM` names another one instead, such as an installed one.
    ///
    /// # Errors
    /// [`Error::Build`] if it does not compile; [`Error::System`] if cargo cannot be run.
    pub fn build() -> Result<Self, Error> {
        if let Some(program) = std::env::var_os("DMLS_PROGRAM") {
            return Ok(Self(program.into()));
        }
        let dir = profile_dir()?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--package", "dmls-cli", "--bin", "dmls"]);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        match dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => {}
            Some(profile) => drop(command.args(["--profile", profile])),
        }
        let status = command.status().map_err(Error::system("running cargo"))?;
        if !status.success() {
            return Err(Error::Build(status));
        }
        Ok(Self(dir.join("dmls")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// Gives the directory in which cargo puts this profile's binaries, such as `target/debug`.
fn profile_dir() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(Error::system("finding this program"))?;
    let dir = own.parent().unwrap_or(Path::new("."));
    // Tests are in `deps` beside the binaries.
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    Ok(dir.to_owned())
}

/// Gives a new directory for the homes of a story's people, in cargo's target directory.
pub(super) fn homes(name: &str) -> Result<PathBuf, Error> {
    let profile = profile_dir()?;
    let dir = profile.parent().unwrap_or(&profile).join("homes").join(name);
    std::fs::create_dir_all(&dir).map_err(Error::file(&dir))?;
    Ok(dir)
}
