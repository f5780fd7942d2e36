//! Which seed or script shows which defence.

use std::process::ExitCode;

use dmls_sim::oracle::Fault;

use super::find::THEMES;
use super::trial::{Kind, fault, findings, script};

/// Seeds that are tried where the one of the table no longer shows its defence.
const TRIES: u64 = 6;
/// The same for a script, which is short.
const PLAYS: u64 = 24;

/// All defences that a run of the simulated world should show.
pub const IDS: [&str; 36] = [
    "F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F12", "F13", "F14", "F15", "F16", "F17", "F18", "F19",
    "F20", "F21", "F22", "S1", "C2", "C3", "C4", "C9", "C10", "C11", "C12", "C13", "C14", "C15", "C16", "C17", "C18",
    "C19", "C20",
];

use Kind::{Hostile, Plain};

/// A seed that fails without the defence against this attack, and passes with it.
const SEEDS: &[(&str, Kind, u64)] = &[
    ("F1", Hostile, 31),
    ("F3", Plain, 62),
    ("F4", Hostile, 34),
    ("F8", Hostile, 50),
    ("F12", Plain, 8),
    ("F19", Hostile, 97),
    ("F20", Hostile, 139),
    ("F21", Hostile, 0),
    ("F22", Hostile, 0),
    ("S1", Plain, 247),
    ("C2", Hostile, 72),
    ("C10", Hostile, 0),
    ("C11", Hostile, 50),
    ("C12", Hostile, 285),
    ("C15", Hostile, 71),
    ("C18", Hostile, 269),
    ("C19", Hostile, 1221),
    ("C20", Hostile, 78),
];

/// A script of `scripts/ID.txt`, and what its run without the defence shows; with the defence it shows nothing.
const SCRIPTS: &[(&str, Fault)] = &[
    ("F2", Fault::Steered),
    ("F5", Fault::Gate),
    ("F9", Fault::Leaked),
    ("F13", Fault::Storm),
    ("F14", Fault::Unjudged),
    ("F15", Fault::Unjudged),
    ("F18", Fault::Revived),
    ("C3", Fault::Leaked),
    ("C4", Fault::Unjudged),
    ("C9", Fault::Leaked),
    ("C14", Fault::Diverged),
    ("C16", Fault::Gate),
    ("C17", Fault::Lost),
];

/// Ids for which no run can fail, and why.
const BLUNT: &[(&str, &str)] = &[
    (
        "F6",
        "the same is asked again when a ciphertext leaves (C16): the message waits for the commit that is due anyway, and \
         is sealed anew in it; nothing else is different",
    ),
    (
        "F17",
        "who is removed so is added again by the next commit of whoever sees them in the room, and reads what was said",
    ),
    ("F7", "what a merge left out keeps the head that had it beside the merge (C12), and that is built on"),
    ("F16", "as C13: what one route refuses the merges of others make up for"),
    (
        "C13",
        "what some refuse because it came late the merges of others make up for: the heads differ for a while only",
    ),
];

/// Whether the seed shows the defence; where another change made a different run of it, the next ones of its theme are tried.
fn shown(id: &'static str, kind: Kind, first: u64) -> (&'static str, bool, u64, String) {
    let mut failure = ("UNSEEN", false, first, "the run passes without the defence".to_owned());
    for seed in (0..TRIES).map(|round| first + THEMES * round) {
        let Some(why) = fault(kind, seed, Some(id)) else { continue };
        match fault(kind, seed, None) {
            None => return ("BITES", true, seed, why),
            Some(broken) => failure = ("BROKEN", false, seed, broken),
        }
    }
    failure
}

/// Whether the script passes with the defence, and shows what it should without; where another change made a different
/// run of it, it is played with the next seeds.
fn played(id: &'static str, expected: Fault) -> (&'static str, bool, u64, String) {
    let mut script = match script(id) {
        Ok(script) => script,
        Err(broken) => return ("BROKEN", false, 0, broken),
    };
    let first = script.options.seed;
    for seed in first..first + PLAYS {
        script.options.seed = seed;
        let Ok(without) = findings(&script, Some(id)) else { continue };
        let Some(shown) = without.iter().find(|finding| finding.fault == expected) else { continue };
        return match findings(&script, None) {
            Ok(with) if with.is_empty() => ("BITES", true, seed, shown.to_string()),
            Ok(with) => ("BROKEN", false, seed, with[0].to_string()),
            Err(broken) => ("BROKEN", false, seed, broken),
        };
    }
    ("UNSEEN", false, first, format!("without the defence there is no {expected:?}"))
}

/// Prints all that is wrong with the scripts of `ids`, both ways.
pub fn play(ids: &[String]) -> ExitCode {
    for id in IDS.iter().filter(|id| ids.iter().any(|word| word == **id)) {
        for off in [None, Some(*id)] {
            println!("{id} {}", if off.is_none() { "with the defence" } else { "without it" });
            match script(id).and_then(|script| findings(&script, off)) {
                Ok(findings) => findings.iter().for_each(|finding| println!("  {finding}")),
                Err(broken) => println!("  {broken}"),
            }
        }
    }
    ExitCode::SUCCESS
}

/// Runs all of the table, or what `ids` names, both ways.
pub fn check(ids: &[String]) -> ExitCode {
    let names = |word: &String, id: &str| word == id || (word.len() == 1 && id.starts_with(word.as_str()));
    let chosen = |id: &str| ids.is_empty() || ids.iter().any(|word| names(word, id));
    let (mut passed, mut failed) = (0, 0);
    for (id, kind, seed) in SEEDS.iter().copied().filter(|(id, _, _)| chosen(id)) {
        let (word, good, seed, text) = shown(id, kind, seed);
        println!("{id:<4} {word:<8} {} seed {seed} | {text}", kind.word());
        if good { passed += 1 } else { failed += 1 }
    }
    for (id, expected) in SCRIPTS.iter().copied().filter(|(id, _)| chosen(id)) {
        let (word, good, seed, text) = played(id, expected);
        println!("{id:<4} {word:<8} script seed {seed} | {text}");
        if good { passed += 1 } else { failed += 1 }
    }
    for (id, reason) in BLUNT.iter().filter(|(id, _)| chosen(id)) {
        println!("{id:<4} {:<8} {reason}", "BLUNT");
    }
    for id in IDS.iter().filter(|id| chosen(id)) {
        let without = BLUNT.iter().all(|(known, _)| known != id);
        let seen = SEEDS.iter().any(|(known, _, _)| known == id) || SCRIPTS.iter().any(|(known, _)| known == id);
        if !seen && without {
            println!("{id:<4} {:<8} neither a seed nor a script nor a reason", "MISSING");
            failed += 1;
        }
    }
    println!("test result: {}. {passed} passed; {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
