//! Where epochs are found without a search.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dag, Epoch};
#[cfg(dmls_mutants)]
use crate::defence;
use crate::effect::EpochKind;
use crate::id::{Device, EpochId, EpochNumber, Timestamp};

type Groups<K> = BTreeMap<K, BTreeSet<EpochId>>;

/// Epochs by what they are asked for; what was taken back is in the groups too.
#[derive(Default)]
pub(super) struct Index {
    by_commit: BTreeMap<[u8; 32], EpochId>,
    children: Groups<EpochId>,
    resolving: Groups<EpochId>,
    adding: Groups<Device>,
    removing: Groups<Device>,
    /// Epochs whose secrets are here, by their makers' users.
    held: Groups<String>,
    healing: BTreeSet<EpochId>,
    entries: BTreeSet<(Timestamp, EpochNumber, EpochId)>,
    /// This device's accepted commits.
    own: BTreeSet<(Timestamp, EpochId)>,
    /// This device's external commits.
    own_external: BTreeSet<EpochId>,
    /// Accepted epochs without a leaf of this device.
    without: BTreeSet<EpochId>,
}

impl Index {
    pub(super) fn insert(&mut self, epoch: &Epoch) {
        let id = epoch.id;
        self.by_commit.insert(epoch.commit_hash, id);
        if let Some(base) = &epoch.base {
            put(&mut self.children, &base.id, id);
        }
        epoch.resolves.iter().for_each(|head| put(&mut self.resolving, &head.id, id));
        epoch.added.iter().for_each(|device| put(&mut self.adding, device, id));
        epoch.removed.iter().for_each(|device| put(&mut self.removing, device, id));
        for (set, belongs) in self.by_standing(epoch) {
            if belongs {
                set.insert(id);
            }
        }
        if epoch.held {
            put(&mut self.held, &epoch.creator.user, id);
        }
        if epoch.entry {
            self.entries.insert((epoch.first_seen, epoch.number, id));
        }
        if epoch.own && epoch.base.is_some() && !epoch.abandoned {
            self.own.insert((epoch.first_seen, id));
        }
    }

    pub(super) fn remove(&mut self, epoch: &Epoch) {
        let id = epoch.id;
        if self.by_commit.get(&epoch.commit_hash) == Some(&id) {
            self.by_commit.remove(&epoch.commit_hash);
        }
        if let Some(base) = &epoch.base {
            take(&mut self.children, &base.id, &id);
        }
        epoch.resolves.iter().for_each(|head| take(&mut self.resolving, &head.id, &id));
        epoch.added.iter().for_each(|device| take(&mut self.adding, device, &id));
        epoch.removed.iter().for_each(|device| take(&mut self.removing, device, &id));
        for (set, _) in self.by_standing(epoch) {
            set.remove(&id);
        }
        take(&mut self.held, &epoch.creator.user, &id);
        self.entries.remove(&(epoch.first_seen, epoch.number, id));
        self.own.remove(&(epoch.first_seen, id));
    }

    fn by_standing(&mut self, epoch: &Epoch) -> [(&mut BTreeSet<EpochId>, bool); 3] {
        [
            (&mut self.healing, epoch.healing),
            (&mut self.own_external, epoch.own && epoch.kind == EpochKind::External),
            (&mut self.without, epoch.own_leaf.is_none() && !epoch.abandoned),
        ]
    }

    pub(super) fn children(&self, base: &EpochId) -> impl Iterator<Item = &EpochId> {
        self.children.get(base).into_iter().flatten()
    }

    pub(super) fn resolving(&self, head: &EpochId) -> impl Iterator<Item = &EpochId> {
        self.resolving.get(head).into_iter().flatten()
    }

    /// Epochs that name this one, as base or resolved.
    pub(super) fn namers(&self, id: &EpochId) -> impl Iterator<Item = &EpochId> {
        self.children(id).chain(self.resolving(id))
    }
}

fn put<K: Ord + Clone>(groups: &mut Groups<K>, key: &K, id: EpochId) {
    match groups.get_mut(key) {
        Some(group) => {
            group.insert(id);
        }
        None => {
            groups.insert(key.clone(), [id].into());
        }
    }
}

fn take<K: Ord>(groups: &mut Groups<K>, key: &K, id: &EpochId) {
    if let Some(group) = groups.get_mut(key) {
        group.remove(id);
        if group.is_empty() {
            groups.remove(key);
        }
    }
}

impl Dag {
    pub(crate) fn by_commit(&self, hash: &[u8; 32]) -> Option<&Epoch> {
        self.get(self.index.by_commit.get(hash)?)
    }

