//! An order in which walks go through the DAG: parents before children.

use std::collections::BTreeSet;

use super::Dag;
use crate::id::{EpochId, EpochNumber};

/// Counts up along every path: higher than for all that an epoch descends from, and not below its number.
///
/// Only an order for walks: it depends on what this device knows, so nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Generation(u64);

impl Generation {
    pub(crate) fn of(number: EpochNumber) -> Self {
        Self(number.0)
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Dag {
    /// How far an epoch is from the beginning; `None` if no commit names it.
    pub(crate) fn generation(&self, id: &EpochId) -> Option<Generation> {
        let named = || self.index.namers(id).filter_map(|namer| self.accepted_generation(namer)).min();
        self.accepted_generation(id).or_else(|| named().map(Generation::before))
    }

    fn accepted_generation(&self, id: &EpochId) -> Option<Generation> {
        self.node(id).map(|node| node.generation).or_else(|| self.stub_generation(id))
    }

    /// Puts a new epoch into the order, and whatever was there before those that it descends from were known.
    pub(super) fn trace(&mut self, id: &EpochId) {
        let ranked = |this: &Self, id: &EpochId| (this.accepted_generation(id).unwrap_or_default(), *id);
        let mut work: BTreeSet<_> = self.index.namers(id).chain([id]).map(|id| ranked(self, id)).collect();
        while let Some((_, id)) = work.pop_first() {
            let Some(node) = self.node(&id) else { continue };
            let after =
                node.epoch.named().filter_map(|named| self.accepted_generation(&named.id)).map(Generation::next);
            let generation = after.fold(Generation::of(node.epoch.number), Generation::max);
            if generation == node.generation {
                continue;
            }
            if let Some(node) = self.nodes.get_mut(&id) {
                self.order.remove(&(node.generation, id));
                self.order.insert((generation, id));
                node.generation = generation;
            }
            work.extend(self.index.namers(&id).map(|id| ranked(self, id)));
        }
    }
}
