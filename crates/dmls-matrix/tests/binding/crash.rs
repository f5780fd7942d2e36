//! Machines that are dropped between any two steps, and stores that take no more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls::journal::{Records as _, Table};
use dmls_matrix::facts::Endorsement;
use dmls_matrix::request::Request;
use dmls_matrix::{Machine, RoomId};
use sha2::{Digest, Sha256};

use crate::everyday::alice_and_bob;
use crate::watched::Watched;
use crate::world::{World, text, user};

/// A kick, an add and a message in one go: everything that the outbox holds.
fn busy_moment() -> (World, RoomId) {
    let (mut world, room) = alice_and_bob();
    world.add("carol", &user("carol", "two.test"), Endorsement::Endorsed);
    world.visit("carol");
    world.invite("alice", &room, &user("carol", "two.test"));
    world.join("carol", &room);
    world.send("alice", &room, "one");
    world.send("alice", &room, "two");
    (world, room)
}

/// Of each commit in the room, whether its GroupInfo is where it says, and what it says.
fn entry_points(world: &World, room: &RoomId) -> Vec<bool> {
    let stream = world.net.servers["one.test"].stream.iter();
    let commits = stream.filter(|(of, event)| *of == room.0 && event["content"].get("group_info").is_some());
    commits
        .map(|(_, event)| {
            let said = &event["content"]["group_info"];
            let (_, bytes) = &world.net.media[said["url"].as_str().unwrap()];
            said["sha256"] == STANDARD_NO_PAD.encode(Sha256::digest(bytes)).as_str()
        })
        .collect()
}

/// One thing at a time, under transaction ids that outlive a crash (SPEC §6.10).
#[test]
fn a_crash_between_any_two_steps_loses_and_doubles_nothing() {
    let mut crashes = 0;
    for step in 0..80 {
        let (mut world, room) = busy_moment();
        world.client("alice").crash_in = Some(step);
        world.visit("alice");
        let crashed = world.client("alice").crashed;
        world.client("alice").crash_in = None;
        world.settle();
        world.assert_together(&room, &["alice", "bob", "carol"]);
        for name in ["alice", "bob"] {
            assert_eq!(world.transcript(name, &room), ["one", "two"], "{name}, crash at step {step}");
        }
        let events = &world.net.servers["one.test"].stream;
        let messages = events.iter().filter(|(_, event)| event["type"] == "m.room.encrypted");
        let messages = messages.filter(|(_, event)| event["content"].get("group_info").is_none()).count();
        assert_eq!(messages, 2, "crash at step {step}");
        let shown = entry_points(&world, &room);
        assert!(shown.len() > 2 && shown.iter().all(|is_there| *is_there), "crash at step {step}: {shown:?}");
        if !crashed {
            break;
        }
        crashes += 1;
    }
    assert!((10..80).contains(&crashes), "{crashes} crashes");
}

/// The GroupInfo is made again after a crash, and of an epoch that was let go it is not made: others enter elsewhere.
#[test]
fn a_commit_whose_epoch_was_let_go_needs_no_group_info() {
    let (mut world, room) = alice_and_bob();
    world.update("alice", &room);
    let Request::Upload { bytes, .. } = next(&mut world, "alice") else { panic!("no upload") };
    world.reopen("alice");
    let Request::Upload { bytes: again, .. } = next(&mut world, "alice") else { panic!("no upload") };
    assert_eq!(bytes, again);
    answer_one(&mut world, "alice");
    let Request::RoomEvent { txn_id, content, .. } = next(&mut world, "alice") else { panic!("no commit") };
    assert!(content.get("group_info").is_some());
    // The server takes it, but neither its answer nor its echo comes.
    let device = world.device("alice");
    let event = world.net.post(&device, &room.0, "m.room.encrypted", None, content, Some(&txn_id));
    world.net.hidden.insert(("one.test".to_owned(), event));
    world.reopen("alice");
    for _ in 0..9 {
        world.now += 86_400_000;
        world.sync("bob");
        world.update("bob", &room);
        world.run("bob");
        world.sync("alice");
    }
    let sent = next(&mut world, "alice");
    let Request::RoomEvent { txn_id: same, content, .. } = sent else { panic!("something else is due") };
    assert!(content.get("group_info").is_none() && same == txn_id);
    world.settle();
    world.send("alice", &room, "still here");
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
    assert_eq!(world.transcript("bob", &room), ["still here"]);
}

