//! Runs cargo as if from a shell.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::counts::Counts;
use super::error::Error;

/// The directory of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// `cargo ...` in the workspace's directory.
///
/// `cargo run` describes this package to its child in the environment. Build scripts look at such variables, so
/// handing them on would build their packages anew each time.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    for (name, _) in std::env::vars_os() {
        if describes_a_package(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_a_package(variable: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    variable == "CARGO" || variable == "OUT_DIR" || prefixes.iter().any(|prefix| variable.starts_with(prefix))
}

/// How people would write it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy().into_owned());
    words.collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end; its output goes where ours goes.
pub(crate) fn run(mut command: Command) -> Result<(), Error> {
    let line = line(&command);
    let status = command.status().map_err(|source| Error::Start { command: line.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: line, status: status.to_string() }) }
}

/// Whether a command ends well; nothing of it is shown.
pub(crate) fn works(mut command: Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// What a command writes to its standard output.
pub(crate) fn output(mut command: Command) -> Result<Vec<u8>, Error> {
    let line = line(&command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| Error::Start { command: line.clone(), source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::Failed { command: line, status: output.status.to_string() })
}

/// Runs tests: shows what they say, hands each line to `note` and counts the results, also when some fail.
pub(crate) fn run_tests(mut command: Command, counts: &mut Counts, note: impl FnMut(&str)) -> Result<(), Error> {
    let line = line(&command);
    let start = |source| Error::Start { command: line.clone(), source };
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(start)?;
    if let Some(said) = child.stdout.take() {
        show(BufReader::new(said), counts, note)?;
    }
    let status = child.wait().map_err(start)?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: line, status: status.to_string() }) }
}

/// Lines may hold any bytes: tests print what they like.
fn show(mut said: impl BufRead, counts: &mut Counts, mut note: impl FnMut(&str)) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    let mut bytes = Vec::new();
    while said.read_until(b'\n', &mut bytes).map_err(Error::Output)? > 0 {
        let line = String::from_utf8_lossy(&bytes);
        counts.note(&line);
        note(&line);
        out.write_all(&bytes).map_err(Error::Output)?;
        bytes.clear();
    }
    out.flush().map_err(Error::Output)
}
