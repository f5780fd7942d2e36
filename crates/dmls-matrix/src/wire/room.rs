//! Encrypted room events: messages and commits (SPEC §6.5).

use dmls::effect::EpochRef;
use dmls::group::{inspect_commit, inspect_message};
use dmls::id::{EpochNumber, Locator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Malformed, bytes, epoch, epoch_json, id, text};
use crate::id::RoomId;
use crate::names::{base64, room_algorithm};

/// Heads that a commit may resolve; more do not fit into an event.
const MAX_RESOLVES: usize = 256;

/// A raw room event's outer fields.
#[derive(Debug, Clone)]
pub(crate) struct RawEvent<'a> {
    pub(crate) event_id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) ts: u64,
    pub(crate) state_key: Option<&'a str>,
    pub(crate) content: &'a Value,
    pub(crate) unsigned: Option<&'a Value>,
}

impl<'a> RawEvent<'a> {
    /// Reads the fields that every event has.
    pub(crate) fn parse(event: &'a Value) -> Option<Self> {
        Some(Self {
            event_id: id(event, "event_id")?,
            event_type: text(event, "type")?,
            sender: id(event, "sender")?,
            ts: event.get("origin_server_ts").and_then(Value::as_u64).unwrap_or_default(),
            state_key: text(event, "state_key"),
            content: event.get("content")?,
            unsigned: event.get("unsigned"),
        })
    }
}

/// What an encrypted event holds. Nothing of it is verified, but hints and signed copy agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sealed {
    Message(MessageContent),
    Commit(CommitContent),
    /// A device asks to be added anew.
    Ask(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageContent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) epoch: EpochRef,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitContent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) base: EpochRef,
    /// The base's number.
    pub(crate) number: EpochNumber,
    pub(crate) resolves: Vec<EpochRef>,
    /// The epoch that it is said to make.
    pub(crate) makes: Option<EpochRef>,
    pub(crate) group_info: Option<Media>,
}

impl CommitContent {
    /// A commit that somebody served, with the epoch that it is said to make; `None` if it is none of this room.
    pub(crate) fn said(room: &RoomId, bytes: &[u8], makes: EpochRef) -> Option<Self> {
        let header = inspect_commit(bytes).ok().filter(|header| header.group.as_str() == room.0)?;
        let (base, number, resolves) = (header.base, header.number, header.resolves);
        Some(Self { bytes: Vec::new(), base, number, resolves, makes: Some(makes), group_info: None })
    }
}

/// Something in the media repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Media {
    pub(crate) url: String,
    #[serde(with = "serde_bytes")]
    pub(crate) sha256: [u8; 32],
}

impl Media {
    /// Tells it from others in a few letters, whatever its address holds.
    pub(crate) fn digest(&self) -> String {
        base64(&Sha256::new().chain_update(self.sha256).chain_update(&self.url).finalize())
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "url": self.url, "sha256": base64(&self.sha256) })
    }

    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let url = id(value, "url").filter(|url| url.starts_with("mxc://"))?;
        Some(Self { url: url.to_owned(), sha256: bytes(value, "sha256")?.try_into().ok()? })
    }
}

/// Why an encrypted event is refused before any cryptography: a code, and the epoch if it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) epoch: Option<Box<EpochRef>>,
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self { code: malformed.0, epoch: None }
    }
}

/// Whether this room event is one of ours at all.
pub(crate) fn is_ours(content: &Value) -> bool {
    text(content, "algorithm") == Some(&room_algorithm())
}

/// Reads an encrypted event and compares its hints with the signed copy.
pub(crate) fn parse(room: &RoomId, content: &Value) -> Result<Sealed, Refused> {
    if content.get("ask").is_some() {
        return Ok(Sealed::Ask(bytes(content, "ask").ok_or(Malformed("malformed_base64"))?));
    }
    let bytes = bytes(content, "ciphertext").ok_or(Malformed("malformed_base64"))?;
    let locator = id(content, "commit_event").unwrap_or_default();
    let hint = content.get("epoch").and_then(|value| epoch(value, locator)).ok_or(Malformed("malformed_hints"))?;
    // MLSMessage: version, then wire format (RFC 9420 §6).
    match bytes.get(..4) {
        Some([0, 1, 0, 1]) => commit(room, content, bytes, hint),
        Some([0, 1, 0, 2]) => message(room, bytes, hint),
        Some([0, 1, 0, 3..=5]) => Err(Refused { code: "wrong_kind", epoch: Some(hint.into()) }),
        _ => Err(Refused { code: "malformed", epoch: Some(hint.into()) }),
    }
}

