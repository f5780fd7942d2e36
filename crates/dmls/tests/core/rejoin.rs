//! Devices that hold an epoch and cannot follow the others: when they ask to be added anew, and when not.

use dmls::effect::{Need, Verdict};
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

/// The epochs because of which a device asks to be added anew.
fn asks(world: &World, name: &str) -> Vec<EpochId> {
    let needs = world.peers[name].group.needs(world.now);
    let epochs = |need| if let Need::Ask { epochs, .. } = need { epochs } else { Vec::new() };
    needs.into_iter().flat_map(epochs).collect()
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
        assert_eq!(asks(world, name), []);
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

/// M is asked for, nobody answers, and a minute or two later Alice asks to be added anew. Until then she goes on where she
/// is, and all read her (SPEC §3.9, §5.8).
#[test]
fn who_is_never_told_the_merge_value_asks() {
    let (mut world, merged) = a_merge_that_alice_cannot_open();
    world.tick(PATIENCE - 1);
    assert_eq!(asks(&world, "alice"), []);
    let needs = world.peers["alice"].group.needs(world.now);
    assert!(matches!(needs[..], [Need::MergeValue { epoch, .. }] if epoch == merged), "{needs:?}");
    let wake = world.peers["alice"].group.next_wake(world.now).unwrap();
    assert!(wake <= world.now.plus(PATIENCE + 1));
    world.tick(PATIENCE + 1);
    assert_eq!(asks(&world, "alice"), [merged]);
    for other in ["bob", "carol", "dan"] {
        assert_eq!(asks(&world, other), [], "{other} follows");
    }
    world.restart("alice");
    assert_eq!(asks(&world, "alice"), [merged]);
    world.ask("alice");
    assert_eq!(asks(&world, "alice"), []);
    world.say("alice", "where I am");
    let commits = world.commits;
    world.sync("bob");
    assert_eq!(world.commits, commits + 1);
    let again = world.peers["bob"].group.epoch(&world.canonical("bob").unwrap()).unwrap();
    let alice = [world.peers["alice"].own.device().clone()];
    assert_eq!((again.base, &again.removed[..], &again.added[..]), (Some(merged), &alice[..], &alice[..]));
    assert!(world.texts("bob").contains("where I am"));
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// An answer in time makes that needless.
#[test]
fn who_is_told_in_time_stays() {
    let (mut world, merged) = a_merge_that_alice_cannot_open();
    world.tick(2 * PATIENCE);
    assert_eq!(asks(&world, "alice"), [merged]);
    let from = world.peers["alice"].own.device().clone();
    world.input("dan", Input::MergeRequest { epoch: merged, from });
    assert_eq!(world.canonical("alice"), Some(merged));
    assert_eq!(asks(&world, "alice"), []);
}

/// What is built on an epoch that is out of reach is out of reach too.
#[test]
fn an_ask_is_for_all_that_was_built_since() {
    let (mut world, merged) = a_merge_that_alice_cannot_open();
    world.commit("bob", true);
    let next = world.canonical("bob").unwrap();
    world.take_in("alice");
    world.tick(2 * PATIENCE);
    let mut found = asks(&world, "alice");
    found.sort();
    let mut expected = vec![merged, next];
    expected.sort();
    assert_eq!(found, expected);
    // Nobody is asked for a commit that is here.
    let needs = world.peers["alice"].group.needs(world.now);
    assert!(!needs.iter().any(|need| matches!(need, Need::Commit { .. })), "{needs:?}");
    world.ask("alice");
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// A late commit on an epoch that was let go cannot be processed; the others may still hold it (SPEC §7.6).
#[test]
fn who_let_the_base_go_asks() {
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
    assert_eq!(asks(&world, "alice").len(), 1);
    // The others merge as they always do.
    for name in ["bob", "dan", "carol", "bob", "dan"] {
        world.sync(name);
    }
    world.commit("bob", true);
    world.take_in("alice");
    world.tick(2 * PATIENCE);
    world.ask("alice");
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// An ask that nobody hears is repeated after a pause, which outlives a restart (SPEC §5.8).
#[test]
fn who_asks_in_vain_asks_again() {
    let (mut world, merged) = a_merge_that_alice_cannot_open();
    let pause = Settings::default().ask_pause;
    world.tick(2 * PATIENCE);
    world.ask("alice");
    world.restart("alice");
    assert_eq!(asks(&world, "alice"), []);
    assert_eq!(world.peers["alice"].group.next_wake(world.now), Some(world.now.plus(pause)));
    world.tick(pause);
    assert_eq!(asks(&world, "alice"), [merged]);
    world.ask("alice");
    world.tick(2 * pause - 1);
    assert_eq!(asks(&world, "alice"), []);
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// On one side of a split, added on one side only: a Welcome or a merge will come, and nobody asks (SPEC §5.8).
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
    assert_eq!(asks(&world, "erin"), []);
}

/// Junk makes nobody ask: commits on invented bases, by strangers' hands, or bent on the way.
#[test]
fn junk_makes_nobody_ask() {
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
    assert_eq!(asks(&world, "alice"), []);
    let verdict = world.input("alice", Input::Tick);
    assert!(matches!(verdict, Verdict::Applied(_)));
}

/// Who is not in D does not ask.
#[test]
fn who_was_removed_stays_out() {
    let (mut world, _) = a_merge_that_alice_cannot_open();
    world.leave_room("alice");
    world.tick(2 * PATIENCE);
    assert_eq!(asks(&world, "alice"), []);
    world.tick(100 * PATIENCE);
    assert_eq!(asks(&world, "alice"), []);
}

/// Erin's Welcome is lost; she comes in by external commit on one side of a split, while the other side goes on with the
/// leaf whose keys she never had. The merge does not leave her there (SPEC §2.7).
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
    // Whichever side is built on: where she cannot follow she asks.
    let all = ["alice", "bob", "carol", "dan", "erin"];
    all.iter().for_each(|name| world.sync(name));
    world.tick(2 * PATIENCE);
    if !asks(&world, "erin").is_empty() {
        world.ask("erin");
    }
    converge(&mut world, &all);
}

/// Alice is removed and added anew by one commit, and her Welcome is lost. She has it in sight, waits, and asks once more
/// (SPEC §2.7, §5.8).
#[test]
fn who_is_added_anew_and_never_welcomed_asks_again() {
    let (mut world, merged) = a_merge_that_alice_cannot_open();
    world.tick(2 * PATIENCE);
    world.ask("alice");
    world.take_in("bob");
    // She is told after all what she lacked, but has asked.
    let alice = world.peers["alice"].own.device().clone();
    world.input("dan", Input::MergeRequest { epoch: merged, from: alice.clone() });
    assert_eq!(world.canonical("alice"), Some(merged));
    world.commit("bob", false);
    let anew = world.canonical("bob").unwrap();
    world.peers.get_mut("alice").unwrap().welcomes.clear();
    world.take_in("alice");
    assert_eq!((world.peers["alice"].group.knows(&anew), world.canonical("alice")), (false, Some(merged)));
    world.tick(PATIENCE - 1);
    assert_eq!(asks(&world, "alice"), [], "the Welcome has its time");
    world.restart("alice");
    world.tick(PATIENCE + 1);
    assert_eq!(asks(&world, "alice"), [anew]);
    world.say("alice", "meanwhile");
    world.ask("alice");
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
    assert!(world.texts("bob").contains("meanwhile"));
}

/// Bob drops Dan, others go on from there, and the Welcome is lost of the commit that adds him again. Dan, who was of the room
/// all the time, sees only that he was dropped, goes on where he is, asks, and is in (SPEC §5.8).
#[test]
fn who_is_dropped_and_added_in_name_only_asks() {
    let mut world = four();
    let mut without = world.desired("bob");
    without.retain(|device| device.user != "dan");
    world.input("bob", Input::Desired(without.clone()));
    world.commit("bob", false);
    world.facts();
    // Others, who have not heard otherwise, go on from there.
    for name in ["alice", "carol"] {
        world.input(name, Input::Desired(without.clone()));
        world.take_in(name);
        world.commit(name, true);
    }
    world.facts();
    world.take_in("bob");
    world.commit("bob", false);
    world.peers.get_mut("dan").unwrap().welcomes.clear();
    let ghost = world.canonical("bob").unwrap();
    let dan = world.peers["dan"].own.device().clone();
    assert!(world.peers["bob"].group.readers(&ghost).unwrap().contains(&dan), "they think that he is there");
    for name in ["alice", "carol", "dan"] {
        world.take_in(name);
    }
    assert_ne!(world.canonical("dan"), Some(ghost));
    assert_eq!(asks(&world, "dan"), []);
    world.say("dan", "where he is");
    world.tick(2 * PATIENCE);
    assert!(!asks(&world, "dan").is_empty());
    world.restart("dan");
    assert!(!asks(&world, "dan").is_empty());
    world.ask("dan");
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
    assert!(world.texts("alice").contains("where he is"));
}

/// Dan left and was removed. When he joins again he asks at once: the leaf that he had is dead, and where he was removed is
/// built on. Whoever copied his device before he left does not come in with him (SPEC §5.8).
#[test]
fn who_joins_the_room_anew_asks_at_once() {
    let mut world = four();
    world.leave_room("dan");
    for name in ["bob", "alice", "carol"] {
        world.take_in(name);
        world.commit(name, true);
    }
    world.take_in("dan");
    world.tick(100 * PATIENCE);
    let asks =
        |world: &World| world.peers["dan"].group.needs(world.now).iter().any(|need| matches!(need, Need::Ask { .. }));
    assert!(!asks(&world));
    let without = world.canonical("carol").unwrap();
    assert!(!world.peers["carol"].group.readers(&without).unwrap().contains(world.peers["dan"].own.device()));
    world.join_room("dan");
    assert!(asks(&world));
    world.ask("dan");
    assert!(!asks(&world), "once");
    converge(&mut world, &["alice", "bob", "carol", "dan"]);
    let group = &world.peers["carol"].group;
    let base = |id: &EpochId| group.epoch(id)?.base;
    assert!(std::iter::successors(world.canonical("carol"), base).any(|id| id == without));
    world.send("carol", "welcome back");
    world.take_in("dan");
    assert!(world.texts("dan").contains("welcome back"));
    // A server that shows him gone and back ten times a minute makes no ask of each.
    let mut count = 0;
    for _ in 0..10 {
        world.leave_room("dan");
        world.tick(3_000);
        world.join_room("dan");
        world.tick(3_000);
        if asks(&world) {
            world.ask("dan");
            count += 1;
        }
    }
    assert!(count < 2, "{count}");
}
