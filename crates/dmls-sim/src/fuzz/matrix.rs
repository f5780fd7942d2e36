//! The scene of the binding's targets: a device that was away, what its server has for it, and what it then asks.

use std::sync::OnceLock;

use dmls::id::{Device, Timestamp};
use dmls_matrix::facts::{Endorsement, UserDevices};
use dmls_matrix::request::Request;
use dmls_matrix::sync::{SyncInput, ToDeviceEvent};
use dmls_matrix::{Machine, RoomId};
use dmls_store::MemoryStore;
use serde_json::{Value, json};

use super::joins::ExpectFact;
use crate::entropy::Stream;
use crate::net::Since;
use crate::trace::{Name, ServerName};
use crate::world::{Crypto, Options, World};

type Fault = Box<dyn std::error::Error>;

/// What targets begin from.
pub(super) struct Scene {
    pub(super) device: Device,
    /// What the device had stored before it went away.
    pub(super) store: MemoryStore,
    /// Its next sync.
    pub(super) body: Value,
    /// To-device events that come with it, as the host decrypted them.
    pub(super) letters: Vec<Value>,
    /// All events of the room that it has not seen.
    pub(super) events: Vec<Value>,
    /// The devices of others.
    pub(super) devices: Vec<UserDevices>,
    pub(super) now: Timestamp,
}

/// The scene; played once in a process.
#[allow(clippy::expect_used, reason = "the scene is the same every time, and the corpus test plays it")]
pub(super) fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| play().expect("the scene of the binding can be played"))
}

pub(super) fn room() -> RoomId {
    RoomId::from("!fuzz:hs1.test")
}

/// The device as it went away.
pub(super) fn away() -> (Machine<MemoryStore>, Stream) {
    let scene = scene();
    let machine = Machine::open(scene.store.clone(), scene.device.clone()).expect_fact();
    (machine, Stream::new(1, "fuzz"))
}

/// The letters of a sync, from JSON of the scene's form.
pub(super) fn letters(events: &[Value]) -> Vec<ToDeviceEvent> {
    events.iter().filter_map(letter).collect()
}

/// A letter that the host could not verify is one that came in the clear.
fn letter(event: &Value) -> Option<ToDeviceEvent> {
    let plain = ToDeviceEvent::parse_plain(event)?;
    let encrypted = event.get("encrypted").and_then(Value::as_bool).unwrap_or_default();
    let device = event.get("device").and_then(Value::as_str).map(|device| Device::new(plain.sender.clone(), device));
    let sender_device = if encrypted { device } else { None };
    Some(ToDeviceEvent { encrypted, sender_device, ..plain })
}

fn play() -> Result<Scene, Fault> {
    let (hs1, hs2) = (ServerName::from("hs1.test"), ServerName::from("hs2.test"));
    let options = Options { seed: 7, servers: vec![hs1, hs2], crypto: Crypto::Real, soft_failed_by_id: false };
    let (mut world, room) = (World::new(options), room());
    let people = [("a", "@alice:hs1.test"), ("b", "@bob:hs2.test"), ("c", "@carol:hs1.test"), ("d", "@dave:hs2.test")];
    for (name, user) in people {
        world.add(&Name::from(name), user, Endorsement::Endorsed)?;
    }
    world.run_for(2_000)?;
    let [alice, bob, carol, dave] = people.map(|(name, _)| Name::from(name));
    granted(world.create(&alice, &room)?)?;
    for (name, user) in [(&bob, people[1].1), (&carol, people[2].1)] {
        granted(world.invite(&alice, &room, user)?)?;
        world.run_for(2_000)?;
        granted(world.join(name, &room)?)?;
        world.run_for(20_000)?;
    }
    for name in [&alice, &bob, &carol] {
        world.say(name, &room, "before")?;
    }
    world.run_for(20_000)?;

    // Bob does not see what comes now.
    world.client(&bob)?.online = false;
    world.say(&alice, &room, "while you were away")?;
    world.rekey(&carol, &room)?;
    world.run_for(20_000)?;
    granted(world.invite(&alice, &room, people[3].1)?)?;
    world.run_for(2_000)?;
    granted(world.join(&dave, &room)?)?;
    world.run_for(30_000)?;
    world.say(&dave, &room, "hello")?;
    world.say(&carol, &room, "hello, Dave")?;
    world.run_for(20_000)?;
    scene_of(world, &bob)
}

