//! Years of epochs: of those by which nothing is decided any more only stubs remain (SPEC §7.10).

use std::collections::BTreeMap;

use dmls::effect::{Need, Readiness, Verdict};
use dmls::error::Reason;
use dmls::group::{Settings, Standing};
use dmls::id::{EpochId, Locator};
use dmls::input::Input;

use crate::world::{Event, World};

const KNOWN: usize = 16;
const HOUR: u64 = 3_600_000;

/// Alice and Bob on side 1, Carol and Dan on side 2; they hold old epochs for an hour and know sixteen.
fn forgetful() -> World {
    World::four(Settings { window: HOUR, max_known: KNOWN, ..Settings::default() })
}

/// Whether a device knows an epoch as a stub.
fn is_stub(world: &World, name: &str, epoch: &EpochId) -> bool {
    let group = &world.peers[name].group;
    group.knows(epoch) && group.epoch(epoch).is_none()
}

/// Each of these commits, and all take it in, so many times, every hour; now and then somebody is restarted.
fn go_on(world: &mut World, names: &[&str], times: usize) {
    for turn in 0..times {
        world.commit(names[turn % names.len()], true);
        names.iter().for_each(|name| world.take_in(name));
        world.tick(HOUR);
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
            Event::Ask { .. } => false,
        };
        assert!(expected, "{locator:?}: {verdict:?}");
    }
    all.iter().for_each(|name| world.restart(name));
    agree(&mut world, &all);
}

/// The other side went on for long: its first commit is on a stub. Whoever cannot follow it asks (SPEC §5.8).
#[test]
fn a_long_split_ends_though_its_fork_point_is_a_stub() {
    let mut world = forgetful();
    let fork = world.canonical("alice").unwrap();
    part_for_long(&mut world);
    assert!(is_stub(&world, "alice", &fork) && is_stub(&world, "carol", &fork));
    ask_and_agree(&mut world);
}

/// What is made on a stub cannot be checked: whoever is in the room may invent it, and it must not take up all the room
/// that there is for what others made.
#[test]
fn invented_commits_on_a_stub_keep_nobody_from_asking() {
    let mut world = forgetful();
    part_for_long(&mut world);
    let strangers: Vec<_> = (0..20).map(|number| format!("stranger{number}")).collect();
    invent(&mut world, &strangers.iter().map(String::as_str).collect::<Vec<_>>());
    ask_and_agree(&mut world);
}

/// Nor do members who conspire.
#[test]
fn no_eight_members_take_up_the_room_for_asking() {
    let mut world = forgetful();
    let friends: Vec<_> = (0..8).map(|number| format!("friend{number}")).collect();
    for name in &friends {
        world.device(name, 1);
        world.join_room(name);
    }
    world.sync("alice");
    ["bob", "carol", "dan"].iter().for_each(|name| world.sync(name));
    part_for_long(&mut world);
    let senders: Vec<_> = friends.iter().map(String::as_str).collect();
    invent(&mut world, &senders);
    world.heal();
    world.take_in("alice");
    world.tick(120_000);
    let needs = world.peers["alice"].group.needs(world.now);
    let room = world.events();
    let real =
        |id: &EpochId| room.iter().any(|(_, event)| matches!(event, Event::Commit { epoch, .. } if epoch.id == *id));
    let asks = |need: &Need| matches!(need, Need::Ask { epochs, .. } if epochs.iter().any(real));
    assert!(needs.iter().any(asks), "{needs:?}");
}

