//! Create, invite, join, talk, further devices, kick, rekey, joins while others are away.

use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;
use dmls_matrix::request::{Failure, Request};

use crate::world::{World, user};

const ONE: &str = "one.test";
const TWO: &str = "two.test";

/// Alice on one server, Bob on another, together in a room.
pub fn alice_and_bob() -> (World, RoomId) {
    let mut world = World::new(&[ONE, TWO]);
    world.add("alice", &user("alice", ONE), Endorsement::Endorsed);
    world.add("bob", &user("bob", TWO), Endorsement::Endorsed);
    world.settle();
    let room = world.create("alice", "!room");
    world.invite("alice", &room, &user("bob", TWO));
    world.settle();
    world.join("bob", &room);
    world.settle();
    (world, room)
}

#[test]
fn two_people_talk() {
    let (mut world, room) = alice_and_bob();
    world.assert_together(&room, &["alice", "bob"]);
    world.send("alice", &room, "hello");
    world.settle();
    world.send("bob", &room, "hi");
    world.settle();
    for name in ["alice", "bob"] {
        assert_eq!(world.transcript(name, &room), ["hello", "hi"]);
        assert_eq!(world.messages(name, &room)[0].readers.as_ref().map(Vec::len), Some(2));
    }
    assert_eq!(world.codes("alice"), Vec::<String>::new());
    assert_eq!(world.codes("bob"), Vec::<String>::new());
}

#[test]
fn the_newest_messages_are_the_end_of_all() {
    let (mut world, room) = alice_and_bob();
    for number in 0..7 {
        world.send(["alice", "bob"][number % 2], &room, &format!("{number}"));
        // Some come one by one, some in one sync.
        if number % 3 == 0 {
            world.settle();
        }
    }
    world.settle();
    for name in ["alice", "bob"] {
        let all = world.messages(name, &room);
        for most in 0..10 {
            let newest = world.client(name).machine.as_mut().unwrap().newest_messages(&room, most).unwrap();
            assert_eq!(newest, all[all.len().saturating_sub(most)..], "{name}, {most}");
        }
    }
}

#[test]
fn a_second_device_reads_on_from_where_it_came_in() {
    let (mut world, room) = alice_and_bob();
    world.send("alice", &room, "before");
    world.settle();
    world.add("bob2", &user("bob", TWO), Endorsement::Endorsed);
    world.settle();
    world.send("alice", &room, "after");
    world.settle();
    world.assert_together(&room, &["alice", "bob", "bob2"]);
    assert_eq!(world.transcript("bob2", &room), ["before_join", "after"]);
}

#[test]
fn a_device_that_nobody_vouches_for_is_listed_and_reads_nothing() {
    let (mut world, room) = alice_and_bob();
    world.add("mallory", &user("bob", TWO), Endorsement::NotCrossSigned);
    world.settle();
    world.send("alice", &room, "secret");
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
    assert_eq!(world.transcript("mallory", &room), ["waiting_welcome"]);
    let rows = world.client("alice").machine.as_mut().unwrap().members(&room).unwrap();
    let row = rows.iter().find(|row| row.device.device == "MALLORY").unwrap();
    assert!(row.in_room && !row.in_head && !row.endorsed);
    assert_eq!(row.reason, "not_cross_signed");
}

#[test]
fn who_is_kicked_reads_nothing_more_and_may_come_back() {
    let (mut world, room) = alice_and_bob();
    world.add("carol", &user("carol", ONE), Endorsement::Endorsed);
    world.invite("alice", &room, &user("carol", ONE));
    world.join("carol", &room);
    world.settle();
    world.assert_together(&room, &["alice", "bob", "carol"]);
    world.member("alice", &room.0, &user("carol", ONE), "leave");
    world.send("alice", &room, "without carol");
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
    assert!(!world.transcript("carol", &room).contains(&"without carol".to_owned()));
    world.invite("alice", &room, &user("carol", ONE));
    world.join("carol", &room);
    world.settle();
    world.send("bob", &room, "welcome back");
    world.settle();
    world.assert_together(&room, &["alice", "bob", "carol"]);
    assert_eq!(world.transcript("carol", &room).last().unwrap(), "welcome back");
}

#[test]
fn a_device_that_logs_out_is_removed() {
    let (mut world, room) = alice_and_bob();
    world.add("bob2", &user("bob", TWO), Endorsement::Endorsed);
    world.settle();
    world.assert_together(&room, &["alice", "bob", "bob2"]);
    world.remove_device("bob2");
    world.settle();
    world.send("alice", &room, "now");
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
}

