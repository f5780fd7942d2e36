//! Which commit the checkout is at.

use std::process::Command;

use super::error::Error;
use crate::gate::{output, root};

/// What to do if files differ from the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dirty {
    /// Refuse to run.
    Refuse,
    /// Say so in the ledger.
    Allow,
}

/// The short hash of the commit, with `-dirty` after it if files differ from it; the ledger itself may.
pub(super) fn commit(dirty: Dirty) -> Result<String, Error> {
    let hash = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--", ".", ":!assurance"])?;
    match changed.lines().next() {
        None => Ok(hash),
        Some(_) if dirty == Dirty::Allow => Ok(format!("{hash}-dirty")),
        Some(line) => Err(Error::Dirty(line.trim().to_owned())),
    }
}

fn git(arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new("git");
    command.current_dir(root()).args(arguments);
    Ok(String::from_utf8_lossy(&output(command)?).trim().to_owned())
}
