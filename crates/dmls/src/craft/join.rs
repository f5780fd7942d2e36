//! False ways into a group: GroupInfos, Welcomes, external commits.

use std::sync::Arc;

use super::{Made, State};
use crate::device::OwnDevice;
use crate::effect::{EpochRef, OutgoingCommit};
use crate::entropy::Entropy;
use crate::error::GroupError;
use crate::group::welcome_info;
use crate::id::{EpochId, GroupId, Height, Locator};
use crate::input::Desired;
use crate::mls;
use crate::mls::bent::GroupInfoParts;
use crate::secret::Secret;
use crate::wire::{self, CommitData};

/// A GroupInfo (an MLSMessage) that says something else, signed by `signer`; `None` if `bytes` are none.
pub fn group_info(bytes: &[u8], signer: &OwnDevice, edit: impl FnOnce(&mut GroupInfoParts)) -> Option<Vec<u8>> {
    let mut parts = GroupInfoParts::of_message(bytes)?;
    edit(&mut parts);
    Some(parts.sign(signer.signing().signer()))
}

/// A Welcome's grant with any M, for the device of a key package and the epoch that it is to believe in.
pub fn welcome_grant(
    package: &[u8],
    epoch: &EpochId,
    value: [u8; 32],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, GroupError> {
    let (_, package) = mls::add_candidate(package, entropy).map_err(GroupError::GroupInfo)?;
    mls::seal_welcome_grant(&package, &welcome_info(epoch), &Secret::new(value), entropy)
}

/// An external commit on the epoch of a GroupInfo, with any bookkeeping.
pub fn join_externally(
    own: &Arc<OwnDevice>,
    group: &GroupId,
    target: &EpochRef,
    group_info: &[u8],
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
    let (built, _) = mls::join_externally(group.as_bytes(), group_info, own, data.encode(), entropy)?;
    let reference = EpochRef {
        id: built.facts.id,
        height: Height(target.height.0 + 1),
        creator: own.device().clone(),
        locator: Locator::default(),
    };
    let commit = OutgoingCommit {
        epoch: reference.clone(),
        base: data.base,
        resolves: data.resolves,
        bytes: built.bytes,
        group_info: built.group_info,
        welcomes: Vec::new(),
    };
    let state = State {
        group: group.clone(),
        own: own.clone(),
        desired: Desired::default(),
        reference,
        proof: built.facts.proof,
        leaves: built.facts.leaves.into_iter().collect(),
        own_leaf: built.facts.own_leaf,
        merge_export: Some(built.facts.merge_export),
        view: built.view,
        sent: 0,
    };
    Ok(Made { commit, state, on: target.id, poisoned: Vec::new() })
}
