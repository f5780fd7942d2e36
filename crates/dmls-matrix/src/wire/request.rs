//! Requests between members and their answers, to-device.

use dmls::effect::EpochRef;
use dmls::id::{Device, EpochId, Locator};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Malformed, bytes, epoch, epoch_id, epoch_json, id};
use crate::id::RoomId;
use crate::names::{base64, base64url};

/// Epochs in one request, commits in one answer.
const MAX_ITEMS: usize = 32;
/// Base64 text in one answer: it must fit into one to-device message.
const MAX_REPLY: usize = 50_000;

/// A member lacks commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitRequest {
    pub(crate) room: RoomId,
    pub(crate) epochs: Vec<EpochId>,
    /// The asking device; its user is the event's sender.
    pub(crate) device: String,
}

/// Raw commits with where they were found, and the epochs that they are said to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitReply {
    pub(crate) room: RoomId,
    pub(crate) commits: Vec<ServedCommit>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServedCommit {
    pub(crate) locator: Option<Locator>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) makes: Option<EpochRef>,
}

/// A member lacks the merge inputs of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergeRequest {
    pub(crate) room: RoomId,
    pub(crate) epoch: EpochId,
}

/// The merge inputs of a commit.
pub(crate) struct MergeReply {
    pub(crate) room: RoomId,
    pub(crate) epoch: EpochId,
    pub(crate) value: Zeroizing<Vec<u8>>,
}

const MALFORMED: Malformed = Malformed("malformed");

fn room(content: &Value) -> Result<RoomId, Malformed> {
    id(content, "room_id").map(RoomId::from).ok_or(MALFORMED)
}

impl CommitRequest {
    pub(crate) fn json(&self) -> Value {
        let epochs: Vec<_> = self.epochs.iter().map(|epoch| base64url(&epoch.0)).collect();
        json!({ "room_id": self.room.0, "epoch_ids": epochs, "device_id": self.device })
    }

    pub(crate) fn parse(content: &Value) -> Result<Self, Malformed> {
        let list = content.get("epoch_ids").and_then(Value::as_array).ok_or(MALFORMED)?;
        let epochs: Option<Vec<_>> = list.iter().take(MAX_ITEMS).map(epoch_id).collect();
        let device = id(content, "device_id").ok_or(MALFORMED)?.to_owned();
        Ok(Self { room: room(content)?, epochs: epochs.ok_or(MALFORMED)?, device })
    }
}

impl CommitReply {
    /// As many contents as are needed for every one to fit into a to-device message.
    pub(crate) fn contents(room: &RoomId, commits: &[(EpochRef, Vec<u8>)]) -> Vec<Value> {
        let mut out = Vec::new();
        let (mut batch, mut size) = (Vec::new(), 0);
        for (makes, bytes) in commits {
            let mut item = json!({ "ciphertext": base64(bytes), "makes": epoch_json(makes) });
            if !makes.locator.0.is_empty() {
                item["event_id"] = Value::String(makes.locator.0.clone());
            }
            let more = bytes.len() * 4 / 3 + 900;
            if size + more > MAX_REPLY && !batch.is_empty() {
                out.push(json!({ "room_id": room.0, "commits": std::mem::take(&mut batch) }));
                size = 0;
            }
            size += more;
            batch.push(item);
        }
        if !batch.is_empty() {
            out.push(json!({ "room_id": room.0, "commits": batch }));
        }
        out
    }

    pub(crate) fn parse(content: &Value) -> Result<Self, Malformed> {
        let list = content.get("commits").and_then(Value::as_array).ok_or(MALFORMED)?;
        let one = |item: &Value| {
            let locator = id(item, "event_id").map(|id| Locator(id.to_owned()));
            let makes = item.get("makes").and_then(|value| epoch(value, ""));
            Some(ServedCommit { locator, bytes: bytes(item, "ciphertext")?, makes })
        };
        let commits: Option<Vec<_>> = list.iter().take(MAX_ITEMS).map(one).collect();
        Ok(Self { room: room(content)?, commits: commits.ok_or(Malformed("malformed_base64"))? })
    }
}

impl MergeRequest {
    pub(crate) fn json(&self) -> Value {
        json!({ "room_id": self.room.0, "epoch_id": base64url(&self.epoch.0) })
    }

    pub(crate) fn parse(content: &Value) -> Result<Self, Malformed> {
        let epoch = content.get("epoch_id").and_then(epoch_id).ok_or(MALFORMED)?;
        Ok(Self { room: room(content)?, epoch })
    }
}

impl MergeReply {
    pub(crate) fn json(&self) -> Value {
        json!({ "room_id": self.room.0, "epoch_id": base64url(&self.epoch.0), "value": base64(&self.value) })
    }

    pub(crate) fn parse(content: &Value) -> Result<Self, Malformed> {
        let MergeRequest { room, epoch } = MergeRequest::parse(content)?;
        let value = Zeroizing::new(bytes(content, "value").ok_or(Malformed("malformed_base64"))?);
        Ok(Self { room, epoch, value })
    }
}

/// Who asks: the event's sender with the device that the request names.
pub(crate) fn asker(sender: &str, request: &CommitRequest) -> Device {
    Device::new(sender, request.device.clone())
}