fn message(room: &RoomId, bytes: Vec<u8>, hint: EpochRef) -> Result<Sealed, Refused> {
    let refuse = |code| Refused { code, epoch: Some(hint.clone().into()) };
    let header = inspect_message(&bytes).map_err(|reason| refuse(reason.code()))?;
    if header.group.as_str() != room.0 {
        return Err(refuse("other_group"));
    }
    if header.epoch != hint.id {
        return Err(refuse("mismatch"));
    }
    Ok(Sealed::Message(MessageContent { bytes, epoch: hint }))
}

fn commit(room: &RoomId, content: &Value, bytes: Vec<u8>, hint: EpochRef) -> Result<Sealed, Refused> {
    let refuse = |code| Refused { code, epoch: Some(hint.clone().into()) };
    let header = inspect_commit(&bytes).map_err(|reason| refuse(reason.code()))?;
    if header.group.as_str() != room.0 {
        return Err(refuse("other_group"));
    }
    let resolves = resolves(content).map_err(|_| refuse("malformed_hints"))?;
    if header.base != hint || header.resolves != resolves {
        return Err(refuse("mismatch"));
    }
    let makes = content.get("makes").and_then(|value| epoch(value, ""));
    let group_info = content.get("group_info").and_then(Media::parse);
    Ok(Sealed::Commit(CommitContent { bytes, base: hint, number: header.number, resolves, makes, group_info }))
}

fn resolves(content: &Value) -> Result<Vec<EpochRef>, Malformed> {
    let list = match content.get("resolves") {
        None => return Ok(Vec::new()),
        Some(value) => value.as_array().ok_or(Malformed("malformed_hints"))?,
    };
    if list.len() > MAX_RESOLVES {
        return Err(Malformed("malformed_hints"));
    }
    let one = |value: &Value| epoch(value, id(value, "commit_event").unwrap_or_default());
    list.iter().map(|value| one(value).ok_or(Malformed("malformed_hints"))).collect()
}

/// Content of a message.
pub(crate) fn message_content(bytes: &[u8], epoch: &EpochRef) -> Value {
    let mut content = json!({
        "algorithm": room_algorithm(),
        "ciphertext": base64(bytes),
        "epoch": epoch_json(epoch),
    });
    set_locator(&mut content, &epoch.locator);
    content
}

/// Content of a commit: `epoch` is its base, as in the signed copy; `makes` is what comes of it. Without a GroupInfo it
/// is no entry point.
pub(crate) fn commit_content(
    bytes: &[u8],
    base: &EpochRef,
    resolves: &[EpochRef],
    makes: &EpochRef,
    group_info: Option<&Media>,
) -> Value {
    let resolve = |head: &EpochRef| {
        let mut value = epoch_json(head);
        set_locator(&mut value, &head.locator);
        value
    };
    let mut content = json!({
        "algorithm": room_algorithm(),
        "ciphertext": base64(bytes),
        "epoch": epoch_json(base),
        "resolves": resolves.iter().map(resolve).collect::<Vec<_>>(),
        "makes": epoch_json(makes),
    });
    set_locator(&mut content, &base.locator);
    if let (Some(map), Some(group_info)) = (content.as_object_mut(), group_info) {
        map.insert("group_info".to_owned(), group_info.json());
    }
    content
}

/// Content of an ask.
pub(crate) fn ask_content(bytes: &[u8]) -> Value {
    json!({ "algorithm": room_algorithm(), "ask": base64(bytes) })
}

fn set_locator(content: &mut Value, locator: &Locator) {
    if let Some(map) = content.as_object_mut().filter(|_| !locator.0.is_empty()) {
        map.insert("commit_event".to_owned(), Value::String(locator.0.clone()));
    }
}
