//! `cargo xtask bench`: what dmls costs, beside the primitives' limit and its peers (the package `dmls-bench`).

use std::process::Command;

use crate::gate::{Error, cargo, output, run, works};

/// What the core must also be built for.
const WASM: &str = "wasm32-unknown-unknown";

/// What is measured.
#[derive(Debug, Default)]
pub struct Options {
    /// How many devices; the bench's own sizes, if there is none.
    pub sizes: Vec<u32>,
    /// JSON lines on standard output instead of the report.
    pub json: bool,
    /// Only rows whose names begin so.
    pub only: Vec<String>,
    /// Only these contestants.
    pub by: Vec<String>,
    /// How many seconds it may take to make ready for rows about the past.
    pub budget: Option<u64>,
}

/// Builds the bench in release mode and runs it; it writes bench/RESULTS.md.
///
/// # Errors
/// [`Error::Failed`] if it cannot be built, or measures nothing.
pub fn bench(options: &Options) -> Result<(), Error> {
    let asked = options.arguments();
    let said = ["cargo", "xtask", "bench"].into_iter().chain(asked.iter().map(String::as_str));
    let said = said.collect::<Vec<_>>().join(" ");
    let mut command = cargo(&["run", "--release", "--locked", "-p", "dmls-bench", "--"]);
    command.args(&asked).args(["--wasm", wasm()?, "--command", &said]);
    run(command)
}

impl Options {
    fn arguments(&self) -> Vec<String> {
        let mut out: Vec<_> = self.sizes.iter().map(ToString::to_string).collect();
        out.extend(self.json.then(|| "--json".to_owned()));
        out.extend(self.only.iter().map(|row| format!("--only={row}")));
        out.extend(self.by.iter().map(|who| format!("--by={who}")));
        out.extend(self.budget.map(|seconds| format!("--budget={seconds}")));
        out
    }
}

/// Whether the core builds for wasm, where the compiler has what it takes.
fn wasm() -> Result<&'static str, Error> {
    if !has_target()? {
        return Ok("SKIPPED: `rustup target add wasm32-unknown-unknown` is missing");
    }
    let builds = works(cargo(&["build", "--locked", "--target", WASM, "-p", "dmls"]));
    Ok(if builds { "pass" } else { "MISS" })
}

/// Whether the compiler's libraries for wasm are installed.
fn has_target() -> Result<bool, Error> {
    let mut command = Command::new("rustc");
    command.args(["--print", "target-libdir", "--target", WASM]);
    let said = output(command)?;
    Ok(std::path::Path::new(String::from_utf8_lossy(&said).trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn what_is_asked_for_is_handed_on() {
        let (only, by) = (vec!["rekey".to_owned()], vec!["core".to_owned()]);
        let options = Options { sizes: vec![10, 100], json: true, only, by, budget: Some(5) };
        assert_eq!(options.arguments(), ["10", "100", "--json", "--only=rekey", "--by=core", "--budget=5"]);
        assert!(Options::default().arguments().is_empty());
    }
}
