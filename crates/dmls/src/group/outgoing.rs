//! This device's own commits: everything that is due, in one commit, stored before it is published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::grants::Merge;
use super::{Batch, Group};
use crate::dag::Epoch;
use crate::defence;
use crate::effect::{
    Applied, EpochKind, EpochRef, GroupInfo, Outcome, OutgoingCommit, OutgoingWelcome, Publish, Verdict,
};
use crate::entropy::Entropy;
use crate::error::GroupError;
use crate::id::{Device, EpochId, LeafIndex, Locator, Timestamp};
use crate::journal::Durable;
use crate::members::Leaf;
use crate::mls::{Entered, Made, Package, Plan};
use crate::secret::{InputKind, Secret, merge_value, no_chain, psk_secret};
use crate::wire::{Change, CommitData, Justification, PskId};

/// At most this many raw commits go into one reply.
pub(super) const MAX_REPLY: usize = 32;

/// Claimed key packages and wishes that go into one commit, together with all else that is due.
#[derive(Default)]
pub struct Orders {
    /// Key packages (MLSMessage bytes) that could be claimed for devices of [`crate::effect::Due::add`].
    pub packages: Vec<(Device, Vec<u8>)>,
    /// Commit even if nothing is due: a rekey.
    pub update: bool,
}

/// A commit decided on, before any cryptography.
struct Decision {
    base: EpochRef,
    removes: Vec<(Leaf, Locator)>,
    adds: BTreeMap<Device, Package>,
    resolves: Vec<EpochRef>,
    inputs: Vec<(InputKind, EpochId, Secret)>,
    /// Kept members of the base that are missing from some resolved head.
    one_sided: Vec<LeafIndex>,
    own_leaf: LeafIndex,
    update: bool,
}

impl Decision {
    /// Its own leaf needs no grant.
    fn merge(&self) -> Merge<'_> {
        let one_sided = self.one_sided.iter().copied().filter(|leaf| *leaf != self.own_leaf).collect();
        Merge { base: &self.base, resolves: &self.resolves, inputs: &self.inputs, one_sided }
    }
}

impl Group {
    /// One commit that does all that is due: removes, adds as far as packages came, a merge of all other heads.
    pub fn carry_out(
        &mut self,
        orders: Orders,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        if orders.update {
            self.turns.act(now);
        }
        let decision = self.decide(orders)?;
        let m = merge_value(decision.inputs.clone());
        let data = self.bookkeeping(&decision, &m, entropy)?;
        let mut r = [0; 32];
        entropy.fill(&mut r)?;
        let plan = Plan {
            adds: decision.adds.values().cloned().collect(),
            removes: decision.removes.iter().map(|(leaf, _)| leaf.index.0).collect(),
            psk_id: PskId { base: decision.base.id, leaf: decision.own_leaf, r }.encode(),
            authenticated_data: data.encode(),
        };
        let held = self.held.get(&decision.base.id).ok_or(GroupError::NotInGroup)?;
        let draft = held.epoch.draft(plan, &self.own.leaf_maker(), entropy)?;
        let built = draft.finish(Some(&psk_secret(&no_chain(), &m)), &self.own.maker(), entropy)?;
        if built.bytes.len() > self.settings.commit_limit && defence::on("D2") {
            return Err(GroupError::TooLarge { bytes: built.bytes.len(), limit: self.settings.commit_limit });
        }
        self.keep_own(decision, data, m, built, now, entropy)
    }

    fn decide(&self, orders: Orders) -> Result<Decision, GroupError> {
        let plan = self.plan().ok_or(GroupError::NotInGroup)?;
        let base = plan.base;
        let adds = self.candidates(&plan, orders.packages);
        let idle = adds.is_empty() && plan.remove.is_empty() && plan.differing.is_empty();
        if idle && !orders.update && !plan.stale {
            return Err(GroupError::NothingDue);
        }
        let mut resolves: Vec<&Epoch> =
            plan.resolve.iter().copied().filter(|head| head.merge_export.is_some()).collect();
        resolves.sort_by_key(|head| head.id);
        let input = |head: &&Epoch| head.merge_export.clone().map(|export| (InputKind::Head, head.id, export));
        let removes: Vec<_> =
            plan.remove.iter().map(|leaf| ((*leaf).clone(), self.cause_of_removal(&leaf.device))).collect();
        let removed: BTreeSet<_> = plan.remove.iter().map(|leaf| leaf.index).collect();
        let lacking = resolves.iter().flat_map(|head| self.dag.audience().lacking(&base.members, &head.members));
        let one_sided: BTreeSet<_> = lacking.map(|leaf| leaf.index).filter(|leaf| !removed.contains(leaf)).collect();
        Ok(Decision {
            base: base.reference(),
            one_sided: one_sided.into_iter().collect(),
            inputs: resolves.iter().filter_map(input).collect(),
            resolves: resolves.iter().map(|head| head.reference()).collect(),
            own_leaf: base.own_leaf.ok_or(GroupError::NotInGroup)?,
            update: orders.update || plan.stale,
            removes,
            adds,
        })
    }

