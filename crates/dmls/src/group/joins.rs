//! Coming into the group: genesis, Welcome, external commit.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::outgoing::welcome_context;
use super::{Batch, Group, rejected};
use crate::dag::{Dag, Epoch, Removal, is_desired};
use crate::defence;
use crate::effect::{Applied, EpochKind, EpochRef, Outcome, OutgoingCommit, Verdict};
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::frame::{CommitFrame, CommitSender, group_info as group_info_frame};
use crate::id::{Device, Height, LeafIndex, Locator, Timestamp};
use crate::input::{BaseProof, Welcome};
use crate::journal::Durable;
use crate::members::Members;
use crate::mls::{self, EpochFacts};
use crate::package::KeyPackages;
use crate::secret::{no_chain, psk_secret};
use crate::wire::{self, Change, CommitData};

/// What a Welcome's commit says of the epoch, checked against the transcript.
struct Place {
    data: CommitData,
    frame_sender: CommitSender,
    tag: Vec<u8>,
}

impl Group {
    /// Makes the genesis epoch, with this device alone in it.
    pub fn create(&mut self, now: Timestamp, entropy: &mut dyn Entropy) -> Result<Durable<Outcome>, GroupError> {
        if !self.dag.is_empty() {
            return Err(GroupError::Exists);
        }
        let (view, facts) = mls::create(self.id.as_bytes(), &self.own, entropy)?;
        let id = facts.id;
        let mut epoch = self.entry_epoch(facts, None, EpochKind::Genesis, self.own.device().clone(), now);
        epoch.own = true;
        let mut batch = Batch::default();
        self.insert(epoch, Some(view), None, &mut batch);
        self.note_due(now, &mut batch);
        Ok(batch.done(Verdict::Applied(Applied::Joined { epoch: id })))
    }

    fn entry_epoch(
        &self,
        facts: EpochFacts,
        data: Option<CommitData>,
        kind: EpochKind,
        creator: Device,
        now: Timestamp,
    ) -> Epoch {
        let changed = |wanted: Change| {
            let changes = data.iter().flat_map(|data| &data.changes);
            changes.filter(move |change| change.change == wanted).cloned().collect::<Vec<_>>()
        };
        let removal = |change: crate::wire::Justification| Removal { device: change.device, event: change.event };
        Epoch {
            id: facts.id,
            height: data.as_ref().map_or(Height(0), |data| self.child_height(data)),
            creator,
            kind,
            locator: Locator::default(),
            commit_hash: [0; 32],
            proof: facts.proof,
            members: self.members_near(data.as_ref()).following(facts.leaves),
            added: changed(Change::Add).into_iter().map(|change| change.device).collect(),
            removed: changed(Change::Remove).into_iter().map(removal).collect(),
            first_seen: now,
            own_leaf: Some(facts.own_leaf),
            own: false,
            healing: false,
            entry: true,
            held: true,
            abandoned: false,
            equivocation: false,
            merge_export: Some(facts.merge_export),
            merge_inputs: None,
            granted: false,
            base: data.as_ref().map(|data| data.base.clone()),
            resolves: data.map(|data| data.resolves).unwrap_or_default(),
        }
    }

    /// Members that those of a new epoch have most in common with.
    fn members_near(&self, data: Option<&CommitData>) -> Members {
        let base = data.and_then(|data| self.dag.get(&data.base.id));
        let near = base.or_else(|| self.dag.head_ids().next().and_then(|id| self.dag.get(id)));
        near.map(|epoch| epoch.members.clone()).unwrap_or_default()
    }

    /// Takes in a Welcome; it adds a head and never replaces one (SPEC §3.8).
    ///
    /// Nothing is believed: the EpochId is computed, and the commit must be the one that made this very epoch.
    pub fn join(
        &mut self,
        welcome: Welcome,
        packages: &mut KeyPackages,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        let mut batch = Batch::default();
        let verdict = match self.try_join(welcome, packages, now, entropy, &mut batch) {
            Ok(verdict) => verdict,
            Err(Refusal::Peer(reason)) => rejected(reason, None),
            Err(Refusal::Own(error)) => return Err(error),
        };
        if let Verdict::Applied(Applied::Joined { epoch }) = &verdict {
            self.release_waiting(*epoch, now, entropy, &mut batch)?;
        }
        self.note_due(now, &mut batch);
        Ok(batch.done(verdict))
    }

    fn try_join(
        &mut self,
        welcome: Welcome,
        packages: &mut KeyPackages,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        batch: &mut Batch,
    ) -> Result<Verdict, Refusal> {
        let (place, id) = self.place_of(&welcome)?;
        if self.dag.get(&id).is_some_and(|epoch| epoch.held) {
            return Ok(Verdict::Known);
        }
        let references = mls::package_references(&welcome.bytes)?;
        let reference = references.iter().find(|reference| packages.has(reference)).ok_or(Reason::NoKeyPackage)?;
        let info = welcome_context(&id);
        let m = mls::open_welcome_grant(packages.view(), reference, &welcome.grant, &info).ok_or(Reason::Forged)?;
        let psk = psk_secret(&no_chain(), &m);
        let staged = mls::join_welcome(packages.view(), self.id.as_bytes(), &welcome.bytes, psk, entropy)?;
        let same = staged.facts.id == id && staged.facts.proof.confirmation_tag == place.tag;
        if !same && defence::on("C20") {
            return Err(Reason::WrongCommit.into());
        }
        self.check_place(&place, &staged.facts)?;
        let creator = creator_of(&place, &staged.facts)?;
        let kind = if place.data.resolves.is_empty() { EpochKind::Commit } else { EpochKind::Merge };
        let mut epoch = self.entry_epoch(staged.facts, Some(place.data), kind, creator, now);
        epoch.locator = welcome.locator;
        epoch.commit_hash = Sha256::digest(&welcome.commit).into();
        epoch.merge_inputs = Some(m);
        batch.writes.extend(packages.used(*reference));
        if !defence::on("X2") {
            (self.dag, self.views) =
                (Dag::of(Vec::new(), self.dag.desired().clone()).unwrap_or_default(), BTreeMap::new());
        }
        self.insert(epoch, Some(staged.view), Some(&welcome.commit), batch);
        Ok(Verdict::Applied(Applied::Joined { epoch: id }))
    }

