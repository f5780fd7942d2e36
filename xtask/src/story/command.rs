//! A process that is run to its end, or to its time limit.

use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::error::Error;

/// How often a running process is asked for the memory it holds.
const LOOK: Duration = Duration::from_millis(20);

/// How long a command may take before it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Duration);

impl Default for Limit {
    /// Two minutes: longer than any command should take, on a machine that does much else.
    fn default() -> Self {
        Self(Duration::from_secs(120))
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What was run, for people.
    pub line: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Whether it was killed at its time limit.
    pub killed: bool,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
    /// The most memory that it was seen to hold, in bytes (`VmHWM`).
    pub peak: u64,
}

impl Ended {
    /// Parses standard output as one JSON value a line.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn rows<T: DeserializeOwned>(self) -> Result<Vec<T>, Error> {
        let rows: Result<Vec<T>, _> = self.stdout.lines().map(serde_json::from_str).collect();
        rows.map_err(|error| self.wrong(&error.to_string()))
    }

    /// Parses standard output as exactly one JSON value.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn row<T: DeserializeOwned>(self) -> Result<T, Error> {
        let row = serde_json::from_str(self.stdout.trim_end());
        row.map_err(|error| self.wrong(&error.to_string()))
    }

    /// Finds out that the command ended with this code.
    ///
    /// # Errors
    /// [`Error::Exit`].
    pub fn with_code(self, wanted: i32) -> Result<Self, Error> {
        if self.code == Some(wanted) {
            return Ok(self);
        }
        Err(Error::Exit { wanted, ended: Box::new(self) })
    }

    fn wrong(self, why: &str) -> Error {
        Error::Output { why: why.to_owned(), ended: Box::new(self) }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("a signal".to_owned(), |code| code.to_string());
        write!(f, "`{}` ended with {code} after {:.1?}", self.line, self.took)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            write!(f, "\n--- {name}\n{}", text.trim_end())?;
        }
        write!(f, "\n---")
    }
}

/// Runs a command until it ends, or until the limit, when it is killed (SIGKILL).
///
/// # Errors
/// [`Error::System`] if it cannot be started.
pub(super) fn run(line: String, command: Command, limit: Limit) -> Result<Ended, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let run = |runtime: tokio::runtime::Runtime| runtime.block_on(watch(line.clone(), command, limit));
    runtime.and_then(run).map_err(Error::system(&line))
}

async fn watch(line: String, mut command: Command, limit: Limit) -> std::io::Result<Ended> {
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdout = read(child.stdout.take());
    let stderr = read(child.stderr.take());
    let process = child.id();
    let (mut peak, mut killed) = (0, false);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let status: ExitStatus = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = look.tick() => peak = peak.max(process.map_or(0, high_water)),
            () = sleep_until((start + limit.0).into()), if !killed => {
                killed = true;
                child.start_kill()?;
            }
        }
    };
    let (stdout, stderr) = (text(stdout).await?, text(stderr).await?);
    Ok(Ended { line, code: status.code(), killed, stdout, stderr, took: start.elapsed(), peak })
}

fn read(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> JoinHandle<std::io::Result<Vec<u8>>> {
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).await?;
        }
        Ok(bytes)
    })
}

async fn text(reading: JoinHandle<std::io::Result<Vec<u8>>>) -> std::io::Result<String> {
    let bytes = reading.await.map_err(std::io::Error::other)??;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Gives the most memory that a process has held so far (proc(5), `VmHWM`).
fn high_water(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Ended, Error> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(script.to_owned(), command, Limit(limit))
    }

    #[test]
    fn output_and_code_are_kept() -> Result<(), Error> {
        let ended = shell("echo '{\"a\": 1}'; echo talk >&2; exit 4", Duration::from_secs(20))?.with_code(4)?;
        assert_eq!((ended.stderr.as_str(), ended.killed), ("talk\n", false));
        assert_eq!(ended.row::<serde_json::Value>()?["a"], 1);
        Ok(())
    }

    #[test]
    fn a_late_command_is_killed() -> Result<(), Error> {
        let ended = shell("echo begun; exec sleep 60", Duration::from_millis(300))?;
        assert_eq!((ended.stdout.as_str(), ended.code, ended.killed), ("begun\n", None, true));
        assert!(ended.peak > 0 && ended.took < Duration::from_secs(30));
        Ok(())
    }
}
