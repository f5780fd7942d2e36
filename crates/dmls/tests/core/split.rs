//! The split: both sides of a room go on, and merge by themselves.

use crate::world::World;

/// Alice and Bob on side 1, Carol and Dan on side 2, all in one group; Erin, Frank, Grace have devices.
fn four_in_a_room() -> World {
    let mut world = World::new();
    for (name, side) in [("alice", 1), ("bob", 1), ("erin", 1), ("carol", 2), ("dan", 2), ("frank", 2), ("grace", 2)] {
        world.device(name, side);
    }
    world.join_room("alice");
    world.create("alice");
    for name in ["bob", "carol", "dan"] {
        world.join_room(name);
    }
    world.sync("alice");
    for name in ["bob", "carol", "dan"] {
        world.sync(name);
        assert_eq!(world.canonical(name), world.canonical("alice"), "{name} joined by Welcome");
    }
    world
}

fn talk(world: &mut World, step: &str, names: &[&str]) {
    for name in names {
        world.send(name, &format!("{step} {name}"));
    }
    for name in names {
        world.sync(name);
    }
}

/// The story up to the heal.
fn story() -> World {
    let mut world = four_in_a_room();
    talk(&mut world, "before", &["alice", "bob", "carol", "dan"]);
    world.cut();
    world.join_room("erin");
    world.sync("alice");
    talk(&mut world, "erin came", &["alice", "bob", "erin"]);
    world.leave_room("alice");
    talk(&mut world, "alice left", &["bob", "erin"]);
    world.join_room("frank");
    world.sync("carol");
    talk(&mut world, "frank came", &["carol", "dan", "frank"]);
    world.sync("dan");
    world.commit("dan", true);
    talk(&mut world, "dan rekeyed", &["carol", "dan", "frank"]);
    world.join_room("grace");
    world.sync("frank");
    talk(&mut world, "grace came", &["carol", "dan", "frank", "grace"]);
    world
}

const SIX: [&str; 6] = ["bob", "carol", "dan", "erin", "frank", "grace"];

/// Committer, receivers and joiners compute the same EpochIds (SPEC §2.1); Carol and Dan, each on one side only, open
/// the merge with their grants (SPEC §3.7).
#[test]
fn two_members_add_at_the_same_time() {
    let mut world = World::new();
    for (name, side) in [("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2)] {
        world.device(name, side);
    }
    world.join_room("alice");
    world.create("alice");
    world.join_room("bob");
    world.sync("alice");
    world.sync("bob");
    // Neither sees the other's commit: Alice adds Carol, Bob adds Dan.
    world.join_room("carol");
    world.commit("alice", false);
    world.join_room("dan");
    let before = world.canonical("bob");
    world.commit("bob", false);
    assert_ne!(world.canonical("bob"), before);
    for _ in 0..3 {
        for name in ["alice", "bob", "carol", "dan"] {
            world.sync(name);
        }
    }
    let canonical = world.canonical("alice");
    for name in ["bob", "carol", "dan"] {
        assert_eq!(world.canonical(name), canonical, "{name}");
    }
    for name in ["alice", "bob", "carol", "dan"] {
        world.send(name, name);
    }
    for name in ["alice", "bob", "carol", "dan"] {
        world.sync(name);
        assert_eq!(world.texts(name).len(), 4, "{name}");
    }
}

fn converge(world: &mut World) {
    for _ in 0..4 {
        for name in SIX {
            world.sync(name);
        }
    }
}

fn settled(world: &mut World, senders: usize, before: usize) {
    let canonical = world.canonical("bob");
    assert!(canonical.is_some());
    for name in SIX {
        let heads: Vec<_> = world.peers[name].group.epochs().into_iter().filter(|epoch| epoch.head).collect();
        assert_eq!(world.canonical(name), canonical, "{name} {heads:#?}");
    }
    for name in SIX {
        world.send(name, &format!("after {name}"));
    }
    converge(world);
    for name in SIX {
        for other in SIX {
            assert!(world.texts(name).contains(&format!("after {other}")), "{name} reads {other}");
        }
    }
    let made = world.commits - before;
    assert!(made <= senders + 3, "{made} commits after the heal with {senders} senders");
}

fn everybody_reads_their_own_forks(world: &World) {
    let has = |name: &str, text: &str| world.texts(name).contains(text);
    for name in ["bob", "carol", "dan"] {
        for text in [
            "before alice",
            "erin came erin",
            "alice left bob",
            "frank came carol",
            "dan rekeyed dan",
            "grace came grace",
        ] {
            assert!(has(name, text), "{name} reads {text}");
        }
    }
    assert!(has("erin", "erin came alice") && has("erin", "alice left bob"));
    assert!(!has("erin", "before alice") && !has("erin", "grace came grace"));
    assert!(has("frank", "grace came grace") && !has("frank", "alice left bob") && !has("frank", "before bob"));
    assert!(has("grace", "grace came dan") && !has("grace", "dan rekeyed dan"));
    assert!(has("alice", "erin came bob"));
    assert!(!has("alice", "alice left bob") && !has("alice", "after bob"));
}

/// Plays the heal with these senders speaking at once, each before it sees the others'.
fn heal_with(senders: &[&str]) {
    let mut world = story();
    let before = world.commits;
    world.heal();
    for name in senders {
        world.take_in(name);
    }
    for name in senders {
        if matches!(world.peers[*name].group.readiness(), dmls::effect::Readiness::CommitFirst(_)) {
            world.commit(name, false);
        }
        world.say(name, &format!("healed {name}"));
    }
    converge(&mut world);
    settled(&mut world, senders.len(), before);
    everybody_reads_their_own_forks(&world);
    for name in SIX {
        for sender in senders {
            let reads = world.texts(name).contains(&format!("healed {sender}"));
            let two_sided = ["bob", "carol", "dan"].contains(&name);
            assert!(reads || !two_sided, "{name} reads what {sender} said at the heal");
        }
    }
}

/// All six come to the same base, whoever merges (SPEC §3.2).
#[test]
fn nobody_speaks_first() {
    heal_with(&[]);
}

/// What is said after Alice left is not sealed in an epoch with a leaf of hers (SPEC §3.11).
#[test]
fn bob_speaks_first() {
    heal_with(&["bob"]);
}

#[test]
fn dan_speaks_first() {
    heal_with(&["dan"]);
}

#[test]
fn frank_speaks_first() {
    heal_with(&["frank"]);
}

#[test]
fn erin_speaks_first() {
    heal_with(&["erin"]);
}

#[test]
fn all_speak_at_once() {
    heal_with(&["bob", "dan", "frank", "erin"]);
}

/// The store holds all that was acted on (SPEC §7.1), the epochs of own commits too (SPEC §7.2).
#[test]
fn restarts_change_nothing() {
    let mut world = story();
    world.heal();
    for name in SIX {
        world.restart(name);
        world.sync(name);
        world.restart(name);
    }
    converge(&mut world);
    let before = world.commits;
    settled(&mut world, 0, before);
    everybody_reads_their_own_forks(&world);
}

/// Equal inputs, equal bytes (SPEC §7.5).
#[test]
fn equal_seeds_publish_equal_bytes() {
    let play = || {
        let mut world = story();
        world.heal();
        converge(&mut world);
        world.wire
    };
    let (one, two) = (play(), play());
    assert_eq!(one.len(), two.len());
    for (index, (one, two)) in one.iter().zip(&two).enumerate() {
        let at = one.iter().zip(two).position(|(one, two)| one != two);
        assert_eq!((at, one.len()), (None, two.len()), "message {index} of the same story, byte and length");
    }
}
