//! Devices that hold an epoch and cannot follow the others: when they come back by external commit, and when not.

use dmls::effect::{EpochKind, Need, Verdict};
use dmls::error::Reason;
use dmls::group::{Group, Settings};
use dmls::id::{EpochId, Locator};
use dmls::input::Input;

use crate::world::{Event, World, room};

/// Somebody who cannot follow waits at least so long, and at most twice.
const PATIENCE: u64 = 60_000;

fn four() -> World {
    World::four(Settings::default())
}

fn ways_back(world: &World, name: &str) -> Vec<EpochId> {
    let needs = world.peers[name].group.needs(world.now);
    let epoch = |need| match need {
        Need::ExternalJoin { epoch, .. } => Some(epoch),
        _ => None,
    };
    needs.into_iter().filter_map(epoch).collect()
}

/// The events posted since `from`, but those at `hidden`.
fn take_in_but(world: &mut World, name: &str, hidden: &[Locator]) {
    world.peers.get_mut(name).unwrap().seen.extend(hidden.iter().cloned());
    world.take_in(name);
}

fn newest(world: &World) -> Locator {
    world.events().pop().unwrap().0
}

/// Both sides rekey; Carol's commit never reaches Alice; Bob merges on the side that Alice knows.
fn a_merge_that_alice_cannot_open() -> (World, EpochId) {
    let mut world = four();
    world.cut();
    for _ in 0..2 {
        world.commit("bob", true);
        world.take_in("alice");
    }
    world.commit("carol", true);
    let lost = newest(&world);
    world.heal();
    take_in_but(&mut world, "alice", &[lost]);
    for name in ["bob", "dan", "carol"] {
        world.take_in(name);
    }
    world.commit("dan", true);
    let merged = world.canonical("dan").unwrap();
    for name in ["alice", "bob", "carol"] {
        world.take_in(name);
    }
    assert_eq!(world.canonical("bob"), Some(merged));
    assert_ne!(world.canonical("alice"), Some(merged));
    (world, merged)
}

fn converge(world: &mut World, names: &[&str]) {
    for _ in 0..3 {
        names.iter().for_each(|name| world.sync(name));
    }
    let head = world.canonical(names[0]);
    for name in names {
        assert_eq!(world.canonical(name), head, "{name}");
        world.send(name, &format!("{name} is here"));
        assert_eq!(ways_back(world, name), []);
    }
    for name in names {
        world.take_in(name);
        for other in names {
            assert!(world.texts(name).contains(&format!("{other} is here")), "{name} reads {other}");
        }
    }
    let mut leaves = world.peers[names[0]].group.readers(&head.unwrap()).unwrap();
    leaves.sort();
    let mut expected: Vec<_> = names.iter().map(|name| world.peers[*name].own.device().clone()).collect();
    expected.sort();
    assert_eq!(leaves, expected);
}

