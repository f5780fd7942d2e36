//! Processes that this tool started earlier, told apart by their command line.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::error::Error;
use super::paths;

/// How often a condition is looked at again.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// A process known by its number and by a path that its command line names.
///
/// A number alone would not do: it may meanwhile be another process's.
#[derive(Debug)]
pub(super) struct Identified<'a> {
    number: u32,
    named: &'a Path,
}

impl<'a> Identified<'a> {
    /// Reads a process's number from `pid_file`; none if it is not alive or its command line does not name `named`.
    pub(super) fn find(pid_file: &Path, named: &'a Path) -> Option<Self> {
        let number = std::fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
        let found = Self { number, named };
        found.is_alive().then_some(found)
    }

    /// Tells whether the process is still there.
    pub(super) fn is_alive(&self) -> bool {
        let cmdline = std::fs::read(format!("/proc/{}/cmdline", self.number)).unwrap_or_default();
        let mut arguments = cmdline.split(|byte| *byte == 0);
        arguments.any(|argument| Path::new(std::ffi::OsStr::from_bytes(argument)).starts_with(self.named))
    }

    /// Ends the process, by force if it does not end by itself, and waits until it is gone.
    pub(super) fn end(&self) -> Result<(), Error> {
        self.signal("-TERM")?;
        if self.wait_gone(Duration::from_secs(15)).is_ok() {
            return Ok(());
        }
        self.signal("-KILL")?;
        self.wait_gone(Duration::from_secs(15))
    }

    fn signal(&self, signal: &str) -> Result<(), Error> {
        let status = Command::new("kill").args([signal, &self.number.to_string()]).output();
        // A failure means that it has gone meanwhile, which is waited for anyway.
        status.map(drop).map_err(Error::system("running kill"))
    }

    /// Waits until the process is gone.
    pub(super) fn wait_gone(&self, limit: Duration) -> Result<(), Error> {
        wait_until(&format!("the end of process {}", self.number), limit, || !self.is_alive())
    }
}

/// Writes a process's number to a file.
pub(super) fn write_pid(path: &Path, number: u32) -> Result<(), Error> {
    paths::write_whole(path, number.to_string().as_bytes())
}

/// Waits until a condition is true.
pub(super) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<(), Error> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return Err(Error::Timeout { what: what.to_owned(), waited: limit });
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_command_line() -> Result<(), Box<dyn std::error::Error>> {
        let dir = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let pid_file = dir.join("pid");
        std::fs::write(&pid_file, "")?; // tail ends at once if there is nothing to follow
        let mut child = Command::new("tail").arg("-f").arg(&pid_file).stdout(std::process::Stdio::null()).spawn()?;
        write_pid(&pid_file, child.id())?;
        // Between fork and exec the child still has this process's command line.
        wait_until("exec", Duration::from_secs(10), || Identified::find(&pid_file, &dir).is_some())?;
        assert!(Identified::find(&pid_file, Path::new("/elsewhere")).is_none());
        let found = Identified::find(&pid_file, &dir).ok_or("not found")?;
        found.signal("-KILL")?;
        child.wait()?;
        found.wait_gone(Duration::from_secs(10))?;
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
