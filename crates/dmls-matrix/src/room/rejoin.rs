//! The way back into a group whose epochs this device cannot follow (SPEC §5.8).

use std::collections::BTreeSet;

use dmls::effect::Need;
use dmls::id::{EpochId, EpochNumber, Timestamp};

use super::Room;
use super::lineage::Lineage;
use super::record::{EntryPoint, Hearsay, Search};

/// After so many rounds through all stages a search counts as in vain, for the device whose place is first: some three
/// minutes.
const ROUNDS_IN_VAIN: u32 = 5;
/// By so many rounds, at most, the others let it go first: ten minutes.
const MORE_ROUNDS: u32 = 2;

/// So long a Welcome, or the commits of the other fork, may take after others merged this device's head.
const MERGED_AFTER: u64 = 120_000;

/// Where this device would be if it could follow.
#[derive(Default)]
struct OutOfReach {
    /// By the transcript of commits that are here.
    certain: Vec<(EpochId, EpochNumber)>,
    /// Searched for in vain.
    missing: Vec<EpochId>,
}

impl Room {
    /// The epoch to come back by: one that is out of reach, or is said to descend from it. The highest comes first.
    pub(crate) fn way_back(&self, now: Timestamp) -> Option<EntryPoint> {
        let out = self.out_of_reach(now);
        if out.certain.is_empty() && out.missing.is_empty() {
            return None;
        }
        let behind = self.behind();
        let unknown = self.entries.values().filter(|entry| !self.group.knows(&entry.epoch.id));
        let placed = unknown.filter_map(|entry| {
            let id = entry.epoch.id;
            if let Some((_, number)) = out.certain.iter().find(|(known, _)| *known == id) {
                let mut entry = entry.clone();
                entry.number = *number;
                return Some((true, entry));
            }
            if behind.contains(&id) {
                return None;
            }
            let story = self.said_ancestry(id);
            let leads = out.certain.iter().map(|(known, _)| known).chain(&out.missing).any(|id| story.contains(id));
            leads.then(|| (false, entry.clone()))
        });
        placed.max_by_key(|(certain, entry)| (*certain, self.rank_of_entry(entry))).map(|(_, entry)| entry)
    }

    /// Whether this device is to come back, and knows no epoch to do it by. A search for a missing commit pages by
    /// itself.
    pub(crate) fn seeks_way_back(&self, now: Timestamp) -> bool {
        !self.out_of_reach(now).certain.is_empty() && self.way_back(now).is_none()
    }

    fn out_of_reach(&self, now: Timestamp) -> OutOfReach {
        let mut out = OutOfReach::default();
        if self.group.may_rejoin_at().is_none_or(|at| at > now) {
            return out;
        }
        for need in self.group.needs(now) {
            if let Need::ExternalJoin { epoch, number, .. } = need {
                out.certain.push((epoch, number));
            }
        }
        let mut in_vain = self.searches.iter().filter(|(id, search)| self.is_in_vain(id, search)).peekable();
        if in_vain.peek().is_some() {
            let (lines, behind) = (self.lines(), self.behind());
            let ahead = |id: &EpochId| lines.of(id) == Lineage::Open && !behind.contains(id);
            out.missing.extend(in_vain.map(|(id, _)| *id).filter(ahead));
        }
        if self.behind_until().is_some_and(|at| at <= now)
            && let Some(head) = self.group.canonical()
        {
            out.missing.extend(self.said_merges(head));
        }
        out
    }

    /// Of several devices that search for the same commit one gives up first: its merge brings the others along.
    fn is_in_vain(&self, id: &EpochId, search: &Search) -> bool {
        let more = (u32::from(self.group.rejoin_place(id)) * (MORE_ROUNDS + 1)) >> 16;
        search.rounds >= ROUNDS_IN_VAIN + more
    }

    /// What is said to lie before epochs that this device knows: it is past that, and comes to no more of it by joining
    /// there once more.
    fn behind(&self) -> BTreeSet<EpochId> {
        let epochs = self.group.epochs();
        self.ancestry(&epochs.iter().flat_map(|info| info.base.iter().chain(&info.resolves)).copied().collect())
    }

    /// When this device no longer waits to be brought to where its head was merged.
    pub(crate) fn behind_until(&self) -> Option<Timestamp> {
        self.updates.behind.map(|since| since.plus(MERGED_AFTER))
    }

    /// Epochs that this device does not know and that are said to resolve `head`: neither a Welcome nor the commits before
    /// them may ever bring it there, if it has a leaf on that fork whose Welcome was lost.
    pub(crate) fn said_merges(&self, head: EpochId) -> impl Iterator<Item = EpochId> {
        let resolves = move |stories: &&Vec<Hearsay>| stories.iter().any(|story| story.resolves.contains(&head));
        let told = self.hearsay.iter().filter(move |(_, stories)| resolves(stories));
        told.map(|(id, _)| *id).filter(|id| !self.group.knows(id))
    }

    /// `epoch` and all that is said to be before it, as far as this device does not know it.
    fn said_ancestry(&self, epoch: EpochId) -> BTreeSet<EpochId> {
        self.ancestry(&BTreeSet::from([epoch]))
    }
}
