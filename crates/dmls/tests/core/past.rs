//! Years of epochs: of those by which nothing is decided any more only stubs remain (SPEC §7.10).

use std::collections::BTreeMap;

use dmls::effect::{Need, Verdict};
use dmls::error::Reason;
use dmls::group::{Settings, Standing};
use dmls::id::EpochId;
use dmls::input::Input;

use crate::world::{Event, World};

const KNOWN: usize = 16;

/// Alice and Bob on side 1, Carol and Dan on side 2; they hold four old epochs and know sixteen.
fn forgetful() -> World {
    let mut world = World::new();
    world.settings = Settings { max_held: 4, max_known: KNOWN, ..Settings::default() };
    for (name, side) in [("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2)] {
        world.device(name, side);
        world.join_room(name);
    }
    world.create("alice");
    world.sync("alice");
    for name in ["bob", "carol", "dan"] {
        world.sync(name);
        assert_eq!(world.canonical(name), world.canonical("alice"));
    }
    world
}

/// Each of these commits, and all take it in, so many times; now and then somebody is restarted.
fn go_on(world: &mut World, names: &[&str], times: usize) {
    for turn in 0..times {
        world.commit(names[turn % names.len()], true);
        names.iter().for_each(|name| world.take_in(name));
        if turn % 10 == 9 {
            world.restart(names[turn / 10 % names.len()]);
        }
    }
}

fn agree(world: &mut World, names: &[&str]) {
    for _ in 0..3 {
        names.iter().for_each(|name| world.sync(name));
    }
    for name in names {
        assert_eq!(world.canonical(name), world.canonical(names[0]), "{name}");
        world.send(name, &format!("{name} is here"));
    }
    for name in names {
        world.take_in(name);
        let all = names.iter().all(|other| world.texts(name).contains(&format!("{other} is here")));
        assert!(all, "{name} reads everybody");
    }
}

fn records(world: &World, name: &str) -> BTreeMap<&'static str, usize> {
    let mut count = BTreeMap::new();
    world.peers[name].store.places().for_each(|(table, _)| *count.entry(table.0).or_default() += 1);
    count
}

#[test]
fn old_epochs_become_stubs() {
    let mut world = forgetful();
    let all = ["alice", "bob", "carol", "dan"];
    let said = world.send("bob", "long ago");
    all.iter().for_each(|name| world.take_in(name));
    let old: Vec<_> = world.events();
    let epochs: Vec<EpochId> = world.peers["alice"].group.epochs().iter().map(|info| info.epoch.id).collect();
    go_on(&mut world, &all, 100);
    for name in all {
        let group = &world.peers[name].group;
        assert!(group.epochs().len() < KNOWN + KNOWN / 4, "{name} knows {}", group.epochs().len());
        assert_eq!(group.standing(&said), Standing::Gone, "{name}");
        assert!(group.knows(&said), "{name}");
        let count = records(&world, name);
        for table in ["dmls.epoch", "dmls.commit"] {
            assert!(count[table] < KNOWN + KNOWN / 4, "{name}: {count:?}");
        }
        assert_eq!(count["dmls.floor"], all.len(), "{name}");
    }
    assert!(epochs.iter().all(|id| world.peers["alice"].group.knows(id)));
    let joined = world.peers["carol"].group.joined_at();
    assert!(joined.is_some_and(|id| epochs.contains(&id)), "carol knows still where she came in");
    // What is shown again was all known, or is too old to be read.
    for (locator, event) in old {
        let from = world.sender(&locator).to_owned();
        let verdict = world.deliver("alice", &locator, &from, &event);
        let expected = match event {
            Event::Commit { .. } => matches!(verdict, Verdict::Known),
            Event::Message { .. } => matches!(verdict, Verdict::Rejected { reason: Reason::BeyondWindow, .. }),
        };
        assert!(expected, "{locator:?}: {verdict:?}");
    }
    all.iter().for_each(|name| world.restart(name));
    agree(&mut world, &all);
}

/// The other side went on for long: its first commit is on a stub. Whoever cannot follow it comes back (SPEC §5.8).
#[test]
fn a_long_split_ends_though_its_fork_point_is_a_stub() {
    let mut world = forgetful();
    world.cut();
    go_on(&mut world, &["alice", "bob"], 60);
    world.say("carol", "on the other side");
    go_on(&mut world, &["carol", "dan"], 50);
    world.heal();
    let all = ["alice", "bob", "carol", "dan"];
    all.iter().for_each(|name| world.take_in(name));
    assert!(world.peers["alice"].refused.iter().any(|(_, reason)| *reason == Reason::BeyondWindow));
    world.tick(120_000);
    let needs = world.peers["alice"].group.needs(world.now);
    assert!(needs.iter().any(|need| matches!(need, Need::ExternalJoin { .. })), "{needs:?}");
    // Those who cannot follow come in at the newest commit of the room, one after the other.
    for _ in 0..4 {
        for name in all {
            world.sync(name);
            let needs = world.peers[name].group.needs(world.now);
            if needs.iter().any(|need| matches!(need, Need::ExternalJoin { .. })) {
                world.join_externally(name);
            }
        }
        world.tick(1_200_000);
    }
    agree(&mut world, &all);
}

/// That somebody was removed for having left outlives the epoch that did it (SPEC §5.4).
#[test]
fn who_was_removed_with_cause_stays_out() {
    let mut world = forgetful();
    let before = world.desired("alice");
    world.leave_room("dan");
    let stay = ["alice", "bob", "carol"];
    agree(&mut world, &stay);
    go_on(&mut world, &stay, 60);
    // A server shows the state of before: Dan with the join that he has long left.
    world.input("alice", Input::Desired(before.clone()));
    assert!(world.peers["alice"].group.due(world.now).add.is_empty());
    world.restart("alice");
    assert!(world.peers["alice"].group.due(world.now).add.is_empty());
    // He joins anew: that is another matter.
    world.join_room("dan");
    agree(&mut world, &["alice", "bob", "carol", "dan"]);
}
