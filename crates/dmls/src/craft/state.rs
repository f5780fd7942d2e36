//! A copied epoch.

use std::sync::Arc;

use crate::device::OwnDevice;
use crate::effect::EpochRef;
use crate::group::Group;
use crate::id::{Device, EpochId, GroupId, LeafIndex, Locator};
use crate::input::{BaseProof, Desired};
use crate::members::Members;
use crate::mls::{Epoch, Ratchets};
use crate::secret::Secret;

/// All that a device holds of one epoch. A copy of a copy is another device's worth of equivocation.
#[derive(Clone)]
pub struct State {
    pub(crate) group: GroupId,
    pub(crate) own: Arc<OwnDevice>,
    pub(crate) desired: Desired,
    pub(crate) reference: EpochRef,
    pub(crate) proof: BaseProof,
    pub(crate) leaves: Members,
    pub(crate) own_leaf: LeafIndex,
    pub(crate) merge_export: Option<Secret>,
    pub(crate) epoch: Epoch,
    pub(crate) ratchets: Ratchets,
    /// Messages that this device sealed in it.
    pub(crate) sent: u32,
}

impl State {
    /// What `group` holds of `epoch`; `None` when it holds nothing, or has no leaf there.
    pub fn of(group: &Group, epoch: &EpochId) -> Option<Self> {
        group.insider(epoch)
    }

    /// How others name the epoch.
    pub fn reference(&self) -> &EpochRef {
        &self.reference
    }

    /// Its id.
    pub fn id(&self) -> EpochId {
        self.reference.id
    }

    /// The same epoch, whose commit was found at `locator`.
    pub fn found_at(mut self, locator: Locator) -> Self {
        self.reference.locator = locator;
        self
    }

    /// The epoch's public transcript.
    pub fn proof(&self) -> &BaseProof {
        &self.proof
    }

    /// Who has a leaf.
    pub fn members(&self) -> Vec<Device> {
        self.leaves.iter().map(|leaf| leaf.device.clone()).collect()
    }

    /// The leaf of `device`.
    pub fn leaf_of(&self, device: &Device) -> Option<LeafIndex> {
        self.leaves.leaf_of(device).map(|leaf| leaf.index)
    }

    /// This device's own leaf.
    pub fn own_leaf(&self) -> LeafIndex {
        self.own_leaf
    }

    /// The merge export: what a thief of this state learns for ever.
    pub fn merge_export(&self) -> Option<[u8; 32]> {
        self.merge_export.as_ref().map(|export| *export.expose())
    }
}
