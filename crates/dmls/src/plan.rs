//! What a member should do by itself, and when (SPEC §3.3).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::base::{collapse, eligible};
use crate::codec::push_vector;
use crate::dag::{Dag, Epoch, is_desired};
use crate::defence;
use crate::id::{Device, EpochId, Locator};
use crate::input::Desired;
use crate::mls::Leaf;

/// What a commit made now would do, on which base.
pub(crate) struct Plan<'a> {
    pub(crate) base: &'a Epoch,
    /// Devices of D to be added.
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
    pub(crate) fn make(
        dag: &'a Dag,
        desired: &'a Desired,
        own: &Device,
        refused: &dyn Fn(&Device) -> bool,
    ) -> Option<Self> {
        let heads = eligible(dag, desired);
        let (&base, others) = heads.split_first()?;
        let stranded = dag.stranded(base, &dag.comebacks(&heads));
        let there = |device, key| base.has(device, key) && !stranded.contains_key(device);
        let missing = desired.devices.iter().filter(|(device, facts)| !there(device, &facts.key));
        let add = missing.map(|(device, _)| device.clone()).filter(|device| device != own && !refused(device));
        #[cfg(dmls_mutants)]
        let add = add.filter(|device| defence::on("F7") || !added_before(dag, base, device));
        let unusable =
            |leaf: &&Leaf| !is_desired(desired, leaf) && defence::on("F19") || stranded.contains_key(&leaf.device);
        let remove = base.leaves.iter().filter(unusable);
        #[cfg(dmls_mutants)]
        let remove = remove.chain(removed_elsewhere(&heads));
        let differing = others.iter().filter(|head| !collapse(base, head, desired)).map(|head| head.id);
        Some(Self {
            base,
            add: add.collect(),
            remove: remove.filter(|leaf| leaf.device != *own).collect(),
            differing: differing.collect(),
            resolve: others.to_vec(),
            stale: defence::on("F8") && defence::on("C11") && stale(dag, base),
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

    /// How often removals that this commit would make or undo were undone before: two parts of the room see different
    /// devices, and as long as they do, each answer only calls for the next (SPEC §3.3).
    pub(crate) fn quarrels(&self, dag: &Dag) -> u32 {
        let disputed = |device: &Device| {
            let lacks = |head: &&Epoch| head.leaf_of(device).is_none();
            self.base.leaf_of(device).is_some()
                && (self.remove.iter().any(|leaf| leaf.device == *device) || self.resolve.iter().any(lacks))
        };
        let mut undone: BTreeMap<&Device, u32> = BTreeMap::new();
        let removals = || dag.iter().filter(|epoch| !epoch.abandoned && !epoch.removed.is_empty());
        if !removals().flat_map(|epoch| &epoch.removed).any(|removal| disputed(&removal.device)) {
            return 0;
        }
        let before = dag.ancestry(&self.base.id);
        for epoch in removals().filter(|epoch| before.contains(&epoch.id)) {
            for removal in
                epoch.removed.iter().filter(|removal| removal.event.0.is_empty() && disputed(&removal.device))
            {
                *undone.entry(&removal.device).or_default() += 1;
            }
        }
        undone.into_values().max().unwrap_or_default()
    }

    /// This device's place among those that could do the same, by a hash that nobody can choose.
    pub(crate) fn rank(&self, own: &Device, desired: &Desired) -> u64 {
        if !defence::on("F13") {
            return 0;
        }
        let everywhere = |device: &Device| {
            desired.devices.get(device).is_some_and(|facts| {
                let there = self.base.has(device, &facts.key) && !self.stranded.contains_key(device);
                there && self.resolve.iter().all(|head| head.has(device, &facts.key))
            })
        };
        let mine = lot(self, own);
        let devices = self.base.leaves.iter().map(|leaf| &leaf.device);
        let before = devices.filter(|device| *device != own && everywhere(device) && lot(self, device) < mine);
        before.count() as u64
    }
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
    heads[0].leaves.iter().filter(gone).collect()
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

/// Whether the leaf with which this device healed is missing from `head`: it updated on purpose on a fork that `head`
/// does not build on, and has not updated since. A leaf is never copied between forks (SPEC §3.10).
fn stale(dag: &Dag, head: &Epoch) -> bool {
    let mut healed = dag.iter().filter(|epoch| epoch.healing && !epoch.abandoned).peekable();
    if healed.peek().is_none() {
        return false;
    }
    let chain = dag.base_chain(&head.id);
    let updates: Vec<_> = chain.iter().filter_map(|id| dag.get(id)).filter(|epoch| epoch.own || epoch.entry).collect();
    healed
        .filter(|epoch| !chain.contains(&epoch.id))
        .any(|healed| !updates.iter().any(|update| dag.ancestry(&update.id).contains(&healed.id)))
}
