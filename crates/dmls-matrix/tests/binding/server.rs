//! Homeservers in memory, as far as the binding can tell them from Synapse.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::Device;
use serde_json::{Value, json};

/// Events of one timeline in a sync.
const TIMELINE: usize = 20;

/// One server's view: every event in the order in which it arrived here.
#[derive(Default)]
pub struct Server {
    pub stream: Vec<(String, Value)>,
    /// Current state by room, type and state key: global number of the event, event.
    state: BTreeMap<(String, String, String), (u64, Value)>,
    pub one_time: BTreeMap<Device, BTreeMap<String, String>>,
    pub fallback: BTreeMap<Device, (String, String, bool)>,
    pub to_device: BTreeMap<Device, Vec<Value>>,
    pub changed: BTreeMap<Device, BTreeSet<String>>,
}

/// All servers and the links between them.
#[derive(Default)]
pub struct Federation {
    pub servers: BTreeMap<String, Server>,
    cut: BTreeSet<(String, String)>,
    /// Events that could not be delivered yet.
    backlog: Vec<(String, String, Delivery)>,
    pub media: BTreeMap<String, (String, Vec<u8>)>,
    transactions: BTreeMap<(Device, String), String>,
    counter: u64,
    /// Events kept from the live stream of a server: only paging shows them there.
    pub hidden: BTreeSet<(String, String)>,
    /// Events that never reach a server.
    lost: BTreeSet<(String, String)>,
    /// Types of to-device messages that never arrive.
    pub silent: BTreeSet<String>,
    /// Users who may not send anything.
    pub muted: BTreeSet<String>,
}

#[derive(Clone)]
enum Delivery {
    Event(u64, String, Value),
    ToDevice(Device, Value),
}

fn id_of(event: &Value) -> String {
    event["event_id"].as_str().unwrap().to_owned()
}

pub fn server_of(user: &str) -> String {
    user.split_once(':').map(|(_, server)| server.to_owned()).unwrap()
}

impl Federation {
    pub fn new(names: &[&str]) -> Self {
        let servers = names.iter().map(|name| ((*name).to_owned(), Server::default())).collect();
        Self { servers, ..Self::default() }
    }

    pub fn cut(&mut self, one: &str, other: &str) {
        self.cut.insert((one.to_owned(), other.to_owned()));
        self.cut.insert((other.to_owned(), one.to_owned()));
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        for (from, to, delivery) in std::mem::take(&mut self.backlog) {
            self.deliver(&from, &to, delivery);
        }
    }

    pub fn linked(&self, one: &str, other: &str) -> bool {
        !self.cut.contains(&(one.to_owned(), other.to_owned()))
    }

    fn deliver(&mut self, from: &str, to: &str, delivery: Delivery) {
        if !self.linked(from, to) {
            self.backlog.push((from.to_owned(), to.to_owned(), delivery));
            return;
        }
        let server = self.servers.get_mut(to).unwrap();
        match delivery {
            Delivery::Event(_, _, event) if self.lost.contains(&(to.to_owned(), id_of(&event))) => {}
            Delivery::Event(number, room, event) => server.accept(number, room, event),
            Delivery::ToDevice(_, event) if self.silent.contains(event["type"].as_str().unwrap()) => {}
            Delivery::ToDevice(device, event) => server.to_device.entry(device).or_default().push(event),
        }
    }

    /// This event never reaches this server.
    pub fn lose(&mut self, server: &str, event_id: &str) {
        self.lost.insert((server.to_owned(), event_id.to_owned()));
    }

    /// Posts an event on the sender's server; a transaction id makes it happen once.
    pub fn post(
        &mut self,
        sender: &Device,
        room: &str,
        kind: &str,
        key: Option<&str>,
        content: Value,
        txn: Option<&str>,
    ) -> String {
        if let Some(txn) = txn
            && let Some(event_id) = self.transactions.get(&(sender.clone(), txn.to_owned()))
        {
            return event_id.clone();
        }
        self.counter += 1;
        let event_id = format!("$event{:04}", self.counter);
        let mut event = json!({
            "event_id": event_id, "type": kind, "sender": sender.user,
            "origin_server_ts": 1_000_000 + self.counter, "content": content,
        });
        if let Some(key) = key {
            event["state_key"] = json!(key);
        }
        let home = server_of(&sender.user);
        let names: Vec<_> = self.servers.keys().cloned().collect();
        for name in names {
            self.deliver(&home, &name, Delivery::Event(self.counter, room.to_owned(), event.clone()));
        }
        if let Some(txn) = txn {
            self.transactions.insert((sender.clone(), txn.to_owned()), event_id.clone());
        }
        event_id
    }

    pub fn send_to_device(&mut self, from: &Device, to: &Device, event: Value) {
        self.deliver(&server_of(&from.user), &server_of(&to.user), Delivery::ToDevice(to.clone(), event));
    }

    pub fn is_joined(&self, server: &str, room: &str, user: &str) -> bool {
        self.servers[server].membership(room, user) == "join"
    }

    /// Claims one key; `None` when the server is away or has nothing.
    pub fn claim(&mut self, asker: &Device, device: &Device) -> Option<(String, String)> {
        let home = server_of(&device.user);
        if !self.linked(&server_of(&asker.user), &home) {
            return None;
        }
        let server = self.servers.get_mut(&home)?;
        if let Some(key) = server.one_time.get_mut(device).and_then(BTreeMap::pop_first) {
            return Some(key);
        }
        let (id, value, used) = server.fallback.get_mut(device)?;
        *used = true;
        Some((id.clone(), value.clone()))
    }
}