/// M is asked for, nobody answers, and a minute or two later the way back is open (SPEC §3.9, §5.8).
#[test]
fn who_is_never_told_the_merge_value_comes_back() {
    let (mut world, merged) = a_merge_that_alice_cannot_open();
    world.tick(PATIENCE - 1);
    assert_eq!(ways_back(&world, "alice"), []);
    let needs = world.peers["alice"].group.needs(world.now);
    assert!(matches!(needs[..], [Need::MergeValue { epoch, .. }] if epoch == merged), "{needs:?}");
    let wake = world.peers["alice"].group.next_wake(world.now).unwrap();
    assert!(wake <= world.now.plus(PATIENCE + 1));
    world.tick(PATIENCE + 1);
    assert_eq!(ways_back(&world, "alice"), [merged]);
    for other in ["bob", "carol", "dan"] {
        assert_eq!(ways_back(&world, other), [], "{other} follows");
    }
    world.restart("alice");
    assert_eq!(ways_back(&world, "alice"), [merged]);
    world.join_externally("alice");
    assert_eq!(ways_back(&world, "alice"), []);
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// An answer in time makes the way back needless.
#[test]
fn who_is_told_in_time_stays() {
    let (mut world, merged) = a_merge_that_alice_cannot_open();
    world.tick(2 * PATIENCE);
    assert_eq!(ways_back(&world, "alice"), [merged]);
    let from = world.peers["alice"].own.device().clone();
    world.input("dan", Input::MergeRequest { epoch: merged, from });
    assert_eq!(world.canonical("alice"), Some(merged));
    assert_eq!(ways_back(&world, "alice"), []);
}

/// What is built on an epoch that is out of reach is out of reach too, and shows as a better way back.
#[test]
fn the_way_back_leads_to_what_was_built_since() {
    let (mut world, merged) = a_merge_that_alice_cannot_open();
    world.commit("bob", true);
    let next = world.canonical("bob").unwrap();
    world.take_in("alice");
    world.tick(2 * PATIENCE);
    let mut found = ways_back(&world, "alice");
    found.sort();
    let mut expected = vec![merged, next];
    expected.sort();
    assert_eq!(found, expected);
    // Nobody is asked for a commit that is here.
    let needs = world.peers["alice"].group.needs(world.now);
    assert!(!needs.iter().any(|need| matches!(need, Need::Commit { .. })), "{needs:?}");
    world.join_externally("alice");
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// A late commit on an epoch that was let go cannot be processed; the others may still hold it (SPEC §7.6).
#[test]
fn who_let_the_base_go_comes_back() {
    let mut world = four();
    let narrow = Settings { max_held: 0, ..Settings::default() };
    let peer = world.peers.get_mut("alice").unwrap();
    peer.group = Group::load(room(), peer.own.clone(), narrow, &peer.store).unwrap();
    world.cut();
    world.commit("carol", true);
    for _ in 0..3 {
        world.commit("bob", true);
        world.take_in("alice");
    }
    world.heal();
    world.take_in("alice");
    assert!(world.peers["alice"].refused.iter().any(|(_, reason)| *reason == Reason::BeyondWindow));
    world.tick(2 * PATIENCE);
    assert_eq!(ways_back(&world, "alice").len(), 1);
    // The others merge as they always do.
    for name in ["bob", "dan", "carol", "bob", "dan"] {
        world.sync(name);
    }
    world.commit("bob", true);
    world.take_in("alice");
    world.tick(2 * PATIENCE);
    world.join_externally("alice");
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// One rejoin, then a pause that outlives a restart (SPEC §5.8).
#[test]
fn one_rejoin_is_followed_by_a_pause() {
    let (mut world, _) = a_merge_that_alice_cannot_open();
    world.tick(2 * PATIENCE);
    world.join_externally("alice");
    let rejoined = world.now;
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
    // The same again, at once.
    world.cut();
    world.commit("carol", true);
    let lost = newest(&world);
    for _ in 0..2 {
        world.commit("bob", true);
        world.take_in("alice");
    }
    world.heal();
    take_in_but(&mut world, "alice", &[lost]);
    for name in ["bob", "dan"] {
        world.take_in(name);
    }
    world.commit("dan", true);
    world.take_in("alice");
    assert_ne!(world.canonical("alice"), world.canonical("dan"));
    world.tick(2 * PATIENCE);
    assert_eq!(ways_back(&world, "alice"), []);
    world.restart("alice");
    assert_eq!(world.peers["alice"].group.may_rejoin_at(), Some(rejoined.plus(600_000)));
    world.tick(600_000);
    assert_eq!(ways_back(&world, "alice").len(), 1);
    world.join_externally("alice");
    let twice = world.now;
    assert_eq!(world.peers["alice"].group.may_rejoin_at(), Some(twice.plus(1_200_000)));
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// On one side of a split, added on one side only: a Welcome or a merge will come, and nobody joins anew (SPEC §5.8).
#[test]
fn who_was_never_on_the_other_side_stays() {
    let mut world = four();
    world.device("erin", 1);
    world.cut();
    world.join_room("erin");
    world.sync("alice");
    world.sync("erin");
    for _ in 0..3 {
        world.commit("carol", true);
        world.say("carol", "other side");
        world.take_in("dan");
    }
    world.heal();
    world.take_in("erin");
    world.tick(3_600_000);
    assert_eq!(ways_back(&world, "erin"), []);
}

/// Junk opens no way back: commits on invented bases, by strangers' hands, or bent on the way.
#[test]
fn junk_sends_nobody_away() {
    let mut world = four();
    world.cut();
    world.commit("carol", true);
    let lost = newest(&world);
    for _ in 0..2 {
        world.commit("bob", true);
        world.take_in("alice");
    }
    world.heal();
    take_in_but(&mut world, "alice", &[lost]);
    for name in ["bob", "dan"] {
        world.take_in(name);
    }
    world.commit("dan", true);
    let Some((_, Event::Commit { bytes, .. })) = world.events().pop() else { panic!("a commit") };
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 1;
        let input = Input::Commit { bytes: bent, locator: Some(Locator(format!("$junk{at}"))), from: "dan".into() };
        world.input("alice", input);
    }
    world.tick(3_600_000);
    assert_eq!(ways_back(&world, "alice"), []);
    assert!(!world.peers["alice"].group.epochs().iter().any(|epoch| epoch.kind == EpochKind::External));
    let verdict = world.input("alice", Input::Tick);
    assert!(matches!(verdict, Verdict::Applied(_)));
}

/// Who is not in D has no way back.
#[test]
fn who_was_removed_stays_out() {
    let (mut world, _) = a_merge_that_alice_cannot_open();
    world.leave_room("alice");
    world.tick(2 * PATIENCE);
    assert_eq!(ways_back(&world, "alice"), []);
    assert_eq!(world.peers["alice"].group.may_rejoin_at(), None);
}

/// Erin's Welcome is lost; she comes in by external commit on one side of a split, while the other side goes on with the
/// leaf whose keys she never had. The merge does not leave her there (SPEC §3.12).
#[test]
fn a_merge_leaves_nobody_in_a_leaf_that_nobody_holds_the_key_of() {
    let mut world = four();
    world.device("erin", 2);
    world.join_room("erin");
    world.commit("alice", false);
    let added = world.canonical("alice").unwrap();
    world.peers.get_mut("erin").unwrap().welcomes.clear();
    for name in ["bob", "carol", "dan"] {
        world.take_in(name);
    }
    world.cut();
    world.join_externally("erin");
    world.commit("bob", true);
    world.take_in("alice");
    let with_the_dead_leaf = world.canonical("alice").unwrap();
    let erin = world.peers["erin"].own.device().clone();
    assert!(world.peers["alice"].group.readers(&with_the_dead_leaf).unwrap().contains(&erin), "since {added}");
    world.heal();
    world.take_in("alice");
    assert_ne!(world.canonical("alice"), Some(with_the_dead_leaf), "where she is comes first");
    converge(&mut world, &["alice", "bob", "carol", "dan", "erin"]);
}

/// Erin came in on one side while her Welcome to the other was late; the merge removes the leaf that it takes to be dead
/// and adds her anew. She waits for that Welcome, which is lost, and comes back (SPEC §3.12, §5.8).
#[test]
fn who_is_added_anew_and_never_welcomed_comes_back() {
    let mut world = four();
    world.device("erin", 2);
    world.device("frank", 1);
    world.join_room("erin");
    world.commit("alice", false);
    let late = std::mem::take(&mut world.peers.get_mut("erin").unwrap().welcomes);
    for name in ["bob", "carol", "dan"] {
        world.take_in(name);
    }
    world.cut();
    world.join_externally("erin");
    world.tick(1);
    // Frank makes the side whose leaf of Erin is in doubt the one to build on.
    world.join_room("frank");
    world.sync("bob");
    for name in ["alice", "frank"] {
        world.take_in(name);
    }
    world.heal();
    world.peers.get_mut("erin").unwrap().welcomes.extend(late);
    world.take_in("erin");
    world.take_in("alice");
    world.commit("alice", false);
    let merged = world.canonical("alice").unwrap();
    let erin = world.peers["erin"].own.device().clone();
    let info = world.peers["alice"].group.epoch(&merged).unwrap();
    assert!(info.added.contains(&erin) && info.removed.contains(&erin), "{info:?}");
    world.peers.get_mut("erin").unwrap().welcomes.clear();
    world.take_in("erin");
    assert!(!world.peers["erin"].group.knows(&merged));
    world.tick(PATIENCE - 1);
    assert_eq!(ways_back(&world, "erin"), [], "the Welcome has its time");
    world.tick(PATIENCE + 1);
    assert_eq!(ways_back(&world, "erin"), [merged]);
    world.restart("erin");
    world.join_externally("erin");
    converge(&mut world, &["alice", "bob", "carol", "dan", "erin", "frank"]);
}