/// Commits on what is a stub by now, whose confirmation tags are altered: each makes another epoch, and nobody signed it.
fn invent(world: &mut World, senders: &[&str]) {
    let commits = |(_, event)| if let Event::Commit { bytes, .. } = event { Some(bytes) } else { None };
    let bytes = world.events().into_iter().filter_map(commits).nth(8).unwrap();
    for (user, sender) in (0..).zip(senders) {
        for number in 0..10 {
            let mut bytes = bytes.clone();
            let tag = bytes.len() - 50;
            (bytes[tag], bytes[tag + 1]) = (user, number);
            let locator = Some(Locator(format!("$invented{user}.{number}")));
            for name in ["alice", "bob"] {
                let (bytes, locator) = (bytes.clone(), locator.clone());
                let verdict = world.input(name, Input::Commit { bytes, locator, from: (*sender).to_owned() });
                assert!(matches!(verdict, Verdict::Rejected { reason: Reason::BeyondWindow, .. }), "{verdict:?}");
            }
        }
    }
}

fn part_for_long(world: &mut World) {
    world.cut();
    go_on(world, &["alice", "bob"], 60);
    world.say("carol", "on the other side");
    go_on(world, &["carol", "dan"], 50);
}

fn ask_and_agree(world: &mut World) {
    world.heal();
    let all = ["alice", "bob", "carol", "dan"];
    all.iter().for_each(|name| world.take_in(name));
    assert!(world.peers["alice"].refused.iter().any(|(_, reason)| *reason == Reason::BeyondWindow));
    world.tick(120_000);
    let needs = world.peers["alice"].group.needs(world.now);
    let asks = |needs: &[Need]| needs.iter().any(|need| matches!(need, Need::Ask { .. }));
    assert!(asks(&needs), "{needs:?}");
    // Those who cannot follow ask, one after the other, and the other side adds them.
    for _ in 0..4 {
        for name in all {
            world.sync(name);
            let needs = world.peers[name].group.needs(world.now);
            if asks(&needs) {
                world.ask(name);
            }
        }
        world.tick(1_200_000);
    }
    agree(world, &all);
}

/// That somebody was removed for having left outlives the epoch that did it (SPEC §5.4).
#[test]
fn who_was_removed_with_cause_stays_out() {
    let mut world = forgetful();
    let before = world.desired("alice");
    world.leave_room("dan");
    let stay = ["alice", "bob", "carol"];
    agree(&mut world, &stay);
    let without = world.canonical("alice").unwrap();
    go_on(&mut world, &stay, 60);
    assert!(is_stub(&world, "alice", &without), "so is what removed him");
    // A server shows the state of before: Dan with the join that he has long left.
    world.input("alice", Input::Desired(before.clone()));
    assert!(world.peers["alice"].group.due(world.now).add.is_empty());
    world.restart("alice");
    assert!(world.peers["alice"].group.due(world.now).add.is_empty());
    // He joins anew: that is another matter.
    world.join_room("dan");
    world.ask("dan");
    // He merges what he held when he left, which the others let go: they ask him for the merge value.
    for _ in 0..3 {
        ["alice", "bob", "carol", "dan"].iter().for_each(|name| world.sync(name));
        world.tick(60_000);
    }
    agree(&mut world, &["alice", "bob", "carol", "dan"]);
}

/// Alice changed her keys so long ago that only a stub is left of it. Who adds her by a key package of before undoes it: she
/// does it again before she speaks (SPEC §3.10).
#[test]
fn a_healing_outlives_its_epoch() {
    let mut world = forgetful();
    world.commit("alice", true);
    let healed = world.canonical("alice").unwrap();
    let (all, others) = (["alice", "bob", "carol", "dan"], ["bob", "carol", "dan"]);
    for turn in 0..60 {
        all.iter().for_each(|name| world.take_in(name));
        world.commit(others[turn % 3], true);
        world.tick(HOUR);
    }
    all.iter().for_each(|name| world.take_in(name));
    assert!(is_stub(&world, "alice", &healed));
    world.leave_room("alice");
    for name in others {
        others.iter().for_each(|name| world.take_in(name));
        world.commit(name, true);
    }
    others.iter().for_each(|name| world.take_in(name));
    world.join_room("alice");
    world.sync("bob");
    world.take_in("alice");
    assert_eq!(world.canonical("alice"), world.canonical("bob"));
    for _ in 0..2 {
        let Readiness::CommitFirst(due) = world.peers["alice"].group.readiness() else { panic!("she may speak") };
        assert!(due.update);
        world.restart("alice");
    }
    // What remains of it in stubs alone goes into the records, and comes back.
    agree(&mut world, &all);
    go_on(&mut world, &all, 60);
    all.iter().for_each(|name| world.restart(name));
    agree(&mut world, &all);
}

