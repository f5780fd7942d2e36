//! The facade: one group, as one device sees it.

use std::sync::Arc;

use crate::device::OwnDevice;
use crate::effect::{Due, EpochInfo, EpochRef, Need, Outcome, Readiness, SealedMessage};
use crate::entropy::Entropy;
use crate::error::{GroupError, LoadError, Reason};
use crate::id::{Device, EpochId, GroupId, LeafIndex, Sequence, SignatureKey, Timestamp};
use crate::input::{Input, Welcome};
use crate::journal::{Durable, Records};
use crate::package::KeyPackages;

/// Parameters, with the defaults of SPEC §5.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of MLSMessage that fit into one published commit.
    pub commit_limit: usize,
}

/// Claimed key packages and wishes that go into one commit, together with all else that is due.
#[derive(Default)]
pub struct Orders {
    /// Key packages (MLSMessage bytes) that could be claimed for devices of [`Due::add`].
    pub packages: Vec<(Device, Vec<u8>)>,
    /// Commit even if nothing is due: a rekey.
    pub update: bool,
}

/// What a message's maker may know and sign while it is being sealed.
pub struct SealContext<'a> {
    /// The epoch it will be sealed in.
    pub epoch: EpochId,
    /// This device's leaf.
    pub leaf: LeafIndex,
    /// This device's count in the epoch.
    pub sequence: Sequence,
    pub(crate) own: &'a OwnDevice,
}

impl SealContext<'_> {
    /// Signs (EpochId, leaf, sequence, content), so that restored history can be verified (SPEC §6).
    pub fn sign(&self, _content: &[u8]) -> [u8; 64] {
        let _ = self.own;
        [0; 64]
    }
}

/// Checks what [`SealContext::sign`] made.
pub fn verify_content(
    _key: &SignatureKey,
    _epoch: &EpochId,
    _leaf: LeafIndex,
    _sequence: Sequence,
    _content: &[u8],
    _signature: &[u8; 64],
) -> bool {
    false
}

/// The fields of a commit that its maker signed; not verified yet.
pub struct CommitHeader {
    /// The group.
    pub group: GroupId,
    /// The base.
    pub base: EpochRef,
    /// The resolved heads.
    pub resolves: Vec<EpochRef>,
    /// Whether it is an external commit.
    pub external: bool,
}

/// The authenticated fields of a message; not verified yet.
pub struct MessageHeader {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: EpochId,
    /// The sender's count.
    pub sequence: Sequence,
}

/// Reads the signed copy of a commit's routing fields without verifying it.
pub fn inspect_commit(_bytes: &[u8]) -> Result<CommitHeader, Reason> {
    Err(Reason::Malformed)
}

/// Reads the authenticated copy of a message's routing fields without verifying it.
pub fn inspect_message(_bytes: &[u8]) -> Result<MessageHeader, Reason> {
    Err(Reason::Malformed)
}

/// How this device stands to an epoch: why a message of it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It holds the epoch.
    Held,
    /// It held the epoch, whose keys are gone.
    Gone,
    /// It was removed before that epoch.
    Removed,
    /// The epoch is older than this device's first.
    BeforeJoin,
    /// The epoch lies on a fork that this device was never in.
    NotInEpoch,
    /// The commit that makes it is not known yet.
    Unknown,
    /// This device is in no epoch at all.
    NoGroup,
}

/// One group, as one device sees it.
pub struct Group {}

#[allow(unused_variables)]
impl Group {
    /// A group of which this device is in no epoch yet.
    pub fn new(group: GroupId, own: Arc<OwnDevice>, settings: Settings) -> Self {
        Self {}
    }
    /// Reads a group back.
    pub fn load<R: Records>(
        group: GroupId,
        own: Arc<OwnDevice>,
        settings: Settings,
        records: &R,
    ) -> Result<Self, LoadError<R::Error>> {
        Ok(Self {})
    }
    /// Makes the genesis epoch, with this device alone in it.
    pub fn create(&mut self, now: Timestamp, entropy: &mut dyn Entropy) -> Result<Durable<Outcome>, GroupError> {
        Err(GroupError::Exists)
    }
    /// Takes in one thing that happened and gives its verdict.
    pub fn handle(
        &mut self,
        input: Input,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        Err(GroupError::Exists)
    }
    /// Takes in a Welcome; it adds a head and never replaces one.
    pub fn join(
        &mut self,
        welcome: Welcome,
        packages: &mut KeyPackages,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        Err(GroupError::Exists)
    }
    /// Joins (or rejoins) `target` by external commit.
    pub fn join_externally(
        &mut self,
        group_info: &[u8],
        target: EpochRef,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        Err(GroupError::Exists)
    }
    /// What the group should do by itself, and when.
    pub fn due(&self, now: Timestamp) -> Due {
        Due::default()
    }
    /// Whether a message may be sealed now.
    pub fn readiness(&self) -> Readiness {
        Readiness::NotInGroup
    }
    /// One commit that does all that is due.
    pub fn carry_out(
        &mut self,
        orders: Orders,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        Err(GroupError::Exists)
    }
    /// Seals one message in the epoch of [`Group::readiness`].
    pub fn seal(
        &mut self,
        compose: &mut dyn FnMut(&SealContext<'_>) -> Vec<u8>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<SealedMessage>, GroupError> {
        Err(GroupError::Exists)
    }
    /// The send gate: whether everybody in `epoch` is in D, at the moment a ciphertext leaves.
    pub fn may_release(&self, epoch: &EpochId) -> bool {
        false
    }
    /// What is to be fetched or asked for.
    pub fn needs(&self, now: Timestamp) -> Vec<Need> {
        vec![]
    }
    /// When `handle(Input::Tick)`, `due` or `needs` should be looked at again.
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        None
    }
    /// The epoch that this device would send in.
    pub fn canonical(&self) -> Option<EpochId> {
        None
    }
    /// All known epochs, parents before children.
    pub fn epochs(&self) -> Vec<EpochInfo> {
        vec![]
    }
    /// One epoch.
    pub fn epoch(&self, id: &EpochId) -> Option<EpochInfo> {
        None
    }
    /// The devices that can read messages of an epoch; `None` when that is not known.
    pub fn readers(&self, id: &EpochId) -> Option<Vec<Device>> {
        None
    }
    /// How this device stands to an epoch.
    pub fn standing(&self, id: &EpochId) -> Standing {
        Standing::NoGroup
    }
    /// Whether this device is in an epoch.
    pub fn in_group(&self) -> bool {
        false
    }
}
