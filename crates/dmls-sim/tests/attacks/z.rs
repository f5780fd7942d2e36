//! Z: what servers do.

use dmls::effect::Notice;
use serde_json::{Value, json};

use crate::attack::{Attack, Elsewhere, End, Later};
use crate::rooms::{TWO, alice_and_bob, bring_in};
use crate::scene::{Puppet, commit_from, group_of, message_from, update};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "Z1",
        attack: "a server keeps one fork from a member",
        defence: "every message names the heads that its sender knows",
        run: suppressed_head,
    },
    Attack {
        id: "Z2",
        attack: "a limited sync hides that a member left",
        defence: "after a gap the whole list of members is asked for",
        run: hidden_departure,
    },
    Attack {
        id: "Z4",
        attack: "a commit is purged from the server",
        defence: "members hold commits and serve them again",
        run: purged_commit,
    },
];

pub const ELSEWHERE: &[Elsewhere] = &[Elsewhere {
    id: "Z5",
    test: ("crates/dmls-matrix/tests/binding/split.rs", "the_split_of_the_story"),
    reason: "a server deaf to one peer is a split between the two; what holds there is the whole fork layer (F)",
}];

pub const LATER: &[Later] = &[Later {
    id: "Z3",
    reason: "commits carry a digest of the membership that they were made on, but nobody compares it yet",
}];

/// Z1. Alice and Mallory commit on one base; Bob is shown only the head that Carol speaks in.
fn suppressed_head() -> End {
    let mut world = group_of(&["alice", "bob", "carol", "mallory"]);
    let commits = ["alice", "mallory"].map(|name| Puppet::of(&world, name, 1).commit(update()));
    for (name, commit) in ["alice", "mallory"].into_iter().zip(&commits) {
        world.input("carol", commit_from(name, commit));
    }
    let canonical = world.canonical("carol").unwrap();
    for (name, commit) in ["alice", "mallory"].into_iter().zip(&commits) {
        if commit.epoch.id == canonical {
            world.input("bob", commit_from(name, commit));
        }
    }
    let said = Puppet::of(&world, "carol", 2).say("we are on two forks");
    world.input("bob", message_from("carol", &said));
    let told = |notice: &Notice| matches!(notice, Notice::UnknownHeads { .. });
    assert_eq!(world.canonical("bob"), Some(canonical));
    End::succeeded_if(!world.peers["bob"].notices.iter().any(told))
}

/// Z2. Carol's leave lies in a gap, and the server shows no state for it.
fn hidden_departure() -> End {
    let (mut world, room) = alice_and_bob();
    world.add("carol", &crate::binding_world::user("carol", TWO), dmls_matrix::facts::Endorsement::Endorsed);
    bring_in(&mut world, &room, "carol", TWO);
    let carol = world.device("carol").user;
    world.member("carol", &room.0, &carol, "leave");
    let mut gap = world.next_sync("alice");
    for (_, input) in &mut gap.rooms {
        (input.limited, input.state, input.timeline) = (true, Vec::new(), Vec::new());
    }
    let now = world.now();
    let alice = world.client("alice");
    alice.machine.as_mut().unwrap().receive_sync(gap, now, &mut alice.entropy).unwrap();
    world.client("bob").online = false;
    world.client("carol").online = false;
    world.settle();
    End::succeeded_if(world.leaves("alice", &room).contains(&"carol".to_owned()))
}

/// Z4. Bob's server lost Alice's commit before Bob saw it: what is left is an empty event.
fn purged_commit() -> End {
    let (mut world, room) = alice_and_bob();
    world.client("bob").online = false;
    world.update("alice", &room);
    world.settle();
    let purge = |event: &mut Value| event["content"] = json!({});
    let stream = &mut world.net.servers.get_mut(TWO).unwrap().stream;
    let commit = stream.iter_mut().rev().find(|(_, event)| event["content"].get("group_info").is_some());
    purge(&mut commit.unwrap().1);
    world.send("alice", &room, "in an epoch that its server forgot");
    world.settle();
    world.client("bob").online = true;
    world.settle();
    let asked = world.requests.iter().any(|request| request.contains("commit_request"));
    assert!(asked, "Bob asks members");
    End::succeeded_if(world.head("bob", &room) != world.head("alice", &room))
}
