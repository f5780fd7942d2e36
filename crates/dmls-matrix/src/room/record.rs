//! The stored form of what a room remembers.

use std::collections::{BTreeMap, BTreeSet};

use dmls::effect::EpochRef;
use dmls::id::{Device, EpochId, EpochNumber, Timestamp};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::id::MessageId;
use crate::view::{Encryption, EpochName, Membership, UtdCode};
use crate::wire::room::Media;

/// One room's facts: what changes seldom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RoomRecord {
    pub(crate) membership: Membership,
    pub(crate) encryption: Encryption,
    pub(crate) name: Option<String>,
    /// Since when this device waits to be in the group, as a joined member.
    pub(crate) waiting_since: Option<Timestamp>,
    /// A gap in the timeline that is being filled.
    pub(crate) gap: Option<Gap>,
    /// What lies before the first sync of a room that came when this device was away, as far as nobody paged there.
    #[serde(default)]
    pub(crate) beginning: Option<Gap>,
    /// Commits that this device was welcomed with and that no sync and no page has shown yet.
    #[serde(default)]
    pub(crate) unseen: BTreeSet<String>,
    /// The list of members may be wrong: ask for it.
    pub(crate) members_stale: bool,
    /// Messages kept that could not be read, by sender.
    pub(crate) unread: BTreeMap<String, u32>,
    /// Code of the last thing that could not be done.
    pub(crate) trouble: Option<String>,
}

impl Default for RoomRecord {
    fn default() -> Self {
        Self {
            membership: Membership::Left,
            encryption: Encryption::None,
            name: None,
            waiting_since: None,
            gap: None,
            beginning: None,
            unseen: BTreeSet::new(),
            members_stale: false,
            unread: BTreeMap::new(),
            trouble: None,
        }
    }
}

/// What moves on with every message and commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Marks {
    /// Next number in the outbox.
    pub(crate) next_item: u64,
    /// Next major place of messages.
    pub(crate) next_major: u64,
    /// The newest timeline event that was taken in.
    pub(crate) newest_event: Option<String>,
    /// A rekey was asked for.
    pub(crate) update_wanted: bool,
}

impl Default for Marks {
    fn default() -> Self {
        Self { next_item: 0, next_major: 1, newest_event: None, update_wanted: false }
    }
}

/// An epoch that can be joined by external commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryPoint {
    pub(crate) epoch: EpochRef,
    /// Its number, as its commit says.
    pub(crate) number: EpochNumber,
    pub(crate) group_info: Media,
    /// Who posted it.
    pub(crate) from: String,
}

impl EntryPoint {
    /// What is given up if it is of no use: the same GroupInfo under another epoch, or another under the same, may be.
    pub(crate) fn name(&self) -> (EpochId, Media) {
        (self.epoch.id, self.group_info.clone())
    }
}

/// Events that a sync left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// Where to page on from.
    pub(crate) from: String,
    /// The place before which the missing messages belong.
    pub(crate) before: Place,
    /// Paging ends at this event; without one, once all commits were seen that this device was welcomed with.
    pub(crate) until: Option<String>,
    pub(crate) pages_left: u16,
}

/// Messages opened of one sender in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) epoch: EpochId,
    pub(crate) device: Device,
    /// One more than the highest sequence number.
    pub(crate) sent: u32,
    pub(crate) opened: u32,
}

impl Tally {
    /// So many were sent, and so many more were opened.
    pub(crate) fn count(&mut self, sent: u32, opened: u32) {
        self.sent = self.sent.max(sent);
        self.opened = self.opened.saturating_add(opened);
    }

    pub(crate) fn is_incomplete(&self) -> bool {
        self.sent > self.opened
    }
}

/// Where a message stands in the room's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    /// One for each batch of live events and each own message.
    pub(crate) major: u64,
    /// Inside the batch; between two live events there is room for others that are found later.
    pub(crate) minor: u64,
}

impl Place {
    /// The first minor place of a batch: far from zero, so that older events fit before it.
    pub(crate) const FIRST: u64 = 1 << 48;
    /// Distance of two live events.
    pub(crate) const STEP: u64 = 1 << 20;

    pub(crate) fn key(self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.major.to_be_bytes());
        key[8..].copy_from_slice(&self.minor.to_be_bytes());
        key
    }

    pub(crate) fn just_before(self) -> Self {
        Self { minor: self.minor.saturating_sub(1), ..self }
    }
}

/// One member event's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Whether joined now.
    pub(crate) joined: bool,
    /// The newest member event.
    pub(crate) event: String,
    /// The join that started the current membership; a change of profile does not move it.
    pub(crate) since: String,
}

/// One message of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowRecord {
    pub(crate) event_id: Option<String>,
    pub(crate) sender: String,
    pub(crate) ts: u64,
    pub(crate) epoch_id: Option<EpochId>,
    pub(crate) epoch: Option<EpochName>,
    /// Whether it stands where the room's timeline has it; an own message waits for its echo.
    pub(crate) in_order: bool,
    /// While it waits: how its ciphertext is found.
    #[serde(default)]
    pub(crate) ciphertext: Option<ByteBuf>,
    /// Of an own message: everything that it was sealed as, newest last.
    #[serde(default)]
    pub(crate) sealed: Vec<SealedAs>,
    pub(crate) state: RowState,
}

/// One ciphertext of an own message: what may no longer leave is sealed anew, and may have left all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedAs {
    /// How it is found.
    pub(crate) key: ByteBuf,
    /// The event that it is in the room.
    pub(crate) event: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RowState {
    /// Readable: one's own, or opened and checked.
    Readable {
        device: Device,
        message_id: MessageId,
        event_type: String,
        /// JSON text.
        content: String,
    },
    /// Waits in the core.
    Waiting,
    /// Refused; the reason's code.
    Refused { code: UtdCode, reason: String },
}

/// What an event says of an epoch; nobody vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hearsay {
    pub(crate) base: EpochRef,
    /// The base's number.
    pub(crate) number: EpochNumber,
    pub(crate) resolves: Vec<EpochId>,
    pub(crate) event: String,
    pub(crate) sender: String,
}

/// A search for the commit that makes an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Search {
    pub(crate) stage: Stage,
    /// Rounds through all stages so far.
    pub(crate) rounds: u32,
    /// Nothing happens before this.
    pub(crate) next: Timestamp,
    /// Events that are said to be the commit.
    pub(crate) hints: Vec<String>,
    /// Those of them that were fetched in vain in this stage.
    pub(crate) tried: Vec<String>,
}

impl Search {
    /// The next event to fetch.
    pub(crate) fn hint(&self) -> Option<&String> {
        self.hints.iter().find(|hint| !self.tried.contains(hint))
    }

    /// Goes on with another stage.
    pub(crate) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.tried.clear();
    }
}

/// The ways to a commit, in order (SPEC §6.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// `/event/{commit_event}`.
    Fetch,
    /// `/messages` backwards.
    Page,
    /// Once more, because paging made the server fetch what it lacked.
    FetchAgain,
    /// Ask members.
    Ask,
}
