//! Bad input: each kind has its own code, other rooms go on, nothing grows without bound.

use dmls::id::Device;
use dmls::journal::{Records, Table};
use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;
use dmls_matrix::request::Request;
use serde_json::{Value, json};

use crate::everyday::alice_and_bob;
use crate::world::{World, user};

fn last_encrypted(world: &World, commit: bool) -> Value {
    let events = world.net.servers["one.test"].stream.iter().rev();
    let mut events = events.filter(|(_, event)| event["type"] == "m.room.encrypted");
    events.find(|(_, event)| event["content"].get("group_info").is_some() == commit).unwrap().1["content"].clone()
}

/// Bob's machine is honest; what he posts by hand is not. Gives Alice's codes for it.
fn post_junk(world: &mut World, room: &RoomId, content: Value) -> Vec<String> {
    let bob = world.device("bob");
    let event_id = world.net.post(&bob, &room.0, "m.room.encrypted", None, content, None);
    world.client("alice").remarks.clear();
    world.sync("alice");
    let remarks = &world.clients["alice"].remarks;
    let about = remarks.iter().filter(|remark| remark.event_id.as_deref() == Some(&event_id));
    about.map(|remark| remark.code.clone()).collect()
}

fn with(content: &Value, field: &str, value: Value) -> Value {
    let mut content = content.clone();
    content[field] = value;
    content
}

