//! Fuzz targets: plain functions over bytes, for every decoder that others reach and for sequences of inputs.
//!
//! A target never panics on what others could send, whatever the bytes are; what it checks besides is said at each.
//! Its bytes are a program: which real object to begin from, what to alter in it, what to do next. So an input keeps
//! its meaning when the keys of the scene change. The package `fuzz` links the targets with libFuzzer,
//! `cargo xtask assure` runs them, and `tests/corpus.rs` replays what is kept under `fuzz/corpus`.

mod alter;
mod answers;
mod core;
mod frames;
mod inputs;
mod joins;
mod matrix;
mod mls;
mod records;
mod source;
mod store;
mod sync;

use crate::entropy::Stream;

pub use answers::target as answers;
pub use frames::target as frames;
pub use inputs::target as inputs;
pub use joins::target as joins;
pub use mls::{commits, messages, trees, welcomes};
pub use records::target as records;
pub use store::target as store;
pub use sync::target as sync;

/// A function over bytes, and the name of its lane and of its corpus.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 11] = [
    Target { name: "frames", run: frames },
    Target { name: "joins", run: joins },
    Target { name: "inputs", run: inputs },
    Target { name: "sync", run: sync },
    Target { name: "answers", run: answers },
    Target { name: "records", run: records },
    Target { name: "store", run: store },
    Target { name: "commits", run: commits },
    Target { name: "welcomes", run: welcomes },
    Target { name: "trees", run: trees },
    Target { name: "messages", run: messages },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// An input that has never been, made from the inputs of a corpus: where no coverage guides, chance does.
pub fn mutated(corpus: &[Vec<u8>], chance: &mut Stream) -> Vec<u8> {
    let mut input = chance.pick(corpus).cloned().unwrap_or_default();
    for _ in 0..=chance.below(4) {
        let (at, end) = (place(chance, input.len()), place(chance, input.len()));
        let range = at.min(end)..at.max(end);
        match chance.below(6) {
            0 => input.insert(at, byte(chance)),
            1 => drop(input.drain(range)),
            2 => input.extend_from_within(range),
            3 => input.extend(chance.pick(corpus).into_iter().flatten()),
            _ => input.iter_mut().skip(at).take(1).for_each(|old| *old = byte(chance)),
        }
    }
    input.truncate(MAX);
    input
}

/// Longer inputs find nothing more.
const MAX: usize = 4_096;

fn place(chance: &mut Stream, len: usize) -> usize {
    usize::try_from(chance.below(len as u64 + 1)).unwrap_or_default()
}

fn byte(chance: &mut Stream) -> u8 {
    u8::try_from(chance.below(256)).unwrap_or_default()
}
