//! `dmls-bench`: measures, and writes bench/RESULTS.md. Run it as `cargo xtask bench`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use dmls_bench::bars::bars;
use dmls_bench::contestant::Failure;
use dmls_bench::meter::only_this_thread;
use dmls_bench::past::KNOWN;
use dmls_bench::report::{Circumstances, json, markdown};
use dmls_bench::run::{Plan, run};
use dmls_bench::sheet::say;

/// What dmls costs, beside the primitives' limit and its peers.
#[derive(Parser)]
struct Arguments {
    /// How many devices.
    #[arg(value_name = "N", default_values_t = [10, 100, 1_000])]
    sizes: Vec<u32>,
    /// One JSON object a line on standard output.
    #[arg(long)]
    json: bool,
    /// Only rows whose names begin so (several: again); then nothing is written to RESULTS.md.
    #[arg(long = "only", value_name = "ROW")]
    only: Vec<String>,
    /// Only these contestants (several: again); then nothing is written to RESULTS.md either.
    #[arg(long = "by", value_name = "WHO")]
    by: Vec<String>,
    /// How many seconds it may take to make ready for rows about the past.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    budget: u64,
    /// What became of the build for wasm32.
    #[arg(long, default_value = "not tried", hide = true)]
    wasm: String,
    /// What was asked for.
    #[arg(long, default_value = "dmls-bench", hide = true)]
    command: String,
}

fn main() -> ExitCode {
    match measure(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { sizes, json: as_json, only, by, budget, wasm, command } = arguments;
    let plan = Plan { sizes, only, by, budget: Duration::from_secs(budget), known: KNOWN.to_vec() };
    only_this_thread()?;
    let sheet = run(&plan)?;
    let report = markdown(&sheet, &bars(&sheet, plan.past()), &Circumstances { command, wasm });
    if plan.only.is_empty() && plan.by.is_empty() {
        std::fs::write(results(), &report)?;
    }
    let told = if as_json { json(&sheet)? } else { report };
    std::io::stdout().write_all(told.as_bytes())?;
    Ok(())
}

/// The report that is kept beside the sources.
fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md")
}
