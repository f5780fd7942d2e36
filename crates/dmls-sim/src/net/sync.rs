//! What a server shows one device: syncs, pages, single events, member lists.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::Device;
use dmls_matrix::RoomId;
use serde_json::{Value, json};

use super::devices::Devices;
use super::event::{Event, MEMBER};
use super::lies::Lies;
use super::numbers::EventNo;
use super::room::{Place, RoomAt};
use super::state;
use crate::trace::Showing;

/// Events of one timeline in a sync.
const TIMELINE: usize = 20;
/// Key algorithm of key packages.
pub(crate) fn algorithm() -> String {
    format!("{}.key_package.{}", dmls_matrix::NAMESPACE, dmls_matrix::SUITE)
}

/// Where a device's sync stands: stream and to-device positions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Since {
    pub(crate) stream: u64,
    pub(crate) letters: u64,
}

impl Since {
    pub(crate) fn parse(token: Option<&str>) -> Self {
        let parts = token.and_then(|token| token.strip_prefix('s')?.split_once('_'));
        let number = |text: &str| text.parse().unwrap_or_default();
        parts.map_or(Self::default(), |(stream, letters)| Self { stream: number(stream), letters: number(letters) })
    }

    pub(crate) fn token(self) -> String {
        format!("s{}_{}", self.stream, self.letters)
    }
}

/// A homeserver.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) stream: u64,
    pub(crate) rooms: BTreeMap<RoomId, RoomAt>,
    /// Invitations into rooms that this server is not in: who, which event, at which position.
    pub(crate) invites: BTreeMap<(RoomId, String), (EventNo, u64)>,
    pub(crate) devices: Devices,
    pub(crate) lies: Lies,
}

/// The raw body of a sync, and its to-device events.
pub(crate) struct Synced {
    pub(crate) body: Value,
    pub(crate) letters: Vec<Value>,
}

impl Server {
    /// Whether a sync from there would bring anything.
    pub(crate) fn has_news(&self, device: &Device, since: Since) -> bool {
        let letters = self.devices.letters.get(device).is_some_and(|letters| letters.has_after(since.letters));
        self.stream > since.stream || letters
    }

    pub(crate) fn sync(&mut self, arena: &[Event], device: &Device, since: Since) -> Synced {
        let (last, letters) = self.devices.letters.entry(device.clone()).or_default().after(since.letters);
        let mut rooms = json!({ "join": {}, "invite": {}, "leave": {} });
        for (id, room) in &self.rooms {
            match state::membership(arena, &room.current, &device.user) {
                "join" => part(arena, room, &mut rooms["join"][&id.0], since.stream, &device.user, true),
                // Who was put out and invited anew since is in both sections.
                _ => part(arena, room, &mut rooms["leave"][&id.0], since.stream, &device.user, false),
            }
        }
        for ((room, user), (_, position)) in &self.invites {
            let came = rooms["join"].get(&room.0).is_some_and(|part| !part.is_null());
            if *user == device.user && *position > since.stream && !came {
                rooms["invite"][&room.0] = json!({ "invite_state": { "events": [] } });
            }
        }
        for section in ["join", "leave"] {
            if let Some(parts) = rooms[section].as_object_mut() {
                parts.retain(|_, part| !part.is_null());
            }
        }
        let next = Since { stream: self.stream, letters: last };
        let keys = self.devices.keys.get(device);
        // As Synapse: a count of zero is absent.
        let count = keys.map_or(0, super::devices::Keys::count);
        let unused = keys.is_some_and(super::devices::Keys::has_unused_fallback);
        let body = json!({
            "next_batch": next.token(),
            "rooms": rooms,
            "device_lists": { "changed": self.changed(arena, &device.user, since.stream), "left": [] },
            "device_one_time_keys_count": if count > 0 { json!({ algorithm(): count }) } else { json!({}) },
            "device_unused_fallback_key_types": if unused { json!([algorithm()]) } else { json!([]) },
        });
        Synced { body, letters }
    }

    /// Users whose devices changed, or with whom a room is newly shared.
    fn changed(&self, arena: &[Event], user: &str, since: u64) -> BTreeSet<String> {
        let mut changed: BTreeSet<&str> = self
            .devices
            .changes
            .iter()
            .filter(|(position, _)| *position > since)
            .map(|(_, user)| user.as_str())
            .collect();
        let mut shared = BTreeSet::from([user]);
        for room in self.rooms.values().filter(|room| state::membership(arena, &room.current, user) == "join") {
            let members: BTreeSet<&str> = state::joined(arena, &room.current).collect();
            let new = room.deltas.iter().filter(|delta| delta.position > since && delta.key.0 == MEMBER);
            let new: BTreeSet<&str> = new.map(|delta| delta.key.1.as_str()).collect();
            // Of a room that this user came into, everybody.
            changed.extend(if new.contains(user) { &members } else { &new });
            shared.extend(members);
        }
        changed.intersection(&shared).map(|user| (*user).to_owned()).collect()
    }

    /// One event, if this user may see it.
    pub(crate) fn event(
        &self,
        arena: &[Event],
        user: &str,
        room: &RoomId,
        id: &str,
        soft_failed: bool,
    ) -> Option<Value> {
        let room = self.rooms.get(room)?;
        let event = arena.iter().find(|event| event.id == id)?;
        let visible = match room.showing.get(&event.number)? {
            Showing::Missing => false,
            Showing::SoftFailed => soft_failed,
            Showing::Live | Showing::Backfilled => {
                let until = end_of(arena, room, user)?;
                room.place_of(event.number).is_some_and(|place| place <= until)
            }
        };
        visible.then(|| shown(arena, event.number))
    }

