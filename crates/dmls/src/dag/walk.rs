//! Walks through the DAG: each ends where what it is asked for begins.

use std::collections::{BTreeMap, BTreeSet};

use super::lineage::Generation;
use super::{Dag, Epoch};
use crate::id::{EpochId, Height};

/// Where heads parted.
#[derive(Default)]
pub(crate) struct Fork {
    /// The highest of the epochs that every head descends from.
    pub(crate) point: Option<EpochId>,
    /// What each head descends from and not all heads do.
    since: BTreeMap<EpochId, Vec<EpochId>>,
}

impl Fork {
    /// The epochs that `head` descends from and not all heads do.
    pub(crate) fn since(&self, head: &EpochId) -> &[EpochId] {
        self.since.get(head).map_or(&[], Vec::as_slice)
    }
}

/// A walk from several heads at once, from later generations to earlier ones.
struct Descent {
    /// Which of the heads an epoch was reached from.
    reached: BTreeMap<EpochId, BTreeSet<usize>>,
    queue: BTreeSet<(Generation, EpochId)>,
    heads: usize,
    /// How many in the queue were not reached from all heads.
    partial: usize,
}

impl Descent {
    fn reach(&mut self, id: EpochId, generation: Generation, from: &BTreeSet<usize>) {
        let known = self.reached.entry(id).or_default();
        let was_partial = !known.is_empty() && known.len() < self.heads;
        known.extend(from);
        let is_partial = known.len() < self.heads;
        self.partial = self.partial + usize::from(is_partial) - usize::from(was_partial);
        self.queue.insert((generation, id));
    }

    /// The next one, and the heads that it was reached from.
    fn next(&mut self) -> Option<(EpochId, BTreeSet<usize>)> {
        let (_, id) = self.queue.pop_last()?;
        let from = self.reached.remove(&id)?;
        self.partial -= usize::from(from.len() < self.heads);
        Some((id, from))
    }

    /// Whether all that is left is common to the heads and lower than this.
    fn is_over(&self, best: Option<Height>) -> bool {
        let next = self.queue.last().map(|(generation, _)| *generation);
        self.partial == 0 && best.is_some_and(|best| next.is_none_or(|next| next < Generation::of(best)))
    }
}

impl Dag {
    /// What all of `heads` have in common (SPEC §3.2).
    pub(crate) fn fork(&self, heads: &[&Epoch]) -> Fork {
        let (mut fork, mut best) = (Fork::default(), None);
        let mut descent = Descent { reached: BTreeMap::new(), queue: BTreeSet::new(), heads: heads.len(), partial: 0 };
        for (at, head) in heads.iter().enumerate() {
            descent.reach(head.id, self.generation(&head.id).unwrap_or_default(), &[at].into());
        }
        while !descent.is_over(best.map(|(height, _)| height)) {
            let Some((id, from)) = descent.next() else { break };
            if from.len() == heads.len() {
                let rank = (self.known_height(&id).unwrap_or_default(), std::cmp::Reverse(id));
                best = best.max(Some(rank));
            } else {
                from.iter().for_each(|at| fork.since.entry(heads[*at].id).or_default().push(id));
            }
            for parent in self.get(&id).map(Epoch::parents).unwrap_or_default() {
                descent.reach(parent, self.generation(&parent).unwrap_or_default(), &from);
            }
        }
        fork.point = best.map(|(_, std::cmp::Reverse(id))| id);
        fork
    }

    /// `id` and its bases, newest first, as far as they are of this generation or later.
    pub(super) fn line_from(&self, id: &EpochId, first: Generation) -> Vec<EpochId> {
        let mut line = Vec::new();
        let mut next = Some(*id);
        while let Some(id) = next.filter(|id| self.generation(id) >= Some(first)) {
            line.push(id);
            next = self.get(&id).and_then(|epoch| epoch.base.as_ref()).map(|base| base.id);
        }
        line
    }

    /// Every epoch of this generation or later that one of these descends from, by base or resolves, themselves included;
    /// also those known by name only.
    pub(super) fn ancestors_from(&self, ids: impl Iterator<Item = EpochId>, first: Generation) -> BTreeSet<EpochId> {
        self.ancestors_through(ids, first, |_| Vec::new())
    }

    /// The same, where `beyond` tells of parents of epochs that are not accepted here.
    fn ancestors_through(
        &self,
        ids: impl Iterator<Item = EpochId>,
        first: Generation,
        beyond: impl Fn(&EpochId) -> Vec<EpochId>,
    ) -> BTreeSet<EpochId> {
        let mut found = BTreeSet::new();
        let mut work: Vec<_> = ids.collect();
        while let Some(id) = work.pop() {
            if self.generation(&id).is_none_or(|generation| generation >= first) && found.insert(id) {
                work.extend(self.get(&id).map(Epoch::parents).unwrap_or_default());
                work.extend(beyond(&id));
            }
        }
        found
    }

    /// Those of `wanted` that one of these descends from, itself included.
    pub(crate) fn among_ancestors(
        &self,
        wanted: &BTreeSet<EpochId>,
        of: impl Iterator<Item = EpochId>,
    ) -> BTreeSet<EpochId> {
        self.among_ancestors_through(wanted, of, |_| Vec::new())
    }

    /// The same, where `beyond` tells of parents of epochs that are not accepted here.
    pub(crate) fn among_ancestors_through(
        &self,
        wanted: &BTreeSet<EpochId>,
        of: impl Iterator<Item = EpochId>,
        beyond: impl Fn(&EpochId) -> Vec<EpochId>,
    ) -> BTreeSet<EpochId> {
        // What no commit names is nobody's ancestor.
        match wanted.iter().filter_map(|id| self.generation(id)).min() {
            Some(first) => &self.ancestors_through(of, first, beyond) & wanted,
            None => BTreeSet::new(),
        }
    }

    /// Whether one of these descends from `id`, or is it.
    pub(crate) fn descends_from(&self, id: &EpochId, of: impl Iterator<Item = EpochId>) -> bool {
        !self.among_ancestors(&[*id].into(), of).is_empty()
    }

    /// Every epoch that `id` descends from.
    #[cfg(dmls_mutants)]
    pub(crate) fn ancestry(&self, id: &EpochId) -> BTreeSet<EpochId> {
        self.ancestors_from([*id].into_iter(), Generation::default())
    }
}
