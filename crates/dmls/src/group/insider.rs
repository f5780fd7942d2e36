//! What a member can copy out of its own memory: the beginning of all that a malicious one makes. Only in the test build.

use super::Group;
use super::grants::context_of;
use super::outgoing::welcome_context;
use crate::craft::State;
use crate::effect::EpochRef;
use crate::id::EpochId;

impl Group {
    /// All that this device holds of an epoch; the group does not learn that it was copied.
    pub(crate) fn insider(&self, id: &EpochId) -> Option<State> {
        let epoch = self.dag.get(id)?;
        Some(State {
            group: self.id.clone(),
            own: self.own.clone(),
            desired: self.dag.desired().clone(),
            reference: epoch.reference(),
            proof: epoch.proof.clone(),
            leaves: epoch.members.clone(),
            own_leaf: epoch.own_leaf?,
            merge_export: epoch.merge_export.clone(),
            epoch: self.held.get(id)?.epoch.clone(),
            ratchets: self.held.get(id)?.ratchets.clone(),
            sent: self.traffic.get(id).map_or(0, |traffic| traffic.sent),
        })
    }
}

/// What a grant is bound to.
pub(crate) fn grant_context(base: &EpochRef, resolves: &[EpochRef]) -> Vec<u8> {
    context_of(base, resolves)
}

/// What a Welcome's grant is bound to.
pub(crate) fn welcome_info(epoch: &EpochId) -> Vec<u8> {
    welcome_context(epoch)
}