fn granted(word: Result<(), crate::net::Refusal>) -> Result<(), Fault> {
    word.map_err(|refusal| format!("{refusal:?}").into())
}

fn scene_of(mut world: World, who: &Name) -> Result<Scene, Fault> {
    let now = world.now();
    let others: Vec<_> = world.clients().map(|(_, client)| client.facts.clone()).collect();
    let client = world.client(who)?;
    let (device, store, since) = (client.device.clone(), client.journal().clone(), client.since());
    let synced = world.net.sync(&device, since).ok_or("no sync")?;
    let whole = world.net.sync(&device, Since::parse(None)).ok_or("no sync from the beginning")?;
    let events = |body: &Value| {
        let rooms = body["rooms"]["join"].as_object().into_iter().flat_map(|rooms| rooms.values());
        rooms
            .flat_map(|room| [&room["state"], &room["timeline"]])
            .filter_map(|part| part["events"].as_array())
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
    };
    let devices = others.into_iter().map(|facts| UserDevices { user: facts.device.user.clone(), devices: vec![facts] });
    // A real letter of each kind; Bob's own stand for those that others get.
    let mut letters: Vec<Value> = synced.letters.clone();
    letters.extend(whole.letters.iter().cloned());
    let ask = |kind: &str, content: Value| {
        json!({ "sender": "@carol:hs1.test", "device": "C", "type": format!("{}.{kind}", dmls_matrix::NAMESPACE),
            "encrypted": kind.starts_with("merge"), "content": content })
    };
    let (room, epoch) = (room().0, "A".repeat(43));
    letters.push(ask("commit_request", json!({ "room_id": room, "epoch_ids": [epoch], "device_id": "C" })));
    letters
        .push(ask("commit_reply", json!({ "room_id": room, "commits": [{ "ciphertext": "AAEA", "event_id": "$x" }] })));
    letters.push(ask("merge_request", json!({ "room_id": room, "epoch_id": epoch })));
    letters.push(ask("merge_reply", json!({ "room_id": room, "epoch_id": epoch, "value": epoch })));
    let all = events(&synced.body).into_iter().chain(events(&whole.body)).collect();
    Ok(Scene { device, store, letters, events: all, devices: devices.collect(), now, body: synced.body })
}

/// The sync that the device missed.
pub(super) fn missed() -> Option<SyncInput> {
    SyncInput::parse(&scene().body, Vec::new())
}

/// What a server would answer, as far as it is JSON.
pub(super) fn answer(request: &Request) -> Value {
    let scene = scene();
    let events = |wanted: fn(&Value) -> bool| scene.events.iter().filter(move |event| wanted(event)).cloned();
    match request {
        Request::KeyPackagesUpload { one_time, .. } => {
            json!({ "one_time_key_counts": { crate::net::algorithm(): one_time.len() } })
        }
        Request::KeysClaim { algorithm, devices, .. } => {
            let mut keys = json!({});
            for device in devices {
                keys[&device.user][&device.device][format!("{algorithm}:AAAA")] = json!("AAEABQ");
            }
            json!({ "one_time_keys": keys, "failures": {} })
        }
        Request::RoomEvent { txn_id, .. } => json!({ "event_id": format!("${txn_id}") }),
        Request::StateEvent { .. } => json!({ "event_id": "$state" }),
        Request::FetchEvent { event_id, .. } => {
            scene.events.iter().find(|event| event["event_id"] == event_id.as_str()).cloned().unwrap_or_default()
        }
        Request::Messages { .. } => {
            json!({ "chunk": events(|_| true).rev().collect::<Vec<_>>(), "end": "p1", "state": [] })
        }
        Request::Members { .. } => {
            json!({ "chunk": events(|event| event["type"] == "m.room.member").collect::<Vec<_>>() })
        }
        Request::RoomState { .. } => Value::Array(events(|event| event.get("state_key").is_some()).collect()),
        Request::Upload { .. } => json!({ "content_uri": "mxc://hs1.test/fuzz" }),
        _ => json!({}),
    }
}
