//! The signed copy of routing fields, read without verifying it: to compare hints with.

use crate::effect::EpochRef;
use crate::error::Reason;
use crate::frame::{CommitFrame, CommitSender, MessageFrame};
use crate::id::{EpochId, EpochNumber, GroupId, Sequence};
use crate::wire::{CommitData, MessageData};

/// The fields of a commit that its maker signed; not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitHeader {
    /// The group.
    pub group: GroupId,
    /// The base.
    pub base: EpochRef,
    /// The base's number.
    pub number: EpochNumber,
    /// The resolved heads.
    pub resolves: Vec<EpochRef>,
    /// Whether it is an external commit.
    pub external: bool,
}

/// The authenticated fields of a message; not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHeader {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: EpochId,
    /// The sender's count.
    pub sequence: Sequence,
}

fn group_id(bytes: &[u8]) -> Result<GroupId, Reason> {
    std::str::from_utf8(bytes).map(GroupId::new).map_err(|_| Reason::OtherGroup)
}

/// Reads the signed copy of a commit's routing fields without verifying it.
pub fn inspect_commit(bytes: &[u8]) -> Result<CommitHeader, Reason> {
    let frame = CommitFrame::parse(bytes)?;
    let data = CommitData::parse(frame.authenticated_data)?;
    Ok(CommitHeader {
        group: group_id(frame.group)?,
        base: data.base,
        number: frame.number,
        resolves: data.resolves,
        external: frame.sender == CommitSender::New,
    })
}

/// Reads the authenticated copy of a message's routing fields without verifying it.
pub fn inspect_message(bytes: &[u8]) -> Result<MessageHeader, Reason> {
    let frame = MessageFrame::parse(bytes)?;
    let data = MessageData::parse(frame.authenticated_data)?;
    Ok(MessageHeader { group: group_id(frame.group)?, epoch: data.epoch(), sequence: data.sequence() })
}
