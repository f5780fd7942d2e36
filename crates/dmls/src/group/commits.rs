//! Commits that come in: from the room, from a member's reply, or from the waiting pool - one way for all (SPEC §6.1).

use sha2::{Digest, Sha256};

use super::{Batch, Group, rejected};
use crate::dag::{Epoch, Stub};
use crate::defence;
use crate::effect::{Applied, EpochKind, Missing, Notice, Publish, Settled, Verdict};
use crate::error::{GroupError, Reason};
use crate::frame::{CommitFrame, CommitSender};
use crate::id::{Device, EpochId, EpochNumber, LeafIndex, Locator, Timestamp};
use crate::input::BaseProof;
use crate::members::{Leaf, Members};
use crate::mls::{Draft, Entered, Refusal};
use crate::pending::{Kind, On, Waiting};
use crate::secret::{InputKind, Secret, merge_value, no_chain, psk_secret};
use crate::wire::{self, Change, CommitData, Justification, PskId};

/// A commit on its way: raw bytes and where they came from.
struct Arrived {
    bytes: Vec<u8>,
    locator: Option<Locator>,
    from: String,
    /// M, when a member answered with it.
    answered: Option<Secret>,
}

/// M, and where it is from.
struct MergeInputs {
    m: Secret,
    /// From this device's grant: the committer's word. If not, from the heads themselves, or from a member whose answer
    /// is about to be tried.
    granted: bool,
}

/// A commit that MLS accepts and that keeps to the table of SPEC §3.1.
struct Processed {
    committer: Leaf,
    added: Vec<Leaf>,
    removed: Vec<Leaf>,
    members: Members,
    /// The new epoch, and the M with which it was entered; `None` when it removes this device.
    entered: Option<(MergeInputs, Entered)>,
}

impl Processed {
    fn of(draft: &Draft, base: &EpochId, before: &Members) -> Result<Self, Reason> {
        let committer = draft.committing_member()?;
        check_psk(draft, base, &committer)?;
        Ok(Self {
            added: draft.added_members()?,
            removed: draft.removed_members()?,
            members: draft.members_after(before)?,
            committer,
            entered: None,
        })
    }
}

/// A member's PSK names this base and its own leaf; an external commit has none.
fn check_psk(draft: &Draft, base: &EpochId, committer: &Leaf) -> Result<(), Reason> {
    let named = draft.psk_id().map(PskId::parse).transpose()?;
    let fits = match named {
        None => draft.is_external(),
        Some(psk) => !draft.is_external() && psk.base == *base && psk.leaf == committer.index,
    };
    if fits || !defence::on("C2") { Ok(()) } else { Err(Reason::BadPsk) }
}

/// What one look at a commit came to.
enum Look {
    Accepted(EpochId),
    Known,
    Wait(On),
    Refused(Reason, Option<Device>),
}

