//! When this device asks to be added anew for want of commits that nobody gives it (SPEC §5.8).

use std::collections::BTreeSet;

use dmls::effect::Need;
use dmls::id::{EpochId, Timestamp};

use super::lineage::Lineage;
use super::record::{Hearsay, Search};
use super::{Asked, Room};

/// After so many rounds through all stages a search counts as in vain, for the device whose place is first: some three
/// minutes.
const ROUNDS_IN_VAIN: u32 = 5;
/// By so many rounds, at most, the others let it go first: ten minutes.
const MORE_ROUNDS: u32 = 2;
/// So long a Welcome, or the commits of the other fork, may take after others merged this device's head.
const MERGED_AFTER: u64 = 120_000;
/// Between one ask for want of commits and the next; doubles with each.
const PAUSE: u64 = 600_000;
const MAX_DOUBLINGS: u32 = 7;

impl Room {
    /// Whether this device should ask now: the core says so, or commits are searched for in vain.
    pub(crate) fn asks_now(&self, now: Timestamp) -> bool {
        self.group.needs(now).iter().any(|need| matches!(need, Need::Ask { .. })) || self.searches_in_vain(now)
    }

    /// An ask is made.
    pub(crate) fn note_asked(&mut self, now: Timestamp) {
        if self.searches_in_vain(now) {
            self.asked_in_vain = Asked { count: self.asked_in_vain.count.saturating_add(1), last: now };
        }
    }

    /// When this device may ask for want of commits.
    pub(crate) fn may_ask_at(&self) -> Timestamp {
        let Asked { count, last } = self.asked_in_vain;
        match count {
            0 => Timestamp(0),
            _ => last.plus(PAUSE << (count - 1).min(MAX_DOUBLINGS)),
        }
    }

    fn searches_in_vain(&self, now: Timestamp) -> bool {
        if self.may_ask_at() > now {
            return false;
        }
        let mut in_vain = self.searches.iter().filter(|(id, search)| self.is_in_vain(id, search)).peekable();
        if in_vain.peek().is_some() {
            let (lines, behind) = (self.lines(), self.behind());
            let ahead = |id: &EpochId| lines.of(id) == Lineage::Open && !behind.contains(id);
            if in_vain.any(|(id, _)| ahead(id)) {
                return true;
            }
        }
        let head = self.group.canonical().filter(|_| self.behind_until().is_some_and(|at| at <= now));
        head.is_some_and(|head| self.said_merges(head).next().is_some())
    }

    /// Of several devices that search for the same commit one gives up first: the merge of whoever adds it brings the others
    /// along.
    fn is_in_vain(&self, id: &EpochId, search: &Search) -> bool {
        let more = (u32::from(self.group.place_to_ask(id)) * (MORE_ROUNDS + 1)) >> 16;
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
}
