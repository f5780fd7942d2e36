//! Messages under another name, from too far ahead, or read by their size.

use dmls::effect::{Applied, Verdict};
use dmls::input::Input;
use dmls::journal::{Journal, Records, Table, Write};
use dmls_matrix::facts::Endorsement;

use crate::attack::End;
use crate::binding_world::{text, user};
use crate::core_world::Event;
use crate::rooms::{ONE, TWO, alice_and_bob, body, bring_in, newest};
use crate::scene::{Puppet, group_of, message_from, settle};

/// I3. Bob leaves and Carol gets his leaf; then what Bob said before comes late, said to be Carol's.
pub fn reused_leaf() -> End {
    let mut world = group_of(&["alice", "bob"]);
    let late = Puppet::of(&world, "bob", 1).say("before I left");
    world.device("carol", 1);
    world.leave_room("bob");
    world.join_room("carol");
    settle(&mut world, &["alice", "carol"]);
    let verdict = world.input("alice", message_from("carol", &late));
    End::succeeded_if(matches!(verdict, Verdict::Applied(Applied::Message(opened)) if opened.device.user == "carol"))
}

/// I5. The thief minds no counters: they go from the stolen copy.
pub fn kept_keys() -> End {
    let mut world = group_of(&["alice", "bob"]);
    world.say("alice", "read long ago");
    let events = world.events();
    let sealed = events.iter().rev().find_map(|(locator, event)| match event {
        Event::Message { bytes, .. } => Some((locator.clone(), bytes.clone())),
        Event::Commit { .. } | Event::Ask { .. } => None,
    });
    let (locator, bytes) = sealed.unwrap();
    world.take_in("bob");
    assert!(world.texts("bob").contains("read long ago"));
    let mut stolen = world.peers["bob"].store.clone();
    let counters = stolen.scan(Table("dmls.traffic"), b"").unwrap();
    let writes: Vec<_> = counters.into_iter().map(|(key, _)| Write::delete(Table("dmls.traffic"), key)).collect();
    stolen.commit(&writes).unwrap();
    let mut thief = Puppet::load(world.peers["bob"].own.clone(), stolen, world.now, 1);
    thief.input(Input::Message { bytes, locator, from: "alice".into(), commit: None });
    End::succeeded_if(thief.opened.iter().any(|text| text == "read long ago"))
}

/// I9. Scaled down from 2^32 - 1 generations: a hundred more than may be computed (SPEC §5.6).
pub fn far_generation() -> End {
    let mut world = group_of(&["alice", "mallory"]);
    let mut mallory = Puppet::of(&world, "mallory", 1);
    let last = (0..24_677).map(|_| mallory.say("far ahead")).last().unwrap();
    let verdict = world.input("alice", message_from("mallory", &last));
    End::succeeded_if(matches!(verdict, Verdict::Applied(_)))
}

pub fn telling_size() -> End {
    let world = group_of(&["alice", "bob"]);
    let size = |text| Puppet::of(&world, "alice", 1).say(text).bytes.len();
    End::succeeded_if(size("yes") != size("no, and I will tell you why some day"))
}

/// I11. Bob's server is cut off from Alice's; what it shows as Carol's is a copy of what Alice said.
pub fn other_sender() -> End {
    let (mut world, room) = alice_and_bob();
    world.add("carol", &user("carol", TWO), Endorsement::Endorsed);
    bring_in(&mut world, &room, "carol", TWO);
    world.net.cut(ONE, TWO);
    world.send("alice", &room, "I owe you a hundred");
    world.visit("alice");
    let (copy, carol) = (newest(&world, ONE, false), world.device("carol"));
    world.net.post(&carol, &room.0, "m.room.encrypted", None, copy, None);
    world.visit("bob");
    let rows = world.messages("bob", &room);
    let owed = |row: &&dmls_matrix::view::MessageRow| body(row) == Some("I owe you a hundred");
    End::succeeded_if(rows.iter().filter(owed).any(|row| row.sender == carol.user))
}

pub fn unencrypted() -> End {
    let (mut world, room) = alice_and_bob();
    let alice = world.device("alice");
    world.net.post(&alice, &room.0, "m.room.message", None, text("what Alice never sealed"), None);
    world.visit("bob");
    let rows = world.messages("bob", &room);
    End::succeeded_if(rows.iter().any(|row| body(row) == Some("what Alice never sealed")))
}
