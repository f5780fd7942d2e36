//! Who can open what: thieves, old copies, outboxes.

use dmls::device::OwnDevice;
use dmls::effect::Verdict;
use dmls::group::Orders;
use dmls::input::Input;
use dmls::journal::{Journal, Records, Table, Write};

use crate::attack::End;
use crate::core_world::{Event, Seeded, World, own_device, room};
use crate::scene::{Puppet, blurt, commit_from, desired, group_of, group_on_sides, message_from, post, settle, update};

const EPOCH: Table = Table("dmls.epoch");
const TRAFFIC: Table = Table("dmls.traffic");

/// C3, as far as it goes without a chain. Dan heals on side 2, which loses. Another head, of Alice's making, lacks him,
/// so the merge of all three grants him M, sealed to the old leaf that side 1 knows; and the thief has followed side 1.
pub fn stolen_grant() -> End {
    let mut world = group_on_sides(&[("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2)]);
    for name in ["erin", "frank"] {
        world.device(name, 1);
    }
    let (mut thief, mut alice) = (Puppet::of(&world, "dan", 0), Puppet::of(&world, "alice", 0));
    alice.input(Input::Desired(desired(&world, &["alice", "bob", "carol"])));
    let without_dan = alice.commit(Orders::default());
    world.cut();
    world.join_room("erin");
    world.join_room("frank");
    world.sync("bob");
    for name in ["alice", "erin", "frank"] {
        world.sync(name);
    }
    world.commit("dan", true);
    world.sync("carol");
    world.heal();
    post(&mut world, "alice", &without_dan);
    world.sync("bob");
    world.say("bob", "after the merge");
    let merged = world.canonical("bob").and_then(|id| world.peers["bob"].group.epoch(&id)).unwrap();
    assert_eq!((merged.creator.user.as_str(), merged.resolves.len()), ("bob", 2));
    End::succeeded_if(thief.learns(&world, "after the merge"))
}

/// C9. Bob took in a commit, then read a message of the base. A thief who comes then finds no key for it.
pub fn second_tree() -> End {
    let mut world = group_of(&["alice", "bob"]);
    world.say("alice", "read and gone");
    world.commit("alice", true);
    for (locator, event) in world.events().into_iter().rev() {
        world.deliver("bob", &locator, "alice", &event);
    }
    assert!(world.texts("bob").contains("read and gone"));
    let store = world.peers["bob"].store.clone();
    let mut thief = Puppet::load(world.peers["bob"].own.clone(), store, world.now, 0);
    End::succeeded_if(thief.learns(&world, "read and gone"))
}

/// C10. Alice has committed; Bob's commit on the same base comes later and must still be taken in.
pub fn pending_commit() -> End {
    let world = group_of(&["alice", "bob"]);
    let (mut alice, mut bob) = (Puppet::of(&world, "alice", 0), Puppet::of(&world, "bob", 0));
    alice.commit(update());
    let other = bob.commit(update());
    alice.input(commit_from("bob", &other));
    End::succeeded_if(!alice.group.head_ids().contains(&other.epoch.id))
}

/// C11. The thief copied Dan and Gail; Dan heals on side 2, Gail on side 1, where most are. With Dan's copy the thief
/// follows side 1, with Gail's side 2, and so enters the merge: that much is known. But once Dan has spoken, no more.
pub fn healed_on_two_forks() -> End {
    let mut world = group_on_sides(&[("alice", 1), ("bob", 1), ("gail", 1), ("carol", 2), ("dan", 2)]);
    world.device("erin", 1);
    let (mut dan, mut gail) = (Puppet::of(&world, "dan", 0), Puppet::of(&world, "gail", 0));
    world.cut();
    world.join_room("erin");
    settle(&mut world, &["alice", "bob", "gail", "erin"]);
    world.commit("gail", true);
    settle(&mut world, &["alice", "bob", "erin"]);
    world.commit("dan", true);
    world.take_in("carol");
    dan.read_room(&world);
    gail.read_room(&world);
    let mut thief = both(&dan, &gail);
    world.heal();
    world.sync("bob");
    world.say("bob", "known extent");
    assert!(thief.learns(&world, "known extent"), "the thief of both enters the merge");
    world.send("dan", "fresh");
    settle(&mut world, &["alice", "bob", "gail", "carol", "erin", "dan"]);
    world.send("alice", "beyond the extent");
    End::succeeded_if(thief.learns(&world, "beyond the extent"))
}

/// One copy's state, with the epochs of the other besides: their merge exports are all that is needed of them.
fn both(one: &Puppet, other: &Puppet) -> Puppet {
    let mut store = one.store.clone();
    let mut writes = Vec::new();
    for (key, value) in other.store.scan(EPOCH, b"").unwrap() {
        if store.get(EPOCH, &key).unwrap().is_none() {
            writes.push(Write::Put { table: EPOCH, key, value });
        }
    }
    store.commit(&writes).unwrap();
    Puppet::load(one.own.clone(), store, one.now, 9)
}

/// C17. What Mallory makes by sealing Alice's signed content again under Alice's next generation is what Alice's device
/// would make if it forgot its count: the same content, the same signature, another key.
pub fn next_generation() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    world.say("alice", "pay ten");
    world.take_in("bob");
    let alice = &world.peers["alice"];
    let mut store = alice.store.clone();
    let counts = store.scan(TRAFFIC, b"").unwrap().into_iter();
    let forget: Vec<_> = counts.map(|(key, _)| Write::Delete { table: TRAFFIC, key }).collect();
    store.commit(&forget).unwrap();
    let again = Puppet::load(alice.own.clone(), store, world.now, 0).say("pay ten");
    let verdict = world.input("bob", message_from("alice", &again));
    // Nor does the copy use up the key of what Alice says next.
    world.say("alice", "and not a penny more");
    world.take_in("bob");
    let robbed = !world.texts("bob").contains("and not a penny more");
    End::succeeded_if(matches!(verdict, Verdict::Applied(_)) || robbed)
}

/// C16. Alice's message lies in her outbox when she learns that Mallory left. (That a stale server cannot bring
/// Mallory back is F18.)
pub fn outbox() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let mut mallory = Puppet::of(&world, "mallory", 0);
    let now = world.now;
    let alice = world.peers.get_mut("alice").unwrap();
    let sealed = alice.group.seal(&mut |_| b"from the outbox".to_vec(), now, &mut alice.rng).unwrap();
    let sealed = sealed.persist(&mut alice.store).unwrap();
    world.leave_room("mallory");
    if world.peers["alice"].group.may_release(&sealed.epoch.id) {
        world.post("alice", 1, Event::Message { bytes: sealed.bytes, commit: sealed.epoch.locator });
    }
    End::succeeded_if(mallory.learns(&world, "from the outbox"))
}

/// C18, as far as it goes without generations (SPEC §8): Bob logged in anew with the same device id and another MLS
/// key. Who stole his old device rejoins with the old credential.
pub fn old_credential() -> End {
    let mut world = group_of(&["alice", "bob", "carol"]);
    let old = world.peers.remove("bob").unwrap();
    let fresh: OwnDevice = own_device("bob", &mut Seeded::new(99));
    world.device("bob", 1);
    let bob = world.peers.get_mut("bob").unwrap();
    bob.own = fresh.into();
    bob.group = dmls::group::Group::new(room(), bob.own.clone(), dmls::group::Settings::default());
    world.facts();
    let mut thief = Puppet::load(old.own, old.store, world.now, 0);
    if blurt(&mut world, "alice", "for the new Bob").is_err() {
        world.commit("alice", false);
        world.say("alice", "for the new Bob");
    }
    // By external commit, too.
    rejoin(&mut world, &mut thief);
    settle(&mut world, &["alice", "carol"]);
    world.send("carol", "for the new Bob, again");
    End::succeeded_if(thief.learns(&world, "for the new Bob"))
}

fn rejoin(world: &mut World, thief: &mut Puppet) {
    let newest = world.events().into_iter().rev().find_map(|(locator, event)| match event {
        Event::Commit { epoch, group_info, .. } => Some((dmls::effect::EpochRef { locator, ..epoch }, group_info)),
        Event::Message { .. } | Event::Ask { .. } => None,
    });
    let (target, group_info) = newest.unwrap();
    if let Some(commit) = thief.enter(&group_info, target) {
        crate::scene::post(world, "bob", &commit);
    }
}
