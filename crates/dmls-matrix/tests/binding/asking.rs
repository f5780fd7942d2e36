//! Who cannot follow the others asks, and is added anew (SPEC §2.10, §5.8).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dmls::effect::EpochKind;
use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;
use dmls_matrix::request::Request;
use serde_json::json;

use crate::world::{World, user};

const ONE: &str = "one.test";
const TWO: &str = "two.test";

/// Alice on one server, Bob and Carol on the other, in a room.
fn three_friends() -> (World, RoomId) {
    let mut world = World::new(&[ONE, TWO]);
    for (name, server) in [("alice", ONE), ("bob", TWO), ("carol", TWO), ("erin", ONE), ("frank", TWO)] {
        world.add(name, &user(name, server), Endorsement::Endorsed);
    }
    world.settle();
    let room = world.create("alice", "!room");
    for name in ["bob", "carol"] {
        world.invite("alice", &room, &user(name, TWO));
        world.join(name, &room);
        world.settle();
    }
    world.assert_together(&room, &["alice", "bob", "carol"]);
    (world, room)
}

/// Time goes on; all devices that are online do what is due.
fn wait(world: &mut World, minutes: u64) {
    for _ in 0..minutes * 6 {
        world.now += 10_000;
        world.settle();
    }
}

/// The newest event of the other server is lost on its way to Alice's: no sync, no paging, no request brings it.
fn lose_newest(world: &mut World) {
    let newest = world.net.servers[TWO].stream.last().unwrap().1["event_id"].clone();
    world.net.lose(ONE, newest.as_str().unwrap());
    world.net.silent = ["commit_reply", "merge_reply"].map(|name| format!("{}.{name}", dmls_matrix::NAMESPACE)).into();
}

/// The servers are cut apart, and the other one's devices commit twice; the first commit will never come to Alice's.
fn lose_a_commit_of_two(world: &mut World, room: &RoomId) {
    world.net.cut(ONE, TWO);
    world.update("bob", room);
    world.settle();
    lose_newest(world);
    world.update("carol", room);
    world.settle();
}

/// Who came in by external commit, as `name` knows it.
fn external_joins(world: &mut World, name: &str, room: &RoomId) -> Vec<String> {
    let log = world.client(name).machine.as_mut().unwrap().log(room).unwrap();
    let external = log.into_iter().filter(|info| info.kind == EpochKind::External);
    external.map(|info| info.creator.device.to_lowercase()).collect()
}

/// Who asked to be added anew, once for each time.
fn asks(world: &World) -> Vec<String> {
    let events = world.net.servers[ONE].stream.iter().map(|(_, event)| event);
    let asks = events.filter(|event| event["content"].get("ask").is_some());
    asks.map(|event| event["sender"].as_str().unwrap().trim_start_matches('@').split(':').next().unwrap().into())
        .collect()
}

fn assert_all_read(world: &mut World, room: &RoomId, names: &[&str]) {
    for name in names {
        world.send(name, room, &format!("{name} is here"));
        world.settle();
    }
    for name in names {
        let read = world.transcript(name, room);
        assert!(names.iter().all(|other| read.contains(&format!("{other} is here"))), "{name}: {read:?}");
    }
}

/// A commit that nobody can give any more, and others on top of it (SPEC §5.8, §6.9).
#[test]
fn a_lost_commit_strands_nobody() {
    let (mut world, room) = three_friends();
    lose_a_commit_of_two(&mut world, &room);
    world.send("bob", &room, "where is Alice?");
    world.settle();
    world.net.heal();
    world.settle();
    assert_ne!(world.head("alice", &room), world.head("bob", &room));
    assert_eq!(asks(&world), Vec::<String>::new(), "at once is too soon");
    wait(&mut world, 10);
    world.assert_together(&room, &["alice", "bob", "carol"]);
    assert_eq!(asks(&world), ["alice"]);
    assert_all_read(&mut world, &room, &["alice", "bob", "carol"]);
    wait(&mut world, 60);
    assert_eq!(asks(&world), ["alice"], "once is enough");
    assert_eq!(
        external_joins(&mut world, "bob", &room),
        Vec::<String>::new(),
        "whoever is in an epoch comes by no other way"
    );
    let told = world.codes("bob");
    assert!(told.contains(&"asked".to_owned()), "the others are told: {told:?}");
}

/// Both sides rekeyed, and the merge cannot be opened: nobody tells the merge value.
#[test]
fn a_merge_value_that_nobody_tells_strands_nobody() {
    for crash in [false, true] {
        let (mut world, room) = three_friends();
        world.net.cut(ONE, TWO);
        world.update("carol", &room);
        world.settle();
        lose_newest(&mut world);
        for _ in 0..3 {
            world.update("alice", &room);
            world.settle();
        }
        world.net.heal();
        world.settle();
        world.update("bob", &room);
        world.settle();
        assert_ne!(world.head("alice", &room), world.head("bob", &room));
        if crash {
            world.reopen("alice");
        }
        wait(&mut world, 10);
        world.assert_together(&room, &["alice", "bob", "carol"]);
        assert_eq!(asks(&world), ["alice"]);
        assert_all_read(&mut world, &room, &["alice", "bob", "carol"]);
    }
}

