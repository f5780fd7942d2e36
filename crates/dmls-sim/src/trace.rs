//! What truly happened in a run: the ground truth that an oracle judges the devices by.
//!
//! Everything here is the world's own knowledge: what servers hold and showed, what was asked of devices, what was done
//! to them. Only [`End`] is the devices' word. A [`Trace`] is the same for the same script, entry for entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dmls::effect::EpochInfo;
use dmls::id::{Device, EpochId, SignatureKey, Timestamp};
use dmls_matrix::view::{MemberRow, MessageRow, Remark, RoomRow};
use dmls_matrix::{MessageId, RoomId};
use serde_json::Value;

/// Names one running copy of a device; a clone has a name of its own beside the same [`Device`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(pub String);

/// Names a homeserver, such as `hs1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerName(pub String);

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ServerName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run, in the order in which it happened, and how it ended.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// What happened, oldest first.
    pub entries: Vec<Entry>,
    /// The end of every copy of a device that ever was, by name; empty until the run is over.
    pub ends: BTreeMap<Name, End>,
    /// What became of every theft, in order; empty until the run is over.
    pub thefts: Vec<Theft>,
}

/// A device's store in a thief's hands, together with everything that was ever posted.
#[derive(Debug, Clone)]
pub struct Theft {
    /// Whose store.
    pub name: Name,
    /// The entry that tells of it.
    pub entry: usize,
    /// The events that the store opens, before and after the theft.
    pub opened: BTreeSet<String>,
    /// Events that the device had read before the theft and that the secrets in the store open once more; only the test
    /// build tries.
    pub reopened: BTreeSet<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When, by the world's clock; devices' clocks may differ.
    pub at: Timestamp,
    /// In which step of the script, from 0.
    pub step: usize,
    /// What.
    pub fact: Fact,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fact {
    /// A device came to be.
    Began {
        /// What it is called.
        name: Name,
        /// Who it is.
        device: Device,
        /// Where its user lives.
        server: ServerName,
        /// Its MLS key.
        key: SignatureKey,
        /// Whether its owner vouches for it.
        endorsed: bool,
    },
    /// A device took a message to be sent: from now on it must not be lost.
    Accepted {
        /// By which copy.
        name: Name,
        /// Into which room.
        room: RoomId,
        /// The sender's name for it.
        message_id: MessageId,
        /// Its text, unique in the run.
        body: String,
    },
    /// A device refused to take a message.
    Refused {
        /// Which.
        name: Name,
        /// The message's text.
        body: String,
        /// Why.
        code: String,
    },
    /// An event entered a room at its sender's server.
    Posted {
        /// Where.
        server: ServerName,
        /// Into which room.
        room: RoomId,
        /// Its id.
        event_id: String,
        /// The device that sent it.
        sender: Device,
        /// The copy of it that did.
        name: Name,
        /// What the library sees in it.
        kind: Kind,
        /// Event type.
        event_type: String,
        /// For state events.
        state_key: Option<String>,
        /// Content.
        content: Value,
    },
    /// An event became known to another server, or known in another way than before.
    Arrived {
        /// Where.
        server: ServerName,
        /// Which.
        event_id: String,
        /// What clients of that server can see of it.
        showing: Showing,
    },
    /// A server's current state of a membership changed, by an event or by state resolution.
    Membership {
        /// Where.
        server: ServerName,
        /// In which room.
        room: RoomId,
        /// Whose.
        user: String,
        /// What it is now: `join`, `invite`, `leave`, `ban`; `leave` without an event if resolution left none.
        membership: String,
        /// The event that says so.
        event_id: Option<String>,
    },
    /// A copy of a device was given an event: by sync, by fetching, in a page.
    Took {
        /// Which copy.
        name: Name,
        /// Which event.
        event_id: String,
    },
    /// What a copy of a device has been shown of who should read now changed.
    ///
    /// Memberships are those of its server's current state at its newest sync (or member list); devices are those that
    /// its server told it of in answer to its newest query about each user.
    Desired {
        /// Which copy.
        name: Name,
        /// In which room.
        room: RoomId,
        /// The endorsed devices of joined users, with their keys.
        devices: BTreeMap<Device, SignatureKey>,
        /// Users whose membership ended.
        left: BTreeSet<String>,
    },
    /// A machine made a remark.
    Told {
        /// Whose.
        name: Name,
        /// The remark.
        remark: Remark,
    },
    /// A copy of a device went offline.
    WentOffline {
        /// Which.
        name: Name,
    },
    /// A copy of a device came online.
    CameOnline {
        /// Which.
        name: Name,
    },
    /// A copy of a device lost everything that it had not stored, and is down.
    Crashed {
        /// Which.
        name: Name,
    },
    /// A copy of a device was started again from its store.
    Restarted {
        /// Which.
        name: Name,
    },
    /// A store took no more writes for a moment; the device went on.
    DiskFull {
        /// Whose.
        name: Name,
    },
    /// A second copy of a device began to live beside it.
    Cloned {
        /// The new copy.
        name: Name,
        /// The copy it was made of.
        from: Name,
    },
    /// A copy of a device's store was laid aside.
    Copied {
        /// Whose.
        name: Name,
    },
    /// A device went back to the store that was laid aside.
    Restored {
        /// Which.
        name: Name,
    },
    /// A thief copied a device's store; the device did not notice.
    Stolen {
        /// Whose.
        name: Name,
        /// The epochs whose secrets were in it.
        held: BTreeSet<EpochId>,
    },
    /// A device uploaded key packages.
    Uploaded {
        /// Which.
        name: Name,
        /// Each as base64 of a KeyPackage.
        packages: Vec<Value>,
    },
    /// A Welcome is on its way.
    WelcomeSent {
        /// To whom.
        to: Device,
        /// The event with its commit.
        commit_event: String,
    },
    /// A Welcome got lost between servers: to-device messages do.
    WelcomeLost {
        /// To whom it was sent.
        to: Device,
        /// The event with its commit.
        commit_event: String,
    },
    /// A malicious device sent a Welcome that does not lead to what its commit makes, and no other is sent.
    FalseWelcome {
        /// To whom.
        to: Device,
        /// The event with its commit.
        commit_event: String,
    },
    /// A device was asked to change its keys.
    Asked {
        /// Which.
        name: Name,
        /// In which room.
        room: RoomId,
    },
    /// Where a copy of a device stands, when a step that takes time is over.
    Stood {
        /// Which.
        name: Name,
        /// In which room.
        room: RoomId,
        /// Hash of the epochs that it knows and of who should read, as it was shown.
        known: [u8; 32],
        /// Heads that it can use.
        usable: BTreeSet<EpochId>,
        /// Where it would send.
        canonical: Option<EpochId>,
    },
    /// A malicious device posted a commit of its own making.
    Forged {
        /// The event.
        event_id: String,
        /// The epoch that it makes.
        epoch: EpochId,
        /// The epoch that it is made on, whatever it says.
        on: EpochId,
    },
    /// An epoch came to be whose commit some of its members cannot process, whatever they do.
    Poisoned {
        /// Which.
        epoch: EpochId,
        /// They.
        devices: Vec<Device>,
    },
    /// A copy of a device sealed something; only the test build tells.
    Sealed {
        /// Which.
        name: Name,
        /// With what.
        seals: Vec<Seal>,
    },
    /// A copy of a device's store was opened beside it.
    Reopened {
        /// Which.
        name: Name,
        /// In what the two differ: tables and keys of records, or words for what is shown.
        differences: Vec<String>,
    },
    /// A device was logged out: its user's server no longer lists it.
    LoggedOut {
        /// Which.
        name: Name,
    },
    /// Two servers lost sight of each other.
    Split {
        /// One of them.
        one: ServerName,
        /// The other.
        other: ServerName,
    },
    /// Two servers see each other again.
    Healed {
        /// One of them.
        one: ServerName,
        /// The other.
        other: ServerName,
    },
}

/// One use of a key to seal something, all by hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The key.
    pub key: [u8; 32],
    /// Key and nonce.
    pub pair: [u8; 32],
    /// SHA-256 of the ciphertext.
    pub ciphertext: [u8; 32],
}

