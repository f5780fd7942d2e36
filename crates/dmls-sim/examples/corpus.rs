//! Where fuzzing begins: small programs for each target that play what really happens, straight and a little bent.
//!
//! `corpus --write` writes them under `fuzz/corpus`; what coverage-guided runs found besides stays. Without arguments
//! it only says how many there are.
#![allow(clippy::print_stdout, reason = "a program")]

use std::path::Path;

use dmls_sim::entropy::Stream;
use dmls_sim::fuzz::{TARGETS, mutated};

/// How many bent programs there are beside the straight ones.
const BENT: usize = 12;

fn main() -> std::io::Result<()> {
    let write = std::env::args().any(|argument| argument == "--write");
    for target in TARGETS {
        let straight = straight(target.name);
        let mut chance = Stream::new(0, target.name);
        let bent: Vec<_> = (0..BENT).map(|_| mutated(&straight, &mut chance)).collect();
        println!("{}: {} straight, {} bent", target.name, straight.len(), bent.len());
        if write {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name);
            std::fs::create_dir_all(&directory)?;
            for (number, program) in straight.iter().enumerate() {
                std::fs::write(directory.join(format!("straight-{number:02}")), program)?;
            }
            for (number, program) in bent.iter().enumerate() {
                std::fs::write(directory.join(format!("bent-{number:02}")), program)?;
            }
        }
    }
    Ok(())
}

/// What really happens, in the words of each target's bytes.
fn straight(target: &str) -> Vec<Vec<u8>> {
    match target {
        // Which list, which object, no alteration; one bit, one byte, one gap.
        "frames" => programs(3, 8, &[&[0], &[1, 0, 40], &[1, 1, 90, 7], &[1, 3, 120, 4]]),
        "joins" => programs(3, 4, &[&[0], &[1, 0, 40], &[2, 1, 90, 7, 5, 200, 2, 1, 2]]),
        "inputs" => stories(),
        "sync" => {
            (0..5).flat_map(|step| (0..6).map(move |object| vec![step, 0, object, 0, 1, 0, 0, 0, 0, 0])).collect()
        }
        "answers" => (0..8).map(|request| [0, 1, 0, request, 4, 0, 0].repeat(6)).collect(),
        "records" => {
            (0..2).flat_map(|what| (0..8).map(move |kind| vec![what, kind, 1, kind * 9, 3, kind, 17, 2])).collect()
        }
        "commits" => programs(3, 4, &[&[0], &[1, 0, 40], &[1, 1, 90, 7], &[1, 6, 120, 2]]),
        "welcomes" => programs(4, 3, &[&[0], &[1, 0, 40], &[1, 3, 120, 4]]),
        // Single bytes of a tree, then whole nodes: blank, doubled, exchanged, unmerged.
        "trees" => programs(2, 3, &[&[0], &[1, 0, 1, 40], &[2, 0, 3, 1, 5, 2], &[3, 4, 1, 0, 2, 3, 1], &[1, 3, 1, 4]]),
        "messages" => (0..6).map(|first| (0..12).flat_map(|next| [(first + next * first) % 6, 0]).collect()).collect(),
        _ => (0..7).map(|kind| vec![1, kind % 3, kind, 1, 44, 9, 9, 0, 3, 200, 3, 1, 2, 3]).collect(),
    }
}

fn programs(lists: u8, objects: u8, endings: &[&[u8]]) -> Vec<Vec<u8>> {
    let heads = (0..lists).flat_map(|list| (0..objects).map(move |object| [list, object]));
    heads.flat_map(|head| endings.iter().map(move |ending| [head.as_slice(), ending].concat())).collect()
}

/// All inputs in their order; backwards; each twice; with restarts; with time passing.
fn stories() -> Vec<Vec<u8>> {
    let deliver = |input: u8| vec![0, input];
    let chunks =
        |inputs: Vec<u8>| inputs.chunks(20).map(|part| part.iter().flat_map(|i| deliver(*i)).collect()).collect();
    let mut out: Vec<Vec<u8>> = chunks((0..32).collect());
    out.extend::<Vec<Vec<u8>>>(chunks((0..32).rev().collect()));
    out.push((0..12).flat_map(|input| [deliver(input), deliver(input)].concat()).collect());
    out.push((0..12).flat_map(|input| [deliver(input), vec![14]].concat()).collect());
    out.push((0..8).flat_map(|input| [deliver(input), vec![15, 28]].concat()).collect());
    out.push((0..10).flat_map(|input| vec![8, input, input, 1, 0, 60, 0, 0, 0, 0]).collect());
    out
}
