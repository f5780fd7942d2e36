//! What a host and people may ask of a group; nothing here changes anything.

use std::collections::BTreeSet;

use super::Group;
use crate::base::eligible;
use crate::dag::Epoch;
use crate::defence;
use crate::effect::{Due, EpochInfo, EpochRef, GroupInfo, Need, Readiness};
use crate::id::{Device, EpochId, Timestamp};
use crate::pending::On;
use crate::plan::Plan;

/// Of several that repeat an update before they speak, each lets at most so many others go first.
const MAX_TURNS: u64 = 8;

/// How this device stands to an epoch: why a message of it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It holds the epoch.
    Held,
    /// It held the epoch, whose keys are gone.
    Gone,
    /// It was removed before that epoch.
    Removed,
    /// The epoch is older than this device's first.
    BeforeJoin,
    /// The epoch lies on a fork that this device was never in.
    NotInEpoch,
    /// The commit that makes it is not known yet.
    Unknown,
    /// This device is in no epoch at all.
    NoGroup,
}

impl Group {
    /// What the group should do by itself, and when (SPEC §3.3).
    pub fn due(&self, now: Timestamp) -> Due {
        let Some(plan) = self.plan() else { return Due::default() };
        let mut due = self.describe(&plan);
        let due_since = self.due_since.filter(|_| plan.is_due());
        due.at = due_since.map(|since| self.turn_at(&plan, since, now));
        if plan.stale {
            due.turn = self.slot() * (self.place(&plan, now).saturating_sub(1)).min(MAX_TURNS);
        }
        due
    }

    /// Whether a message may be sealed now.
    pub fn readiness(&self) -> Readiness {
        match self.plan() {
            None => Readiness::NotInGroup,
            Some(plan) if plan.must_commit() || (!defence::on("F12") && !self.pending.is_empty()) => {
                Readiness::CommitFirst(self.describe(&plan))
            }
            Some(plan) => Readiness::Ready(plan.base.id),
        }
    }

    /// The send gate: whether everybody in `epoch` is in D, at the moment a ciphertext leaves (SPEC §3.11).
    pub fn may_release(&self, epoch: &EpochId) -> bool {
        let only_desired = |epoch: &Epoch| self.dag.contrast(epoch).outside().len() == 0 || !defence::on("C16");
        self.dag.get(epoch).is_some_and(|epoch| epoch.usable() && only_desired(epoch))
    }

