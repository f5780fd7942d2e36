//! What a member should do by itself, and when (SPEC §3.3).

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::base::{collapse, eligible};
use crate::codec::push_vector;
use crate::dag::{Dag, Epoch};
use crate::defence;
use crate::id::{Device, EpochId, LeafIndex};
use crate::members::Leaf;

/// What a commit made now would do, on which base.
pub(crate) struct Plan<'a> {
    pub(crate) base: &'a Epoch,
    /// Devices of D to be added, in their order.
    pub(crate) add: Vec<Device>,
    /// Members to be removed: those that are not in D, and the dead leaves of those that asked to be added anew.
    pub(crate) remove: Vec<&'a Leaf>,
    /// Eligible heads that are not merged in the base or in one another.
    pub(crate) resolve: Vec<&'a Epoch>,
    /// Those of them that do not collapse with the base: they make a merge due.
    pub(crate) differing: Vec<EpochId>,
    /// Somebody who is not in D reads here.
    outsiders: bool,
    /// This device must update before it speaks.
    pub(crate) stale: bool,
}

impl<'a> Plan<'a> {
    /// The plan of `own` in `dag`, if it can use any head.
    pub(crate) fn make(dag: &'a Dag, own: &Device) -> Option<Self> {
        let heads = eligible(dag);
        let (&base, others) = heads.split_first()?;
        let resolve = to_resolve(dag, base, others);
        let differing = resolve.iter().filter(|head| !collapse(dag, base, head)).map(|head| head.id);
        let contrast = dag.contrast(base);
        let is_other = |index: &LeafIndex| base.members.get(*index).is_some_and(|leaf| leaf.device != *own);
        let outside: Vec<_> = contrast.outside().filter(|index| is_other(index) && defence::on("F19")).collect();
        let places: BTreeSet<_> = contrast.dead().filter(is_other).chain(outside.iter().copied()).collect();
        #[cfg_attr(not(dmls_mutants), allow(unused_mut))]
        let mut remove: Vec<_> = places.into_iter().filter_map(|index| base.members.get(index)).collect();
        #[cfg(dmls_mutants)]
        remove.extend(removed_elsewhere(&heads).into_iter().filter(|leaf| leaf.device != *own));
        let mut add: Vec<_> = contrast.missing().iter().cloned().collect();
        add.retain(|device| device != own && !dag.audience().has_ended(device));
        #[cfg(dmls_mutants)]
        add.retain(|device| defence::on("F7") || !added_before(dag, base, device));
        Some(Self {
            base,
            add,
            remove,
            differing: differing.collect(),
            outsiders: !outside.is_empty(),
            stale: defence::on("F8") && defence::on("C11") && dag.is_stale(base),
            resolve,
        })
    }

    /// Whether a commit must come before anything is sent.
    pub(crate) fn must_commit(&self) -> bool {
        (self.outsiders && defence::on("F6")) || self.stale
    }

    /// Whether anything is due at all.
    pub(crate) fn is_due(&self) -> bool {
        !self.add.is_empty() || !self.remove.is_empty() || !self.differing.is_empty()
    }

    /// Devices about which parts of the room may disagree: whom this commit adds or removes, or keeps though a merged head
    /// has no leaf of theirs.
    pub(crate) fn disputed(&self) -> BTreeSet<&Device> {
        let lacking = self.resolve.iter().flat_map(|head| self.base.members.lacking_in(&head.members));
        self.add.iter().chain(self.remove.iter().copied().chain(lacking).map(|leaf| &leaf.device)).collect()
    }

    /// Whether a device of D has a live leaf in the base and in all other heads.
    pub(crate) fn is_everywhere(&self, device: &Device, dag: &Dag) -> bool {
        let mut heads = self.resolve.iter().copied().chain([self.base]);
        heads.all(|head| dag.audience().live(&head.members, device).is_some())
    }

    /// How many of `others` come before `own`, by a hash that nobody can choose.
    pub(crate) fn before<'d>(&self, own: &Device, others: impl Iterator<Item = &'d Device>) -> u64 {
        let mine = lot(self, own);
        others.filter(|device| *device != own && lot(self, device) < mine).count() as u64
    }

    /// This device's place among all that could do the same, from 0.
    pub(crate) fn rank(&self, own: &Device, dag: &Dag) -> u64 {
        dag.turn(|| {
            let devices = self.base.members.iter().map(|leaf| &leaf.device);
            self.before(own, devices.filter(|device| self.is_everywhere(device, dag)))
        })
    }
}

/// Those of the other heads that are to be merged: what is merged in the base, or in another one of them, is not merged
/// again.
fn to_resolve<'a>(dag: &'a Dag, base: &'a Epoch, others: &[&'a Epoch]) -> Vec<&'a Epoch> {
    dag.to_resolve(|| {
        let Some(first) = others.iter().filter_map(|head| dag.generation(&head.id)).min() else { return Vec::new() };
        let mut merged = dag.merged(&base.id, first);
        let open: Vec<_> = others.iter().copied().filter(|head| !merged.contains(&head.id)).collect();
        for head in &open {
            merged.extend(dag.merged(&head.id, first).into_iter().filter(|id| *id != head.id));
        }
        open.into_iter().filter(|head| !merged.contains(&head.id)).collect()
    })
}

/// A weaker rule for the attack F7: what an ancestor added is there, whatever a merge made of it.
#[cfg(dmls_mutants)]
fn added_before(dag: &Dag, base: &Epoch, device: &Device) -> bool {
    dag.ancestry(&base.id).iter().filter_map(|id| dag.get(id)).any(|epoch| epoch.added.contains(device))
}

/// A weaker rule for the attack F17: who was removed on one fork is removed by the merge, whatever the room says.
#[cfg(dmls_mutants)]
fn removed_elsewhere<'a>(heads: &[&'a Epoch]) -> Vec<&'a Leaf> {
    if defence::on("F17") {
        return Vec::new();
    }
    let gone = |leaf: &&Leaf| heads.iter().flat_map(|head| &head.removed).any(|device| *device == leaf.device);
    heads[0].members.iter().filter(gone).collect()
}

fn lot(plan: &Plan<'_>, device: &Device) -> [u8; 32] {
    let mut out = b"DMLS 1.0 lot".to_vec();
    out.extend(plan.base.id.0);
    for head in &plan.resolve {
        out.extend(head.id.0);
    }
    push_vector(&mut out, device.user.as_bytes());
    push_vector(&mut out, device.device.as_bytes());
    Sha256::digest(&out).into()
}
