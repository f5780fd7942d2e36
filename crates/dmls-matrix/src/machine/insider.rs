//! What a malicious member reads out of its own machine, and the contents it posts. Only in the test build.

use std::sync::Arc;

use dmls::device::OwnDevice;
use dmls::effect::{EpochRef, OutgoingCommit, OutgoingWelcome};
use dmls::group::Group;
use dmls::id::EpochId;
use dmls::journal::Journal;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Machine;
use crate::id::RoomId;
use crate::wire::request::{CommitReply, MergeReply};
use crate::wire::{room, welcome};

impl<J: Journal> Machine<J> {
    /// The core's group of a room that this device knows.
    pub fn insider(&mut self, room: &RoomId) -> Option<&Group> {
        self.known_room(room).ok()?.map(|room| &room.group)
    }

    /// This device's keys.
    pub fn insider_keys(&self) -> Option<Arc<OwnDevice>> {
        self.account.own.clone()
    }
}

/// Content of a commit whose GroupInfo lies at `url`, with honest hints.
pub fn commit_content(commit: &OutgoingCommit, url: &str, sha256: [u8; 32]) -> Value {
    let group_info = room::Media { url: url.to_owned(), sha256 };
    room::commit_content(&commit.bytes, &commit.base, &commit.resolves, &commit.epoch, Some(&group_info))
}

/// Content of a message.
pub fn message_content(bytes: &[u8], epoch: &EpochRef) -> Value {
    room::message_content(bytes, epoch)
}

/// Content of a Welcome whose commit is the event `commit_event`.
pub fn welcome_content(id: &RoomId, commit_event: &str, epoch: &EpochId, welcome: &OutgoingWelcome) -> Value {
    let body = welcome::Carrier::Inline(&welcome.bytes);
    welcome::content(id, commit_event, epoch, &welcome.base, &welcome.grant, body)
}

/// Type and contents of an answer with these commits, each with the epoch that it is said to make, and where.
pub fn commit_reply(id: &RoomId, commits: &[(EpochRef, Vec<u8>)]) -> (String, Vec<Value>) {
    (crate::names::commit_reply(), CommitReply::contents(id, commits))
}

/// Type and content of an answer with this M.
pub fn merge_reply(id: &RoomId, epoch: EpochId, value: &[u8]) -> (String, Value) {
    let reply = MergeReply { room: id.clone(), epoch, value: Zeroizing::new(value.to_vec()) };
    (crate::names::merge_reply(), reply.json())
}

/// The epoch that a commit's content says it makes.
pub fn made_by(content: &Value) -> Option<EpochRef> {
    crate::wire::epoch(content.get("makes")?, "")
}
