//! Coming into the group: genesis, Welcome, external commit.

use sha2::{Digest, Sha256};

use super::outgoing::welcome_context;
use super::{Batch, Group, rejected};
use crate::dag::{Dag, Epoch, Past};
use crate::defence;
use crate::effect::{Applied, EpochKind, EpochRef, GroupInfo, Outcome, OutgoingCommit, Verdict};
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::frame::{CommitFrame, CommitSender, group_info as group_info_frame};
use crate::id::{Device, LeafIndex, Locator, Timestamp};
use crate::input::{BaseProof, Welcome};
use crate::journal::Durable;
use crate::members::Members;
use crate::mls::{self, Door, Entered, Invitation};
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
        let entered = mls::Epoch::create(self.id.as_bytes(), &self.own.leaf_maker(), entropy)?;
        let id = entered.epoch.id();
        let members = entered.epoch.tree().vouched_members().map_err(GroupError::GroupInfo)?;
        let mut epoch = self.entry_epoch(&entered, members, None, EpochKind::Genesis, self.own.device().clone(), now);
        epoch.own = true;
        let mut batch = Batch::default();
        self.insert(epoch, Some(entered), None, now, &mut batch);
        batch.writes.push(self.own.serial_record());
        self.note_due(now, &mut batch);
        Ok(batch.done(Verdict::Applied(Applied::Joined { epoch: id })))
    }

    fn entry_epoch(
        &self,
        entered: &Entered,
        members: Members,
        data: Option<CommitData>,
        kind: EpochKind,
        creator: Device,
        now: Timestamp,
    ) -> Epoch {
        let changed = |wanted: Change| {
            let changes = data.iter().flat_map(|data| &data.changes);
            changes
                .filter(move |change| change.change == wanted)
                .map(|change| change.device.clone())
                .collect::<Vec<_>>()
        };
        Epoch {
            id: entered.epoch.id(),
            number: entered.epoch.number(),
            creator,
            kind,
            locator: Locator::default(),
            commit_hash: [0; 32],
            proof: entered.epoch.proof(),
            members: self.members_near(data.as_ref()).following(members.iter().cloned().collect()),
            added: changed(Change::Add),
            removed: changed(Change::Remove),
            first_seen: now,
            age: 0,
            own_leaf: Some(LeafIndex(entered.epoch.own())),
            own: false,
            healing: false,
            entry: true,
            held: true,
            abandoned: false,
            equivocation: false,
            merge_export: Some(entered.merge_export.clone()),
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
        _entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        let mut batch = Batch::default();
        let verdict = match self.try_join(welcome, packages, now, &mut batch) {
            Ok(verdict) => verdict,
            Err(Refusal::Peer(reason)) => rejected(reason, None),
            Err(Refusal::Own(error)) => return Err(error),
        };
        if let Verdict::Applied(Applied::Joined { epoch }) = &verdict {
            self.release_waiting(*epoch, now, &mut batch)?;
        }
        self.note_due(now, &mut batch);
        Ok(batch.done(verdict))
    }

    fn try_join(
        &mut self,
        welcome: Welcome,
        packages: &mut KeyPackages,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Verdict, Refusal> {
        let (place, id) = self.place_of(&welcome)?;
        if self.holds(&id) {
            return Ok(Verdict::Known);
        }
        // This is an old Welcome that somebody kept: keys that were used, and let go, would be back.
        if self.knows(&id) {
            return Err(Reason::BeyondWindow.into());
        }
        let references = mls::package_references(&welcome.bytes).map_err(Reason::from)?;
        let reference = references.iter().find(|reference| packages.has(reference)).ok_or(Reason::NoKeyPackage)?;
        let info = welcome_context(&id);
        let package = packages.get(reference).ok_or(Reason::NoKeyPackage)?;
        let suite = self.own.suite();
        let m = package.open_grant(suite, &welcome.grant, &info).ok_or(Reason::Forged)?;
        let psk = psk_secret(&no_chain(), &m);
        let invitation = Invitation::open(suite, &welcome.bytes, package).map_err(Reason::from)?;
        let entered = invitation.enter(&psk, None).map_err(Reason::from)?;
        if entered.epoch.group() != self.id.as_bytes() {
            return Err(Reason::OtherGroup.into());
        }
        let same = entered.epoch.id() == id && entered.epoch.proof().confirmation_tag == place.tag;
        if !same && defence::on("C20") {
            return Err(Reason::WrongCommit.into());
        }
        let members = entered.epoch.tree().vouched_members()?;
        self.check_own_leaf(&entered, &members)?;
        let creator = creator_of(&place, &members)?;
        let kind = if place.data.resolves.is_empty() { EpochKind::Commit } else { EpochKind::Merge };
        let equivocation = self.note_equivocation(&place.data, &creator, id, batch);
        let mut epoch = self.entry_epoch(&entered, members, Some(place.data), kind, creator, now);
        epoch.equivocation = equivocation;
        epoch.locator = welcome.locator;
        epoch.commit_hash = Sha256::digest(&welcome.commit).into();
        epoch.merge_inputs = Some(m);
        batch.writes.extend(packages.used(*reference));
        if !defence::on("X2") {
            self.dag = Dag::of(Vec::new(), Past::default(), self.dag.desired().clone()).unwrap_or_default();
            self.held = crate::held::HeldEpochs::new(super::records::prefix(&self.id));
        }
        self.insert(epoch, Some(entered), Some(&welcome.commit), now, batch);
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

    fn check_own_leaf(&self, entered: &Entered, members: &Members) -> Result<(), Refusal> {
        match members.get(LeafIndex(entered.epoch.own())) {
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
        if self.dag.past().get(&target.id).is_some() {
            return Err(GroupError::GroupInfo(Reason::BeyondWindow));
        }
        let named = wire::epoch_id(frame.group, &frame.proof) == target.id;
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
        let refuse = |refusal: mls::Refusal| GroupError::GroupInfo(refusal.into());
        let door = Door::read(self.own.suite(), group_info, None).map_err(refuse)?;
        let there = door.public().tree().vouched_members().map_err(GroupError::GroupInfo)?;
        let draft = door.draft(None, data.encode(), &self.own.leaf_maker(), entropy)?;
        let replaced = !draft.removed().is_empty();
        let made = draft.finish(None, &self.own.maker(), entropy)?;
        if self.in_group() && !self.is_vouched(&there, frame.signer) {
            return Err(GroupError::GroupInfo(Reason::BadCredential));
        }
        let members = made.entered.epoch.tree().vouched_members().map_err(GroupError::GroupInfo)?;
        let creator = self.own.device().clone();
        let mut epoch = self.entry_epoch(&made.entered, members, Some(data), EpochKind::External, creator, now);
        epoch.own = true;
        epoch.commit_hash = Sha256::digest(&made.bytes).into();
        epoch.added = vec![self.own.device().clone()];
        if replaced {
            epoch.removed = vec![self.own.device().clone()];
        }
        let commit = OutgoingCommit {
            epoch: epoch.reference(),
            base: target,
            resolves: Vec::new(),
            bytes: made.bytes,
            group_info: GroupInfo::of(&made.entered.epoch, &self.own),
            welcomes: Vec::new(),
        };
        self.finish_own(epoch, made.entered, commit, now)
    }
}

impl Group {
    /// Whether the leaf that signed a GroupInfo is a device of D: a device that is in the group believes no other.
    ///
    /// This device's own old leaf may have signed it, too.
    fn is_vouched(&self, members: &Members, signer: LeafIndex) -> bool {
        let own = |leaf: &crate::members::Leaf| leaf.device == *self.own.device();
        members.get(signer).is_none_or(|leaf| own(leaf) || self.dag.audience().is_desired(leaf))
    }
}

/// The committer, by its leaf in the new epoch: a commit never moves its maker.
fn creator_of(place: &Place, members: &Members) -> Result<Device, Refusal> {
    let CommitSender::Member(index) = place.frame_sender else { return Err(Reason::WrongCommit.into()) };
    members.get(LeafIndex(index)).map(|leaf| leaf.device.clone()).ok_or(Refusal::Peer(Reason::WrongCommit))
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
