//! A small part of what was once run, run again: so that the ledger is checked, and stays true.

use std::process::Command;
use std::time::Duration;

use super::build::Builder;
use super::error::Error;
use super::lane::Lane;
use super::ledger::{Ledger, OK};
use crate::gate::{output, root};

/// How many seeds of each lane.
const AGAIN: [(Lane, u64); 2] = [(Lane::Real, 3), (Lane::Fast, 10)];

/// Runs a few seeds that the ledger says hold, chosen by the commit.
///
/// # Errors
/// [`Error::Found`] names the seed that does not hold any more.
pub fn again() -> Result<String, Error> {
    let (ledger, draw, mut builder) = (Ledger::read()?, draw(), Builder::default());
    let mut told = Vec::new();
    for (lane, count) in AGAIN {
        let Some((first, count)) = ledger.draw(&lane, count, draw) else {
            told.push(format!("no line of {lane} yet"));
            continue;
        };
        let batch = builder.seeds(&lane, count)?.run(first, Duration::from_secs(600))?;
        if batch.result != OK {
            return Err(Error::Found(vec![format!("{lane}: {}", batch.result)]));
        }
        told.push(format!("{lane} {} to {}", batch.first, batch.last));
    }
    Ok(told.join(", "))
}

/// A number that each commit has for itself; without a history, always the same one.
fn draw() -> u64 {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["rev-parse", "HEAD"]);
    let hash = output(git).unwrap_or_default();
    let digits = String::from_utf8_lossy(&hash).chars().take(15).collect::<String>();
    u64::from_str_radix(&digits, 16).unwrap_or_default()
}