    /// Whether an epoch is known whose id begins so.
    pub(crate) fn knows_short(&self, short: &[u8; 8]) -> bool {
        let mut first = [0; 32];
        first[..8].copy_from_slice(short);
        let known = self.nodes.range(EpochId(first)..).next().is_some_and(|(id, _)| id.short() == *short);
        known || self.past.knows_short(short)
    }

    /// Accepted commits on `base`.
    pub(crate) fn children(&self, base: &EpochId) -> impl Iterator<Item = &Epoch> {
        self.accepted(self.index.children(base))
    }

    fn accepted<'a>(&'a self, ids: impl Iterator<Item = &'a EpochId>) -> impl Iterator<Item = &'a Epoch> {
        ids.filter_map(|id| self.get(id)).filter(|epoch| !epoch.abandoned)
    }

    /// Known epochs in an order that puts parents before children.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = &Epoch> {
        self.order.iter().filter_map(|(_, id)| self.get(id))
    }

    /// Epochs whose secrets are here, none before one that it descends from.
    pub(crate) fn held(&self) -> Vec<EpochId> {
        self.parents_first(self.index.held.values().flatten())
    }

    pub(super) fn held_len(&self) -> usize {
        self.index.held.values().map(BTreeSet::len).sum()
    }

    /// Those that users made of whose epochs more than so many are held, for each in that order.
    pub(crate) fn held_beyond(&self, most: usize) -> impl Iterator<Item = Vec<EpochId>> {
        // A weaker rule for the attack R4: all users' epochs count together.
        #[cfg(dmls_mutants)]
        let together = (!defence::on("R4") && self.held().len() > most).then(|| self.held());
        #[cfg(not(dmls_mutants))]
        let together = None;
        let too_many = self.index.held.values().filter(move |epochs| epochs.len() > most);
        too_many.map(|epochs| self.parents_first(epochs.iter())).chain(together)
    }

    fn parents_first<'a>(&self, ids: impl Iterator<Item = &'a EpochId>) -> Vec<EpochId> {
        let mut ids: Vec<_> = ids.map(|id| (self.generation(id), *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// How old the group was when an epoch ceased to be the newest of its line; `None` while nobody is known to have built
    /// on it or resolved it.
    pub(crate) fn superseded(&self, id: &EpochId) -> Option<u64> {
        self.accepted(self.index.namers(id)).map(|epoch| epoch.age).min()
    }

    /// This device's deliberate updates that were not outdated.
    pub(crate) fn healing(&self) -> impl Iterator<Item = &Epoch> {
        self.index.healing.iter().filter_map(|id| self.get(id))
    }

    /// The first epoch in which this device came in.
    pub(crate) fn first_entry(&self) -> Option<EpochId> {
        let first = || self.index.entries.first().map(|(_, _, id)| *id);
        self.past.joined.map(|joined| joined.epoch).or_else(first)
    }

    /// When this device last came in by Welcome or external commit.
    pub(crate) fn last_entry(&self) -> Option<Timestamp> {
        self.index.entries.last().map(|(at, ..)| *at)
    }

    /// How many commits this device made after `from` and not after `to`.
    pub(crate) fn own_between(&self, from: Timestamp, to: Timestamp) -> usize {
        let upto = self.index.own.range(..=(to, EpochId([u8::MAX; 32])));
        upto.rev().take_while(|(at, _)| *at > from).count()
    }

    /// How many accepted commits that came after `from` added or removed `device`; 0 if none of them removed it.
    pub(crate) fn comings_and_goings(&self, device: &Device, from: Timestamp) -> usize {
        let count = |groups: &Groups<Device>| {
            let epochs = self.accepted(groups.get(device).into_iter().flatten());
            epochs.filter(|epoch| epoch.first_seen > from).count()
        };
        match count(&self.index.removing) {
            0 => 0,
            gone => gone + count(&self.index.adding),
        }
    }

    /// This device's external commits.
    pub(crate) fn own_external(&self) -> impl Iterator<Item = &Epoch> {
        self.index.own_external.iter().filter_map(|id| self.get(id))
    }

    /// Accepted epochs that have no leaf of this device.
    pub(crate) fn without_own_leaf(&self) -> impl Iterator<Item = &Epoch> {
        self.index.without.iter().filter_map(|id| self.get(id))
    }

    /// Whether an accepted epoch has no leaf of this device.
    pub(crate) fn was_removed(&self) -> bool {
        !self.index.without.is_empty()
    }
}
