//! M for those who cannot compute it: in the commit, or when they ask (SPEC §3.7, §3.9).

use super::{Batch, Group, rejected};
use crate::defence;
use crate::effect::{Applied, EpochKind, EpochRef, Publish, Verdict};
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::id::{Device, EpochId, LeafIndex};
use crate::members::Leaf;
use crate::mls::Recipient;
use crate::secret::{InputKind, Secret, grant_psk, merge_value, no_chain};
use crate::wire::{CommitData, Grant};

/// What goes into a merge value.
pub(super) type Inputs = Vec<(InputKind, EpochId, Secret)>;

/// A merge that grants are made for.
pub(super) struct Merge<'a> {
    pub(super) base: &'a EpochRef,
    pub(super) resolves: &'a [EpochRef],
    pub(super) inputs: &'a Inputs,
    /// Members of the base that have no live leaf in some resolved head.
    pub(super) one_sided: Vec<LeafIndex>,
}

impl Group {
    pub(super) fn grants(
        &self,
        merge: &Merge<'_>,
        m: &Secret,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<Grant>, GroupError> {
        let base = self.dag.get(&merge.base.id).ok_or(GroupError::NotInGroup)?;
        let context = context_of(merge.base, merge.resolves);
        let lines: Vec<_> = merge.resolves.iter().chain([merge.base]).map(|named| named.id).collect();
        let members = merge.one_sided.iter().filter_map(|leaf| base.members.get(*leaf));
        let mut seal = |member: &Leaf| {
            let to = self.recipient(member, &base.id, &lines).ok_or(GroupError::NotInGroup)?;
            let shared = merge.inputs.iter().filter(|(_, head, _)| self.is_in(head, member)).cloned().collect();
            let psk = grant_psk(&no_chain(), &merge_value(shared));
            to.seal(self.own.suite(), &context, &psk, m, entropy).map_err(GroupError::from)
        };
        members.map(&mut seal).collect()
    }

    /// A member of `epoch`, with the newest leaf that its device made by a commit before these: whoever stole an older one
    /// before its owner healed opens nothing.
    fn recipient(&self, member: &Leaf, epoch: &EpochId, lines: &[EpochId]) -> Option<Recipient> {
        let newer = if self.dag.audience().is_outdated(member) && defence::on("R5") && defence::on("C3") {
            let held = self.dag.held().into_iter().collect();
            let before = self.dag.among_ancestors(&held, lines.iter().copied());
            let leaves =
                before.into_iter().filter_map(|id| Some((id, self.dag.get(&id)?.members.leaf_of(&member.device)?)));
            let made = leaves.filter(|(_, leaf)| leaf.key == member.key && !leaf.of_package);
            made.filter(|(_, leaf)| leaf.serial > member.serial).max_by_key(|(_, leaf)| leaf.serial)
        } else {
            None
        };
        let (epoch, leaf) = newer.unwrap_or((*epoch, member));
        let key = self.held.get(&epoch)?.epoch.leaf_key(leaf.index)?.clone();
        Some(Recipient { leaf: member.index, serial: leaf.serial, key })
    }

    /// Whether a member of the base is in a resolved head with a leaf that is not older: a thief of the one in the base may
    /// lack that head. Sealer and opener must come to the same, so it follows from what both have.
    fn is_in(&self, head: &EpochId, member: &Leaf) -> bool {
        self.dag.get(head).is_some_and(|head| head.members.is_as_new(member))
    }

    /// M from this device's grant; `held` is what it has of the resolved heads.
    pub(super) fn open_grant(&self, data: &CommitData, held: Inputs) -> Option<Secret> {
        let own = self.dag.get(&data.base.id)?.members.leaf_of(self.own.device())?;
        let grant = data.grants.iter().find(|grant| grant.leaf == own.index.0)?;
        let shared = held.into_iter().filter(|(_, head, _)| self.is_in(head, own)).collect();
        let psk = grant_psk(&no_chain(), &merge_value(shared));
        grant.open(self.own.suite(), self.key_of_leaf(grant.serial)?, &context_of(&data.base, &data.resolves), &psk)
    }

    /// The private key of this device's leaf with this serial, as long as an epoch with that leaf is held.
    fn key_of_leaf(&self, serial: u64) -> Option<&Secret> {
        let held = self.dag.held().into_iter().rev();
        let mut with_it = held.filter(|id| {
            let own = self.dag.get(id).and_then(|epoch| epoch.members.get(epoch.own_leaf?));
            own.is_some_and(|own| own.serial == serial)
        });
        with_it.find_map(|id| self.held.get(&id)?.epoch.own_key())
    }

    /// M goes to whom it belongs: the asker must be in the base and in the merged epoch (SPEC §3.9).
    pub(super) fn answer_merge_request(
        &mut self,
        epoch: EpochId,
        from: Device,
        entropy: &mut dyn Entropy,
        batch: &mut Batch,
    ) -> Result<Verdict, GroupError> {
        let Some(grant) = self.reply(&epoch, &from, entropy)? else {
            return Ok(rejected(Reason::NotInEpoch, Some(from)));
        };
        let value = zeroize::Zeroizing::new(grant.encode());
        batch.publish.push(Publish::MergeReply { to: from, epoch, value });
        Ok(Verdict::Applied(Applied::Fact))
    }

    fn reply(&self, id: &EpochId, to: &Device, entropy: &mut dyn Entropy) -> Result<Option<Grant>, GroupError> {
        let merged = self.dag.get(id).filter(|merged| merged.held && defence::on("C4"));
        let base = merged.and_then(|merged| merged.base.as_ref());
        let (Some(merged), Some(named)) = (merged, base) else { return Ok(None) };
        let is_entitled = self
            .dag
            .get(&named.id)
            .is_some_and(|base| base.members.leaf_of(to).is_some() && base.kind != EpochKind::External);
        let member = merged.members.leaf_of(to).filter(|_| self.dag.desired().devices.contains_key(to));
        let recipient = member.filter(|_| is_entitled).and_then(|member| self.recipient(member, id, &[*id]));
        let (Some(recipient), Some(m)) = (recipient, &merged.merge_inputs) else { return Ok(None) };
        let context = context_of(named, &merged.resolves);
        Ok(Some(recipient.seal(self.own.suite(), &context, &reply_psk(), m, entropy)?))
    }

    /// M from a member's answer.
    pub(super) fn open_reply(&self, data: &CommitData, value: &[u8]) -> Result<Secret, Reason> {
        let grant = Grant::parse(value)?;
        let key = self.key_of_leaf(grant.serial).ok_or(Reason::BeyondWindow)?;
        let context = context_of(&data.base, &data.resolves);
        grant.open(self.own.suite(), key, &context, &reply_psk()).ok_or(Reason::Forged)
    }
}

/// Whoever answers need not have the heads that were merged.
fn reply_psk() -> Secret {
    grant_psk(&no_chain(), &merge_value(Vec::new()))
}

/// What a grant is bound to: the base and the heads that its commit resolves.
pub(super) fn context_of(base: &EpochRef, resolves: &[EpochRef]) -> Vec<u8> {
    let mut context = base.id.0.to_vec();
    resolves.iter().for_each(|head| context.extend(head.id.0));
    context
}