    /// What is to be fetched or asked for.
    pub fn needs(&self, now: Timestamp) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        let closed = self.known_closed();
        for (_, waiting) in self.pending.iter() {
            let need = match &waiting.on {
                // Its commit is here already: to have it again is no help.
                On::Epoch(epoch, _) if closed.contains_key(epoch) => continue,
                On::Epoch(epoch, hint) => Need::Commit { epoch: *epoch, hint: hint.clone(), since: waiting.since },
                On::MergeValue { epoch, .. } if waiting.since.plus(self.settings.grace) <= now => {
                    Need::MergeValue { epoch: *epoch, ask: self.who_may_know(), since: waiting.since }
                }
                On::MergeValue { .. } | On::Welcome(_) | On::Earlier { .. } => continue,
            };
            let same = |known: &Need| match (known, &need) {
                (Need::Commit { epoch: one, .. }, Need::Commit { epoch: two, .. }) => one == two,
                _ => *known == need,
            };
            if !needs.iter().any(same) {
                needs.push(need);
            }
        }
        needs.extend(self.ask_needed(now));
        needs
    }

    /// Members that may have processed a merge: all that this device shares a usable epoch with.
    pub(super) fn who_may_know(&self) -> Vec<Device> {
        let heads = eligible(&self.dag);
        let desired = &self.dag.desired().devices;
        let members: BTreeSet<_> = heads.iter().flat_map(|head| head.members.iter()).map(|leaf| &leaf.device).collect();
        let ask = members.into_iter().filter(|device| *device != self.own.device() && desired.contains_key(*device));
        ask.cloned().collect()
    }

    /// When `handle(Input::Tick)`, `due` or `needs` should be looked at again; not later than now if a tick is due.
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let grace = self.pending.iter().filter_map(|(_, waiting)| match waiting.on {
            On::MergeValue { .. } => Some(waiting.since.plus(self.settings.grace)).filter(|at| *at > now),
            On::Epoch(..) | On::Welcome(_) | On::Earlier { .. } => None,
        });
        let until = self.pending.iter().map(|(_, waiting)| waiting.until);
        let heard = self.heard.filter(|_| !self.pending.is_empty()).map(|heard| heard.plus(self.settings.silence / 2));
        let due = self.due(now).at.filter(|at| *at > now);
        grace.chain(until).chain(heard).chain(due).chain(self.next_ask(now)).min()
    }

    /// The epoch that this device would send in.
    pub fn canonical(&self) -> Option<EpochId> {
        eligible(&self.dag).first().map(|head| head.id)
    }

    /// Whether this device is in an epoch that it can use.
    pub fn in_group(&self) -> bool {
        self.canonical().is_some()
    }

    /// All epochs that are known in full, parents before children.
    pub fn epochs(&self) -> Vec<EpochInfo> {
        let canonical = self.canonical();
        let known = self.dag.sorted().filter(|epoch| !epoch.abandoned);
        known.map(|epoch| info(epoch, self.dag.is_head(&epoch.id), canonical)).collect()
    }

    /// The ids of all heads, as this device sees them.
    pub fn head_ids(&self) -> Vec<EpochId> {
        self.dag.head_ids().copied().collect()
    }

    /// One epoch.
    pub fn epoch(&self, id: &EpochId) -> Option<EpochInfo> {
        self.dag.get(id).map(|epoch| info(epoch, self.dag.is_head(id), self.canonical()))
    }

    /// Whether an epoch was accepted here.
    pub fn knows(&self, id: &EpochId) -> bool {
        self.dag.proof(id).is_some()
    }

    /// Whether this device ever came back by external commit, in place of a leaf that it had.
    pub fn has_returned(&self) -> bool {
        self.dag.has_returned()
    }

    /// Whether this device holds an epoch's secrets.
    pub fn holds(&self, id: &EpochId) -> bool {
        self.dag.get(id).is_some_and(|epoch| epoch.held)
    }

    /// How others name an epoch, if this device or an accepted commit knows it.
    pub fn reference(&self, id: &EpochId) -> Option<EpochRef> {
        self.dag.get(id).map(Epoch::reference).or_else(|| self.dag.named(id).cloned())
    }

    /// The devices that can read messages of an epoch; `None` when that is not known.
    pub fn readers(&self, id: &EpochId) -> Option<Vec<Device>> {
        self.dag.get(id).map(|epoch| epoch.members.iter().map(|leaf| leaf.device.clone()).collect())
    }

    /// An epoch's GroupInfo with ratchet tree, signed by this device: the same bytes as were made with the epoch.
    ///
    /// `None` unless this device holds the epoch.
    pub fn group_info(&self, id: &EpochId) -> Option<GroupInfo> {
        self.held.get(id).map(|held| GroupInfo::of(&held.epoch, &self.own))
    }

    /// The commit that makes an epoch, as it was sent; `None` where it is not known, and for genesis.
    pub fn commit(&self, id: &EpochId) -> Option<&[u8]> {
        self.commit_bytes.get(id).map(Vec::as_slice)
    }

    /// How this device stands to an epoch.
    pub fn standing(&self, id: &EpochId) -> Standing {
        if self.dag.is_empty() {
            return Standing::NoGroup;
        }
        if let Some(epoch) = self.dag.get(id) {
            return self.standing_in(epoch);
        }
        if let Some(stub) = self.dag.past().get(id) {
            return if stub.removed { Standing::Removed } else { Standing::Gone };
        }
        if self.dag.before_join() == Some(*id) {
            return Standing::BeforeJoin;
        }
        match self.dag.named(id) {
            Some(_) => Standing::NotInEpoch,
            None if !self.in_group() && self.dag.was_removed() => Standing::Removed,
            None => Standing::Unknown,
        }
    }

    /// This device.
    pub fn device(&self) -> &Device {
        self.own.device()
    }

    /// The epoch in which this device came to the group; where it was added later it was on another fork already.
    pub fn joined_at(&self) -> Option<EpochId> {
        self.dag.first_entry()
    }

    fn describe(&self, plan: &Plan<'_>) -> Due {
        let (asked, add) = plan.add.iter().cloned().partition(|device| self.asked_package(device).is_some());
        Due {
            at: None,
            add,
            asked,
            remove: plan.remove.iter().map(|leaf| leaf.device.clone()).collect(),
            resolve: plan.differing.clone(),
            update: plan.stale,
            turn: 0,
        }
    }

    fn standing_in(&self, epoch: &Epoch) -> Standing {
        match (epoch.held, epoch.own_leaf) {
            (true, _) => Standing::Held,
            (false, None) => Standing::Removed,
            (false, Some(_)) => Standing::Gone,
        }
    }
}

fn info(epoch: &Epoch, head: bool, canonical: Option<EpochId>) -> EpochInfo {
    EpochInfo {
        epoch: epoch.reference(),
        number: epoch.number,
        creator: epoch.creator.clone(),
        base: epoch.base.as_ref().map(|base| base.id),
        resolves: epoch.resolves.iter().map(|head| head.id).collect(),
        kind: epoch.kind,
        added: epoch.added.clone(),
        removed: epoch.removed.clone(),
        held: epoch.held,
        head,
        canonical: canonical == Some(epoch.id),
        equivocation: epoch.equivocation,
        granted: epoch.granted,
    }
}
