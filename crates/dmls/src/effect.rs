//! What a group gives out: verdicts, notices and what is to be published.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::device::OwnDevice;
use crate::error::Reason;
use crate::id::{Device, EpochId, EpochNumber, LeafIndex, Locator, Sequence, SignatureKey, Timestamp};
use crate::input::BaseProof;
use crate::mls::{Epoch, Showing};
use crate::suite::Suite;

/// What became of one input.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// It counts.
    Applied(Applied),
    /// It waits, on what and until when.
    Deferred {
        /// What is missing.
        on: Missing,
        /// When it is given up.
        until: Timestamp,
    },
    /// It is refused for good.
    Rejected {
        /// Why.
        reason: Reason,
        /// The device to blame, where a signature shows it.
        who: Option<Device>,
    },
    /// Seen before: nothing changed.
    Known,
}

/// An input that counts.
#[derive(Debug)]
#[non_exhaustive]
pub enum Applied {
    /// A fact was taken in.
    Fact,
    /// A commit made this epoch. Also an echo of one's own.
    Commit {
        /// The epoch.
        epoch: EpochId,
    },
    /// A Welcome or external commit brought this device into this epoch.
    Joined {
        /// The epoch.
        epoch: EpochId,
    },
    /// A message was opened.
    Message(Opened),
}

/// An opened message. Who sent it is certain; what the host says of it is to be compared with this.
pub struct Opened {
    /// Its epoch.
    pub epoch: EpochId,
    /// The sender's leaf in that epoch.
    pub leaf: LeafIndex,
    /// The sender.
    pub device: Device,
    /// The sender's signature key in that epoch.
    pub key: SignatureKey,
    /// The suite of that key.
    pub suite: &'static dyn Suite,
    /// The sender's signed count of its messages in this epoch.
    pub sequence: Sequence,
    /// On its first message here: the epoch that it sent in before, and how many messages it sent there.
    pub left: Option<(EpochId, u32)>,
    /// What was sealed.
    pub plaintext: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, leaf, device, key: _, suite: _, sequence, left: _, plaintext: _ } = self;
        write!(f, "Opened({epoch} {device} {leaf:?} {sequence:?})")
    }
}

/// What a deferred input waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// The commit that makes this epoch, found perhaps at the locator.
    Commit {
        /// The epoch.
        epoch: EpochId,
        /// By the sender's word.
        hint: Option<Locator>,
    },
    /// The merge inputs of the commit that makes this epoch.
    MergeValue {
        /// The heads it resolves that this device does not hold.
        resolves: Vec<EpochId>,
    },
    /// What its sender said before it in this epoch: so much is missing that its key is out of reach.
    Earlier {
        /// The epoch.
        epoch: EpochId,
    },
    /// A Welcome: this device is in no epoch yet, or was removed and added anew.
    Welcome,
}

/// The verdict on an input that had waited.
#[derive(Debug)]
pub struct Settled {
    /// Which input.
    pub locator: Option<Locator>,
    /// What became of it.
    pub verdict: Verdict,
}

/// Something that people may want to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// One device made two commits where one is allowed: both are kept, this is the evidence.
    Equivocation {
        /// Who.
        device: Device,
        /// The two epochs.
        epochs: [EpochId; 2],
    },
    /// A commit that this device cannot process, although its maker signed it.
    CannotProcess {
        /// Who made it.
        device: Device,
        /// On which base.
        base: EpochId,
    },
    /// This device was removed by this epoch.
    RemovedHere {
        /// The epoch.
        epoch: EpochId,
    },
    /// A device whose own leaf sent or committed what this device never made: a clone.
    Clone {
        /// Where it was seen.
        epoch: EpochId,
    },
    /// A device asked to be added anew: it could not follow the others. Where it is this device itself, a copy of it did.
    Asked {
        /// Who.
        device: Device,
    },
    /// A device came back by external commit, in place of a leaf that it had: it could not follow the others, or somebody
    /// else has its keys.
    Returned {
        /// Who.
        device: Device,
        /// Where.
        epoch: EpochId,
    },
    /// A sender knows heads that this device does not: something was held back or is late.
    UnknownHeads {
        /// Who.
        device: Device,
        /// How many.
        count: u16,
    },
}

/// Names an epoch together with what is needed to find its commit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EpochRef {
    /// The epoch.
    pub id: EpochId,
    /// Where its commit is; empty when not known.
    pub locator: Locator,
}

/// A commit to be published, with everything that depends on it.
pub struct OutgoingCommit {
    /// The epoch it makes.
    pub epoch: EpochRef,
    /// The epoch it is made on.
    pub base: EpochRef,
    /// The heads it resolves.
    pub resolves: Vec<EpochRef>,
    /// The MLSMessage.
    pub bytes: Vec<u8>,
    /// The new epoch's GroupInfo with ratchet tree, for external commits. Not secret.
    pub group_info: GroupInfo,
    /// Goes to the added devices once the commit has a locator.
    pub welcomes: Vec<OutgoingWelcome>,
}

/// An epoch's GroupInfo with ratchet tree, made when it is asked for: it is far larger than the commit, and signing it
/// takes longer than all else.
#[derive(Clone)]
pub struct GroupInfo {
    showing: Showing,
    own: Arc<OwnDevice>,
}

impl GroupInfo {
    pub(crate) fn of(epoch: &Epoch, own: &Arc<OwnDevice>) -> Self {
        Self { showing: epoch.showing(), own: own.clone() }
    }

