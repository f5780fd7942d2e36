//! What follows for an epoch from all that it descends from, kept with it so that nobody has to look there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdSet;
use imbl::ordset::DiffItem;

use super::{Dag, Epoch, Node};
use crate::effect::EpochKind;
use crate::id::{Device, EpochId, EpochNumber, Locator};
use crate::members::Leaf;

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

/// What is told of an epoch's ancestors, itself included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lineage {
    pub(super) generation: Generation,
    /// The external commits among them.
    external: OrdSet<EpochId>,
    /// Those of these whose makers neither committed on this line nor were added to it since.
    open: Arc<[EpochId]>,
    /// This device's deliberate updates among them, without those that were outdated by then.
    healed: Arc<[EpochId]>,
    /// Those that are ancestors of this device's newest leaf on this line.
    updated: Arc<[EpochId]>,
}

/// The external commits that some heads descend from: what a commit on one of them takes note of.
#[derive(Default)]
pub(crate) struct Comebacks(OrdSet<EpochId>);

impl Dag {
    /// How far an epoch is from the beginning; `None` if no commit names it.
    pub(super) fn generation(&self, id: &EpochId) -> Option<Generation> {
        let named = || self.index.namers(id).filter_map(|namer| self.accepted_generation(namer)).min();
        self.accepted_generation(id).or_else(|| named().map(Generation::before))
    }

    fn accepted_generation(&self, id: &EpochId) -> Option<Generation> {
        self.node(id).map(|node| node.lineage.generation).or_else(|| self.stub_generation(id))
    }

    /// Works out what is told of a new epoch's ancestors, and what changes thereby for epochs that came before it.
    pub(super) fn trace(&mut self, id: &EpochId) {
        let ranked = |this: &Self, id: &EpochId| (this.accepted_generation(id).unwrap_or_default(), *id);
        let mut work: BTreeSet<_> = self.index.namers(id).chain([id]).map(|id| ranked(self, id)).collect();
        while let Some((_, id)) = work.pop_first() {
            let Some(node) = self.node(&id) else { continue };
            let lineage = self.lineage(&node.epoch);
            if lineage == node.lineage {
                continue;
            }
            if let Some(node) = self.nodes.get_mut(&id) {
                self.order.remove(&(node.lineage.generation, id));
                self.order.insert((lineage.generation, id));
                node.lineage = lineage;
            }
            work.extend(self.index.namers(&id).map(|id| ranked(self, id)));
        }
    }

    fn lineage(&self, epoch: &Epoch) -> Lineage {
        let base = epoch.base.as_ref().and_then(|base| self.node(&base.id));
        let merged = epoch.resolves.iter().filter_map(|head| self.node(&head.id));
        let parents: Vec<&Node> = base.into_iter().chain(merged).collect();
        let after = epoch.named().filter_map(|named| self.accepted_generation(&named.id)).map(Generation::next);
        let external = external(epoch, &parents);
        let healed = healed(epoch, &parents, |id| self.index.is_healing(id));
        Lineage {
            generation: after.fold(Generation::of(epoch.number), Generation::max),
            open: self.still_open(epoch, base, &external),
            updated: if epoch.own || epoch.entry { healed.clone() } else { inherited(base, |line| &line.updated) },
            external,
            healed,
        }
    }

    fn still_open(&self, epoch: &Epoch, base: Option<&Node>, external: &OrdSet<EpochId>) -> Arc<[EpochId]> {
        let before = inherited(base, |line| &line.open);
        let added = match base {
            Some(base) => more_in(&base.lineage.external, external).copied().collect(),
            None => external.iter().copied().collect::<Vec<_>>(),
        };
        let noted = |id: &EpochId| {
            let back = self.node(id).map(|node| &node.epoch.creator);
            *id == epoch.id || back.is_some_and(|back| *back == epoch.creator || epoch.added.contains(back))
        };
        if added.is_empty() && !before.iter().any(noted) {
            return before;
        }
        let open: BTreeSet<_> = before.iter().copied().chain(added).filter(|id| !noted(id)).collect();
        open.into_iter().collect()
    }

    /// The external commits that any of these heads descends from.
    pub(crate) fn comebacks(&self, heads: &[&Epoch]) -> Comebacks {
        let known = heads.iter().filter_map(|head| self.node(&head.id));
        Comebacks(union(known.map(|node| &node.lineage.external)))
    }

    /// Members of `head` that cannot use their leaf there: they came back by external commit elsewhere, and since then
    /// neither committed on this line nor were added to it; with the event of that commit (SPEC §3.12).
    pub(crate) fn stranded(&self, head: &Epoch, comebacks: &Comebacks) -> BTreeMap<&Device, &Locator> {
        self.left_behind(head, comebacks).iter().map(|back| (&back.creator, &back.locator)).collect()
    }

    /// Whether the device of a leaf is a member of `head` too, under the same key and with a leaf that it can use. One
    /// that may have come by it where this device cannot see counts: who is in a merged head needs no grant, and a grant
    /// would open to whoever stole the leaf before it was healed there (SPEC §3.7).
    pub(crate) fn is_usable_by(&self, head: &Epoch, leaf: &Leaf, comebacks: &Comebacks) -> bool {
        let is_behind = |back: &&Epoch| back.creator == leaf.device && self.surely_left_behind(head, back);
        head.members.keeps(leaf) && !self.left_behind(head, comebacks).iter().any(is_behind)
    }

