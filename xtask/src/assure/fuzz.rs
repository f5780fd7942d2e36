//! Fuzz targets guided by coverage: how they are built with the stable compiler, and run.
//!
//! The package `fuzz` is none of this workspace: it is compiled with LLVM's coverage counters, dependencies and all, in
//! a target directory of its own, and linked with libFuzzer, which is C++.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::{End, Ended};
use super::error::Error;
use super::runner::last_words;
use crate::gate::{cargo, output, root, run, works};

/// What libFuzzer needs: counters for edges, with their places, and comparisons.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg=fuzzing";

/// What fuzzes here.
pub(super) enum Fuzzers {
    /// Programs in this directory.
    Guided(PathBuf),
    /// Nothing that is guided by coverage.
    Unguided,
}

impl Fuzzers {
    /// Builds all targets, or says why that is not possible.
    pub(super) fn build() -> Self {
        match build() {
            Ok(directory) => Self::Guided(directory),
            Err(why) => {
                let _unseen = super::run::say(&format!("fuzz: not guided by coverage, only mutations: {why}"));
                Self::Unguided
            }
        }
    }
}

fn build() -> Result<PathBuf, String> {
    let mut compiler = Command::new("c++");
    compiler.arg("--version");
    if !works(compiler) {
        return Err("libFuzzer is built from C++; on Debian install the package `g++`".to_owned());
    }
    let host = host()?;
    let directory = root().join("target").join("fuzz");
    let mut command = cargo(&["build", "--locked", "--release", "--bins", "--quiet", "--target", &host]);
    command.arg("--manifest-path").arg(root().join("fuzz").join("Cargo.toml")).arg("--target-dir").arg(&directory);
    command.env("RUSTFLAGS", COVERAGE);
    run(command).map_err(|error| error.to_string())?;
    Ok(directory.join(host).join("release"))
}

/// The triple of this machine: named explicitly, so that build scripts and macros are built without counters.
fn host() -> Result<String, String> {
    let mut rustc = Command::new("rustc");
    rustc.arg("-vV");
    let said = output(rustc).map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not name its host".to_owned())
}

/// One go of a target. What it learns stays under `target`, and begins from the corpus of this repository.
pub(super) fn command(program: &Path, target: &str, seed: u64, time: Duration) -> Result<Command, Error> {
    let learnt = root().join("target").join("fuzz").join("learnt").join(target);
    std::fs::create_dir_all(&learnt).map_err(Error::file(&learnt))?;
    let mut command = Command::new(program);
    command.current_dir(root()).arg(&learnt).arg(corpus(target));
    command.arg(format!("-seed={seed}")).arg(format!("-max_total_time={}", time.as_secs().max(1)));
    command.arg(format!("-artifact_prefix={}/", artifacts(target)?.display()));
    command.args([
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-reload=1",
        "-max_len=1024",
        "-len_control=0",
    ]);
    Ok(command)
}

fn corpus(target: &str) -> PathBuf {
    root().join("fuzz").join("corpus").join(target)
}

fn artifacts(target: &str) -> Result<PathBuf, Error> {
    let directory = root().join("target").join("fuzz").join("artifacts").join(target);
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    Ok(directory)
}

/// An input that broke a target joins the corpus, and with it the plain tests.
pub(super) fn keep_crash(target: &str, said: &str) -> Result<(), Error> {
    let Some(path) = crash(said) else { return Ok(()) };
    let name = path.file_name().unwrap_or(path.as_os_str());
    let kept = corpus(target).join(name);
    std::fs::copy(&path, &kept).map_err(Error::file(&kept))?;
    Ok(())
}

fn crash(said: &str) -> Option<PathBuf> {
    said.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| PathBuf::from(path.trim()))
}

/// What a go that did not end well found.
pub(super) fn blame(seed: u64, ended: &Ended) -> String {
    let why = if ended.end == End::Hung { "hung".to_owned() } else { last_words(&ended.said) };
    let input = crash(&ended.said).and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let input = input.map(|name| format!(" ({name})")).unwrap_or_default();
    format!("seed {seed}: {why}{input}")
}

#[cfg(test)]
mod tests {
    use super::{End, Ended, blame};

    #[test]
    fn what_broke_is_named_with_the_input() {
        let said = "INFO: Seed: 3\nthread '<unnamed>' panicked at src/frame.rs:3:1:\nindex out of bounds\n\
            artifact_prefix='x/'; Test unit written to /x/target/fuzz/artifacts/frames/crash-0a1b\nBase64: AA==\n";
        let ended = Ended { said: said.to_owned(), cpu_seconds: 1, end: End::Badly };
        assert_eq!(blame(3, &ended), "seed 3: panic at src/frame.rs:3:1:: index out of bounds (crash-0a1b)");
    }
}
