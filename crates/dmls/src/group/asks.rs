//! Asking to be added anew: epochs that are known to exist and cannot be entered (SPEC §5.8).
//!
//! A commit that cannot be processed here (a path that does not open, a base that was let go, a merge value that nobody
//! tells, a Welcome that does not come) still shows, by its transcript, which epoch it makes; so does every commit that
//! waits on such an epoch. As long as no head of this device descends from them, the others may have gone on where this
//! device cannot follow. Then it asks: a signed event with a fresh key package, whose serial is the floor of its leaves.
//! Until somebody adds it, it goes on where it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Batch, Group, rejected};
use crate::base::eligible;
use crate::codec::push_vector;
use crate::defence;
use crate::effect::{Applied, Need, Notice, Outcome, Publish, Verdict};
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::frame::CommitFrame;
use crate::id::{Device, EpochId, EpochNumber, SignatureKey, Timestamp};
use crate::input::BaseProof;
use crate::journal::Durable;
use crate::mls::Package;
use crate::package::KeyPackages;
use crate::pending::{Kind, On, Waiting};
use crate::wire::{self, AskData, CommitData};

/// Refused commits that are remembered, in all and by one sender.
const MAX_CLOSED: usize = 64;
const MAX_BY_SENDER: usize = 8;
/// Devices of one user whose asks are kept.
const MAX_ASKERS: usize = 64;
/// The pause doubles at most so often.
const MAX_DOUBLINGS: u32 = 10;

/// Of an epoch by which nobody adds this device so many asks are enough.
const MAX_ANSWERED: u32 = 4;
/// Tries because this device left and came back are counted under this.
const RETURN: EpochId = EpochId([u8::MAX; 32]);

/// An epoch that this device knows of and cannot enter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Closed {
    pub(super) id: EpochId,
    /// Its number, if its base is what its commit says.
    pub(super) number: EpochNumber,
    /// {base} ∪ resolves.
    pub(super) parents: Vec<EpochId>,
    /// Gives the ids of the epochs that are built on it.
    pub(super) proof: BaseProof,
    /// Who made it; `None` on a closed base or a stub, whose leaves are not known.
    pub(super) by: Option<Device>,
    /// Who brought it, for the caps.
    pub(super) from: String,
    /// Since when it is known that it cannot be entered.
    pub(super) since: Timestamp,
}

/// The last time that a device asked to be added anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) device: Device,
    pub(super) serial: u64,
    /// The KeyPackageRef.
    reference: [u8; 32],
    /// The MLSMessage.
    #[serde(with = "serde_bytes")]
    pub(super) package: Vec<u8>,
}

/// How often this device asked because of one epoch, and when it did so last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Tries {
    count: u32,
    last: Timestamp,
}

impl Group {
    /// Remembers the epoch of a commit that was refused although others may be able to process it.
    pub(super) fn close(
        &mut self,
        (proof, number): (BaseProof, EpochNumber),
        data: &CommitData,
        by: Option<&Device>,
        from: &str,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let id = wire::epoch_id(self.id.as_bytes(), &proof);
        if self.closed.contains_key(&id) || self.knows(&id) || !self.has_room_for_closed(from, batch) {
            return;
        }
        let epoch =
            Closed { id, number, parents: parents(data), proof, by: by.cloned(), from: from.to_owned(), since: now };
        batch.writes.push(self.closed_record(&epoch));
        self.closed.insert(id, epoch);
    }

    /// Makes room: what is of no use is forgotten first, then what the sender brought last who has most. Much of it may be
    /// invented, for on a stub or an epoch that was let go no signature can be checked.
    fn has_room_for_closed(&mut self, from: &str, batch: &mut Batch) -> bool {
        let of = |this: &Self, from: &str| this.closed.values().filter(|epoch| epoch.from == from).count();
        if self.closed.len() >= MAX_CLOSED || of(self, from) >= MAX_BY_SENDER {
            let known = self.known_closed();
            let reached = self.reached(&known);
            let idle = |epoch: &&Closed| reached.contains(&epoch.id) || !self.calls(epoch);
            let done: Vec<_> = self.closed.values().filter(idle).map(|epoch| epoch.id).collect();
            for id in done {
                self.open_again(&id, batch);
            }
        }
        let mine = of(self, from);
        if self.closed.len() >= MAX_CLOSED {
            let counts = self.closed.values().map(|epoch| (of(self, &epoch.from), epoch.since, epoch.id));
            let last = counts.max().filter(|(most, ..)| *most > mine + 1);
            last.iter().for_each(|(_, _, id)| self.open_again(id, batch));
        }
        self.closed.len() < MAX_CLOSED && mine < MAX_BY_SENDER
    }