    /// The members of `base` for whom [`Self::is_usable_by`] is false.
    pub(crate) fn lacking<'a>(&'a self, base: &'a Epoch, head: &'a Epoch, comebacks: &Comebacks) -> Vec<&'a Leaf> {
        let behind = self.left_behind(head, comebacks).into_iter().filter(|back| self.surely_left_behind(head, back));
        let behind = behind.filter_map(|back| base.members.leaf_of(&back.creator));
        base.members.lacking_in(&head.members).chain(behind).collect()
    }

    /// Of those external commits whose makers have a leaf in `head`, those since which it is not known to be renewed:
    /// no commit of theirs on this line, and none that adds them, descends from it.
    ///
    /// Under another key it is another device, logged in anew, which the commit says nothing of.
    pub(super) fn left_behind<'a>(&'a self, head: &Epoch, comebacks: &Comebacks) -> Vec<&'a Epoch> {
        if comebacks.0.is_empty() {
            return Vec::new();
        }
        let lineage = self.node(&head.id).map(|node| &node.lineage);
        let open = lineage.into_iter().flat_map(|line| line.open.iter()).filter(|id| comebacks.0.contains(*id));
        let elsewhere = lineage.into_iter().flat_map(|line| more_in(&line.external, &comebacks.0));
        let ids: BTreeSet<EpochId> = open.chain(elsewhere).copied().collect();
        let key = |back: &Epoch| back.members.leaf_of(&back.creator).map(|leaf| leaf.key);
        let is_leaf = |back: &&Epoch| key(back).is_some_and(|key| head.members.has(&back.creator, &key));
        let back = ids.iter().filter_map(|id| self.get(id)).filter(|back| !back.abandoned);
        back.filter(is_leaf).collect()
    }

    /// Whether all epochs are known in which the maker of an external commit might have come by its leaf in `head` anew.
    fn surely_left_behind(&self, head: &Epoch, back: &Epoch) -> bool {
        let after = self.generation(&back.id).unwrap_or_default().next();
        let line = self.line_from(&head.id, after);
        let fresh = |epoch: &&Epoch| epoch.creator == back.creator || epoch.added.contains(&back.creator);
        let fresh = line.iter().filter_map(|id| self.get(id)).filter(fresh);
        let mut before = self.ancestors_from(fresh.map(|epoch| epoch.id), after);
        before.extend(line);
        before.iter().all(|id| self.number(id).is_some())
    }

    /// Whether the leaf with which this device healed is missing from `head`: it updated on purpose on a fork that `head`
    /// does not build on, and has not updated since. A leaf is never copied between forks (SPEC §3.10).
    pub(crate) fn is_stale(&self, head: &Epoch) -> bool {
        self.healing().any(|healed| !healed.abandoned && !self.has_updated(head, healed))
    }

    /// Whether this device's leaf in `epoch` is its leaf in `healed`, or a newer one.
    pub(super) fn has_updated(&self, epoch: &Epoch, healed: &Epoch) -> bool {
        self.node(&epoch.id).is_some_and(|node| node.lineage.updated.contains(&healed.id))
    }
}

fn external(epoch: &Epoch, parents: &[&Node]) -> OrdSet<EpochId> {
    let mut external = union(parents.iter().map(|parent| &parent.lineage.external));
    if epoch.kind == EpochKind::External {
        external.insert(epoch.id);
    }
    external
}

fn healed(epoch: &Epoch, parents: &[&Node], counts: impl Fn(&EpochId) -> bool) -> Arc<[EpochId]> {
    let before =
        parents.iter().flat_map(|parent| parent.lineage.healed.iter()).chain(epoch.healing.then_some(&epoch.id));
    let healed: BTreeSet<EpochId> = before.filter(|id| counts(id)).copied().collect();
    match parents.first().map(|parent| &parent.lineage.healed) {
        Some(same) if same.iter().eq(&healed) => same.clone(),
        _ => healed.into_iter().collect(),
    }
}

fn inherited(base: Option<&Node>, of: fn(&Lineage) -> &Arc<[EpochId]>) -> Arc<[EpochId]> {
    base.map(|base| of(&base.lineage).clone()).unwrap_or_default()
}

/// What `other` has and `one` has not; what both share is not looked at.
fn more_in<'a>(one: &'a OrdSet<EpochId>, other: &'a OrdSet<EpochId>) -> impl Iterator<Item = &'a EpochId> {
    one.diff(other).filter_map(|item| match item {
        DiffItem::Add(id) => Some(id),
        DiffItem::Remove(_) => None,
    })
}

fn union<'a>(mut sets: impl Iterator<Item = &'a OrdSet<EpochId>>) -> OrdSet<EpochId> {
    let mut all = sets.next().cloned().unwrap_or_default();
    for set in sets {
        let more: Vec<_> = more_in(&all, set).copied().collect();
        all.extend(more);
    }
    all
}