impl Server {
    fn accept(&mut self, number: u64, room: String, mut event: Value) {
        if let Some(key) = event.get("state_key").and_then(Value::as_str) {
            let place = (room.clone(), event["type"].as_str().unwrap().to_owned(), key.to_owned());
            let old = self.state.get(&place).cloned();
            if let Some((_, old)) = &old {
                event["unsigned"] = json!({ "replaces_state": old["event_id"], "prev_content": old["content"] });
            }
            if old.is_none_or(|(old, _)| old < number) {
                self.state.insert(place, (number, event.clone()));
            }
        }
        self.stream.push((room, event));
    }

    fn membership(&self, room: &str, user: &str) -> &str {
        let place = (room.to_owned(), "m.room.member".to_owned(), user.to_owned());
        self.state.get(&place).and_then(|(_, event)| event["content"]["membership"].as_str()).unwrap_or("leave")
    }

    /// As if state resolution had dropped a user's only member event.
    pub fn forget_member(&mut self, room: &str, user: &str) -> Option<(u64, Value)> {
        self.state.remove(&(room.to_owned(), "m.room.member".to_owned(), user.to_owned()))
    }

    /// What [`Self::forget_member`] gave is the state again, or another server's state is this one's.
    pub fn recall_member(&mut self, room: &str, user: &str, member: (u64, Value)) {
        self.state.insert((room.to_owned(), "m.room.member".to_owned(), user.to_owned()), member);
    }

    pub fn room_state(&self, room: &str) -> Vec<Value> {
        self.state.iter().filter(|((of, _, _), _)| of == room).map(|(_, (_, event))| event.clone()).collect()
    }

    pub fn members(&self, room: &str) -> Vec<Value> {
        self.room_state(room).into_iter().filter(|event| event["type"] == "m.room.member").collect()
    }

    pub fn event(&self, room: &str, event_id: &str) -> Option<Value> {
        self.stream
            .iter()
            .find(|(of, event)| of == room && event["event_id"] == event_id)
            .map(|(_, event)| event.clone())
    }

    /// A page backwards from `from` (an index into the stream).
    pub fn page(&self, room: &str, from: Option<&str>, limit: usize) -> Value {
        let from = from.and_then(|from| from.strip_prefix('p')).and_then(|from| from.parse().ok());
        let from = from.unwrap_or(self.stream.len());
        let mut chunk = Vec::new();
        let mut end = 0;
        for index in (0..from.min(self.stream.len())).rev() {
            if self.stream[index].0 == room {
                chunk.push(self.stream[index].1.clone());
            }
            end = index;
            if chunk.len() == limit {
                break;
            }
        }
        if end == 0 { json!({ "chunk": chunk }) } else { json!({ "chunk": chunk, "end": format!("p{end}") }) }
    }

    /// A raw sync body since `since`, without to-device messages.
    pub fn sync(&mut self, device: &Device, since: usize, algorithm: &str, hidden: &dyn Fn(&str) -> bool) -> Value {
        let mut rooms = json!({ "join": {}, "invite": {}, "leave": {} });
        let touched: BTreeSet<_> =
            self.stream[since.min(self.stream.len())..].iter().map(|(room, _)| room.clone()).collect();
        for room in touched {
            let membership = self.membership(&room, &device.user).to_owned();
            match membership.as_str() {
                "join" | "leave" | "ban" => {
                    let Some(part) = self.room_part(device, &room, since, &membership, hidden) else { continue };
                    rooms[if membership == "join" { "join" } else { "leave" }][&room] = part;
                }
                "invite" => rooms["invite"][&room] = json!({ "invite_state": { "events": [] } }),
                _ => {}
            }
        }
        let keys = self.one_time.get(device).map_or(0, BTreeMap::len);
        // As Synapse: a count of zero is absent.
        let counts = if keys > 0 { json!({ algorithm: keys }) } else { json!({}) };
        let unused = self.fallback.get(device).is_some_and(|(_, _, used)| !used);
        let changed = self.changed.remove(device).unwrap_or_default();
        json!({
            "next_batch": format!("s{}", self.stream.len()),
            "rooms": rooms,
            "device_lists": { "changed": changed, "left": [] },
            "device_one_time_keys_count": counts,
            "device_unused_fallback_key_types": if unused { json!([algorithm]) } else { json!([]) },
        })
    }

    fn room_part(
        &self,
        device: &Device,
        room: &str,
        since: usize,
        membership: &str,
        hidden: &dyn Fn(&str) -> bool,
    ) -> Option<Value> {
        let mine = |event: &Value| event["type"] == "m.room.member" && event["state_key"] == device.user.as_str();
        let all: Vec<_> = self.stream.iter().enumerate().filter(|(_, (of, _))| of == room).collect();
        let joined_at =
            all.iter().rev().find(|(_, (_, event))| mine(event) && event["content"]["membership"] == "join");
        let ever = joined_at.map(|(index, _)| *index)?;
        let new = membership == "join" && ever >= since;
        let start = if new { 0 } else { since };
        let left_at = all.iter().rev().find(|(_, (_, event))| mine(event)).map(|(index, _)| *index).unwrap_or_default();
        let visible = |index: usize| membership == "join" || index <= left_at;
        let timeline: Vec<_> = all
            .iter()
            .filter(|(index, (_, event))| {
                *index >= start && visible(*index) && !hidden(event["event_id"].as_str().unwrap())
            })
            .collect();
        if timeline.is_empty() {
            return None;
        }
        let cut = timeline.len().saturating_sub(TIMELINE);
        let limited = cut > 0 || new;
        let state = if limited { self.room_state(room) } else { Vec::new() };
        let first = timeline[cut].0;
        let events: Vec<_> = timeline[cut..].iter().map(|(_, (_, event))| event.clone()).collect();
        Some(json!({
            "state": { "events": state },
            "timeline": { "events": events, "limited": limited, "prev_batch": format!("p{first}") },
        }))
    }
}