/// Hints that differ from the signed copy are refused (SPEC §6.5), and so is another sender (SPEC §6.6).
#[test]
fn every_kind_of_junk_has_its_own_code() {
    let (mut world, room) = alice_and_bob();
    world.send("alice", &room, "genuine");
    world.settle();
    world.update("bob", &room);
    world.settle();
    let message = last_encrypted(&world, false);
    let commit = last_encrypted(&world, true);
    let mut ciphertext = message["ciphertext"].as_str().unwrap().to_owned();
    ciphertext.truncate(40);
    let mut epoch = message["epoch"].clone();
    epoch["id"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let cases = [
        (with(&message, "ciphertext", json!("***")), "malformed_base64"),
        (with(&message, "ciphertext", json!(17)), "malformed_base64"),
        (with(&message, "ciphertext", json!(ciphertext)), "malformed"),
        (with(&message, "ciphertext", json!("AAEABQ")), "wrong_kind"),
        (with(&message, "epoch", json!("no epoch")), "malformed_hints"),
        (with(&message, "epoch", epoch), "mismatch"),
        (with(&commit, "resolves", json!([commit["epoch"]])), "mismatch"),
        (with(&commit, "resolves", json!("many")), "malformed_hints"),
        (with(&message, "algorithm", json!("m.megolm.v1.aes-sha2")), "other_algorithm"),
        (with(&message, "algorithm", json!("org.dmls.v9.some-suite")), "unknown_version"),
        (message.clone(), "rejected_sender"),
    ];
    for (content, code) in cases {
        assert_eq!(post_junk(&mut world, &room, content), [code]);
    }
    let alices = world.device("alice");
    world.net.post(&alices, &room.0, "m.room.encrypted", None, message, None);
    world.sync("alice");
    assert_eq!(world.codes("alice").last().unwrap(), "replay");
    world.send("bob", &room, "all is well");
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
    assert!(world.transcript("alice", &room).contains(&"all is well".to_owned()));
}

/// The sender's own copy is a replay; anybody else's is not that one's to send (SPEC §2.9, §6.11).
#[test]
fn copies_of_a_message_have_their_own_codes() {
    let (mut world, room) = alice_and_bob();
    world.send("bob", &room, "by bob");
    world.settle();
    let bobs = last_encrypted(&world, false);
    world.send("alice", &room, "by alice");
    world.settle();
    let alices = last_encrypted(&world, false);
    for _ in 0..2 {
        assert_eq!(post_junk(&mut world, &room, bobs.clone()), ["replay"]);
        assert_eq!(post_junk(&mut world, &room, alices.clone()), ["rejected_sender"]);
        let posted = world.device("alice");
        world.net.post(&posted, &room.0, "m.room.encrypted", None, bobs.clone(), None);
        world.sync("alice");
        assert_eq!(world.codes("alice").last().unwrap(), "rejected_sender");
        world.reopen("alice");
    }
    // Another ciphertext for a key that was used cannot be told from one that came too late.
    let mut bytes = unbase64(bobs["ciphertext"].as_str().unwrap());
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(post_junk(&mut world, &room, with(&bobs, "ciphertext", json!(base64(&bytes)))), ["beyond_window"]);
    let expected = ["by bob", "by alice", "replay", "rejected_sender", "rejected_sender", "replay", "rejected_sender"];
    assert_eq!(world.transcript("alice", &room)[..7], expected);
}

/// Who copies a message and is faster than it does not suppress it, whether it can be opened at once or waits (SPEC §2.9).
#[test]
fn a_copy_that_comes_first_suppresses_nothing() {
    for waits in [false, true] {
        let (mut world, room) = alice_and_bob();
        world.add("mallory", &crate::world::user("mallory", "two.test"), Endorsement::Endorsed);
        world.invite("alice", &room, &crate::world::user("mallory", "two.test"));
        world.join("mallory", &room);
        world.settle();
        let commit = waits.then(|| {
            world.update("bob", &room);
            world.visit("bob");
            let stream = &world.net.servers["one.test"].stream;
            stream.iter().rev().find(|(_, event)| event["content"].get("group_info").is_some()).unwrap().1.clone()
        });
        let hidden = commit.map(|event| ("one.test".to_owned(), event["event_id"].as_str().unwrap().to_owned()));
        world.net.hidden.extend(hidden.clone());
        // Bob's message is sealed before the copies and reaches Alice between them.
        world.send("bob", &room, "mine");
        world.run("bob");
        let real = world.net.servers.get_mut("one.test").unwrap().stream.pop().unwrap();
        let mallory = world.device("mallory");
        let copy = real.1["content"].clone();
        world.net.post(&mallory, &room.0, "m.room.encrypted", None, copy.clone(), None);
        world.sync("alice");
        let early = if waits { "waiting_commit" } else { "rejected_sender" };
        assert_eq!(world.transcript("alice", &room), [early]);
        let bob = world.device("bob");
        for sender in [&bob, &bob, &mallory] {
            world.net.post(sender, &room.0, "m.room.encrypted", None, copy.clone(), None);
        }
        world.sync("alice");
        world.net.hidden.retain(|event| Some(event) != hidden.as_ref());
        world.reopen("alice");
        world.now += 10_000;
        world.visit("alice");
        let mut shown = world.transcript("alice", &room);
        assert_eq!(shown.iter().filter(|text| *text == "mine").count(), 1, "{shown:?}");
        shown.sort();
        // What waits is not known to be another's yet: there Mallory repeats herself.
        let last = if waits { "replay" } else { "rejected_sender" };
        let mut expected = ["mine", "rejected_sender", "replay", last];
        expected.sort();
        assert_eq!(shown, expected);
    }
}

/// A plaintext counts only in the room it was made for.
#[test]
fn an_event_of_another_room_is_refused_there() {
    let (mut world, room) = alice_and_bob();
    world.send("bob", &room, "for the first room");
    world.settle();
    let message = last_encrypted(&world, false);
    let other = world.create("alice", "!other");
    world.invite("alice", &other, &crate::world::user("bob", "two.test"));
    world.join("bob", &other);
    world.settle();
    assert_eq!(post_junk(&mut world, &other, message), ["other_group"]);
    assert_eq!(world.transcript("alice", &other), ["forged"]);
    world.send("bob", &other, "for the second");
    world.settle();
    assert_eq!(world.transcript("alice", &other), ["forged", "for the second"]);
}

fn records(world: &World, name: &str) -> usize {
    let journal =
        ["matrix.message", "matrix.place", "matrix.hearsay", "matrix.search", "matrix.welcome", "matrix.outbox"];
    let client = &world.clients[name];
    let machine = client.machine.as_ref().unwrap();
    journal.iter().map(|table| machine.journal().scan(Table(table), b"").unwrap().len()).sum()
}

#[test]
fn a_thousand_junk_events_of_a_kind_disturb_nobody() {
    let (mut world, room) = alice_and_bob();
    world.send("alice", &room, "genuine");
    world.update("bob", &room);
    world.settle();
    let (message, commit) = (last_encrypted(&world, false), last_encrypted(&world, true));
    let bob = world.device("bob");
    for number in 0..1_000u32 {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let mut makes = commit["makes"].clone();
        makes["id"] = json!(base64_url(&id));
        for content in [with(&message, "ciphertext", json!("x")), with(&commit, "makes", makes), message.clone()] {
            world.net.post(&bob, &room.0, "m.room.encrypted", None, content, None);
        }
        world.net.send_to_device(&bob, &world.device("alice"), junk_to_device(number, &room));
        if number % 5 == 0 {
            world.sync("alice");
        }
    }
    world.send("alice", &room, "not blocked");
    world.visit("alice");
    assert!(
        world.messages("alice", &room).iter().any(|row| row.event_id.is_some() && row.body() == Some("not blocked"))
    );
    let shown = world.transcript("alice", &room);
    for code in ["malformed", "rejected_sender"] {
        assert_eq!(shown.iter().filter(|shown| *shown == code).count(), 1_000, "each has its code");
    }
    let kept = records(&world, "alice");
    assert!(kept < 4_500, "{kept} records");
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
}

/// Junk is listed as far as its sender's share goes, and takes nobody else's place (SPEC §5.6).
#[test]
fn a_flood_of_junk_is_listed_in_part() {
    let (mut world, room) = alice_and_bob();
    let bob = world.device("bob");
    let junk = json!({ "algorithm": format!("{}.{}", dmls_matrix::NAMESPACE, dmls_matrix::SUITE) });
    for number in 0..6_100 {
        world.net.post(&bob, &room.0, "m.room.encrypted", None, junk.clone(), None);
        if number % 20 == 19 {
            world.sync("alice");
        }
    }
    world.send("bob", &room, "readable all the same");
    world.settle();
    let shown = world.transcript("alice", &room);
    assert_eq!(shown.iter().filter(|code| *code == "malformed").count(), 6_000);
    assert_eq!(shown.last().unwrap(), "readable all the same");
    assert!(records(&world, "alice") < 12_500);
}

/// A gap that opens while another is still being filled hides nothing.
#[test]
fn gaps_in_a_row_are_all_filled() {
    let (mut world, room) = alice_and_bob();
    world.send("bob", &room, "before the flood");
    world.run("bob");
    let bob = world.device("bob");
    let junk = json!({ "algorithm": format!("{}.{}", dmls_matrix::NAMESPACE, dmls_matrix::SUITE) });
    for junks in [30, 1_200] {
        for _ in 0..junks {
            world.net.post(&bob, &room.0, "m.room.encrypted", None, junk.clone(), None);
        }
        // The sync leaves most of it out, and nothing is asked for yet.
        world.sync("alice");
    }
    world.visit("alice");
    let shown = world.transcript("alice", &room);
    assert_eq!((shown.len(), shown[0].as_str()), (1_231, "before the flood"));
}

/// For a Welcome of somebody who is not in the room nothing is asked of the homeserver.
#[test]
fn nothing_is_fetched_for_a_strangers_welcome() {
    for (sender, fetches) in [("@bob:two.test", true), ("@stranger:two.test", false)] {
        let (mut world, room) = alice_and_bob();
        let mut junk = junk_to_device(1, &room);
        junk["sender"] = sender.into();
        junk["content"]["file"] = json!({ "url": "mxc://two.test/large", "sha256": base64(&[1; 32]) });
        let device = world.device("alice");
        world.net.servers.get_mut("one.test").unwrap().to_device.entry(device).or_default().push(junk);
        world.sync("alice");
        let now = world.now();
        let alice = world.client("alice");
        let requests = alice.machine.as_mut().unwrap().outgoing_requests(now, &mut alice.entropy).unwrap();
        let is_fetch = |request: &Request| matches!(request, Request::Download { .. } | Request::FetchEvent { .. });
        assert_eq!(requests.iter().any(|outgoing| is_fetch(&outgoing.request)), fetches, "{sender}");
    }
}

/// Welcomes of strangers wait, for who is invited knows nobody yet; they take up nobody's place.
#[test]
fn strangers_welcomes_give_way_to_members() {
    let (mut world, room) = alice_and_bob();
    let device = world.device("alice");
    let nowhere = RoomId::from("!nowhere:two.test");
    let strange = (0..600).map(|number| {
        let mut junk = junk_to_device(number, &nowhere);
        junk["sender"] = format!("@stranger{}:two.test", number / 16).into();
        junk
    });
    let all: Vec<_> = strange.chain([junk_to_device(1_000, &room)]).collect();
    world.net.servers.get_mut("one.test").unwrap().to_device.entry(device).or_default().extend(all);
    world.sync("alice");
    let now = world.now();
    let alice = world.client("alice");
    let kept = alice.machine.as_ref().unwrap().journal().scan(Table("matrix.welcome"), b"").unwrap().len();
    assert_eq!(kept, 512);
    let requests = alice.machine.as_mut().unwrap().outgoing_requests(now, &mut alice.entropy).unwrap();
    let is_its = |request: &Request| matches!(request, Request::FetchEvent { event_id, .. } if event_id == "$none1000");
    assert!(requests.iter().any(|outgoing| is_its(&outgoing.request)), "the member's is looked after");
}

fn junk_to_device(number: u32, room: &RoomId) -> Value {
    let welcome = json!({
        "algorithm": format!("{}.welcome.{}", dmls_matrix::NAMESPACE, dmls_matrix::SUITE),
        "room_id": room.0, "commit_event": format!("$none{number}"), "epoch_id": base64_url(&[1; 32]),
        "base": { "confirmed_transcript_hash": "AA", "confirmation_tag": "AA" },
        "grant": "AA", "ciphertext": "AAEAAw",
    });
    json!({ "sender": "@bob:two.test", "device": "BOB", "type": "m.room.encrypted", "content": welcome, "encrypted": false })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)
}