/// Who left commits on an epoch of before: nobody merges that, and it keeps nobody's past (SPEC §7.10).
#[test]
fn who_left_keeps_nobodys_past() {
    let mut world = forgetful();
    world.leave_room("dan");
    world.sync("alice");
    world.commit("dan", true);
    let stay = ["alice", "bob", "carol"];
    agree(&mut world, &stay);
    assert_eq!(world.peers["alice"].group.head_ids().len(), 2);
    for _ in 0..10 {
        go_on(&mut world, &stay, 10);
        // He goes on from there, too.
        world.commit("dan", true);
        stay.iter().for_each(|name| world.take_in(name));
    }
    for name in stay {
        let known = world.peers[name].group.epochs().len();
        assert!(known < 2 * KNOWN, "{name} knows {known}");
        world.restart(name);
    }
    agree(&mut world, &stay);
    // He joins again, and is added.
    world.join_room("dan");
    world.send("alice", "welcome back");
    world.take_in("dan");
    assert!(world.texts("dan").contains("welcome back"));
}

/// The commit by which a device came in is known when it is seen again, though its base never was.
#[test]
fn the_commit_of_ones_welcome_stays_known() {
    let mut world = forgetful();
    world.leave_room("dan");
    world.log_in_anew("dan");
    go_on(&mut world, &["alice", "bob", "carol"], 3);
    world.join_room("dan");
    let all = ["alice", "bob", "carol", "dan"];
    agree(&mut world, &all);
    let entry = world.peers["dan"].group.joined_at().unwrap();
    let is_entry = |event: &Event| matches!(event, Event::Commit { epoch, .. } if epoch.id == entry);
    let (locator, event) = world.events().into_iter().find(|(_, event)| is_entry(event)).unwrap();
    go_on(&mut world, &all, 60);
    assert!(world.peers["dan"].group.epoch(&entry).is_none());
    let verdict = world.deliver("dan", &locator, "alice", &event);
    assert!(matches!(verdict, Verdict::Known), "{verdict:?}");
}

/// A Welcome that somebody kept brings back no epoch that was let go: its used keys would be there again (SPEC §7.3).
#[test]
fn an_old_welcome_brings_no_keys_back() {
    let mut world = forgetful();
    world.device("eve", 1);
    let eve = world.peers.get_mut("eve").unwrap();
    let made = eve.packages.generate(&eve.own, 1, true, &mut eve.rng).unwrap().persist(&mut eve.store).unwrap();
    world.publish_only("eve", made[0].bytes.clone());
    world.join_room("eve");
    world.sync("alice");
    let kept = world.peers["eve"].welcomes[0].clone();
    let all = ["alice", "bob", "carol", "dan", "eve"];
    all.iter().for_each(|name| world.take_in(name));
    let said = world.say("alice", "once");
    all.iter().for_each(|name| world.take_in(name));
    assert!(world.texts("eve").contains("once"));
    go_on(&mut world, &all, 8);
    assert_eq!(world.peers["eve"].group.standing(&said), Standing::Gone);
    let now = world.now;
    let eve = world.peers.get_mut("eve").unwrap();
    let durable = eve.group.join(kept, &mut eve.packages, now, &mut eve.rng).unwrap();
    let outcome = durable.persist(&mut eve.store).unwrap();
    assert_eq!(eve.group.standing(&said), Standing::Gone);
    assert!(matches!(outcome.verdict, Verdict::Rejected { reason: Reason::BeyondWindow, .. }), "{:?}", outcome.verdict);
}