    /// The epoch was entered after all, or does not matter any more.
    pub(super) fn open_again(&mut self, id: &EpochId, batch: &mut Batch) {
        if self.closed.remove(id).is_some() {
            batch.writes.push(self.forget_closed(id));
        }
    }

    /// Epochs whose commits are here and that cannot be entered, perhaps for now (SPEC §5.8).
    pub fn closed_epochs(&self) -> BTreeSet<EpochId> {
        self.known_closed().into_keys().collect()
    }

    /// All epochs that are known and cannot be entered: of refused commits, of those that wait for their merge value or
    /// for a Welcome, and of those that wait on these.
    pub(super) fn known_closed(&self) -> BTreeMap<EpochId, Closed> {
        let mut found = self.closed.clone();
        for (_, waiting) in self.pending.iter() {
            if let On::MergeValue { .. } | On::Welcome(_) = waiting.on
                && let Some(epoch) = self.waiting_epoch(waiting, &found)
            {
                found.insert(epoch.id, epoch);
            }
        }
        let mut bases: Vec<EpochId> = found.keys().copied().collect();
        while let Some(base) = bases.pop() {
            for (_, waiting) in self.pending.iter() {
                if matches!(&waiting.on, On::Epoch(on, _) if *on == base)
                    && let Some(epoch) = self.waiting_epoch(waiting, &found)
                    && !found.contains_key(&epoch.id)
                {
                    bases.push(epoch.id);
                    found.insert(epoch.id, epoch);
                }
            }
        }
        found
    }

    /// The epoch that a waiting commit makes, on a base that is accepted or among `closed`.
    fn waiting_epoch(&self, waiting: &Waiting, closed: &BTreeMap<EpochId, Closed>) -> Option<Closed> {
        if waiting.kind != Kind::Commit {
            return None;
        }
        let frame = CommitFrame::parse(&waiting.bytes).ok()?;
        let data = CommitData::parse(frame.authenticated_data).ok()?;
        let (proof, by) = match (self.dag.get(&data.base.id), closed.get(&data.base.id)) {
            (Some(base), _) => (frame.child_of(&base.proof), Some(super::commits::blame(base, frame.sender)?)),
            (None, Some(base)) => (frame.child_of(&base.proof), None),
            (None, None) => (frame.child_of(&self.dag.past().get(&data.base.id)?.proof), None),
        };
        Some(Closed {
            id: wire::epoch_id(self.id.as_bytes(), &proof),
            number: frame.number.next(),
            parents: parents(&data),
            proof,
            by,
            from: waiting.from.clone(),
            since: waiting.since,
        })
    }

    /// Those of `closed` that an eligible head descends from, by base or resolves, also through one another.
    pub(super) fn reached(&self, closed: &BTreeMap<EpochId, Closed>) -> BTreeSet<EpochId> {
        let heads = eligible(&self.dag).into_iter().map(|head| head.id);
        let wanted: BTreeSet<_> = closed.keys().copied().collect();
        let beyond = |id: &EpochId| closed.get(id).map(|epoch| epoch.parents.clone()).unwrap_or_default();
        self.dag.among_ancestors_through(&wanted, heads, beyond)
    }

    /// Epochs without a leaf of this device: whoever is dropped cannot follow there, either.
    fn without_own_leaf(&self) -> impl Iterator<Item = (EpochId, Closed)> {
        self.dag.without_own_leaf().map(|epoch| {
            let closed = Closed {
                id: epoch.id,
                number: epoch.number,
                parents: epoch.parents().into_iter().collect(),
                proof: epoch.proof.clone(),
                by: Some(epoch.creator.clone()),
                from: epoch.creator.user.clone(),
                since: epoch.first_seen,
            };
            (epoch.id, closed)
        })
    }

