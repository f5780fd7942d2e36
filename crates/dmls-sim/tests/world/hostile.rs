//! Runs with adversaries that failed once, each for the reason that its first lines tell; in the build with
//! `xtask/mutants-rustc` only, without which nobody can forge anything.

use std::path::Path;

use dmls_sim::oracle::{Finding, judge};
use dmls_sim::run::run;
use dmls_sim::script::parse;

#[test]
fn what_failed_once_against_adversaries_is_mended() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds/hostile");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let script = parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let outcome = run(&script).unwrap_or_else(|broken| panic!("{}: {broken}", file.display()));
        assert_eq!(judge(&outcome.trace), Vec::<Finding>::new(), "{}", file.display());
    }
}