fn unbase64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).unwrap()
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Requests are answered to those they belong to (SPEC §6.7).
#[test]
fn to_device_messages_of_strangers_are_not_listened_to() {
    let (mut world, room) = alice_and_bob();
    let alice = world.device("alice");
    let stranger = Device::new("@eve:two.test", "EVE");
    let cases = [
        ("commit_request", json!({ "room_id": room.0, "epoch_ids": [], "device_id": "EVE" }), false, "not_a_member"),
        ("commit_reply", json!({ "room_id": room.0, "commits": [{ "ciphertext": "AAEAAQ" }] }), false, "not_a_member"),
        ("commit_reply", json!({ "room_id": room.0, "commits": [{ "ciphertext": "?" }] }), false, "malformed_base64"),
        ("merge_request", json!({ "room_id": room.0, "epoch_id": base64_url(&[1; 32]) }), false, "not_encrypted"),
        ("merge_request", json!({ "room_id": room.0, "epoch_id": base64_url(&[1; 32]) }), true, "not_a_member"),
        ("merge_reply", json!({ "room_id": room.0 }), true, "malformed"),
        ("commit_request", json!({ "room_id": "!nowhere", "epoch_ids": [], "device_id": "X" }), false, "unknown_room"),
    ];
    for (kind, content, encrypted, code) in cases {
        let event = json!({
            "sender": stranger.user, "device": stranger.device, "encrypted": encrypted,
            "type": format!("{}.{kind}", dmls_matrix::NAMESPACE), "content": content,
        });
        world.net.send_to_device(&stranger, &alice, event);
        world.client("alice").remarks.clear();
        world.sync("alice");
        assert_eq!(world.codes("alice"), [code], "{kind}");
    }
}