    /// Reads the commit and computes which epoch it makes on the base that the sender names.
    fn place_of(&self, welcome: &Welcome) -> Result<(Place, crate::id::EpochId), Refusal> {
        let frame = CommitFrame::parse(&welcome.commit)?;
        if frame.group != self.id.as_bytes() {
            return Err(Reason::OtherGroup.into());
        }
        let data = CommitData::parse(frame.authenticated_data)?;
        if wire::epoch_id(self.id.as_bytes(), &welcome.base) != data.base.id {
            return Err(Reason::WrongCommit.into());
        }
        if self.made_by(&welcome.commit, &welcome.base) != Some(welcome.epoch) {
            return Err(Reason::WrongCommit.into());
        }
        let tag = frame.confirmation_tag.to_vec();
        Ok((Place { data, frame_sender: frame.sender, tag }, welcome.epoch))
    }

    /// The epoch that a commit makes on this base; `None` if it is no commit of this group.
    pub fn made_by(&self, commit: &[u8], base: &BaseProof) -> Option<crate::id::EpochId> {
        let frame = CommitFrame::parse(commit).ok().filter(|frame| frame.group == self.id.as_bytes())?;
        Some(wire::epoch_id(frame.group, &frame.child_of(base)))
    }

    /// Heights of known epochs are recomputed here too.
    fn check_place(&self, place: &Place, facts: &EpochFacts) -> Result<(), Refusal> {
        let refs = place.data.resolves.iter().chain([&place.data.base]);
        if refs.into_iter().any(|named| self.dag.height_of(named) != named.height) {
            return Err(Reason::BadHeight.into());
        }
        let own = facts.leaves.iter().find(|leaf| leaf.index == facts.own_leaf);
        match own {
            Some(leaf) if leaf.device == *self.own.device() && leaf.key == self.own.key() => Ok(()),
            _ => Err(Reason::BadCredential.into()),
        }
    }

    /// Joins (or rejoins) `target` by external commit; an old leaf of this device is removed by it (SPEC §5.5).
    pub fn join_externally(
        &mut self,
        group_info: &[u8],
        target: EpochRef,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        let frame = group_info_frame(group_info).map_err(GroupError::GroupInfo)?;
        if frame.group != self.id.as_bytes() {
            return Err(GroupError::GroupInfo(Reason::OtherGroup));
        }
        let known = self.known_closed().get(&target.id).map(|closed| closed.height);
        let height = known.unwrap_or_else(|| self.dag.height_of(&target));
        let named = wire::epoch_id(frame.group, &frame.proof) == target.id && height == target.height;
        if !named && defence::on("X9") {
            return Err(GroupError::GroupInfo(Reason::Mismatch));
        }
        let data = CommitData {
            base: target.clone(),
            resolves: Vec::new(),
            membership: self.dag.membership_digest(),
            policy: [0; 32],
            changes: Vec::new(),
            grants: Vec::new(),
        };
        let (built, replaced) =
            mls::join_externally(self.id.as_bytes(), group_info, &self.own, data.encode(), entropy)?;
        if self.in_group() && !self.is_vouched(&built.facts, frame.signer) {
            return Err(GroupError::GroupInfo(Reason::BadCredential));
        }
        let creator = self.own.device().clone();
        let mut epoch = self.entry_epoch(built.facts, Some(data), EpochKind::External, creator, now);
        epoch.own = true;
        epoch.commit_hash = Sha256::digest(&built.bytes).into();
        epoch.added = vec![self.own.device().clone()];
        if replaced {
            epoch.removed = vec![Removal { device: self.own.device().clone(), event: Locator::default() }];
        }
        let commit = OutgoingCommit {
            epoch: epoch.reference(),
            base: target,
            resolves: Vec::new(),
            bytes: built.bytes,
            group_info: built.group_info,
            welcomes: Vec::new(),
        };
        self.finish_own(epoch, built.view, commit, now, entropy)
    }
}

impl Group {
    /// Whether the leaf that signed a GroupInfo is a device of D: a device that is in the group believes no other.
    ///
    /// A signer that is no longer there was this device's own old leaf: an external commit removes no other.
    fn is_vouched(&self, facts: &EpochFacts, signer: LeafIndex) -> bool {
        let signer = facts.leaves.iter().find(|leaf| leaf.index == signer);
        signer.is_none_or(|leaf| is_desired(self.dag.desired(), leaf))
    }
}

/// The committer, by its leaf in the new epoch: a commit never moves its maker.
fn creator_of(place: &Place, facts: &EpochFacts) -> Result<Device, Refusal> {
    let CommitSender::Member(index) = place.frame_sender else { return Err(Reason::WrongCommit.into()) };
    let leaf = facts.leaves.iter().find(|leaf| leaf.index == LeafIndex(index));
    leaf.map(|leaf| leaf.device.clone()).ok_or(Refusal::Peer(Reason::WrongCommit))
}

/// Whose fault it is that a Welcome was not taken in.
enum Refusal {
    Peer(Reason),
    #[allow(dead_code)]
    Own(GroupError),
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Peer(reason)
    }
}