impl Group {
    pub(super) fn take_commit(
        &mut self,
        bytes: Vec<u8>,
        locator: Option<Locator>,
        from: String,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Verdict, GroupError> {
        let arrived = Arrived { bytes, locator, from, answered: None };
        let look = self.look_at(&arrived, now, batch)?;
        let verdict = match look {
            Look::Accepted(epoch) => {
                self.release_waiting(epoch, now, batch)?;
                Verdict::Applied(Applied::Commit { epoch })
            }
            Look::Known => Verdict::Known,
            Look::Refused(reason, who) => rejected(reason, who),
            Look::Wait(on) => {
                let hint = None;
                let waiting = self.waiting(Kind::Commit, arrived.bytes, arrived.locator, arrived.from, hint, on, now);
                self.put_off(waiting, batch)
            }
        };
        Ok(verdict)
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn waiting(
        &self,
        kind: Kind,
        bytes: Vec<u8>,
        locator: Option<Locator>,
        from: String,
        hint: Option<Locator>,
        on: On,
        now: Timestamp,
    ) -> Waiting {
        Waiting { kind, bytes, locator, from, hint, on, since: now, until: now.plus(self.settings.patience) }
    }

    /// Puts an input into the pool, if its sender has not filled its share.
    pub(super) fn put_off(&mut self, waiting: Waiting, batch: &mut Batch) -> Verdict {
        let key = waiting.key();
        let known = self.pending.get(&key).map(|old| old.on == waiting.on);
        if known.is_none() && !self.pending.has_room(&waiting) {
            return rejected(Reason::TooManyPending, None);
        }
        let on = match &waiting.on {
            On::Epoch(epoch, hint) => Missing::Commit { epoch: *epoch, hint: hint.clone() },
            On::MergeValue { resolves, .. } => Missing::MergeValue { resolves: resolves.clone() },
            On::Earlier { epoch, .. } => Missing::Earlier { epoch: *epoch },
            On::Welcome(_) => Missing::Welcome,
        };
        let until = waiting.until;
        if known != Some(true) {
            batch.writes.push(self.waiting_record(&waiting));
            self.pending.insert(waiting);
        }
        Verdict::Deferred { on, until }
    }

    /// Everything that waited for `epoch`, and for what comes of that: a worklist, never recursion.
    pub(super) fn release_waiting(
        &mut self,
        epoch: EpochId,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), GroupError> {
        let mut made = vec![epoch];
        while let Some(epoch) = made.pop() {
            for key in self.pending.freed_by(&epoch) {
                let Some(waiting) = self.pending.remove(&key) else { continue };
                let (locator, since) = (waiting.locator.clone(), waiting.since);
                let verdict = match waiting.kind {
                    Kind::Message => self.open_waiting(waiting, batch)?,
                    Kind::Commit => match self.look_again(waiting, since, now, batch)? {
                        Some(Verdict::Applied(Applied::Commit { epoch })) => {
                            made.push(epoch);
                            Some(Verdict::Applied(Applied::Commit { epoch }))
                        }
                        other => other,
                    },
                };
                if let Some(verdict) = verdict {
                    batch.writes.push(self.forget_waiting(&key));
                    batch.settled.push(Settled { locator, verdict });
                }
            }
        }
        Ok(())
    }

    /// `None` when it must go on waiting.
    fn look_again(
        &mut self,
        waiting: Waiting,
        since: Timestamp,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Option<Verdict>, GroupError> {
        let Waiting { bytes, locator, from, hint, until, .. } = waiting;
        let arrived = Arrived { bytes, locator, from, answered: None };
        Ok(match self.look_at(&arrived, now, batch)? {
            Look::Accepted(epoch) => Some(Verdict::Applied(Applied::Commit { epoch })),
            Look::Known => Some(Verdict::Known),
            Look::Refused(reason, who) => Some(rejected(reason, who)),
            Look::Wait(on) => {
                let Arrived { bytes, locator, from, answered: _ } = arrived;
                let waiting = Waiting { kind: Kind::Commit, bytes, locator, from, hint, on, since, until };
                batch.writes.push(self.waiting_record(&waiting));
                self.pending.insert(waiting);
                None
            }
        })
    }

    /// The one place where a commit is judged.
    fn look_at(&mut self, arrived: &Arrived, now: Timestamp, batch: &mut Batch) -> Result<Look, GroupError> {
        let hash: [u8; 32] = Sha256::digest(&arrived.bytes).into();
        if let Some(id) = self.dag.by_commit(&hash).map(|epoch| epoch.id).filter(|_| defence::on("F20")) {
            self.learn_locator(&id, arrived.locator.as_ref(), batch);
            return Ok(Look::Known);
        }
        let (frame, data) = match self.read(&arrived.bytes) {
            Ok(read) => read,
            Err(reason) => return Ok(Look::Refused(reason, None)),
        };
        let Some(base) = self.dag.get(&data.base.id) else {
            if let Some(stub) = self.dag.past().get(&data.base.id).cloned() {
                return Ok(self.look_at_late(&stub, &data, &frame, arrived, now, batch));
            }
            // This device came in there: its base was never known.
            if self.dag.past().has_tag(frame.confirmation_tag) {
                return Ok(Look::Known);
            }
            let hint = Some(data.base.locator.clone()).filter(|locator| !locator.0.is_empty());
            return Ok(Look::Wait(On::Epoch(data.base.id, hint)));
        };
        let blame = blame(base, frame.sender);
        let (proof, number) = (frame.child_of(&base.proof), base.number.next());
        let id = wire::epoch_id(self.id.as_bytes(), &proof);
        if self.dag.past().get(&id).is_some() {
            return Ok(Look::Known);
        }
        if let Err(reason) = admissible(base, &data, frame.sender) {
            if reason == Reason::Removed && frame.sender != CommitSender::New {
                self.close((proof, number), &data, None, &arrived.from, now, batch);
            }
            return Ok(Look::Refused(reason, None));
        }
        #[cfg(dmls_mutants)]
        if self.is_third(base, blame.as_ref(), arrived) {
            return Ok(Look::Refused(Reason::NotAllowed, None));
        }
        let before = base.members.clone();
        let processed = match self.process(&data, &frame, &proof, arrived, &before) {
            Ok(done) => done,
            Err(Look::Refused(reason, _)) => {
                self.note_failure(reason, &data, (proof, number), blame.as_ref(), arrived, now, batch);
                return Ok(Look::Refused(reason, blame.filter(|_| is_of_what_is_signed(reason))));
            }
            Err(look) => return Ok(look),
        };
        if processed.entered.is_none() && processed.added.iter().any(|leaf| leaf.device == *self.own.device()) {
            // Removed and added anew: its Welcome brings this device there.
            return Ok(Look::Wait(On::Welcome(id)));
        }
        if let Err(reason) = changes_match(&data.changes, &processed, frame.sender) {
            return Ok(Look::Refused(reason, blame));
        }
        Ok(self.accept(hash, arrived, data, (proof, number), processed, now, batch))
    }

    /// Weaker rules for the attacks C13 and F16: a third commit of one device on one base is refused, whichever is the third
    /// here; and the same of what comes by the room alone, as if what members serve were judged already.
    #[cfg(dmls_mutants)]
    fn is_third(&self, base: &Epoch, creator: Option<&Device>, arrived: &Arrived) -> bool {
        let counts = !defence::on("C13") || !defence::on("F16") && arrived.locator.is_some();
        counts && self.dag.children(&base.id).filter(|child| Some(&child.creator) == creator).count() >= 2
    }

    /// A commit on an epoch of which a stub is left: others may have gone on from there.
    fn look_at_late(
        &mut self,
        stub: &Stub,
        data: &CommitData,
        frame: &CommitFrame<'_>,
        arrived: &Arrived,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Look {
        let proof = frame.child_of(&stub.proof);
        if self.knows(&wire::epoch_id(self.id.as_bytes(), &proof)) {
            return Look::Known;
        }
        if frame.sender != CommitSender::New {
            self.close((proof, stub.number.next()), data, None, &arrived.from, now, batch);
        }
        Look::Refused(if stub.removed { Reason::Removed } else { Reason::BeyondWindow }, None)
    }

    /// The cryptography of a commit whose bookkeeping is right; `Err` when it waits for M or is refused.
    fn process(
        &self,
        data: &CommitData,
        frame: &CommitFrame<'_>,
        proof: &BaseProof,
        arrived: &Arrived,
        before: &Members,
    ) -> Result<Processed, Look> {
        let refuse = |reason: Reason| Look::Refused(reason, None);
        let held = self.held.get(&data.base.id).ok_or(refuse(Reason::BeyondWindow))?;
        let draft = held.epoch.read(&arrived.bytes).map_err(|refusal| refuse(refusal.into()))?;
        let processed = Processed::of(&draft, &data.base.id, before).map_err(refuse)?;
        if draft.removes_own() {
            // Whoever is removed derives nothing of the new epoch, and needs no M to see that it is out of it.
            return Ok(processed);
        }
        if let Some(refusal) = draft.closed() {
            return Err(refuse(refusal.into()));
        }
        if let Some(inputs) = self.merge_inputs(data, frame, arrived.answered.as_ref()) {
            let psk = draft.psk_id().map(|_| psk_secret(&no_chain(), &inputs.m));
            match draft.finish(psk.as_ref()) {
                Ok(entered) => return Ok(Processed { entered: Some((inputs, entered)), ..processed }),
                // A grant can lie to one member alone: then M is missing as if there were none.
                Err(Refusal::ConfirmationTag) if inputs.granted => {}
                Err(refusal) => return Err(refuse(refusal.into())),
            }
        }
        // Its committer signed it and it opens here: it is worth the wait.
        let resolves = data.resolves.iter().map(|head| head.id).collect();
        Err(Look::Wait(On::MergeValue { epoch: wire::epoch_id(self.id.as_bytes(), proof), resolves }))
    }

    /// Others may be able to process what this device cannot: its epoch is remembered (SPEC §5.8).
    #[allow(clippy::too_many_arguments)]
    fn note_failure(
        &mut self,
        reason: Reason,
        data: &CommitData,
        made: (BaseProof, EpochNumber),
        blame: Option<&Device>,
        arrived: &Arrived,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        if let (Reason::CannotProcess, Some(device)) = (reason, blame) {
            batch.notices.push(Notice::CannotProcess { device: device.clone(), base: data.base.id });
        }
        if let (Reason::CannotProcess | Reason::BeyondWindow, Some(_)) = (reason, blame) {
            self.close(made, data, blame, &arrived.from, now, batch);
        }
    }

    fn read<'a>(&self, bytes: &'a [u8]) -> Result<(CommitFrame<'a>, CommitData), Reason> {
        let frame = CommitFrame::parse(bytes)?;
        if frame.group != self.id.as_bytes() {
            return Err(Reason::OtherGroup);
        }
        Ok((frame, CommitData::parse(frame.authenticated_data)?))
    }

    /// M: from the heads themselves, from this device's grant, or from a member's answer (SPEC §3.5, §3.7, §3.9).
    fn merge_inputs(
        &self,
        data: &CommitData,
        frame: &CommitFrame<'_>,
        answered: Option<&Secret>,
    ) -> Option<MergeInputs> {
        if let Some(m) = answered {
            return Some(MergeInputs { m: m.clone(), granted: false });
        }
        let held = data.resolves.iter().filter_map(|head| {
            let export = self.dag.get(&head.id)?.merge_export.clone()?;
            Some((InputKind::Head, head.id, export))
        });
        let held: Vec<_> = held.collect();
        if held.len() == data.resolves.len() {
            return Some(MergeInputs { m: merge_value(held), granted: false });
        }
        let granted = if frame.sender == CommitSender::New { None } else { self.open_grant(data, held) };
        granted.map(|m| MergeInputs { m, granted: true })
    }

    #[allow(clippy::too_many_arguments)]
    fn accept(
        &mut self,
        hash: [u8; 32],
        arrived: &Arrived,
        data: CommitData,
        (proof, number): (BaseProof, EpochNumber),
        processed: Processed,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Look {
        let id = wire::epoch_id(self.id.as_bytes(), &proof);
        if self.dag.get(&id).is_some() && defence::on("F20") {
            return Look::Known;
        }
        #[cfg(dmls_mutants)]
        if !defence::on("F5") {
            // A weaker rule: who a commit adds is a member, whoever made it and whatever the room says.
            let believed = |leaf: &Leaf| {
                (leaf.device.clone(), crate::input::DesiredDevice { key: leaf.key, joined: Locator::default() })
            };
            let mut desired = self.dag.desired().clone();
            desired.devices.extend(processed.added.iter().map(believed));
            self.dag.set_desired(desired);
            batch.writes.push(self.desired_record());
        }
        let creator = processed.committer.device.clone();
        self.turns.hear(&creator, now);
        let returned = sender_is_new(&arrived.bytes) && processed.removed.iter().any(|leaf| leaf.device == creator);
        if creator == *self.own.device() && (processed.entered.is_some() || defence::on("R6")) {
            batch.notices.push(Notice::Clone { epoch: id });
        } else if returned && defence::on("R6") {
            batch.notices.push(Notice::Returned { device: creator.clone(), epoch: id });
        }
        let equivocation = self.note_equivocation(&data, &creator, id, batch);
        let Processed { committer: _, added, removed, members, entered } = processed;
        let (inputs, entered) = entered.unzip();
        let own_leaf = entered.as_ref().map(|entered| LeafIndex(entered.epoch.own()));
        let granted = inputs.as_ref().is_some_and(|inputs: &MergeInputs| inputs.granted);
        if own_leaf.is_none() {
            batch.notices.push(Notice::RemovedHere { epoch: id });
        }
        let epoch = Epoch {
            id,
            number,
            creator,
            kind: kind_of(&data, &arrived.bytes),
            locator: arrived.locator.clone().unwrap_or_default(),
            commit_hash: hash,
            proof,
            members,
            added: added.iter().map(|leaf| leaf.device.clone()).collect(),
            removed: removed.into_iter().map(|leaf| leaf.device).collect(),
            first_seen: now,
            age: 0,
            own_leaf,
            own: false,
            healing: false,
            entry: false,
            held: entered.is_some(),
            abandoned: false,
            equivocation,
            merge_export: entered.as_ref().map(|entered| entered.merge_export.clone()),
            merge_inputs: inputs.map(|inputs| inputs.m),
            granted,
            base: Some(data.base),
            resolves: data.resolves,
        };
        self.insert(epoch, entered, Some(&arrived.bytes), now, batch);
        Look::Accepted(id)
    }

    /// Two commits of one device on one base are evidence, unless one descends from the other (SPEC §2.8).
    pub(super) fn note_equivocation(
        &mut self,
        data: &CommitData,
        creator: &Device,
        id: EpochId,
        batch: &mut Batch,
    ) -> bool {
        let twin = self.twin(data, creator, &id).filter(|_| defence::on("F1"));
        let Some(twin) = twin else { return false };
        // Two are evidence, and more say nothing new.
        if self.dag.get(&twin).is_some_and(|twin| !twin.equivocation) {
            batch.notices.push(Notice::Equivocation { device: creator.clone(), epochs: [twin, id] });
            self.dag.change(&twin, |epoch| epoch.equivocation = true);
            batch.writes.extend(self.epoch_record(&twin));
        }
        true
    }

    /// Another commit of `creator` on the base of the one that makes `id`, of which that one says nothing, nor it of that.
    fn twin(&self, data: &CommitData, creator: &Device, id: &EpochId) -> Option<EpochId> {
        let resolved = || data.resolves.iter().map(|head| head.id);
        let apart = |twin: &Epoch| {
            !self.dag.descends_from(&twin.id, resolved()) && !self.dag.descends_from(id, [twin.id].into_iter())
        };
        let mut twins = self.dag.children(&data.base.id).filter(|epoch| epoch.creator == *creator);
        twins.find(|twin| apart(twin)).map(|twin| twin.id)
    }

    /// An echo, or a copy found elsewhere, tells where the commit is.
    pub(super) fn learn_locator(&mut self, id: &EpochId, locator: Option<&Locator>, batch: &mut Batch) {
        let (Some(locator), Some(epoch)) = (locator, self.dag.get(id)) else { return };
        if epoch.locator.0.is_empty() {
            let heals = epoch.own && epoch.healing;
            self.dag.change(id, |epoch| {
                epoch.locator = locator.clone();
                epoch.abandoned = false;
            });
            batch.writes.extend(self.epoch_record(id));
            if heals {
                self.outdate_updates(id, batch);
            }
        }
    }

    /// A deliberate update is in the room: earlier ones need not be repeated any more, wherever they are (SPEC §3.10).
    fn outdate_updates(&mut self, newest: &EpochId, batch: &mut Batch) {
        let earlier = |epoch: &&Epoch| epoch.id != *newest && !epoch.locator.0.is_empty();
        let earlier: Vec<_> = self.dag.healing().filter(earlier).map(|epoch| epoch.id).collect();
        for id in earlier {
            self.dag.change(&id, |epoch| epoch.healing = false);
            batch.writes.extend(self.epoch_record(&id));
        }
    }

    pub(super) fn take_published(&mut self, id: &EpochId, locator: Locator, batch: &mut Batch) -> Verdict {
        if self.dag.get(id).is_none() {
            return rejected(Reason::Mismatch, None);
        }
        self.learn_locator(id, Some(&locator), batch);
        Verdict::Applied(Applied::Commit { epoch: *id })
    }

    pub(super) fn take_abandoned(&mut self, id: &EpochId, batch: &mut Batch) -> Verdict {
        if !self.dag.get(id).is_some_and(|epoch| epoch.own && epoch.locator.0.is_empty()) {
            return rejected(Reason::Mismatch, None);
        }
        self.dag.change(id, |epoch| epoch.abandoned = true);
        batch.writes.extend(self.epoch_record(id));
        Verdict::Applied(Applied::Fact)
    }

    pub(super) fn take_merge_reply(
        &mut self,
        epoch: &EpochId,
        value: &[u8],
        from: Device,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Verdict, GroupError> {
        let waits = |on: &On| matches!(on, On::MergeValue { epoch: waiting, .. } if waiting == epoch);
        let found = self.pending.iter().find(|(_, waiting)| waits(&waiting.on)).map(|(key, _)| *key);
        let Some(key) = found.filter(|_| self.may_answer(*epoch, from)) else { return Ok(Verdict::Known) };
        let Some(waiting) = self.pending.get(&key).cloned() else { return Ok(Verdict::Known) };
        let answered = match self.read(&waiting.bytes).and_then(|(_, data)| self.open_reply(&data, value)) {
            Ok(answered) => answered,
            Err(reason) => return Ok(rejected(reason, None)),
        };
        let arrived = Arrived {
            bytes: waiting.bytes,
            locator: waiting.locator.clone(),
            from: waiting.from,
            answered: Some(answered),
        };
        // A wrong answer must not end the wait: only an accepted commit leaves the pool.
        match self.look_at(&arrived, now, batch)? {
            Look::Accepted(epoch) => {
                self.pending.remove(&key);
                self.answered.retain(|(answered, _)| *answered != epoch);
                batch.writes.push(self.forget_waiting(&key));
                let verdict = Verdict::Applied(Applied::Commit { epoch });
                batch.settled.push(Settled { locator: waiting.locator, verdict });
                self.release_waiting(epoch, now, batch)?;
                Ok(Verdict::Applied(Applied::Commit { epoch }))
            }
            Look::Refused(reason, _) => Ok(rejected(reason, None)),
            Look::Known | Look::Wait(_) => Ok(Verdict::Known),
        }
    }

    /// Who may know M is believed once for each epoch: a wrong value costs a look at the commit.
    fn may_answer(&mut self, epoch: EpochId, from: Device) -> bool {
        self.who_may_know().contains(&from) && self.answered.insert((epoch, from))
    }

    /// Raw commits authenticate themselves; they go to members of the room only.
    pub(super) fn answer_commit_request(&mut self, epochs: &[EpochId], from: Device, batch: &mut Batch) -> Verdict {
        if !self.dag.desired().devices.contains_key(&from) {
            return rejected(Reason::NotInEpoch, Some(from));
        }
        let known = epochs.iter().take(super::outgoing::MAX_REPLY).filter_map(|id| {
            let epoch = self.dag.get(id)?;
            Some((epoch.reference(), self.commit_bytes.get(id).filter(|_| defence::on("Z4"))?.clone()))
        });
        let commits: Vec<_> = known.collect();
        if !commits.is_empty() {
            batch.publish.push(Publish::CommitReply { to: from, commits });
        }
        Verdict::Applied(Applied::Fact)
    }
}

/// What can be refused before any cryptography.
fn admissible(base: &Epoch, data: &CommitData, sender: CommitSender) -> Result<(), Reason> {
    if base.abandoned {
        return Err(Reason::Forged);
    }
    if base.own_leaf.is_none() {
        return Err(Reason::Removed);
    }
    if sender == CommitSender::New && !data.resolves.is_empty() {
        return Err(Reason::BadResolves);
    }
    Ok(())
}

/// The device whose leaf signed the commit, as far as the base shows it.
pub(super) fn blame(base: &Epoch, sender: CommitSender) -> Option<Device> {
    let CommitSender::Member(index) = sender else { return None };
    base.members.get(LeafIndex(index)).map(|leaf| leaf.device.clone())
}

/// Whether this is an external commit.
fn sender_is_new(bytes: &[u8]) -> bool {
    CommitFrame::parse(bytes).is_ok_and(|frame| frame.sender == CommitSender::New)
}

fn kind_of(data: &CommitData, bytes: &[u8]) -> EpochKind {
    match (sender_is_new(bytes), data.resolves.is_empty()) {
        (true, _) => EpochKind::External,
        (false, true) => EpochKind::Commit,
        (false, false) => EpochKind::Merge,
    }
}

/// Whether MLS says so only once the signature held. A copy that somebody altered is `forged`, and its maker innocent.
fn is_of_what_is_signed(reason: Reason) -> bool {
    use Reason::{BadCredential, BadPsk, CannotProcess, NotAllowed, ProposalByReference};
    matches!(reason, BadCredential | BadPsk | CannotProcess | NotAllowed | ProposalByReference)
}

/// Each add and remove of a member's commit is named with its justification, and nothing else is (SPEC §2.5).
fn changes_match(changes: &[Justification], processed: &Processed, sender: CommitSender) -> Result<(), Reason> {
    if sender == CommitSender::New {
        return if changes.is_empty() { Ok(()) } else { Err(Reason::Mismatch) };
    }
    let named = |wanted: Change| {
        let mut devices: Vec<_> =
            changes.iter().filter(|change| change.change == wanted).map(|change| &change.device).collect();
        devices.sort();
        devices
    };
    let made = |leaves: &'_ [Leaf]| {
        let mut devices: Vec<_> = leaves.iter().map(|leaf| leaf.device.clone()).collect();
        devices.sort();
        devices
    };
    let same = |wanted, leaves: &[Leaf]| named(wanted).into_iter().eq(made(leaves).iter());
    if same(Change::Add, &processed.added) && same(Change::Remove, &processed.removed) {
        Ok(())
    } else {
        Err(Reason::Mismatch)
    }
}