/// What this device would send to its room next.
fn next(world: &mut World, name: &str) -> Request {
    let now = world.now();
    let client = world.client(name);
    let listed = client.machine.as_mut().unwrap().outgoing_requests(now, &mut client.entropy).unwrap();
    let is_sent = |request: &Request| matches!(request, Request::Upload { .. } | Request::RoomEvent { .. });
    listed.into_iter().map(|listed| listed.request).find(is_sent).unwrap()
}

/// Carries out what comes next.
fn answer_one(world: &mut World, name: &str) {
    let now = world.now();
    let client = world.client(name);
    let listed = client.machine.as_mut().unwrap().outgoing_requests(now, &mut client.entropy).unwrap();
    let one = listed.into_iter().find(|listed| matches!(listed.request, Request::Upload { .. })).unwrap();
    let response = world.perform(name, &one.request).unwrap();
    let client = world.client(name);
    client.machine.as_mut().unwrap().mark_request_as_sent(&one.id, response, now, &mut client.entropy).unwrap();
}

#[test]
fn a_replayed_sync_changes_nothing() {
    let (mut world, room) = alice_and_bob();
    world.send("alice", &room, "once");
    world.visit("alice");
    let input = world.next_sync("bob");
    for _ in 0..3 {
        let now = world.now();
        let bob = world.client("bob");
        let report = bob.machine.as_mut().unwrap().receive_sync(input.clone(), now, &mut bob.entropy).unwrap();
        assert_eq!(report.remarks, []);
        assert_eq!(world.transcript("bob", &room), ["once"]);
    }
    world.settle();
    assert_eq!(world.transcript("bob", &room), ["once"]);
    world.assert_together(&room, &["alice", "bob"]);
}

#[test]
fn a_store_that_fails_at_any_write_is_an_error_and_loses_nothing() {
    for writes in (0..60).step_by(3) {
        let (mut world, room) = alice_and_bob();
        world.send("bob", &room, "before");
        world.visit("bob");
        let input = world.next_sync("alice");
        let now = world.now();
        let alice = world.client("alice");
        let machine = alice.machine.as_mut().unwrap();
        machine.journal_mut().fail_after(writes);
        let mut failures = 0;
        failures += usize::from(machine.receive_sync(input, now, &mut alice.entropy).is_err());
        let sent = machine.send(&room, "m.room.message", text("kept"), now, &mut alice.entropy);
        failures += usize::from(sent.is_err());
        machine.update_now(&room, now).unwrap_or_else(|error| {
            assert_eq!(error.code(), "store");
            failures += 1;
        });
        failures += usize::from(machine.outgoing_requests(now, &mut alice.entropy).is_err());
        assert!(failures <= 1, "the fault comes once");
        machine.journal_mut().heal();
        world.settle();
        world.assert_together(&room, &["alice", "bob"]);
        let mut expected = vec!["before"];
        expected.extend(sent.is_ok().then_some("kept"));
        assert_eq!(world.transcript("alice", &room), expected, "fault after {writes} writes");
        assert_eq!(world.transcript("bob", &room), expected, "fault after {writes} writes");
    }
}

/// Key packages that only memory knew would be uploaded, and their private keys would be nowhere.
#[test]
fn nothing_leaves_that_is_not_stored_also_where_the_store_cannot_be_read() {
    let mut world = World::new(&["one.test"]);
    world.add("alice", &user("alice", "one.test"), Endorsement::Endorsed);
    let now = world.now();
    let alice = world.client("alice");
    let machine = alice.machine.as_mut().unwrap();
    machine.journal_mut().is_away = true;
    for _ in 0..2 {
        let listed = machine.outgoing_requests(now, &mut alice.entropy);
        assert_eq!(listed.err().map(|error| error.code()), Some("store"));
    }
    machine.journal_mut().is_away = false;
    let before = machine.journal().batches.len();
    let listed = machine.outgoing_requests(now, &mut alice.entropy).unwrap();
    assert!(listed.iter().any(|listed| matches!(listed.request, Request::KeyPackagesUpload { .. })));
    assert!(machine.journal().batches.len() > before, "what is uploaded is stored first");
}

