//! Room events, as all servers have them.

use std::sync::Arc;

use dmls_matrix::RoomId;
use serde_json::{Value, json};

use super::numbers::{EventNo, Events};
use crate::trace::{Kind, ServerName};

pub(crate) const MEMBER: &str = "m.room.member";
pub(crate) const CREATE: &str = "m.room.create";
pub(crate) const POWER: &str = "m.room.power_levels";

/// One room event. It never changes; servers differ in whether they have it and how they show it.
pub(crate) struct Event {
    pub(crate) number: EventNo,
    pub(crate) id: String,
    pub(crate) room: RoomId,
    pub(crate) origin: ServerName,
    pub(crate) sender: String,
    pub(crate) ts: u64,
    pub(crate) event_type: String,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Value,
    /// All events that its server had accepted when it was made.
    pub(crate) past: Arc<Events>,
    /// The state event that it replaces in the state before it.
    pub(crate) replaces: Option<EventNo>,
}

impl Event {
    /// What a client is given; `replaced` is the event that it replaces.
    pub(crate) fn json(&self, replaced: Option<&Event>) -> Value {
        let mut event = json!({
            "event_id": self.id, "type": self.event_type, "sender": self.sender, "origin_server_ts": self.ts,
            "content": self.content,
        });
        if let Some(key) = &self.state_key {
            event["state_key"] = json!(key);
        }
        if let Some(replaced) = replaced {
            event["unsigned"] = json!({ "replaces_state": replaced.id, "prev_content": replaced.content });
        }
        event
    }

    /// The membership, if it is a member event.
    pub(crate) fn membership(&self) -> Option<&str> {
        self.content.get("membership").and_then(Value::as_str).filter(|_| self.event_type == MEMBER)
    }

    /// Type and state key, if it is a state event.
    pub(crate) fn key(&self) -> Option<(String, String)> {
        self.state_key.as_ref().map(|key| (self.event_type.clone(), key.clone()))
    }

    /// Whether state resolution takes it before others: it takes power from somebody, or gives it.
    pub(crate) fn is_powerful(&self) -> bool {
        let ends_another =
            matches!(self.membership(), Some("leave" | "ban")) && self.state_key.as_ref() != Some(&self.sender);
        ends_another || self.event_type == POWER || self.event_type == CREATE
    }
}

/// What the library sees in content of this type.
pub(crate) fn kind(event_type: &str, state_key: Option<&str>, content: &Value) -> Kind {
    match (event_type, state_key) {
        (_, Some(_)) => Kind::State,
        ("m.room.encrypted", None) if content.get("group_info").is_some() => Kind::Commit,
        ("m.room.encrypted", None) => Kind::Message,
        _ => Kind::Other,
    }
}