/// Added on one side only, with nobody of both sides online: each waits for a Welcome, and none joins anew.
#[test]
fn one_sided_members_wait_for_the_others() {
    let (mut world, room) = three_friends();
    world.net.cut(ONE, TWO);
    world.invite("alice", &room, &user("erin", ONE));
    world.join("erin", &room);
    world.settle();
    world.invite("carol", &room, &user("frank", TWO));
    world.join("frank", &room);
    world.settle();
    for (name, text) in [("erin", "one"), ("frank", "two")] {
        world.update(name, &room);
        world.settle();
        world.send(name, &room, text);
        world.settle();
    }
    for name in ["alice", "bob", "carol"] {
        world.client(name).online = false;
    }
    world.net.heal();
    wait(&mut world, 30);
    assert_eq!(asks(&world), Vec::<String>::new());
    for name in ["alice", "bob", "carol"] {
        world.client(name).online = true;
    }
    world.settle();
    world.assert_together(&room, &["alice", "bob", "carol", "erin", "frank"]);
}

/// Erin joins, and the other server's devices add her by a commit that hers never shows; then the servers are cut apart.
/// To-device messages of the `silent` types get lost meanwhile.
fn add_erin_unseen(world: &mut World, room: &RoomId, silent: BTreeSet<String>) {
    world.client("alice").online = false;
    world.client("erin").online = false;
    world.invite("alice", room, &user("erin", ONE));
    world.join("erin", room);
    let newest = world.net.servers[TWO].stream.last().unwrap().1["event_id"].as_str().unwrap().to_owned();
    let next: u32 = newest.trim_start_matches("$event").parse().unwrap();
    world.net.lose(ONE, &format!("$event{:04}", next + 1));
    world.net.silent = silent;
    world.settle();
    world.net.silent.clear();
    assert!(world.leaves("bob", room).contains(&"erin".to_owned()));
    world.net.cut(ONE, TWO);
}

/// Erin is added on both sides; her server never shows one of the commits, whose Welcome she has. A member's copy of the
/// commit opens it, and what was said there meanwhile is read.
#[test]
fn a_welcome_is_opened_with_a_commit_that_only_members_have() {
    let (mut world, room) = three_friends();
    add_erin_unseen(&mut world, &room, BTreeSet::new());
    world.client("alice").online = true;
    world.client("erin").online = true;
    world.settle();
    assert!(world.leaves("alice", &room).contains(&"erin".to_owned()), "added here too");
    world.send("bob", &room, "welcome, Erin");
    world.settle();
    world.net.heal();
    wait(&mut world, 10);
    world.assert_together(&room, &["alice", "bob", "carol", "erin"]);
    assert!(world.transcript("erin", &room).contains(&"welcome, Erin".to_owned()));
    assert_eq!(asks(&world), Vec::<String>::new());
}

/// Bob comes back, and for so many seconds his server answers everything but requests for pages. Whether he sends an event
/// meanwhile.
fn posts_without_pages(world: &mut World, seconds: u64) -> bool {
    world.client("bob").online = true;
    world.sync("bob");
    for _second in 0..seconds {
        let now = world.now();
        let client = world.client("bob");
        let requests = client.machine.as_mut().unwrap().outgoing_requests(now, &mut client.entropy).unwrap();
        for outgoing in requests {
            if matches!(outgoing.request, Request::RoomEvent { .. }) {
                return true;
            }
            if !matches!(outgoing.request, Request::Messages { .. }) {
                let answer = world.perform("bob", &outgoing.request).unwrap();
                let client = world.client("bob");
                let machine = client.machine.as_mut().unwrap();
                machine.mark_request_as_sent(&outgoing.id, answer, now, &mut client.entropy).unwrap();
            }
        }
        world.now += 1_000;
    }
    false
}

/// A server that gives no pages at all holds nobody up for longer than a minute (SPEC §6.10).
#[test]
fn who_cannot_catch_up_speaks_all_the_same() {
    let (mut world, room) = three_friends();
    world.client("bob").online = false;
    for number in 0..60 {
        world.send("alice", &room, &format!("message {number}"));
        world.settle();
    }
    world.send("bob", &room, "I am back");
    assert!(posts_without_pages(&mut world, 70));
}

