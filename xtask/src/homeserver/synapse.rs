//! One Synapse process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};

use super::error::Error;
use super::names::ServerNumber;
use super::paths::{self, ServerFiles};
use super::process::write_pid;

/// Runs Synapse, and ends it when standard input ends: that is, at the latest when the process that started it ends.
const RUN: &str = "
import os, signal, sys, threading, time
def watch():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(8)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
from synapse.app.homeserver import main
main()
";

/// How long a server may take to end by itself; the script above takes at most 8 s.
const LONGEST_END: Duration = Duration::from_secs(10);

/// A running Synapse; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Synapse {
    server: ServerNumber,
    child: Child,
    stdin: Option<ChildStdin>,
    files: ServerFiles,
}

impl Synapse {
    /// Starts a server whose files are in place.
    pub(super) fn spawn(python: &Path, server: ServerNumber, files: ServerFiles) -> Result<Self, Error> {
        let output = std::fs::File::create(files.output()).map_err(Error::file(&files.output()))?;
        let errors = output.try_clone().map_err(Error::file(&files.output()))?;
        let mut command = Command::new(python);
        command.args(["-c", RUN, "-c"]).arg(files.config());
        command.stdin(Stdio::piped()).stdout(output).stderr(errors).kill_on_drop(true);
        // Ctrl-C is for the process that started it, which ends it in order.
        command.process_group(0);
        for name in ["http_proxy", "https_proxy", "no_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let mut child = command.spawn().map_err(Error::system("starting Synapse"))?;
        let stdin = child.stdin.take();
        if let Some(number) = child.id() {
            write_pid(&files.pid(), number)?;
        }
        Ok(Self { server, child, stdin, files })
    }

    /// Finds out that the process has not ended.
    pub(super) fn check_alive(&mut self) -> Result<(), Error> {
        let ended = self.child.try_wait().map_err(Error::system("looking after Synapse"))?;
        let Some(status) = ended else { return Ok(()) };
        let logs: [PathBuf; 2] = [self.files.log(), self.files.output()];
        let log = logs.map(|log| paths::last_lines(&log)).join("\n");
        Err(Error::Exited { server: self.server, status: status.to_string(), log })
    }

    /// Ends the process in order, or by force if that takes too long, and waits until it is gone.
    pub(super) async fn end(mut self) -> Result<(), Error> {
        drop(self.stdin.take());
        if tokio::time::timeout(LONGEST_END, self.child.wait()).await.is_err() {
            self.child.kill().await.map_err(Error::system("killing Synapse"))?;
        }
        let _already_gone = std::fs::remove_file(self.files.pid());
        Ok(())
    }
}
