//! What a `/sync` answer brings, in own types.

use std::collections::BTreeMap;

use dmls::id::Device;
use serde_json::Value;

use crate::id::RoomId;

/// One `/sync` answer.
#[derive(Debug, Clone, Default)]
pub struct SyncInput {
    /// The position to go on from; stored last.
    pub next_batch: String,
    /// To-device events, decrypted by the host where they were encrypted.
    pub to_device: Vec<ToDeviceEvent>,
    /// `device_lists.changed`.
    pub changed_devices: Vec<String>,
    /// `device_lists.left`.
    pub left: Vec<String>,
    /// `device_one_time_keys_count`. An algorithm that is absent has none.
    pub one_time_key_counts: Option<BTreeMap<String, u64>>,
    /// `device_unused_fallback_key_types`.
    pub unused_fallback: Option<Vec<String>>,
    /// Rooms with something new, in the order in which they are taken in: a room that was left and to which this user was
    /// invited anew stands in two sections.
    pub rooms: Vec<(RoomId, RoomInput)>,
}

/// One to-device event.
#[derive(Debug, Clone)]
pub struct ToDeviceEvent {
    /// Matrix user that sent it: the server's word, or Olm's for encrypted events.
    pub sender: String,
    /// The cross-signed device that sent it, when it came encrypted and this was verified.
    pub sender_device: Option<Device>,
    /// Whether it came through Olm.
    pub encrypted: bool,
    /// Event type, inside the encryption.
    pub event_type: String,
    /// Content, inside the encryption.
    pub content: Value,
}

/// One room's part of a `/sync` answer.
#[derive(Debug, Clone)]
pub struct RoomInput {
    /// In which section it stood.
    pub section: Section,
    /// State before the timeline; for invites the stripped state.
    pub state: Vec<Value>,
    /// Raw timeline events, oldest first.
    pub timeline: Vec<Value>,
    /// Whether events between the last sync and this timeline are missing.
    pub limited: bool,
    /// Where to page backwards from.
    pub prev_batch: Option<String>,
}

/// The sections of `rooms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `join`.
    Join,
    /// `invite`.
    Invite,
    /// `leave`.
    Leave,
}

impl SyncInput {
    /// Reads a raw `/sync` body; `to_device` are its to-device events as the host decrypted them.
    ///
    /// Parts of a wrong type count as absent: a server can always leave them out. `None` without `next_batch`.
    pub fn parse(body: &Value, to_device: Vec<ToDeviceEvent>) -> Option<Self> {
        Some(Self {
            next_batch: body.get("next_batch")?.as_str()?.to_owned(),
            to_device,
            changed_devices: strings(body.pointer("/device_lists/changed")),
            left: strings(body.pointer("/device_lists/left")),
            one_time_key_counts: Some(counts(body.get("device_one_time_keys_count"))),
            unused_fallback: body.get("device_unused_fallback_key_types").map(|types| strings(Some(types))),
            rooms: rooms(body),
        })
    }
}

impl ToDeviceEvent {
    /// Reads a raw to-device event that was not encrypted.
    pub fn parse_plain(event: &Value) -> Option<Self> {
        Some(Self {
            sender: event.get("sender")?.as_str()?.to_owned(),
            sender_device: None,
            encrypted: false,
            event_type: event.get("type")?.as_str()?.to_owned(),
            content: event.get("content")?.clone(),
        })
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn counts(value: Option<&Value>) -> BTreeMap<String, u64> {
    let Some(map) = value.and_then(Value::as_object) else { return BTreeMap::new() };
    map.iter().filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
}

fn rooms(body: &Value) -> Vec<(RoomId, RoomInput)> {
    let sections = [("leave", Section::Leave), ("invite", Section::Invite), ("join", Section::Join)];
    let mut out = Vec::new();
    for (name, section) in sections {
        let Some(map) = body.get("rooms").and_then(|rooms| rooms.get(name)).and_then(Value::as_object) else {
            continue;
        };
        for (room, value) in map {
            out.push((RoomId(room.clone()), room_input(section, value)));
        }
    }
    out
}

fn room_input(section: Section, value: &Value) -> RoomInput {
    let events = |part: &str| value.pointer(part).and_then(Value::as_array).cloned().unwrap_or_default();
    let state = if section == Section::Invite { events("/invite_state/events") } else { events("/state/events") };
    RoomInput {
        section,
        state,
        timeline: events("/timeline/events"),
        limited: value.pointer("/timeline/limited").and_then(Value::as_bool).unwrap_or(false),
        prev_batch: value.pointer("/timeline/prev_batch").and_then(Value::as_str).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Section, SyncInput};

    #[test]
    fn a_room_that_was_left_and_invites_anew_is_in_two_sections() {
        let body = json!({ "next_batch": "s1", "rooms": {
            "invite": { "!room": { "invite_state": { "events": [{ "type": "m.room.name" }] } } },
            "leave": { "!room": { "timeline": { "events": [{ "type": "m.room.encrypted" }], "limited": true } } },
        } });
        let input = SyncInput::parse(&body, Vec::new());
        let rooms = input.map(|input| input.rooms).unwrap_or_default();
        let told: Vec<_> =
            rooms.iter().map(|(_, room)| (room.section, room.state.len(), room.timeline.len(), room.limited)).collect();
        assert_eq!(told, [(Section::Leave, 0, 1, true), (Section::Invite, 1, 0, false)]);
    }
}