/// What the library sees in a room event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A commit.
    Commit,
    /// A sealed message.
    Message,
    /// Room state.
    State,
    /// Nothing of its own.
    Other,
}

/// What clients of a server can see of an event that the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Showing {
    /// It exists behind a gap: nothing until somebody pages back to it.
    Missing,
    /// It was not allowed by the current state when it came: never in a sync or page.
    SoftFailed,
    /// Paging and fetching show it; no sync does.
    Backfilled,
    /// It stands in the timeline.
    Live,
}

/// How one copy of a device ended.
#[derive(Debug, Clone)]
pub struct End {
    /// Which device.
    pub device: Device,
    /// Where its user lives.
    pub server: ServerName,
    /// Whether it was running and online.
    pub online: bool,
    /// Whether its store is its own and the newest: not a clone, not cloned, never restored.
    pub honest: bool,
    /// Whether it was logged out.
    pub logged_out: bool,
    /// Code of the error with which the machine could not go on, or of a room's trouble.
    pub broken: Option<String>,
    /// Its rooms.
    pub rooms: Vec<RoomRow>,
    /// What it shows of each room that it knows.
    pub views: BTreeMap<RoomId, View>,
}

/// What a device shows of one room.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Messages, oldest first.
    pub messages: Vec<MessageRow>,
    /// Members.
    pub members: Vec<MemberRow>,
    /// All epochs that it knows, parents before children.
    pub log: Vec<EpochInfo>,
    /// The devices with a leaf in each epoch of the log, where it knows them.
    pub readers: BTreeMap<EpochId, Vec<Device>>,
    /// Hashes of the merge exports of held epochs; only the test build tells.
    pub exports: BTreeMap<EpochId, [u8; 32]>,
}

impl Trace {
    /// All that happened of one sort, with when it happened.
    pub fn facts(&self) -> impl Iterator<Item = (Timestamp, &Fact)> {
        self.entries.iter().map(|entry| (entry.at, &entry.fact))
    }
}
