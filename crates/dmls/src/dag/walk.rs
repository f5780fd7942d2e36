//! Walks through the DAG: each ends where what it is asked for begins.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dag, Epoch, Generation};
use crate::id::EpochId;

/// Where heads parted.
#[derive(Default)]
pub(crate) struct Fork {
    /// The last of the epochs that every head descends from: none of the others descends from it. Of several the one with
    /// the smallest id.
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
#[derive(Default)]
struct Descent {
    reached: BTreeMap<EpochId, Reached>,
    queue: BTreeSet<(Generation, EpochId)>,
    /// How many in the queue are not known to lie before the fork point.
    open: usize,
}

/// From where an epoch was reached.
#[derive(Default)]
struct Reached {
    /// From which heads.
    from: BTreeSet<usize>,
    /// From an epoch that all heads descend from.
    from_common: bool,
}

impl Descent {
    fn reach(&mut self, id: EpochId, generation: Generation, by: &Reached) {
        let is_new = self.queue.insert((generation, id));
        let known = self.reached.entry(id).or_default();
        let was_open = !is_new && !known.from_common;
        known.from.extend(&by.from);
        known.from_common |= by.from_common;
        self.open = self.open + usize::from(!known.from_common) - usize::from(was_open);
    }

    /// The next one, unless all that is left lies before the fork point.
    fn next(&mut self) -> Option<(EpochId, Reached)> {
        if self.open == 0 {
            return None;
        }
        let (_, id) = self.queue.pop_last()?;
        let reached = self.reached.remove(&id)?;
        self.open -= usize::from(!reached.from_common);
        Some((id, reached))
    }
}

impl Dag {
    /// What all of `heads` have in common (SPEC §3.2).
    pub(crate) fn fork(&self, heads: &[&Epoch]) -> Fork {
        let (mut fork, mut descent) = (Fork::default(), Descent::default());
        for (at, head) in heads.iter().enumerate() {
            let itself = Reached { from: [at].into(), from_common: false };
            descent.reach(head.id, self.generation(&head.id).unwrap_or_default(), &itself);
        }
        while let Some((id, mut reached)) = descent.next() {
            if reached.from.len() < heads.len() {
                reached.from.iter().for_each(|at| fork.since.entry(heads[*at].id).or_default().push(id));
            } else if !reached.from_common {
                fork.point = Some(fork.point.map_or(id, |known| known.min(id)));
                reached.from_common = true;
            }
            for parent in self.get(&id).map(Epoch::parents).unwrap_or_default() {
                descent.reach(parent, self.generation(&parent).unwrap_or_default(), &reached);
            }
        }
        fork
    }

    /// Every epoch of this generation or later that one of these descends from, by base or resolves, themselves included;
    /// also those known by name only. `beyond` tells of parents of epochs that are not accepted here.
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
        self.ancestors_through([*id].into_iter(), Generation::default(), |_| Vec::new())
    }
}