    /// Closed epochs that no eligible head descends from and that a member made.
    fn out_of_reach(&self) -> BTreeMap<EpochId, Closed> {
        if !self.may_ask() {
            return BTreeMap::new();
        }
        let mut closed = self.known_closed();
        closed.extend(self.without_own_leaf());
        closed.retain(|_, epoch| self.calls(epoch));
        if !closed.is_empty() {
            let reached = self.reached(&closed);
            closed.retain(|id, _| !reached.contains(id));
        }
        closed
    }

    /// Whether a member made it, and this device did not ask for it in vain too often: where it was added all the same,
    /// nobody builds on that.
    fn calls(&self, closed: &Closed) -> bool {
        let by_member = match &closed.by {
            Some(by) => self.dag.desired().devices.contains_key(by),
            None => self.dag.desired().has_user(&closed.from),
        };
        let asked = self.tries.get(&root(closed)).is_some_and(|tries| tries.count >= MAX_ANSWERED);
        by_member && !(asked && self.dag.last_entry().is_some_and(|entry| entry > closed.since))
    }

    /// When this device should ask because of `closed`.
    fn ask_due(&self, closed: &Closed) -> Timestamp {
        // Whoever was added just now is about to hear more.
        let since = self.dag.last_entry().map_or(closed.since, |entry| entry.max(closed.since));
        let due = since.plus(self.settings.ask_after).plus(self.jitter(&closed.id));
        self.next_try(&root(closed), due)
    }

    /// When it should because it is of D again: the leaves that it had before it left are not used any more.
    fn return_due(&self) -> Option<Timestamp> {
        self.of_d_since.map(|since| self.next_try(&RETURN, since))
    }

    fn next_try(&self, root: &EpochId, due: Timestamp) -> Timestamp {
        let Some(Tries { count, last }) = self.tries.get(root) else { return due };
        due.max(last.plus(self.settings.ask_pause << count.saturating_sub(1).min(MAX_DOUBLINGS)))
    }

    fn jitter(&self, epoch: &EpochId) -> u64 {
        (self.settings.ask_after * u64::from(self.place_to_ask(epoch))) >> 16
    }

    /// This device's place, out of 2^16, among those that the same epoch is out of reach of: of several that are stuck one
    /// asks first, and the merge of whoever adds it may bring the others along (SPEC §5.8).
    pub fn place_to_ask(&self, epoch: &EpochId) -> u16 {
        let mut out = b"DMLS 1.0 ask".to_vec();
        out.extend(epoch.0);
        push_vector(&mut out, self.own.device().user.as_bytes());
        push_vector(&mut out, self.own.device().device.as_bytes());
        let hash = Sha256::digest(&out);
        u16::from_be_bytes([hash[0], hash[1]])
    }

    /// Whether this device may ask: it is of D, and in an epoch. Whoever is in none joins by external commit.
    fn may_ask(&self) -> bool {
        let facts = self.dag.desired().devices.get(self.own.device());
        facts.is_some_and(|facts| facts.key == self.own.key()) && self.in_group()
    }

    /// The ask that is due.
    pub(super) fn ask_needed(&self, now: Timestamp) -> Option<Need> {
        if !defence::on("F14") || !self.may_ask() {
            return None;
        }
        let closed = self.out_of_reach();
        let due = closed.values().map(|epoch| self.ask_due(epoch)).chain(self.return_due());
        let since = closed.values().map(|epoch| epoch.since).chain(self.of_d_since).min()?;
        due.min().filter(|at| *at <= now).map(|_| Need::Ask { epochs: closed.into_keys().collect(), since })
    }

    /// When [`Self::ask_needed`] may give more than now.
    pub(super) fn next_ask(&self, now: Timestamp) -> Option<Timestamp> {
        let closed = self.out_of_reach();
        let due = closed.values().map(|epoch| self.ask_due(epoch)).chain(self.return_due());
        due.filter(|at| *at > now && self.may_ask()).min()
    }