#[test]
fn a_store_belongs_to_one_device() {
    let (mut world, _) = alice_and_bob();
    let journal = world.client("alice").machine.take().unwrap().into_journal();
    let other = world.device("bob");
    let opened = dmls_matrix::Machine::open(journal, other);
    assert_eq!(opened.err().map(|error| error.code()), Some("other_device"));
}

/// SPEC §7.8. The server makes the room and the answer is lost: the next sync is enough, for this device only.
#[test]
fn a_room_whose_creator_did_not_hear_of_it_is_not_lost() {
    let mut world = World::new(&["one.test", "two.test"]);
    for name in ["alice", "phone"] {
        world.add(name, &user("alice", "one.test"), Endorsement::Endorsed);
    }
    world.add("bob", &user("bob", "two.test"), Endorsement::Endorsed);
    world.settle();
    let room = world.create_unheard("alice", "!tea:one.test");
    // The crash comes again, at each write of what the sync brings.
    for writes in 0..40 {
        world.client("alice").machine.as_mut().unwrap().journal_mut().fail_after(writes);
        let input = world.next_sync("alice");
        let now = world.now();
        let alice = world.client("alice");
        let taken = alice.machine.as_mut().unwrap().receive_sync(input, now, &mut alice.entropy);
        alice.machine.as_mut().unwrap().journal_mut().heal();
        world.reopen("alice");
        if taken.is_ok() {
            break;
        }
    }
    world.settle();
    world.invite("alice", &room, &user("bob", "two.test"));
    world.join("bob", &room);
    world.settle();
    world.send("alice", &room, "here after all");
    world.settle();
    world.assert_together(&room, &["alice", "bob", "phone"]);
    assert_eq!(world.transcript("bob", &room), ["here after all"]);
    let log = world.client("phone").machine.as_mut().unwrap().log(&room).unwrap();
    assert!(log.iter().all(|info| info.base.is_some()), "the other device made no room of its own: {log:?}");
}

/// Whoever makes a room and is restarted before any sync shows the same as before.
#[test]
fn a_room_that_was_just_made_is_there_after_a_restart() {
    let mut world = World::new(&["one.test"]);
    world.add("alice", &user("alice", "one.test"), Endorsement::Endorsed);
    world.settle();
    let room = world.create("alice", "!tea:one.test");
    let members = |world: &mut World| world.client("alice").machine.as_mut().unwrap().members(&room).unwrap();
    let before = members(&mut world);
    assert!(before.iter().any(|row| row.in_room && row.in_head), "{before:?}");
    world.reopen("alice");
    assert_eq!(members(&mut world), before);
}

/// How many epochs are in the store.
fn epochs(machine: &Machine<Watched>) -> usize {
    machine.journal().scan(Table("dmls.epoch"), b"").unwrap().len()
}

/// SPEC §6.3: whenever randomness fails, nothing is left of what was being made; not in the store either, where a commit
/// that is not in the outbox would stay for ever (SPEC §7.2).
#[test]
fn randomness_that_fails_at_any_draw_leaves_nothing_half_made() {
    let mut ends = 0;
    for draws in 0..200 {
        let (mut world, room) = alice_and_bob();
        world.update("alice", &room);
        let now = world.now();
        let alice = world.client("alice");
        let before = epochs(alice.machine.as_ref().unwrap());
        alice.entropy.fail_after(draws);
        let listed = alice.machine.as_mut().unwrap().outgoing_requests(now, &mut alice.entropy);
        let failed = alice.entropy.has_failed();
        assert_eq!(listed.is_err(), failed, "at draw {draws}");
        let made = epochs(alice.machine.as_ref().unwrap()) - before;
        assert_eq!(made == 0, failed, "at draw {draws}");
        world.reopen("alice");
        world.settle();
        world.send("alice", &room, "still here");
        world.settle();
        world.assert_together(&room, &["alice", "bob"]);
        assert!(world.transcript("bob", &room).contains(&"still here".to_owned()), "at draw {draws}");
        if !failed {
            ends = draws;
            break;
        }
    }
    assert!(ends > 3, "a commit was made, at {ends}");
}
