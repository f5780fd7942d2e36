//! OpenMLS follows a few runs and agrees; and where it would not agree, that is noticed.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../../examples/beside/compare.rs"]
mod compare;
#[path = "../../examples/beside/follower.rs"]
mod follower;
#[path = "../../examples/beside/seen.rs"]
mod seen;

use compare::{Report, compare};
use dmls_sim::generate::{Profile, generate};
use seen::{Seen, watch};

const SMALL: Profile = Profile { devices: (4, 6), servers: (2, 3), steps: 60, splits: 3, ..Profile::REAL };

fn run(seed: u64) -> Seen {
    watch(&generate(seed, &SMALL)).unwrap()
}

#[test]
fn the_other_engine_agrees_with_our_devices() {
    let mut all = Report::default();
    for seed in 0..3 {
        all.add(compare(&run(seed)));
    }
    assert_eq!(all.findings, Vec::<String>::new(), "{all}");
    let counts = [all.accepted, all.by_others, all.trees, all.contexts, all.lists, all.infos, all.wrong_refused];
    assert!(counts.iter().all(|count| *count > 10), "{all}");
}

/// What is found when something in a run is another than it was.
fn found(alter: impl FnOnce(&mut Seen)) -> String {
    let mut seen = run(2);
    alter(&mut seen);
    compare(&seen).findings.join("\n")
}

/// The index of the last commit, on which nothing was made, so that nothing else is found.
fn last(seen: &Seen) -> usize {
    seen.sent.len() - 1
}

#[test]
fn another_epoch_id_is_noticed() {
    let found = found(|seen| {
        let event = seen.sent[last(seen)].event_id.clone();
        seen.taken.get_mut(&event).unwrap()[0].1.epoch.id.0[0] ^= 1;
    });
    assert!(found.contains(", OpenMLS ") && found.lines().count() == 1, "{found}");
}

#[test]
fn another_base_is_noticed() {
    let found = found(|seen| {
        let event = seen.sent[last(seen)].event_id.clone();
        seen.taken.get_mut(&event).unwrap()[0].1.base = None;
    });
    assert!(found.contains("on None, OpenMLS ") && found.lines().count() == 1, "{found}");
}

#[test]
fn other_members_are_noticed() {
    let found = found(|seen| seen.readers.last_mut().unwrap().devices.rotate_left(1));
    assert!(found.contains("shows other members") && found.lines().count() == 1, "{found}");
}

/// From its end there are the tag, extensions, the transcript hash, the tree hash.
#[test]
fn another_context_is_noticed() {
    for back in [1, 40, 70] {
        let found = found(|seen| {
            let mut public = seen.held.last_entry().unwrap();
            let at = public.get().len() - back;
            public.get_mut()[at] ^= 1;
        });
        assert!(found.contains("another GroupContext or tag") && found.lines().count() == 1, "{found}");
    }
}

#[test]
fn a_commit_that_the_other_engine_refuses_is_noticed() {
    let found = found(|seen| {
        let at = last(seen);
        // Authenticated data comes early, and is signed.
        seen.sent[at].bytes[100] ^= 1;
    });
    assert!(found.contains("took what OpenMLS refuses"), "{found}");
}

#[test]
fn a_commit_on_no_epoch_is_noticed() {
    let found = found(|seen| {
        let at = last(seen);
        seen.sent[at].base.as_mut().unwrap().0[0] ^= 1;
    });
    assert!(found.contains("a commit on an epoch that OpenMLS does not have"), "{found}");
}

#[test]
fn a_group_info_of_another_epoch_is_noticed() {
    let found = found(|seen| {
        let at = last(seen);
        seen.sent[at].info = seen.sent[at - 1].info.clone();
    });
    assert!(found.contains("the GroupInfo of ") && found.lines().count() == 1, "{found}");
}