#[test]
fn a_refused_commit_is_nobodys_and_is_made_anew() {
    let (mut world, room) = alice_and_bob();
    world.update("alice", &room);
    let now = world.now();
    let alice = world.client("alice");
    let machine = alice.machine.as_mut().unwrap();
    let mut refused = 0;
    for _ in 0..4 {
        for outgoing in machine.outgoing_requests(now, &mut alice.entropy).unwrap() {
            let answer = match outgoing.request {
                Request::Upload { .. } => json!({ "content_uri": "mxc://one.test/x" }),
                Request::RoomEvent { .. } => {
                    refused += 1;
                    let failure =
                        dmls_matrix::request::Failure { retry_after_ms: None, permanent: Some("M_TOO_LARGE".into()) };
                    machine.mark_request_as_failed(&outgoing.id, failure, now, &mut alice.entropy).unwrap();
                    continue;
                }
                _ => continue,
            };
            let response = dmls_matrix::request::Response::Json(answer);
            machine.mark_request_as_sent(&outgoing.id, response, now, &mut alice.entropy).unwrap();
        }
    }
    assert_eq!(refused, 1);
    let rooms = machine.rooms().unwrap();
    assert_eq!(rooms[0].trouble.as_deref(), Some("M_TOO_LARGE"));
    world.settle();
    world.send("alice", &room, "still here");
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
    assert_eq!(world.transcript("bob", &room), ["still here"]);
}