#[test]
fn a_rekey_makes_a_new_epoch() {
    let (mut world, room) = alice_and_bob();
    let before = world.head("alice", &room);
    world.update("bob", &room);
    world.settle();
    assert_ne!(world.head("alice", &room), before);
    world.assert_together(&room, &["alice", "bob"]);
}

#[test]
fn an_invitation_does_not_wait_for_anybody() {
    let mut world = World::new(&[ONE, TWO]);
    world.add("alice", &user("alice", ONE), Endorsement::Endorsed);
    world.add("bob", &user("bob", TWO), Endorsement::Endorsed);
    let room = world.create("alice", "!room");
    world.invite("alice", &room, &user("bob", TWO));
    world.visit("alice");
    world.client("alice").online = false;
    world.join("bob", &room);
    world.visit("bob");
    assert_eq!(world.head("bob", &room), None);
    world.now += 20_000;
    world.visit("bob");
    world.send("bob", &room, "anybody here?");
    world.visit("bob");
    assert!(world.head("bob", &room).is_some());
    world.client("alice").online = true;
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
    assert_eq!(world.transcript("alice", &room), ["anybody here?"]);
}

#[test]
fn everybody_restarts_between_any_two_steps() {
    let (mut world, room) = alice_and_bob();
    for round in 0..3 {
        for name in ["alice", "bob"] {
            world.reopen(name);
            world.send(name, &room, &format!("{name} {round}"));
            world.reopen(name);
            world.visit(name);
            world.reopen(name);
        }
    }
    world.settle();
    let expected = ["alice 0", "bob 0", "alice 1", "bob 1", "alice 2", "bob 2"];
    assert_eq!(world.transcript("bob", &room), expected);
    assert_eq!(world.transcript("alice", &room), expected);
}

/// What is published, and when it dies (SPEC §6.8).
#[test]
fn key_packages_are_refilled_and_the_fallback_is_rotated() {
    let (mut world, _) = alice_and_bob();
    let bob = world.device("bob");
    let server = world.net.servers.get_mut(TWO).unwrap();
    assert!(server.one_time[&bob].len() >= 25);
    server.one_time.get_mut(&bob).unwrap().clear();
    let fallback = server.fallback.get_mut(&bob).unwrap();
    fallback.2 = true;
    let used = fallback.0.clone();
    world.settle();
    let server = &world.net.servers[TWO];
    assert_eq!(server.one_time[&bob].len(), 50);
    assert_ne!(server.fallback[&bob].0, used);
}

/// An upload that arrived unanswered: a package that a member has claimed since is not offered a second time.
#[test]
fn no_key_package_is_offered_twice() {
    for restart in [false, true] {
        let (mut world, _) = alice_and_bob();
        let (alice, bob) = (world.device("alice"), world.device("bob"));
        world.net.servers.get_mut(TWO).unwrap().one_time.get_mut(&bob).unwrap().clear();
        world.sync("bob");
        let now = world.now();
        let client = world.client("bob");
        let machine = client.machine.as_mut().unwrap();
        let upload = machine.outgoing_requests(now, &mut client.entropy).unwrap().remove(0);
        assert!(matches!(upload.request, Request::KeyPackagesUpload { .. }));
        world.perform("bob", &upload.request).unwrap();
        let (claimed, _) = world.net.claim(&alice, &bob).unwrap();
        if restart {
            world.reopen("bob");
        } else {
            let client = world.client("bob");
            let machine = client.machine.as_mut().unwrap();
            machine.mark_request_as_failed(&upload.id, Failure::default(), now, &mut client.entropy).unwrap();
        }
        world.settle();
        let there = &world.net.servers[TWO].one_time[&bob];
        assert_eq!(there.len(), 49);
        assert!(!there.contains_key(&claimed), "restart: {restart}");
    }
}

/// An upload that never arrived is made up for.
#[test]
fn key_packages_whose_upload_was_lost_are_uploaded_again() {
    let (mut world, _) = alice_and_bob();
    let bob = world.device("bob");
    world.net.servers.get_mut(TWO).unwrap().one_time.get_mut(&bob).unwrap().clear();
    world.sync("bob");
    let now = world.now();
    let client = world.client("bob");
    let upload = client.machine.as_mut().unwrap().outgoing_requests(now, &mut client.entropy).unwrap().remove(0);
    let Request::KeyPackagesUpload { one_time, .. } = upload.request else { panic!("something else is due") };
    world.reopen("bob");
    world.settle();
    let there = &world.net.servers[TWO].one_time[&bob];
    assert_eq!(there.len(), 50);
    assert!(one_time.iter().all(|(id, _)| there.contains_key(id)));
}