    /// The MLSMessage: the same bytes each time.
    pub fn bytes(&self) -> Vec<u8> {
        self.showing.group_info(&self.own.maker(), true)
    }
}

/// A Welcome to be sent to one device after its commit was published.
#[derive(Clone)]
pub struct OutgoingWelcome {
    /// For whom.
    pub to: Device,
    /// The MLSMessage, which is the same for all whom the commit adds.
    pub bytes: Arc<[u8]>,
    /// The base's public transcript.
    pub base: BaseProof,
    /// PSK inputs sealed to the init key.
    pub grant: Vec<u8>,
}

/// A sealed message, to be published as long as [`crate::group::Group::may_release`] says so.
#[derive(Clone)]
pub struct SealedMessage {
    /// The epoch it is sealed in, and where its commit is.
    pub epoch: EpochRef,
    /// The sender's count.
    pub sequence: Sequence,
    /// The MLSMessage.
    pub bytes: Vec<u8>,
}

/// What is to be published now.
#[non_exhaustive]
pub enum Publish {
    /// A commit, into the room.
    Commit(Box<OutgoingCommit>),
    /// An ask to be added anew, into the room.
    Ask {
        /// As [`Input::Ask`](crate::input::Input::Ask) takes it.
        bytes: Vec<u8>,
    },
    /// The merge inputs of an epoch's commit, over an encrypted channel to one device.
    MergeReply {
        /// Who asked.
        to: Device,
        /// The epoch.
        epoch: EpochId,
        /// M, sealed to the newest leaf of that device.
        value: Zeroizing<Vec<u8>>,
    },
    /// Raw commits, to the device that asked.
    CommitReply {
        /// Who asked.
        to: Device,
        /// Commits with the epochs that they make, whose locators tell where they were found.
        commits: Vec<(EpochRef, Vec<u8>)>,
    },
}

/// Everything that follows from one input.
pub struct Outcome {
    /// What became of the input.
    pub verdict: Verdict,
    /// Inputs that had waited for it.
    pub settled: Vec<Settled>,
    /// For people.
    pub notices: Vec<Notice>,
    /// To be published, in this order.
    pub publish: Vec<Publish>,
}

/// Something to fetch or to ask for; asked again until it is no longer listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// The commit that makes this epoch: fetch the locator's event, page backwards, ask members.
    Commit {
        /// The epoch.
        epoch: EpochId,
        /// Where it may be.
        hint: Option<Locator>,
        /// When the first input began to wait for it.
        since: Timestamp,
    },
    /// The merge inputs of the commit that makes this epoch: ask these devices, in this order.
    MergeValue {
        /// The epoch that the waiting commit makes.
        epoch: EpochId,
        /// Who processed it.
        ask: Vec<Device>,
        /// When the commit began to wait.
        since: Timestamp,
    },
    /// Others may have gone on to epochs that this device cannot enter: call [`Group::ask`](crate::group::Group::ask), and
    /// somebody adds it anew (SPEC §5.8).
    Ask {
        /// The epochs, by the transcript.
        epochs: Vec<EpochId>,
        /// Since when the first of them is out of reach.
        since: Timestamp,
    },
}

/// What the group should do, by itself, as a member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// When; `None` when nothing is due.
    pub at: Option<Timestamp>,
    /// Devices of D that the base lacks: claim a key package for each that can be claimed.
    pub add: Vec<Device>,
    /// Devices of D that are to be added by the key packages with which they asked for it.
    pub asked: Vec<Device>,
    /// Members of the base that are not in D, or asked to be added anew.
    pub remove: Vec<Device>,
    /// Heads that a commit made now would resolve.
    pub resolve: Vec<EpochId>,
    /// This device's newest leaf is not in the base: it must update before it speaks.
    pub update: bool,
    /// Milliseconds for which this device lets others go first that may have the same to do.
    pub turn: u64,
}

/// Whether a message may be sealed now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// In this epoch.
    Ready(EpochId),
    /// A commit must come first; claim key packages for these, then carry it out with what could be claimed.
    CommitFirst(Due),
    /// This device is in no epoch.
    NotInGroup,
}

/// One epoch, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its name, and where its commit is.
    pub epoch: EpochRef,
    /// Its number.
    pub number: EpochNumber,
    /// Who made it.
    pub creator: Device,
    /// The epoch its commit was made on.
    pub base: Option<EpochId>,
    /// The heads it resolved.
    pub resolves: Vec<EpochId>,
    /// What made it.
    pub kind: EpochKind,
    /// Devices added by it.
    pub added: Vec<Device>,
    /// Devices removed by it.
    pub removed: Vec<Device>,
    /// Whether this device holds its secrets.
    pub held: bool,
    /// Whether it is a head.
    pub head: bool,
    /// Whether it is the canonical head.
    pub canonical: bool,
    /// Whether its creator equivocated with it.
    pub equivocation: bool,
    /// Whether its maker took this device to be in none of the resolved heads that this device did not hold.
    pub granted: bool,
}

/// What made an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum EpochKind {
    /// The group's first.
    Genesis,
    /// A commit that resolves nothing.
    Commit,
    /// A commit that resolves heads.
    Merge,
    /// An external commit.
    External,
}

impl EpochKind {
    /// Stable word for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Commit => "commit",
            Self::Merge => "merge",
            Self::External => "external",
        }
    }
}
