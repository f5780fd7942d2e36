//! Coming back by external commit: epochs that are known to exist and cannot be entered (SPEC §5.8).
//!
//! A commit that cannot be processed here (a path that does not open, a base that was let go, a merge value that nobody
//! tells) still shows, by its transcript, which epoch it makes; so does every commit that waits on such an epoch. As
//! long as no head of this device descends from them, the others may have gone on where this device cannot follow.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Batch, Group};
use crate::base::eligible;
use crate::codec::push_vector;
use crate::dag::Epoch;
use crate::defence;
use crate::effect::Need;
use crate::frame::CommitFrame;
use crate::id::{Device, EpochId, EpochNumber, Timestamp};
use crate::input::BaseProof;
use crate::pending::{Kind, On, Waiting};
use crate::wire::{self, CommitData};

/// Refused commits that are remembered, in all and by one sender.
const MAX_CLOSED: usize = 64;
const MAX_BY_SENDER: usize = 8;
/// Rejoins older than this no longer lengthen the pause: 24 hours.
const FORGOTTEN_AFTER: u64 = 24 * 3_600_000;
/// The pause doubles at most so often.
const MAX_DOUBLINGS: usize = 7;

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
            let idle = |epoch: &&Closed| reached.contains(&epoch.id) || !self.calls_back(epoch);
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

    /// Closed epochs that no eligible head descends from.
    fn out_of_reach(&self) -> BTreeMap<EpochId, Closed> {
        let mut closed = self.known_closed();
        if !closed.is_empty() {
            let reached = self.reached(&closed);
            closed.retain(|id, _| !reached.contains(id));
        }
        closed
    }

    /// When this device should come back because of `closed`; `None` when it already did, or need not.
    fn rejoin_due(&self, closed: &Closed) -> Option<Timestamp> {
        let due = closed.since.plus(self.settings.rejoin_after).plus(self.jitter(&closed.id));
        Some(due.max(self.may_rejoin_at()?)).filter(|_| self.calls_back(closed))
    }

    /// Whether a member made it, and this device did not come back since.
    fn calls_back(&self, closed: &Closed) -> bool {
        let answered = self.rejoins().any(|epoch| !epoch.abandoned && epoch.first_seen > closed.since);
        let by_member = match &closed.by {
            Some(by) => self.dag.desired().devices.contains_key(by),
            None => self.dag.desired().has_user(&closed.from),
        };
        by_member && !answered
    }

    fn jitter(&self, epoch: &EpochId) -> u64 {
        (self.settings.rejoin_after * u64::from(self.rejoin_place(epoch))) >> 16
    }

    /// This device's place, out of 2^16, among those that the same epoch is out of reach of: of several that are stuck one
    /// goes first, and its merge brings the others along (SPEC §5.8).
    pub fn rejoin_place(&self, epoch: &EpochId) -> u16 {
        let mut out = b"DMLS 1.0 rejoin".to_vec();
        out.extend(epoch.0);
        push_vector(&mut out, self.own.device().user.as_bytes());
        push_vector(&mut out, self.own.device().device.as_bytes());
        let hash = Sha256::digest(&out);
        u16::from_be_bytes([hash[0], hash[1]])
    }

    /// External commits of this device after it was in the group already, oldest first.
    fn rejoins(&self) -> impl Iterator<Item = &Epoch> {
        let entry = self.joined_at();
        self.dag.own_external().filter(move |epoch| Some(epoch.id) != entry)
    }

    /// From when on this device may come back by external commit; `None` while it is not in D, or in no epoch at all.
    ///
    /// The pause after each rejoin doubles, so that no flood of commits that cannot be processed makes a flood of
    /// rejoins.
    pub fn may_rejoin_at(&self) -> Option<Timestamp> {
        let vouched =
            self.dag.desired().devices.get(self.own.device()).is_some_and(|facts| facts.key == self.own.key());
        if !vouched || !self.in_group() {
            return None;
        }
        let Some(last) = self.rejoins().map(|epoch| epoch.first_seen).max() else { return Some(Timestamp(0)) };
        let lately = self.rejoins().filter(|epoch| epoch.first_seen.plus(FORGOTTEN_AFTER) > last).count();
        let doublings = lately.saturating_sub(1).min(MAX_DOUBLINGS);
        Some(last.plus(self.settings.rejoin_pause << doublings))
    }

    /// What this device should enter by external commit, once that is due for any of it.
    pub(super) fn external_joins(&self, now: Timestamp) -> Vec<Need> {
        if !defence::on("F14") {
            return Vec::new();
        }
        let closed = self.out_of_reach();
        let due = closed.values().filter_map(|epoch| self.rejoin_due(epoch)).any(|at| at <= now);
        let need = |epoch: Closed| Need::ExternalJoin { epoch: epoch.id, number: epoch.number, since: epoch.since };
        if due { closed.into_values().map(need).collect() } else { Vec::new() }
    }

    /// When [`Self::external_joins`] may give more than now.
    pub(super) fn next_rejoin(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.out_of_reach().into_values().filter_map(|epoch| self.rejoin_due(&epoch));
        due.filter(|at| *at > now).min()
    }
}

fn parents(data: &CommitData) -> Vec<EpochId> {
    data.resolves.iter().chain([&data.base]).map(|parent| parent.id).collect()
}