    /// The claimed packages that are what they should be: for a device that is due, under the key its owner vouches for,
    /// and with keys that stand nowhere in the base. One that does not go there never fails the others' adds.
    fn candidates(&self, plan: &crate::plan::Plan<'_>, packages: Vec<(Device, Vec<u8>)>) -> BTreeMap<Device, Package> {
        let mut out = BTreeMap::new();
        let Some(held) = self.held.get(&plan.base.id) else { return out };
        let removes = plan.remove.iter().map(|leaf| leaf.index.0);
        let mut room = held.epoch.room_after(removes);
        let asked = plan.add.iter().filter_map(|device| Some((device.clone(), self.asked_package(device)?.to_vec())));
        for (device, bytes) in asked.collect::<Vec<_>>().into_iter().chain(packages) {
            let Ok(package) = Package::read(self.own.suite(), &bytes) else { continue };
            let Ok(leaf) = package.member() else { continue };
            let whose = leaf.device == device && self.dag.audience().is_live(&leaf) || !defence::on("X4");
            if whose && plan.add.contains(&device) && !out.contains_key(&device) && room.take(&package) {
                out.insert(device, package);
            }
        }
        out
    }

    fn bookkeeping(
        &self,
        decision: &Decision,
        m: &Secret,
        entropy: &mut dyn Entropy,
    ) -> Result<CommitData, GroupError> {
        Ok(CommitData {
            base: decision.base.clone(),
            resolves: decision.resolves.clone(),
            membership: self.dag.membership_digest(),
            policy: [0; 32],
            changes: self.justifications(decision),
            grants: self.grants(&decision.merge(), m, entropy)?,
        })
    }

    fn justifications(&self, decision: &Decision) -> Vec<Justification> {
        let add = |device: &Device| Justification {
            change: Change::Add,
            device: device.clone(),
            event: self.dag.desired().devices.get(device).map(|facts| facts.joined.clone()).unwrap_or_default(),
        };
        let remove = |(leaf, event): &(Leaf, Locator)| Justification {
            change: Change::Remove,
            device: leaf.device.clone(),
            event: event.clone(),
        };
        decision.adds.keys().map(add).chain(decision.removes.iter().map(remove)).collect()
    }

    /// The state after one's own commit is stored under its EpochId before anything leaves the device (SPEC §7.2).
    fn keep_own(
        &mut self,
        decision: Decision,
        data: CommitData,
        m: Secret,
        built: Made,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        let base = self.dag.get(&decision.base.id).ok_or(GroupError::NotInGroup)?;
        let (base_proof, base_members) = (base.proof.clone(), base.members.clone());
        let kind = if data.resolves.is_empty() { EpochKind::Commit } else { EpochKind::Merge };
        let Made { bytes, welcome, entered } = built;
        let id = entered.epoch.id();
        let gone = decision.removes.iter().map(|(leaf, _)| leaf.index);
        let members =
            entered.members_after(&base_members, gone, decision.adds.values()).map_err(GroupError::GroupInfo)?;
        let (welcome, mut welcomes) = (welcome.map(Arc::<[u8]>::from), Vec::new());
        for (device, package) in &decision.adds {
            let Some(welcome) = &welcome else { continue };
            let grant = package.seal_grant(self.own.suite(), &welcome_context(&id), &m, entropy)?;
            let base = base_proof.clone();
            welcomes.push(OutgoingWelcome { to: device.clone(), bytes: welcome.clone(), base, grant });
        }
        let epoch = Epoch {
            id,
            number: entered.epoch.number(),
            creator: self.own.device().clone(),
            kind,
            base: Some(decision.base.clone()),
            resolves: decision.resolves.clone(),
            locator: Locator::default(),
            commit_hash: Sha256::digest(&bytes).into(),
            proof: entered.epoch.proof(),
            members,
            added: decision.adds.keys().cloned().collect(),
            removed: decision.removes.into_iter().map(|(leaf, _)| leaf.device).collect(),
            first_seen: now,
            age: 0,
            own_leaf: Some(LeafIndex(entered.epoch.own())),
            own: true,
            healing: decision.update,
            entry: false,
            held: true,
            abandoned: false,
            equivocation: false,
            merge_export: Some(entered.merge_export.clone()),
            merge_inputs: Some(m),
            granted: false,
        };
        let commit = OutgoingCommit {
            epoch: epoch.reference(),
            base: decision.base,
            resolves: decision.resolves,
            bytes,
            group_info: GroupInfo::of(&entered.epoch, &self.own),
            welcomes,
        };
        self.finish_own(epoch, entered, commit, now)
    }

    pub(super) fn finish_own(
        &mut self,
        epoch: Epoch,
        entered: Entered,
        commit: OutgoingCommit,
        now: Timestamp,
    ) -> Result<Durable<Outcome>, GroupError> {
        let mut batch = Batch::default();
        let id = epoch.id;
        self.turns.hear(&epoch.creator, now);
        self.insert(epoch, Some(entered), Some(&commit.bytes), now, &mut batch);
        batch.writes.push(self.own.serial_record());
        batch.publish.push(Publish::Commit(Box::new(commit)));
        self.release_waiting(id, now, &mut batch)?;
        self.note_due(now, &mut batch);
        if !defence::on("F21") {
            batch.writes.clear();
        }
        Ok(batch.done(Verdict::Applied(Applied::Commit { epoch: id })))
    }
}

/// What a Welcome's grant is bound to.
pub(super) fn welcome_context(epoch: &EpochId) -> Vec<u8> {
    let mut context = b"DMLS 1.0 welcome".to_vec();
    context.extend(epoch.0);
    context
}
