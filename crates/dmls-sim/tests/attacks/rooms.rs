//! What attacks on the binding begin with: machines on homeservers in memory.

use dmls_matrix::facts::Endorsement;
use dmls_matrix::request::{Request, Response};
use dmls_matrix::{RoomId, view::MessageRow};
use serde_json::Value;

use crate::binding_world::{World, user};

pub const ONE: &str = "one.test";
pub const TWO: &str = "two.test";

/// Alice on the first server, Bob on the second, together in a room.
pub fn alice_and_bob() -> (World, RoomId) {
    let mut world = World::new(&[ONE, TWO]);
    world.add("alice", &user("alice", ONE), Endorsement::Endorsed);
    world.add("bob", &user("bob", TWO), Endorsement::Endorsed);
    world.settle();
    let room = world.create("alice", "!room");
    bring_in(&mut world, &room, "bob", TWO);
    (world, room)
}

/// `name`, who has a device already, joins the room.
pub fn bring_in(world: &mut World, room: &RoomId, name: &str, server: &str) {
    world.invite("alice", room, &user(name, server));
    world.settle();
    world.join(name, room);
    world.settle();
}

/// The content of the newest encrypted event on a server: of a commit, or of a message.
pub fn newest(world: &World, server: &str, commit: bool) -> Value {
    let events = world.net.servers[server].stream.iter().rev();
    let mut events = events.filter(|(_, event)| event["type"] == "m.room.encrypted");
    events.find(|(_, event)| event["content"].get("group_info").is_some() == commit).unwrap().1["content"].clone()
}

/// How many sealed messages lie on a server.
pub fn sealed_messages(world: &World, server: &str) -> usize {
    let events = world.net.servers[server].stream.iter().map(|(_, event)| event);
    let sealed = events.filter(|event| event["type"] == "m.room.encrypted");
    sealed.filter(|event| event["content"].get("group_info").is_none()).count()
}

/// Carries out requests until the homeserver took one that `fatal` picks: its answer never arrives.
pub fn run_until_crash(world: &mut World, name: &str, fatal: impl Fn(&Request) -> bool) {
    for _ in 0..50 {
        let now = world.now();
        let client = world.client(name);
        let requests = client.machine.as_mut().unwrap().outgoing_requests(now, &mut client.entropy).unwrap();
        for outgoing in requests {
            let answer: Result<Response, _> = world.perform(name, &outgoing.request);
            if fatal(&outgoing.request) {
                return world.reopen(name);
            }
            let client = world.client(name);
            let machine = client.machine.as_mut().unwrap();
            let marked = match answer {
                Ok(response) => machine.mark_request_as_sent(&outgoing.id, response, now, &mut client.entropy),
                Err(failure) => machine.mark_request_as_failed(&outgoing.id, failure, now, &mut client.entropy),
            };
            marked.unwrap();
        }
    }
    panic!("{name} never asked for it");
}

/// A message as a person would see it: its text, if it can be read.
pub fn body(row: &MessageRow) -> Option<&str> {
    row.utd.as_ref().map_or_else(|| row.body(), |_| None)
}
