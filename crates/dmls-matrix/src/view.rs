//! What people are shown: rooms, messages, members. Plain values without secrets beyond the content itself.

use dmls::id::{Device, EpochId, EpochNumber};
use serde_json::Value;

use crate::id::{MessageId, RoomId};

/// This user's membership of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Membership {
    /// Joined.
    Joined,
    /// Invited.
    Invited,
    /// Left, kicked or banned.
    Left,
}

/// How a room is encrypted. Once [`Encryption::Dmls`], always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Encryption {
    /// Not.
    None,
    /// With this protocol.
    Dmls,
    /// With something else.
    Other,
}

/// One room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRow {
    /// The room.
    pub room: RoomId,
    /// `m.room.name`.
    pub name: Option<String>,
    /// This user's membership.
    pub membership: Membership,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// The canonical head that this device would send in.
    pub canonical: Option<EpochId>,
    /// Requests and drafts that have not left yet.
    pub unsent: usize,
    /// Whether an asked-for rekey is still to be done.
    pub update_pending: bool,
    /// Code of the last thing that this device could not do by itself (such as `commit_too_large`).
    pub trouble: Option<String>,
}

/// Number and creator of an epoch that this device entered, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EpochName {
    /// Its number.
    pub number: EpochNumber,
    /// Who made it.
    pub creator: Device,
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Utd {
    /// What is the matter.
    pub code: UtdCode,
    /// A sentence for people.
    pub text: String,
    /// What is being done about it; empty when nothing can be.
    pub doing: String,
    /// The core's or binding's precise reason, when there is one.
    pub reason: Option<String>,
}

/// The stable codes for messages that cannot be read (SPEC §6.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum UtdCode {
    /// Sent before this device was added.
    BeforeJoin,
    /// Sent on a fork that this device was never in.
    NotInEpoch,
    /// Sent after this device was removed.
    Removed,
    /// The commit that makes its epoch has not been found yet.
    WaitingCommit,
    /// This device is in no epoch yet.
    WaitingWelcome,
    /// Its keys are gone, or what it waited for never came.
    BeyondWindow,
    /// MLS refused it, or the hints around it disagree with what was signed.
    Forged,
    /// Not an event of this protocol.
    Malformed,
    /// Made by a newer version.
    UnknownVersion,
    /// Matrix sender, MLS sender and room do not agree.
    RejectedSender,
    /// A copy of a message of the same sender that is listed already.
    Replay,
}

impl UtdCode {
    /// Stable word for JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::BeforeJoin => "before_join",
            Self::NotInEpoch => "not_in_epoch",
            Self::Removed => "removed",
            Self::WaitingCommit => "waiting_commit",
            Self::WaitingWelcome => "waiting_welcome",
            Self::BeyondWindow => "beyond_window",
            Self::Forged => "forged",
            Self::Malformed => "malformed",
            Self::UnknownVersion => "unknown_version",
            Self::RejectedSender => "rejected_sender",
            Self::Replay => "replay",
        }
    }
}

/// One message, one's own or another's.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageRow {
    /// The room event; `None` while an own message has not been accepted by the server.
    pub event_id: Option<String>,
    /// The sender's own name for the message; known for own and opened messages.
    pub message_id: Option<MessageId>,
    /// Matrix user that sent it, by the server's word for unread messages.
    pub sender: String,
    /// The sending device; certain for opened messages, else unknown.
    pub device: Option<Device>,
    /// `origin_server_ts`, or the time of `send` for own messages that have not left.
    pub ts: u64,
    /// Inner event type.
    pub event_type: Option<String>,
    /// Inner content.
    pub content: Option<Value>,
    /// The epoch by name; from the routing hint when the message could not be opened.
    pub epoch: Option<EpochName>,
    /// The epoch.
    pub epoch_id: Option<EpochId>,
    /// The devices that can read it; `None` when not known.
    pub readers: Option<Vec<Device>>,
    /// Why it cannot be read; `None` when it can.
    pub utd: Option<Utd>,
}

impl MessageRow {
    /// `body` of the content, if it is text.
    pub fn body(&self) -> Option<&str> {
        self.content.as_ref()?.get("body")?.as_str()
    }
}

/// One device and how it stands to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// The device.
    pub device: Device,
    /// Whether its user is joined.
    pub in_room: bool,
    /// Whether it has a leaf in the canonical head.
    pub in_head: bool,
    /// Whether its owner vouches for it.
    pub endorsed: bool,
    /// Why it is not endorsed or not in the head yet; empty when all is well.
    pub reason: String,
}

/// An input that was refused or deserves to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// In which room, when that is known.
    pub room: Option<RoomId>,
    /// Which event.
    pub event_id: Option<String>,
    /// Who sent it, by the server's word.
    pub sender: Option<String>,
    /// Stable code.
    pub code: String,
    /// A sentence for people.
    pub text: String,
}

/// What taking something in has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Refused inputs, notices and rooms in trouble.
    pub remarks: Vec<Remark>,
    /// Rooms in which something changed that a reader may see.
    pub changed: Vec<RoomId>,
}
