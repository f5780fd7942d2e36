//! Two servers that do not hear of each other for a while.

use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;

use crate::world::{World, user};

const ONE: &str = "one.test";
const TWO: &str = "two.test";

/// Alice and Bob on one server, Carol and Dan on the other, in a room; Erin, Frank and Grace elsewhere.
fn four_friends() -> (World, RoomId) {
    let mut world = World::new(&[ONE, TWO]);
    for (name, server) in
        [("alice", ONE), ("bob", ONE), ("carol", TWO), ("dan", TWO), ("erin", ONE), ("frank", TWO), ("grace", TWO)]
    {
        world.add(name, &user(name, server), Endorsement::Endorsed);
    }
    world.settle();
    let room = world.create("alice", "!room");
    for (name, server) in [("bob", ONE), ("carol", TWO), ("dan", TWO)] {
        world.invite("alice", &room, &user(name, server));
        world.join(name, &room);
        world.settle();
    }
    world.assert_together(&room, &["alice", "bob", "carol", "dan"]);
    (world, room)
}

fn commits(world: &World, server: &str) -> usize {
    world.net.servers[server].stream.iter().filter(|(_, event)| event["content"].get("group_info").is_some()).count()
}

#[test]
fn rekeys_on_both_sides_merge() {
    let (mut world, room) = four_friends();
    world.net.cut(ONE, TWO);
    world.update("bob", &room);
    world.update("carol", &room);
    world.settle();
    world.send("bob", &room, "one side");
    world.send("dan", &room, "other side");
    world.settle();
    assert_ne!(world.head("alice", &room), world.head("dan", &room));
    let before = commits(&world, ONE);
    world.net.heal();
    world.settle();
    world.assert_together(&room, &["alice", "bob", "carol", "dan"]);
    for name in ["alice", "bob", "carol", "dan"] {
        let mut read = world.transcript(name, &room);
        read.sort();
        assert_eq!(read, ["one side", "other side"], "{name}");
    }
    // Carol's rekey crossed the link. Two heads on one base with equal members collapse: no further commit.
    assert_eq!(commits(&world, ONE), before + 1);
    world.update("alice", &room);
    world.settle();
    let log = world.client("dan").machine.as_mut().unwrap().log(&room).unwrap();
    let heads: Vec<_> = log.iter().filter(|info| info.head).collect();
    assert_eq!(heads.len(), 1);
    assert_eq!(heads[0].resolves.len(), 1);
}

#[test]
fn the_split_of_the_story() {
    for first in ["bob", "dan", "frank", "erin", "nobody"] {
        play_split(first);
    }
}

fn play_split(first: &str) {
    let (mut world, room) = four_friends();
    world.net.cut(ONE, TWO);
    world.invite("alice", &room, &user("erin", ONE));
    world.join("erin", &room);
    world.settle();
    world.send("erin", &room, "erin is here");
    world.settle();
    world.member("alice", &room.0, &user("alice", ONE), "leave");
    world.send("bob", &room, "alice has left");
    world.settle();
    world.invite("carol", &room, &user("frank", TWO));
    world.join("frank", &room);
    world.settle();
    world.update("dan", &room);
    world.settle();
    world.invite("frank", &room, &user("grace", TWO));
    world.join("grace", &room);
    world.settle();
    world.send("grace", &room, "grace is here");
    world.settle();
    world.net.heal();
    if first != "nobody" {
        world.visit(first);
        world.send(first, &room, "after the split");
        world.visit(first);
    }
    world.settle();
    let together = ["bob", "carol", "dan", "erin", "frank", "grace"];
    world.assert_together(&room, &together);
    world.send("grace", &room, "to all");
    world.settle();
    for name in together {
        assert!(world.transcript(name, &room).contains(&"to all".to_owned()), "{name}, first {first}");
        if first != "nobody" && ["bob", "carol", "dan"].contains(&name) {
            assert!(world.transcript(name, &room).contains(&"after the split".to_owned()), "{name}, first {first}");
        }
    }
    assert!(!world.transcript("alice", &room).iter().any(|body| body == "to all" || body == "alice has left"));
    assert_eq!(code_of(&mut world, "grace", &room, ONE, 0), Some("not_in_epoch"));
    assert_eq!(code_of(&mut world, "erin", &room, TWO, 0), Some("not_in_epoch"));
    let bobs = world.transcript("bob", &room);
    assert!(bobs.contains(&"erin is here".to_owned()) && bobs.contains(&"alice has left".to_owned()));
}

/// What `name` has instead of the n-th message that people of `server` sent.
fn code_of(world: &mut World, name: &str, room: &RoomId, server: &str, n: usize) -> Option<&'static str> {
    let rows = world.messages(name, room);
    let mut theirs = rows.iter().filter(|row| row.sender.ends_with(server));
    theirs.nth(n).and_then(|row| row.utd.as_ref()).map(|utd| utd.code.code())
}

/// A commit that sync never shows is looked for (SPEC §6.9).
#[test]
fn events_that_never_come_by_sync_are_paged_for() {
    let (mut world, room) = four_friends();
    world.net.cut(ONE, TWO);
    world.update("carol", &room);
    world.settle();
    for number in 0..6 {
        world.send("carol", &room, &format!("message {number}"));
        world.settle();
    }
    // Only the last one comes by itself; the commit and the others show to who looks for them.
    let carol = user("carol", TWO);
    let sent = world.net.servers[TWO].stream.iter().filter(|(_, event)| event["sender"] == carol.as_str());
    let ids: Vec<_> = sent.map(|(_, event)| event["event_id"].as_str().unwrap().to_owned()).collect();
    for id in &ids[ids.len() - 7..ids.len() - 1] {
        world.net.hidden.insert((ONE.to_owned(), id.clone()));
    }
    world.net.heal();
    world.settle();
    world.assert_together(&room, &["alice", "bob", "carol", "dan"]);
    let expected: Vec<_> = (0..6).map(|number| format!("message {number}")).collect();
    assert_eq!(world.transcript("alice", &room), expected);
}

#[test]
fn a_long_absence_is_caught_up_with() {
    let (mut world, room) = four_friends();
    world.client("bob").online = false;
    world.client("alice").online = false;
    for number in 0..60 {
        world.send("carol", &room, &format!("{number}"));
        if number % 20 == 0 {
            world.update("dan", &room);
        }
        world.settle();
    }
    world.client("bob").online = true;
    world.visit("bob");
    let expected: Vec<_> = (0..60).map(|number| number.to_string()).collect();
    assert_eq!(world.transcript("bob", &room), expected);
}

#[test]
fn a_dead_server_delays_only_its_own() {
    let (mut world, room) = four_friends();
    world.add("bob2", &user("bob", ONE), Endorsement::Endorsed);
    world.add("dan2", &user("dan", TWO), Endorsement::Endorsed);
    world.run("bob2");
    world.run("dan2");
    for name in ["alice", "bob", "bob2"] {
        world.sync(name);
    }
    world.net.cut(ONE, TWO);
    world.send("alice", &room, "as if nothing happened");
    world.visit("alice");
    let event = world.messages("alice", &room).pop().unwrap();
    assert!(event.event_id.is_some());
    world.settle();
    assert!(world.leaves("alice", &room).contains(&"bob2".to_owned()));
    world.net.heal();
    world.now += 300_000;
    world.settle();
    world.assert_together(&room, &["alice", "bob", "bob2", "carol", "dan", "dan2"]);
}