/// Bob is put out while Alice's commit with his leaf is on its way: she sends him no Welcome to it.
#[test]
fn who_was_put_out_meanwhile_is_not_welcomed() {
    let mut world = World::new(&["one.test"]);
    for name in ["alice", "bob"] {
        world.add(name, &user(name, "one.test"), Endorsement::Endorsed);
    }
    world.settle();
    let room = world.create("alice", "!tea:one.test");
    world.settle();
    let bob = world.device("bob");
    world.client("bob").online = false;
    world.invite("alice", &room, &bob.user);
    world.join("bob", &room);
    let mut added = false;
    while !added {
        world.now += 500;
        world.sync("alice");
        let now = world.now();
        let alice = world.client("alice");
        let listed = alice.machine.as_mut().unwrap().outgoing_requests(now, &mut alice.entropy).unwrap();
        for outgoing in listed {
            if matches!(&outgoing.request, Request::RoomEvent { content, .. } if content.get("makes").is_some()) {
                world.member("alice", &room.0, &bob.user, "leave");
                world.sync("alice");
                added = true;
            }
            let answer = world.perform("alice", &outgoing.request).unwrap();
            let now = world.now();
            let alice = world.client("alice");
            let machine = alice.machine.as_mut().unwrap();
            machine.mark_request_as_sent(&outgoing.id, answer, now, &mut alice.entropy).unwrap();
        }
    }
    world.settle();
    let log = world.client("alice").machine.as_mut().unwrap().log(&room).unwrap();
    assert!(log.iter().any(|info| info.added.contains(&bob)) && log.iter().any(|info| info.removed.contains(&bob)));
    let letters = world.net.servers["one.test"].to_device.get(&bob).map_or(0, Vec::len);
    assert_eq!(letters, 0, "{:?}", world.requests);
}

/// Carol joined by the old rules on another branch of the room's history: resolution drops her, and no sync says so.
#[test]
fn a_join_that_new_join_rules_undo_is_asked_for() {
    let (mut world, room) = alice_and_bob();
    let (alice, carol) = (world.device("alice"), user("carol", "two.test"));
    world.net.post(&alice, &room.0, "m.room.join_rules", Some(""), json!({ "join_rule": "public" }), None);
    world.add("carol", &carol, Endorsement::Endorsed);
    world.settle();
    world.join("carol", &room);
    world.settle();
    assert!(world.leaves("alice", &room).contains(&"carol".to_owned()));
    world.client("carol").online = false;
    for server in world.net.servers.values_mut() {
        server.forget_member(&room.0, &carol);
    }
    world.net.post(&alice, &room.0, "m.room.join_rules", Some(""), json!({ "join_rule": "invite" }), None);
    world.settle();
    for name in ["alice", "bob"] {
        assert_eq!(world.leaves(name, &room), ["alice", "bob"]);
    }
}

