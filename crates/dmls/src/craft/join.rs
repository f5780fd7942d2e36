//! False ways into a group: GroupInfos, Welcomes, external commits.

use std::sync::Arc;

use super::{GroupInfoParts, Made, State};
use crate::device::OwnDevice;
use crate::effect::{EpochRef, GroupInfo, OutgoingCommit};
use crate::entropy::Entropy;
use crate::error::GroupError;
use crate::group::welcome_info;
use crate::id::{Device, EpochId, GroupId, LeafIndex, Locator};
use crate::input::Desired;
use crate::mls::{Door, Package, Refusal, bend};
use crate::secret::Secret;
use crate::wire::{self, CommitData};

/// A GroupInfo (an MLSMessage) that says something else, signed by `signer`; `None` if `bytes` are none.
pub fn group_info(bytes: &[u8], signer: &OwnDevice, edit: impl FnOnce(&mut GroupInfoParts)) -> Option<Vec<u8>> {
    let mut parts = GroupInfoParts::of_message(bytes)?;
    edit(&mut parts);
    Some(parts.sign(signer.maker().signer))
}

/// A Welcome's grant with any M, for the device of a key package and the epoch that it is to believe in.
pub fn welcome_grant(
    package: &[u8],
    epoch: &EpochId,
    value: [u8; 32],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, GroupError> {
    let suite = crate::suite::X25519_ED25519;
    let package = Package::read(suite, package).map_err(|refusal| GroupError::GroupInfo(refusal.into()))?;
    Ok(package.seal_grant(suite, &welcome_info(epoch), &Secret::new(value), entropy)?)
}

/// An external commit on the epoch of a GroupInfo, with any bookkeeping, in place of a device's own or another's leaf.
pub fn join_externally(
    own: &Arc<OwnDevice>,
    group: &GroupId,
    target: &EpochRef,
    group_info: &[u8],
    removing: Option<&Device>,
    edit: impl FnOnce(&mut CommitData),
    entropy: &mut dyn Entropy,
) -> Result<Made, GroupError> {
    let mut data = CommitData {
        base: target.clone(),
        resolves: Vec::new(),
        membership: wire::membership_digest(std::iter::empty()),
        policy: [0; 32],
        changes: Vec::new(),
        grants: Vec::new(),
    };
    edit(&mut data);
    let refuse = |refusal: Refusal| GroupError::GroupInfo(refusal.into());
    let door = Door::read(own.suite(), group_info, None).map_err(refuse)?;
    let made = match removing {
        Some(victim) => bend::join_removing(own, group_info, victim, data.encode(), entropy)?,
        None => door.draft(None, data.encode(), &own.leaf_maker(), entropy)?.finish(None, &own.maker(), entropy)?,
    };
    let epoch = made.entered.epoch;
    let reference = EpochRef { id: epoch.id(), locator: Locator::default() };
    let commit = OutgoingCommit {
        epoch: reference.clone(),
        base: data.base,
        resolves: data.resolves,
        bytes: made.bytes,
        group_info: GroupInfo::of(&epoch, own),
        welcomes: Vec::new(),
    };
    let state = State {
        group: group.clone(),
        own: own.clone(),
        desired: Desired::default(),
        reference,
        proof: epoch.proof(),
        leaves: epoch.tree().vouched_members().map_err(GroupError::GroupInfo)?,
        own_leaf: LeafIndex(epoch.own()),
        merge_export: Some(made.entered.merge_export),
        ratchets: made.entered.ratchets,
        epoch,
        sent: 0,
    };
    Ok(Made { commit, state, on: target.id, poisoned: Vec::new() })
}
