//! What a member should do by itself, and when (SPEC §3.3).

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::base::{collapse, eligible};
use crate::codec::push_vector;
use crate::dag::{Dag, Epoch};
use crate::defence;
use crate::id::{Device, EpochId, Locator};
use crate::members::Leaf;

/// What a commit made now would do, on which base.
pub(crate) struct Plan<'a> {
    pub(crate) base: &'a Epoch,
    /// Devices of D to be added, in their order.
    pub(crate) add: Vec<Device>,
    /// Members to be removed.
    pub(crate) remove: Vec<&'a Leaf>,
    /// Every other eligible head.
    pub(crate) resolve: Vec<&'a Epoch>,
    /// Those of them that do not collapse with the base: they make a merge due.
    pub(crate) differing: Vec<EpochId>,
    /// This device must update before it speaks.
    pub(crate) stale: bool,
    /// Members that cannot use their leaf in the base, with the event of the external commit by which they came back.
    pub(crate) stranded: BTreeMap<Device, Locator>,
}

impl<'a> Plan<'a> {
    /// The plan of `own` in `dag`, if it can use any head. `refused` tells which devices may not be added again.
    pub(crate) fn make(dag: &'a Dag, own: &Device, refused: &dyn Fn(&Device) -> bool) -> Option<Self> {
        let heads = eligible(dag);
        let (&base, others) = heads.split_first()?;
        let stranded = dag.stranded(base, &dag.comebacks(&heads));
        let differing = others.iter().filter(|head| !collapse(dag, base, head)).map(|head| head.id);
        let mut remove = to_remove(dag, base, &stranded);
        #[cfg(dmls_mutants)]
        remove.extend(removed_elsewhere(&heads));
        remove.retain(|leaf| leaf.device != *own);
        let mut add = to_add(dag, base, &stranded);
        add.retain(|device| device != own && !refused(device));
        #[cfg(dmls_mutants)]
        add.retain(|device| defence::on("F7") || !added_before(dag, base, device));
        Some(Self {
            base,
            add,
            remove,
            differing: differing.collect(),
            resolve: others.to_vec(),
            stale: defence::on("F8") && defence::on("C11") && dag.is_stale(base),
            stranded: stranded.into_iter().map(|(device, event)| (device.clone(), event.clone())).collect(),
        })
    }

    /// Whether a commit must come before anything is sent.
    pub(crate) fn must_commit(&self) -> bool {
        (!self.remove.is_empty() && defence::on("F6")) || self.stale
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

    /// Whether a device of D has a leaf that it can use in the base and in all other heads.
    pub(crate) fn is_everywhere(&self, device: &Device, dag: &Dag) -> bool {
        dag.desired().devices.get(device).is_some_and(|facts| {
            let there = self.base.members.has(device, &facts.key) && !self.stranded.contains_key(device);
            there && self.resolve.iter().all(|head| head.members.has(device, &facts.key))
        })
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

/// Members that must not read any more, and those that cannot use their leaf, in the order of the leaves.
fn to_remove<'a>(dag: &Dag, base: &'a Epoch, stranded: &BTreeMap<&Device, &Locator>) -> Vec<&'a Leaf> {
    let contrast = dag.contrast(base);
    let outside = contrast.outside().filter(|_| defence::on("F19"));
    let unusable = stranded.keys().filter_map(|device| base.members.leaf_of(device)).map(|leaf| leaf.index);
    let places: BTreeSet<_> = outside.chain(unusable).collect();
    places.into_iter().filter_map(|index| base.members.get(index)).collect()
}

/// Devices of D that are not there, or not with a leaf that they can use.
fn to_add(dag: &Dag, base: &Epoch, stranded: &BTreeMap<&Device, &Locator>) -> Vec<Device> {
    let contrast = dag.contrast(base);
    let unusable = stranded.keys().filter(|device| dag.desired().devices.contains_key(**device));
    let devices: BTreeSet<_> = contrast.missing().iter().chain(unusable.copied()).cloned().collect();
    devices.into_iter().collect()
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
    let gone = |leaf: &&Leaf| heads.iter().flat_map(|head| &head.removed).any(|removal| removal.device == leaf.device);
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