/// While Bob is away Carol leaves, Alice removes her, and much is said. He has something to say himself; but first he
/// fetches what came, and forks nothing off where the others were when he left (SPEC §6.10).
#[test]
fn who_comes_back_catches_up_before_it_commits() {
    let (mut world, room) = three_friends();
    world.client("bob").online = false;
    world.member("carol", &room.0, &user("carol", TWO), "leave");
    world.settle();
    for number in 0..60 {
        world.send("alice", &room, &format!("message {number}"));
        world.settle();
    }
    world.send("bob", &room, "I am back");
    assert!(!posts_without_pages(&mut world, 30), "nothing leaves yet");
    world.settle();
    world.assert_together(&room, &["alice", "bob"]);
    assert!(world.transcript("alice", &room).contains(&"I am back".to_owned()));
    assert!(world.transcript("bob", &room).contains(&"message 0".to_owned()));
    let log = world.client("alice").machine.as_mut().unwrap().log(&room).unwrap();
    assert!(log.iter().all(|info| info.kind != EpochKind::Merge), "{log:?}");
}

/// Erin has a Welcome, and her server does not show its commit. The very commit opens it if a member serves it, and does
/// not if somebody does who is not in the room (SPEC §6.9).
#[test]
fn what_a_stranger_serves_opens_no_welcome() {
    let (mut world, room) = three_friends();
    add_erin_unseen(&mut world, &room, BTreeSet::new());
    let stream = &world.net.servers[TWO].stream;
    let added = stream.iter().rfind(|(_, event)| event["content"].get("group_info").is_some()).unwrap().1.clone();
    let content = json!({ "room_id": room.0, "commits": [{
        "event_id": added["event_id"], "ciphertext": added["content"]["ciphertext"], "makes": added["content"]["makes"],
    }] });
    let head = world.head("bob", &room);
    for name in ["bob", "carol"] {
        world.client(name).online = false;
    }
    world.client("erin").online = true;
    world.net.heal();
    world.visit("erin");
    for (name, opens) in [("frank", false), ("bob", true)] {
        let (from, to) = (world.device(name), world.device("erin"));
        let event = json!({
            "sender": from.user, "device": from.device, "type": format!("{}.commit_reply", dmls_matrix::NAMESPACE),
            "content": content, "encrypted": true,
        });
        world.net.send_to_device(&from, &to, event);
        world.visit("erin");
        assert_eq!(world.head("erin", &room), head.filter(|_| opens), "served by {name}: {:?}", world.codes("erin"));
    }
}

/// Erin is added on both sides, and one Welcome is lost. The merge is built where she has that leaf: she hears of it,
/// cannot enter it, and does not wait for ever (SPEC §5.8).
#[test]
fn who_was_merged_and_cannot_follow_comes_back() {
    let (mut world, room) = three_friends();
    let silent = ["m.room.encrypted".to_owned()].into();
    add_erin_unseen(&mut world, &room, silent);
    for name in ["bob", "carol", "bob"] {
        world.update(name, &room);
        world.settle();
    }
    world.client("alice").online = true;
    world.client("erin").online = true;
    world.settle();
    world.net.heal();
    wait(&mut world, 1);
    assert_ne!(world.head("erin", &room), world.head("bob", &room));
    assert_eq!(asks(&world), Vec::<String>::new(), "her Welcome has its time");
    wait(&mut world, 10);
    assert_eq!(asks(&world), ["erin"]);
    world.assert_together(&room, &["alice", "bob", "carol", "erin"]);
    assert_all_read(&mut world, &room, &["alice", "bob", "carol", "erin"]);
}

/// Frank is a member, and tells lies of how to come in: other GroupInfos for the newest epoch, and its own for epochs that
/// are higher, and do not exist. Nobody else is there when Erin joins.
#[test]
fn false_entry_points_shut_nobody_out() {
    let (mut world, room) = three_friends();
    world.invite("alice", &room, &user("frank", TWO));
    world.join("frank", &room);
    world.settle();
    let stream = &world.net.servers[TWO].stream;
    let mut commits = stream.iter().map(|(_, event)| &event["content"]);
    let newest = commits.rfind(|content| content.get("group_info").is_some()).unwrap().clone();
    let frank = world.device("frank");
    for number in 0..20_u8 {
        let mut content = newest.clone();
        if number % 2 == 0 {
            content["group_info"]["url"] = json!(format!("mxc://two.test/nothing{number}"));
        } else {
            content["makes"]["id"] = json!(URL_SAFE_NO_PAD.encode([number; 32]));
        }
        world.net.post(&frank, &room.0, "m.room.encrypted", None, content, None);
    }
    for name in ["alice", "bob", "carol", "frank"] {
        world.client(name).online = false;
    }
    world.invite("alice", &room, &user("erin", ONE));
    world.join("erin", &room);
    wait(&mut world, 15);
    assert_eq!(external_joins(&mut world, "erin", &room), ["erin"]);
    for name in ["alice", "bob", "carol"] {
        world.client(name).online = true;
    }
    wait(&mut world, 1);
    assert_eq!(world.head("alice", &room), world.head("erin", &room));
}