    /// Asks the others to add this device anew ([`Need::Ask`]): its leaves are dead from now on, and a fresh key package
    /// goes with it, whose keys are kept until a day after the next ask.
    ///
    /// # Errors
    /// If randomness fails, or this device is in no epoch.
    pub fn ask(
        &mut self,
        packages: &mut KeyPackages,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        if !self.in_group() {
            return Err(GroupError::NotInGroup);
        }
        let own = self.own.clone();
        // First what can fail: without a package nothing was tried.
        let generated = packages.generate(&own, 1, true, entropy)?;
        let mut batch = Batch::default();
        let returned = self.of_d_since.take().map(|_| RETURN);
        for root in self.out_of_reach().values().map(root).chain(returned).collect::<BTreeSet<_>>() {
            let tries = self.tries.entry(root).or_default();
            *tries = Tries { count: tries.count.saturating_add(1), last: now };
        }
        self.forget_tries();
        batch.writes.push(self.group_record());
        generated.try_and_then(|made, writes| {
            let made = made.into_iter().next().ok_or(GroupError::NothingDue)?;
            let data = AskData::signed(&self.id, made.bytes, &own);
            if let Some(before) = self.asks.get(&own.key()) {
                batch.writes.extend(packages.retire(before.reference, now.plus(self.settings.patience)));
            }
            let verdict = self.take_ask(&data.encode(), &own.device().user, &mut batch);
            batch.publish.push(Publish::Ask { bytes: data.encode() });
            batch.notices.clear();
            self.note_due(now, &mut batch);
            writes.append(&mut batch.writes);
            Ok(Outcome { verdict, settled: Vec::new(), notices: Vec::new(), publish: batch.publish })
        })
    }

    /// Tries are of use as long as what they were for is closed.
    fn forget_tries(&mut self) {
        let closed = self.known_closed().into_iter().chain(self.without_own_leaf());
        let open: BTreeSet<_> = closed.map(|(_, epoch)| root(&epoch)).chain([RETURN]).collect();
        self.tries.retain(|id, _| open.contains(id));
    }

    /// Takes in an ask: it authenticates itself.
    pub(super) fn take_ask(&mut self, bytes: &[u8], from: &str, batch: &mut Batch) -> Verdict {
        match self.read_ask(bytes, from) {
            Err(reason) => rejected(reason, None),
            Ok((key, ask)) => self.keep_ask(key, ask, batch),
        }
    }

    fn read_ask(&self, bytes: &[u8], from: &str) -> Result<(SignatureKey, Ask), Reason> {
        let data = AskData::parse(bytes)?;
        if data.group() != self.id.as_bytes() {
            return Err(Reason::OtherGroup);
        }
        let package = Package::read(self.own.suite(), data.package())?;
        let leaf = package.member()?;
        if !data.is_signed_by(&leaf.key, self.own.suite()) {
            return Err(Reason::Forged);
        }
        if leaf.device.user != from {
            return Err(Reason::RejectedSender);
        }
        let (reference, package) = (package.reference(), data.package().to_vec());
        Ok((leaf.key, Ask { device: leaf.device, serial: leaf.serial, reference, package }))
    }

    fn keep_ask(&mut self, key: SignatureKey, ask: Ask, batch: &mut Batch) -> Verdict {
        let order = |ask: &Ask| (ask.serial, ask.reference);
        let known = self.asks.get(&key);
        if known.is_some_and(|known| order(known) >= order(&ask)) {
            return Verdict::Known;
        }
        let of_user = self.asks.values().filter(|known| known.device.user == ask.device.user).count();
        if known.is_none() && of_user >= MAX_ASKERS {
            return rejected(Reason::TooManyPending, None);
        }
        if key == self.own.key() {
            // A copy of this device asked: what this one makes next is newer all the same.
            self.own.note_serial(ask.serial);
        }
        let device = ask.device.clone();
        self.dag.raise_floor(&device, &key, ask.serial);
        self.asks.insert(key, ask);
        batch.writes.extend(self.ask_record(&key));
        batch.notices.push(Notice::Asked { device });
        Verdict::Applied(Applied::Fact)
    }

    /// The key package of a device's last ask.
    pub(super) fn asked_package(&self, device: &Device) -> Option<&[u8]> {
        let facts = self.dag.desired().devices.get(device)?;
        self.asks.get(&facts.key).filter(|ask| ask.device == *device).map(|ask| &*ask.package)
    }
}

/// What tries are counted by. What nobody vouches for counts together: it may be invented.
fn root(closed: &Closed) -> EpochId {
    if closed.by.is_some() { closed.id } else { EpochId([0; 32]) }
}

fn parents(data: &CommitData) -> Vec<EpochId> {
    data.resolves.iter().chain([&data.base]).map(|parent| parent.id).collect()
}
