//! `cargo xtask test`: all steps, in an order that finds cheap faults first and builds everything once.

use std::io::{IsTerminal, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use super::cargo::{cargo, output, root, run, run_tests, works};
use super::counts::Counts;
use super::error::Error;
use super::metadata::{Dependency, Kind, Metadata, Package};
use super::{arrows, licences, mls, spec};
use crate::assure::again;
use crate::attacks::attacks;

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Without the tests that start homeservers.
    Quick,
}

/// One step: its name and what it does; the text that it gives is shown.
struct Step {
    name: &'static str,
    run: fn(Scope, &mut Counts) -> Result<String, Error>,
}

/// Text and metadata first. Clippy and docs share what `cargo check` makes, build and tests share the rest.
const STEPS: [Step; 14] = [
    Step { name: "tools", run: tools },
    Step { name: "format", run: format },
    Step { name: "spec", run: |_, _| spec() },
    Step { name: "mls", run: |_, _| mls() },
    Step { name: "arrows", run: |_, _| arrows() },
    Step { name: "licences", run: |_, _| licences() },
    Step { name: "fuzz lock", run: fuzz_lock },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
    Step { name: "build", run: build },
    Step { name: "examples", run: examples },
    Step { name: "tests", run: tests },
    Step { name: "attacks", run: |_, counts| attacks(&[], counts) },
    Step { name: "ledger", run: |_, _| again().map_err(|error| Error::Assurance(Box::new(error))) },
];

/// Runs all steps and stops at the first that fails; `counts` says how many tests ran.
///
/// # Errors
/// What the failing step found.
pub fn test(scope: Scope, counts: &mut Counts) -> Result<(), Error> {
    let begun = Instant::now();
    for step in STEPS {
        say(&format!("==> {}", step.name))?;
        let started = Instant::now();
        let done = (step.run)(scope, counts);
        let seconds = spent(started.elapsed());
        match done {
            Ok(told) if told.is_empty() => say(&format!("    {}: ok, {seconds}", step.name))?,
            Ok(told) => say(&format!("    {}: {told}, {seconds}", step.name))?,
            Err(error) => {
                say(&format!("    {}: FAILED, {seconds}", step.name))?;
                return Err(error);
            }
        }
    }
    say(&format!("==> all steps passed, {}", spent(begun.elapsed())))
}

fn say(line: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::Output)
}

fn spent(time: Duration) -> String {
    format!("{}.{} s", time.as_secs(), time.subsec_millis() / 100)
}

/// What the later steps need; so that a long run does not end for want of it.
fn tools(scope: Scope, _: &mut Counts) -> Result<String, Error> {
    let missing = |tool, remedy| Err(Error::Missing { tool, remedy });
    if !works(cargo(&["fmt", "--version"])) {
        return missing("rustfmt", "install it with `rustup component add rustfmt`");
    }
    if !works(cargo(&["clippy", "--version"])) {
        return missing("clippy", "install it with `rustup component add clippy`");
    }
    let mut compiler = Command::new("cc");
    compiler.arg("--version");
    if !works(compiler) {
        return missing("a C compiler", "SQLite is built from source; on Debian install the package `gcc`");
    }
    let mut python = Command::new("python3");
    python.args(["-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))"]);
    if scope == Scope::All && !works(python) {
        let remedy =
            "the homeservers need it; on Debian install the package `python3-venv`, or leave them out (--quick)";
        return missing("Python 3.10 or newer with venv and pip", remedy);
    }
    let beside = root().join("../shared/vectors/rfc9420");
    if std::env::var_os("DMLS_VECTORS").is_some() || beside.is_dir() {
        return Ok(String::new());
    }
    Ok("the test vectors of RFC 9420 are not here: 16 files are not run (DMLS_VECTORS names their directory)"
        .to_owned())
}

fn format(_: Scope, _: &mut Counts) -> Result<String, Error> {
    let mut command = cargo(&["fmt", "--all", "--check"]);
    if !std::io::stdout().is_terminal() {
        command.args(["--", "--color", "never"]);
    }
    run(command).map(|()| String::new())
}

/// The fuzz targets are no part of the workspace: what the crates depend on may have moved on without them.
fn fuzz_lock(_: Scope, _: &mut Counts) -> Result<String, Error> {
    let manifest = root().join("fuzz").join("Cargo.toml");
    let mut command = cargo(&["tree", "--locked", "--quiet", "--depth", "0", "--manifest-path"]);
    command.arg(manifest);
    output(command).map(|_| String::new())
}

fn clippy(_: Scope, _: &mut Counts) -> Result<String, Error> {
    run(cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // The core once more as products have it: together with the simulator it is built with what only tests use.
    run(cargo(&["clippy", "--locked", "--package", "dmls", "--", "-D", "warnings"])).map(|()| String::new())
}

/// Of libraries: the `dmls` command and the crate `dmls` would be written to one place.
fn docs(_: Scope, _: &mut Counts) -> Result<String, Error> {
    let mut command = cargo(&["doc", "--locked", "--workspace", "--no-deps", "--lib"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run(command).map(|()| String::new())
}

fn build(_: Scope, _: &mut Counts) -> Result<String, Error> {
    run(cargo(&["test", "--locked", "--workspace", "--no-run"])).map(|()| String::new())
}

/// The stories run the `dmls` that was built with the tests; to build it once more, alone, would take other features.
fn tests(scope: Scope, counts: &mut Counts) -> Result<String, Error> {
    let metadata = Metadata::read()?;
    let mut command = cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
    command.env("DMLS_PROGRAM", metadata.target_directory.join("debug").join("dmls"));
    if scope == Scope::Quick {
        command.args(["--lib", "--bins"]);
        for member in metadata.members().filter(|member| !starts_homeservers(member)) {
            for name in member.targets_of("test") {
                command.args(["--test", name]);
            }
        }
    }
    run_tests(command, counts, |_| ()).map(|()| counts.to_string())
}

/// Examples are built with the tests; here they are run as they are.
fn examples(_: Scope, _: &mut Counts) -> Result<String, Error> {
    let metadata = Metadata::read()?;
    let mut names = Vec::new();
    for name in metadata.members().flat_map(|member| member.targets_of("example")) {
        run(Command::new(metadata.target_directory.join("debug").join("examples").join(name)))?;
        names.push(name);
    }
    Ok(names.join(", "))
}

/// Whether a package's integration tests start homeservers: they do so with this crate.
fn starts_homeservers(package: &Package) -> bool {
    let own = env!("CARGO_PKG_NAME");
    let uses = |dependency: &Dependency| dependency.name == own && dependency.kind == Some(Kind::Dev);
    package.name == own || package.dependencies.iter().any(uses)
}
