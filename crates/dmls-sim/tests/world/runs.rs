//! Generated runs: they repeat byte for byte, they settle, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::EpochId;
use dmls_matrix::RoomId;
use dmls_sim::generate::{Mishaps, Profile, generate};
use dmls_sim::run::{Outcome, run};
use dmls_sim::script::{ROOM, Script, Step, parse};
use dmls_sim::shrink::shrink;
use dmls_sim::trace::{End, Fact, Name};

/// Small runs, for a test that everybody runs.
const SMALL: Profile = Profile { devices: (4, 6), servers: (2, 3), steps: 60, splits: 3, ..Profile::REAL };

/// Honest devices that are in the room at the end, as their own servers have it.
fn staying(outcome: &Outcome) -> BTreeMap<&Name, &End> {
    let room = RoomId::from(ROOM);
    let mut joined = BTreeSet::new();
    for (_, fact) in outcome.trace.facts() {
        if let Fact::Membership { server, user, membership, .. } = fact {
            let key = (server.clone(), user.clone());
            if membership == "join" {
                joined.insert(key)
            } else {
                joined.remove(&key)
            };
        }
    }
    let in_room = |end: &End| joined.contains(&(end.server.clone(), end.device.user.clone()));
    let ends = outcome.trace.ends.iter();
    ends.filter(|(_, end)| end.online && end.honest && !end.logged_out && in_room(end) && end.views.contains_key(&room))
        .collect()
}

/// What is wrong at the end, in words.
fn wrong(outcome: &Outcome) -> Vec<String> {
    let room = RoomId::from(ROOM);
    let staying = staying(outcome);
    let canonical = |end: &End| end.rooms.iter().find(|row| row.room == room).and_then(|row| row.canonical);
    let heads: BTreeSet<Option<EpochId>> = staying.values().map(|end| canonical(end)).collect();
    let mut wrong = Vec::new();
    if heads.len() > 1 || heads.contains(&None) {
        let heads: Vec<_> = staying.iter().map(|(name, end)| format!("{name} in {:?}", canonical(end))).collect();
        wrong.push(format!("not in one epoch: {}", heads.join(", ")));
    }
    for (_, fact) in outcome.trace.facts() {
        let Fact::Accepted { name, body, .. } = fact else { continue };
        let Some(sender) = staying.get(name) else { continue };
        let sent = sender.views[&room].messages.iter().find(|row| row.body() == Some(body));
        let Some(readers) = sent.filter(|row| row.event_id.is_some()).and_then(|row| row.readers.clone()) else {
            wrong.push(format!("{name} never sent {body:?}"));
            continue;
        };
        for (reader, end) in staying.iter().filter(|(_, end)| readers.contains(&end.device)) {
            let times = end.views[&room].messages.iter().filter(|row| row.body() == Some(body)).count();
            if times != 1 {
                wrong.push(format!("{reader} reads {body:?} of {name} {times} times"));
            }
        }
    }
    wrong
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let script = generate(3, &SMALL);
    let (one, again) = (run(&script).unwrap(), run(&script).unwrap());
    assert_eq!(one.digest, again.digest);
    assert_eq!(one.trace.entries, again.trace.entries);
    let other = run(&generate(4, &SMALL)).unwrap();
    assert_ne!(one.digest, other.digest);
}

#[test]
fn runs_settle_in_one_epoch_and_lose_nothing() {
    let (mut messages, mut commits) = (0, 0);
    for seed in 0..8 {
        let outcome = run(&generate(seed, &SMALL)).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        assert_eq!(wrong(&outcome), Vec::<String>::new(), "seed {seed}");
        let ends: Vec<_> = outcome.trace.ends.iter().map(|(name, end)| (name, end.online, &end.rooms)).collect();
        assert!(!staying(&outcome).is_empty(), "seed {seed}: {ends:#?}");
        messages += outcome.counts.messages;
        commits += outcome.counts.commits;
    }
    assert!(messages > 80 && commits > 30, "{messages} messages, {commits} commits");
}

#[test]
fn scripts_are_text_and_back() {
    let copies = Profile { mishaps: Mishaps { copies: true, ..Mishaps::HONEST }, steps: 400, ..Profile::FAST };
    for seed in 0..20 {
        let script = generate(seed, &copies);
        assert_eq!(parse(&script.to_string()).unwrap(), script, "seed {seed}");
    }
    for bad in ["say", "say alice", "crash-at a b 1", "wait soon", "link a b delay", "dance"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_failing_script_becomes_a_short_one() {
    // What is to be found again: a rekey between a cut and a heal.
    let fails = |script: &Script| {
        let cut = script.steps.iter().position(|step| matches!(step, Step::Cut(..)));
        let after = cut.map(|cut| &script.steps[cut..]).unwrap_or_default();
        let rekey = after.iter().position(|step| matches!(step, Step::Rekey(_)));
        rekey.is_some_and(|at| after[at..].iter().any(|step| matches!(step, Step::Heal(..))))
    };
    let script = (0..).map(|seed| generate(seed, &Profile { steps: 150, ..Profile::REAL })).find(fails).unwrap();
    let short = shrink(&script, 2_000, &mut |script| fails(script));
    assert_eq!(short.steps.len(), 3, "{short}");
    assert!(fails(&short) && run(&short).is_ok());
}

/// Runs that failed once, each for the reason that its first lines tell.
#[test]
fn what_failed_once_is_mended() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "txt")) {
        let script = parse(&std::fs::read_to_string(file).unwrap()).unwrap();
        let outcome = run(&script).unwrap_or_else(|broken| panic!("{}: {broken}", file.display()));
        assert_eq!(wrong(&outcome), Vec::<String>::new(), "{}", file.display());
    }
}