    /// A page backwards.
    pub(crate) fn page(
        &self,
        arena: &[Event],
        user: &str,
        room: &RoomId,
        from: Option<&str>,
        limit: usize,
    ) -> Option<Value> {
        let room = self.rooms.get(room)?;
        let until = end_of(arena, room, user)?;
        let from = from.and_then(Place::parse);
        let places =
            room.order.iter().rev().filter(|(place, _)| **place <= until && from.is_none_or(|from| **place < from));
        let page: Vec<_> = places.take(limit).collect();
        let chunk: Vec<_> = page.iter().map(|(_, number)| shown(arena, **number)).collect();
        let end = page.last().map(|(place, _)| **place).filter(|end| room.order.keys().next() != Some(end));
        Some(end.map_or_else(|| json!({ "chunk": chunk }), |end| json!({ "chunk": chunk, "end": end.token() })))
    }

    /// The member events of the current state.
    pub(crate) fn members(&self, arena: &[Event], room: &RoomId) -> Vec<Value> {
        let Some(room) = self.rooms.get(room) else { return Vec::new() };
        room.current.iter().filter(|((kind, _), _)| kind == MEMBER).map(|(_, number)| shown(arena, *number)).collect()
    }

    /// The whole current state.
    pub(crate) fn state(&self, arena: &[Event], room: &RoomId) -> Vec<Value> {
        self.rooms
            .get(room)
            .into_iter()
            .flat_map(|room| room.current.values())
            .map(|number| shown(arena, *number))
            .collect()
    }
}

pub(crate) fn shown(arena: &[Event], number: EventNo) -> Value {
    let event = &arena[number.0];
    event.json(event.replaces.and_then(|replaced| arena.get(replaced.0)))
}

/// The last place that a user may see: none after leaving, nothing at all for who never was in the room.
fn end_of(arena: &[Event], room: &RoomAt, user: &str) -> Option<Place> {
    if state::membership(arena, &room.current, user) == "join" {
        return Some(Place { position: u64::MAX, before: usize::MAX });
    }
    let word = |delta: &super::room::Delta| delta.event.and_then(|event| arena[event.0].membership());
    let mine = room.deltas.iter().filter(|delta| delta.key.0 == MEMBER && delta.key.1 == user);
    let joined = mine.clone().any(|delta| word(delta) == Some("join"));
    mine.rev().find(|delta| word(delta) != Some("invite")).filter(|_| joined).map(|delta| Place::live(delta.position))
}

/// One room's part of a sync; left `null` without anything new.
fn part(arena: &[Event], room: &RoomAt, out: &mut Value, since: u64, user: &str, joined: bool) {
    let Some(until) = end_of(arena, room, user).filter(|until| until.position > since) else { return };
    let changed = |delta: &&super::room::Delta| delta.key.0 == MEMBER && delta.key.1 == user && delta.position > since;
    let came = joined && room.deltas.iter().any(|delta| changed(&delta));
    let is_live = |place: &Place| place.before == usize::MAX;
    let Some(newest) = room.order.range(..=until).rev().map(|(place, _)| *place).find(is_live) else { return };
    if newest.position <= since {
        return;
    }
    // A gap ends the timeline; what is before it is there for who pages. The event before which it was found may not have
    // been shown, and none after it yet.
    let gap = room
        .gaps
        .iter()
        .map(|gap| gap.position)
        .filter(|position| (came || *position > since) && *position <= newest.position)
        .max();
    let start = gap.map_or(if came { 0 } else { since }, |gap| gap - 1);
    let live = room.order.range(Place::live(start + 1)..=until);
    let live: Vec<_> = live.filter(|(place, _)| is_live(place)).collect();
    let cut = live.len().saturating_sub(TIMELINE);
    let limited = cut > 0 || came || gap.is_some();
    let timeline = &live[cut..];
    let first = *timeline[0].0;
    let events: BTreeSet<EventNo> = timeline.iter().map(|(_, number)| **number).collect();
    let state: Vec<EventNo> = if came {
        room.state_before(first.position, *timeline[0].1).into_values().collect()
    } else {
        deltas(room, since, if limited { first.position } else { u64::MAX }, &events)
    };
    let show = |number: EventNo| shown(arena, number);
    *out = json!({
        "state": { "events": state.into_iter().map(show).collect::<Vec<_>>() },
        "timeline": {
            "events": timeline.iter().map(|(_, number)| show(**number)).collect::<Vec<_>>(),
            "limited": limited,
            "prev_batch": first.token(),
        },
    });
}

/// The newest state of all keys that changed between two positions, unless the timeline has it.
fn deltas(room: &RoomAt, since: u64, before: u64, timeline: &BTreeSet<EventNo>) -> Vec<EventNo> {
    let mut newest = BTreeMap::new();
    for delta in room.deltas.iter().filter(|delta| delta.position > since && delta.position <= before) {
        newest.insert(&delta.key, delta.event);
    }
    newest.into_values().flatten().filter(|event| !timeline.contains(event)).collect()
}
