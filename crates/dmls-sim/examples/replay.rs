//! Replays a script (or a generated seed) and shows how each device stands after a step:
//! `cargo run -p dmls-sim --example replay -- FILE|SEED|wide:SEED|hostile:SEED|long:SEED [STEP [FACTS]]`. With `print` instead of a step it prints the script, with `shrink` the
//! shortest script that it finds which fails in the same way: `replay FILE|SEED shrink [TRIES]`. In the build with
//! `xtask/mutants-rustc`, `without:ID` at the end switches the defence against that attack off.
#![allow(clippy::print_stdout, reason = "a program")]

use std::process::ExitCode;

use dmls_matrix::RoomId;
use dmls_sim::generate::{Profile, generate};
use dmls_sim::oracle::{judge, scrutinise};
use dmls_sim::run::run_watched;
use dmls_sim::script::{ROOM, Script, Step, parse};
use dmls_sim::shrink::shrink;
use dmls_sim::trace::Name;
use dmls_sim::world::{Crypto, World};

/// Epochs that are shown, newest last.
const EPOCHS: usize = 8;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let _off = words.pop_if(|word| word.starts_with("without:")).map(|word| switch_off(&word["without:".len()..]));
    let Some(script) = words.first().and_then(|word| script(word)) else {
        println!("replay FILE|SEED [STEP [FACTS]]");
        // Without arguments nothing is run, which is how the gate tries it.
        return if words.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    if words.get(1).is_some_and(|word| word == "shrink") {
        return shorten(&script, words.get(2).and_then(|word| word.parse().ok()).unwrap_or(300));
    }
    if words.get(1).is_some_and(|word| word == "print") {
        println!("{script}");
        return ExitCode::SUCCESS;
    }
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
    let (wanted, facts) = (number(1), number(2).unwrap_or(80));
    let mut watch = |step: usize, world: &mut World| {
        println!("{step} {} {:?}", script.steps[step], world.counts());
        if wanted == Some(step) {
            show(world, facts);
        }
    };
    match run_watched(&script, &mut watch) {
        Ok(outcome) => {
            scrutinise(&outcome.trace).iter().for_each(|finding| println!("{finding}"));
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}
/// As long as what it gives lives.
#[cfg(dmls_mutants)]
fn switch_off(id: &str) -> dmls::defence::Off {
    dmls::defence::switch_off(id.to_owned().leak())
}

#[cfg(not(dmls_mutants))]
fn switch_off(_: &str) {}

fn script(word: &str) -> Option<Script> {
    if let Some(seed) = word.strip_prefix("hostile:") {
        return Some(generate(seed.parse().ok()?, &Profile::HOSTILE));
    }
    if let Some(seed) = word.strip_prefix("wide:") {
        return Some(generate(seed.parse().ok()?, &Profile { crypto: Crypto::Real, ..Profile::FAST }));
    }
    if let Some(seed) = word.strip_prefix("long:") {
        return Some(generate(seed.parse().ok()?, &Profile { steps: 4_000, splits: 60, ..Profile::REAL }));
    }
    if let Ok(seed) = word.parse() {
        return Some(generate(seed, &Profile::REAL));
    }
    parse(&std::fs::read_to_string(word).ok()?).ok()
}

/// What is wrong with a run, without the particulars.
fn failure(script: &Script) -> Option<String> {
    match run_watched(script, &mut |_, _| {}) {
        Err(broken) => Some(format!("{:?}", broken.fault).split([' ', '{']).next().unwrap_or_default().to_owned()),
        // Before everything was mended there is nothing to judge by.
        Ok(_) if script.steps.last() != Some(&Step::Close) => None,
        Ok(outcome) => judge(&outcome.trace)
            .first()
            .map(|finding| finding.to_string().split(' ').next().unwrap_or_default().to_owned()),
    }
}

fn shorten(script: &Script, tries: usize) -> ExitCode {
    let Some(wanted) = failure(script) else {
        println!("it does not fail");
        return ExitCode::FAILURE;
    };
    let short = shrink(script, tries, &mut |shorter| failure(shorter).as_ref() == Some(&wanted));
    println!("# {wanted}\n{short}");
    ExitCode::SUCCESS
}

fn show(world: &mut World, facts: usize) {
    let names: Vec<Name> = world.clients().filter(|(_, client)| client.is_up()).map(|(name, _)| name.clone()).collect();
    for name in names {
        show_device(world, &name);
    }
    let entries = &world.trace().entries;
    for entry in &entries[entries.len().saturating_sub(facts)..] {
        let text: String = format!("{:?}", entry.fact).chars().take(200).collect();
        println!("{} {text}", entry.at.0 % 100_000_000);
    }
}

fn show_device(world: &mut World, name: &Name) {
    let room = RoomId::from(ROOM);
    let Ok(client) = world.client(name) else { return };
    let (home, device) = (client.home.clone(), client.device.clone());
    println!("== {name} {device}; its server: {:?}", world.net.memberships(&home, &room).0);
    let Ok(view) = world.view(name, &room) else { return };
    for row in &view.members {
        println!("   {} in room {} in head {} {}", row.device, row.in_room, row.in_head, row.reason);
    }
    for info in &view.log[view.log.len().saturating_sub(EPOCHS)..] {
        let marks = if info.canonical {
            "@"
        } else if info.head {
            "o"
        } else {
            "*"
        };
        println!(
            "   {marks} {}:{} {} on {:?} resolves {:?} +{:?} -{:?}",
            info.number.0, info.creator.device, info.epoch.id, info.base, info.resolves, info.added, info.removed
        );
    }
}