/// Alice's server once gives a list of members without Bob, then the right one: Bob is a member as before.
#[test]
fn a_member_list_that_was_wrong_once_locks_nobody_out() {
    let (mut world, room) = alice_and_bob();
    let (alice, bob) = (world.device("alice"), user("bob", "two.test"));
    let rules = |rule: &str| json!({ "join_rule": rule });
    world.net.post(&alice, &room.0, "m.room.join_rules", Some(""), rules("public"), None);
    world.settle();
    let kept = world.net.servers.get_mut("one.test").unwrap().forget_member(&room.0, &bob).unwrap();
    world.net.post(&alice, &room.0, "m.room.join_rules", Some(""), rules("invite"), None);
    world.settle();
    assert_eq!(world.leaves("alice", &room), ["alice"]);
    world.net.servers.get_mut("one.test").unwrap().recall_member(&room.0, &bob, kept);
    world.net.post(&alice, &room.0, "m.room.join_rules", Some(""), rules("public"), None);
    world.settle();
    for _ in 0..10 {
        world.now += 60_000;
        world.settle();
    }
    assert_eq!(world.leaves("alice", &room), ["alice", "bob"]);
    world.send("alice", &room, "for Bob too");
    world.settle();
    assert!(world.transcript("bob", &room).contains(&"for Bob too".to_owned()));
}

/// Bob's server is gone for good before Carol's ever heard of it. She is silent for some minutes and no longer, says whom
/// she leaves out, and is read.
#[test]
fn a_dead_server_silences_no_newcomer() {
    let mut world = World::new(&["one.test", "two.test", "three.test"]);
    let (bob, carol) = (user("bob", "two.test"), user("carol", "three.test"));
    world.net.cut("two.test", "three.test");
    world.add("alice", &user("alice", "one.test"), Endorsement::Endorsed);
    world.add("bob", &bob, Endorsement::Endorsed);
    world.settle();
    let room = world.create("alice", "!room");
    world.invite("alice", &room, &bob);
    world.settle();
    world.join("bob", &room);
    world.settle();
    world.net.cut("one.test", "two.test");
    world.client("bob").online = false;
    world.add("carol", &carol, Endorsement::Endorsed);
    world.settle();
    // Server three learns the room's state when Carol joins by server one.
    for (number, member) in (0..).zip(world.net.servers["one.test"].members(&room.0)) {
        let who = member["state_key"].as_str().unwrap().to_owned();
        world.net.servers.get_mut("three.test").unwrap().recall_member(&room.0, &who, (number, member));
    }
    world.invite("alice", &room, &carol);
    world.settle();
    world.join("carol", &room);
    world.settle();
    world.send("carol", &room, "hello?");
    world.settle();
    assert!(!world.transcript("alice", &room).contains(&"hello?".to_owned()), "she waits for Bob's server first");
    for _ in 0..10 {
        world.now += 30_000;
        world.settle();
    }
    assert!(world.transcript("alice", &room).contains(&"hello?".to_owned()));
    let told = world.client("carol").remarks.iter().filter(|remark| remark.code == "server_silent").count();
    assert_eq!(told, 1);
}

/// Alice may not send in the room of announcements. She tries less and less often, Bob does what is due, and the rekey that
/// she asked for is done as soon as she may.
#[test]
fn who_may_not_commit_leaves_it_to_those_who_may() {
    let (mut world, room) = alice_and_bob();
    let (alice, carol) = (world.device("alice"), user("carol", "two.test"));
    world.net.muted.insert(alice.user.clone());
    world.update("alice", &room);
    world.add("carol", &carol, Endorsement::Endorsed);
    world.settle();
    world.invite("bob", &room, &carol);
    world.join("carol", &room);
    world.requests.clear();
    for _ in 0..60 {
        world.settle();
        world.now += 54_000;
    }
    let tried =
        world.requests.iter().filter(|request| request.starts_with("alice") && request.contains("commit")).count();
    assert!((1..14).contains(&tried), "{tried} times in an hour: {:?}", world.requests);
    assert_eq!(world.leaves("carol", &room), ["alice", "bob", "carol"]);
    world.net.muted.clear();
    let bob = world.device("bob");
    world.net.post(&bob, &room.0, "m.room.power_levels", Some(""), json!({ "events_default": 0 }), None);
    world.settle();
    let log = world.client("bob").machine.as_mut().unwrap().log(&room).unwrap();
    assert!(log.iter().any(|info| info.creator == alice && info.base.is_some() && info.added.is_empty()));
    world.assert_together(&room, &["alice", "bob", "carol"]);
}
