//! Replays what is kept of each fuzz target: inputs that reach far, and every input that ever broke something.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use dmls_sim::entropy::Stream;
use dmls_sim::fuzz::{TARGETS, mutated};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let listed = std::fs::read_dir(directory().join(name)).unwrap();
    let mut paths: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn replay(name: &str) {
    let target = dmls_sim::fuzz::target(name).unwrap();
    let corpus = corpus(name);
    assert!(corpus.len() > 5, "a corpus holds inputs");
    (target.run)(&[]);
    for (path, input) in corpus {
        // Shown if it breaks something.
        println!("{}", path.display());
        (target.run)(&input);
    }
}

#[test]
fn frames() {
    replay("frames");
}

#[test]
fn joins() {
    replay("joins");
}

#[test]
fn inputs() {
    replay("inputs");
}

#[test]
fn sync() {
    replay("sync");
}

#[test]
fn answers() {
    replay("answers");
}

#[test]
fn records() {
    replay("records");
}

#[test]
fn store() {
    replay("store");
}

#[test]
fn commits() {
    replay("commits");
}

#[test]
fn welcomes() {
    replay("welcomes");
}

#[test]
fn trees() {
    replay("trees");
}

#[test]
fn messages() {
    replay("messages");
}

#[test]
fn every_target_has_a_small_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let listed = std::fs::read_dir(directory()).unwrap();
    let corpora: BTreeSet<_> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(targets, corpora);
    let bytes: usize = targets.iter().flat_map(|name| corpus(name)).map(|(_, input)| input.len()).sum();
    assert!(bytes < 1_000_000, "{bytes} bytes");
}

#[test]
fn the_same_seed_gives_the_same_inputs() {
    let corpus: Vec<_> = corpus("frames").into_iter().map(|(_, input)| input).collect();
    let inputs = |seed| {
        let mut chance = Stream::new(seed, "frames");
        (0..50).map(|_| mutated(&corpus, &mut chance)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(3), inputs(3));
    assert_ne!(inputs(3), inputs(4));
}
