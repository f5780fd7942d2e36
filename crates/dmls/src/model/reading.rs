//! A second reading of the rules of heads, base, merges and floors, on sets and small numbers, sharing no code with the
//! first.
//!
//! As it stands it must say what the project's functions say, of every view. With one rule [`Bent`] it takes their
//! place, to show that the properties notice.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::epochs::{DEVICES, Ix, Leaf, Register, Set, Symbol, each};
use super::view::{Judged, View};
use crate::id::EpochId;

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bent {
    /// What a device accepted and cannot enter covers, too.
    WhatIsNotHeldCovers,
    /// A merge covers whatever it takes back.
    TakesBack,
    /// A merge covers what its maker was never in.
    NamesCover,
    /// What is resolved is not covered.
    ResolvesIgnored,
    /// Heads by outsiders count like others.
    OutsidersCount,
    /// Heads that are set aside cover all the same.
    OutsidersCover,
    /// The greatest epoch number comes first, whoever is missing there.
    NumberFirst,
    /// Ties fall to the smallest EpochId, which can be ground.
    TieById,
    /// Of equal heads, each device prefers its own.
    OwnFirst,
    /// The fork point of each two heads for themselves.
    ForkPointOfTwo,
    /// Heads never collapse.
    NoCollapse,
    /// Whoever left is added again for the same join.
    NotSticky,
    /// Members outside D stay.
    RemovesNobody,
    /// Nobody is added anew for an ask: old leaves live on.
    NoFloors,
    /// The key of an ask's package dies at its first use.
    FloorKeyDies,
    /// What is built on an epoch that removed a device is nothing to it.
    RemovalsEndIt,
    /// Whoever came in asks for nothing whose commit was there before.
    EntryDismisses,
    /// A merge of one's own epoch, on a base that is not known, is waited for.
    UnknownBasesWait,
}

/// The criteria of the base order, smaller first.
type Place = (u32, Reverse<u64>, [u8; 32], EpochId);

/// One view, read by the rules.
pub(super) struct Reading<'a> {
    view: &'a View,
    symbols: BTreeMap<Ix, Arc<Symbol>>,
    /// With each accepted epoch what is merged in it.
    merged: BTreeMap<Ix, BTreeSet<Ix>>,
    /// The newest leaf that each device made by a commit.
    newest: [u8; DEVICES],
    register: &'a Register,
    desired: Set,
    ended: Set,
    bent: Option<Bent>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(view: &'a View, register: &'a Register, bent: Option<Bent>) -> Self {
        let symbols: BTreeMap<_, _> = view.known.keys().map(|ix| (*ix, register.get(*ix))).collect();
        let mut newest = [0; DEVICES];
        for leaves in view.accepted().map(|ix| &symbols[&ix].leaves) {
            for (newest, leaf) in newest.iter_mut().zip(leaves) {
                *newest = leaf.iter().filter(|leaf| !leaf.of_package).map(|leaf| leaf.serial).fold(*newest, u8::max);
            }
        }
        let desired = view.desired();
        let ended = if bent == Some(Bent::NotSticky) { 0 } else { view.ended() };
        let mut this = Self { view, symbols, merged: BTreeMap::new(), newest, register, desired, ended, bent };
        // Parents were entered before their children.
        for ix in view.accepted() {
            let merged = this.merged_in(ix);
            this.merged.insert(ix, merged);
        }
        this
    }

    /// The same by the rules as they are.
    pub(super) fn honest(&self) -> Reading<'a> {
        Self::new(self.view, self.register, None)
    }

    fn merged_in(&self, ix: Ix) -> BTreeSet<Ix> {
        let symbol = &self.symbols[&ix];
        let in_it = |head: &&Ix| {
            let head = self.symbols.get(head);
            self.bent == Some(Bent::NamesCover) || head.is_some_and(|head| head.has(symbol.made.creator))
        };
        let resolved = symbol.made.resolves.iter().filter(in_it).filter(|_| self.bent != Some(Bent::ResolvesIgnored));
        let parents = symbol.made.base.iter().chain(resolved);
        let below = parents.filter_map(|parent| self.merged.get(parent)).flatten().copied();
        below.chain([ix]).collect()
    }

    pub(super) fn judge(&self) -> Judged {
        let eligible = self.eligible();
        let mut judged = Judged { heads: self.heads(&BTreeSet::new()), eligible, ..Judged::default() };
        let Some((&base, others)) = judged.eligible.split_first() else { return judged };
        let symbol = &self.symbols[&base];
        let own = 1 << self.view.who;
        let live = self.live(base);
        let dead = symbol.members() & self.desired & !self.ended & !live;
        judged.add = self.desired & !self.ended & !live & !own;
        let outside = if self.bent == Some(Bent::RemovesNobody) { 0 } else { symbol.members() & !self.desired };
        judged.remove = (outside | dead) & !own;
        let merged_in_base = |head: &Ix| self.merged[&base].contains(head);
        let open: Vec<_> = others.iter().copied().filter(|head| !merged_in_base(head)).collect();
        let in_another = |head: &Ix| open.iter().any(|other| other != head && self.merged[other].contains(head));
        judged.resolve = open.iter().copied().filter(|head| !in_another(head)).collect();
        judged.differing = judged.resolve.iter().copied().filter(|head| !self.collapse(base, *head)).collect();
        judged.stale = self.stale(base);
        judged
    }

    fn is_live(&self, device: u8, leaf: Leaf) -> bool {
        let floor = if self.bent == Some(Bent::NoFloors) { 0 } else { self.view.floors[usize::from(device)] };
        self.desired & !self.ended & (1 << device) != 0 && leaf.serial >= floor
    }

    fn live_leaf(&self, ix: Ix, device: u8) -> Option<u8> {
        let leaf = self.symbols[&ix].leaf(device)?;
        self.is_live(device, leaf).then_some(leaf.serial)
    }

    /// Devices of D with a live leaf in an epoch.
    pub(super) fn live(&self, ix: Ix) -> Set {
        let live = |device: &u8| self.live_leaf(ix, *device).is_some();
        each(self.desired).filter(live).fold(0, |set, device| set | 1 << device)
    }

    /// What the devices of D lose on the way from one epoch to another: each two that is gone, one that is older.
    fn loss(&self, from: Ix, to: Ix) -> u32 {
        let of = |device: u8| match (self.live_leaf(from, device), self.live_leaf(to, device)) {
            (Some(_), None) => 2,
            (Some(here), Some(there)) if there < here => 1,
            _ => 0,
        };
        each(self.desired).map(of).sum()
    }

    /// Whether one epoch covers another for this device.
    fn covers(&self, above: Ix, below: Ix) -> bool {
        let held = self.symbols[&above].has(self.view.who) || self.bent == Some(Bent::WhatIsNotHeldCovers);
        let weighs = || self.loss(below, above) <= self.loss(above, below) || self.bent == Some(Bent::TakesBack);
        above != below && held && self.merged[&above].contains(&below) && weighs()
    }

    fn heads(&self, aside: &BTreeSet<Ix>) -> Vec<Ix> {
        let counted = || self.view.accepted().filter(|ix| !aside.contains(ix));
        let held = counted().filter(|ix| self.symbols[ix].has(self.view.who));
        let mut heads: Vec<_> = held.filter(|ix| !counted().any(|above| self.covers(above, *ix))).collect();
        heads.sort_by_key(|ix| self.symbols[ix].id);
        heads
    }

    pub(super) fn by_desired(&self, ix: Ix) -> bool {
        let symbol = &self.symbols[&ix];
        symbol.has(symbol.made.creator) && self.desired & (1 << symbol.made.creator) != 0
    }

    /// Which heads may be built on, best first.
    fn eligible(&self) -> Vec<Ix> {
        let mut aside = BTreeSet::new();
        let mut chosen = self.heads(&aside);
        let inside = chosen.iter().any(|ix| self.by_desired(*ix));
        while inside && self.bent != Some(Bent::OutsidersCount) && chosen.iter().any(|ix| !self.by_desired(*ix)) {
            aside.extend(chosen.iter().copied().filter(|ix| !self.by_desired(*ix)));
            match self.bent {
                Some(Bent::OutsidersCover) => chosen.retain(|ix| self.by_desired(*ix)),
                _ => chosen = self.heads(&aside),
            }
        }
        if self.bent == Some(Bent::ForkPointOfTwo) {
            // The best so far against each next one, as the heads lie.
            for at in 1..chosen.len() {
                if self.before(chosen[at], chosen[0], &[chosen[0], chosen[at]]) {
                    chosen.swap(0, at);
                }
            }
            return chosen;
        }
        let fork_point = self.fork_point(&chosen);
        let all = chosen.clone();
        chosen.sort_by_cached_key(|ix| self.place(*ix, fork_point, &all));
        chosen
    }

    /// Whether `one` comes before `other` when these are the eligible heads.
    pub(super) fn before(&self, one: Ix, other: Ix, eligible: &[Ix]) -> bool {
        let pair = [one, other];
        let heads = if self.bent == Some(Bent::ForkPointOfTwo) { &pair[..] } else { eligible };
        let fork_point = self.fork_point(heads);
        self.place(one, fork_point, heads) < self.place(other, fork_point, heads)
    }

    /// How far an epoch is behind what its devices have anywhere.
    ///
    /// Of heads that collapse the least counts for all.
    pub(super) fn behind(&self, ix: Ix, heads: &[Ix]) -> u32 {
        let same = heads.iter().copied().filter(|other| *other != ix && self.collapse(ix, *other));
        same.map(|other| self.behind_by_itself(other)).fold(self.behind_by_itself(ix), u32::min)
    }

    fn behind_by_itself(&self, ix: Ix) -> u32 {
        let of = |device: u8| match self.live_leaf(ix, device) {
            None => 2,
            Some(serial) => u32::from(serial < self.newest[usize::from(device)]),
        };
        each(self.desired).map(of).sum()
    }

    fn place(&self, ix: Ix, fork_point: Option<Ix>, heads: &[Ix]) -> Place {
        let symbol = &self.symbols[&ix];
        let behind = if self.bent == Some(Bent::NumberFirst) { 0 } else { self.behind(ix, heads) };
        (behind, Reverse(symbol.number), self.tie(symbol, fork_point), symbol.id)
    }

    fn tie(&self, symbol: &Symbol, fork_point: Option<Ix>) -> [u8; 32] {
        match self.bent {
            Some(Bent::TieById) => return [0; 32],
            Some(Bent::OwnFirst) => return [u8::from(symbol.made.creator != self.view.who); 32],
            _ => {}
        }
        let fork_point = fork_point.map_or([0; 32], |ix| self.register.get(ix).id.0);
        let mut hash = Sha256::new();
        hash.update(b"DMLS 1.0 tie");
        hash.update(fork_point);
        hash.update([1, b'a' + symbol.made.creator, 1, b'D']);
        hash.finalize().into()
    }

    /// Whether a tie between these heads falls as it was fixed before they were made: by fork point and creator.
    pub(super) fn tie_is_fair(&self, first: Ix, second: Ix, eligible: &[Ix]) -> bool {
        let fork_point = self.fork_point(eligible);
        let (one, other) = (self.place(first, fork_point, eligible), self.place(second, fork_point, eligible));
        (one.0, one.1) != (other.0, other.1) || one.2 <= other.2
    }

    /// Also epochs that are known by name only.
    fn ancestry(&self, ix: Ix) -> BTreeSet<Ix> {
        let mut found = BTreeSet::from([ix]);
        let mut work = vec![ix];
        while let Some(next) = work.pop() {
            let Some(symbol) = self.symbols.get(&next) else { continue };
            work.extend(symbol.parents().filter(|parent| found.insert(*parent)));
        }
        found
    }

    /// The last epoch that all heads descend from; of heads with the same parents one of these.
    fn fork_point(&self, heads: &[Ix]) -> Option<Ix> {
        let parents: BTreeSet<BTreeSet<Ix>> = heads.iter().map(|head| self.symbols[head].parents().collect()).collect();
        if heads.len() > 1 && parents.len() == 1 {
            return parents.iter().flatten().copied().min_by_key(|ix| self.register.get(*ix).id);
        }
        let mut ancestries = heads.iter().map(|head| self.ancestry(*head));
        let first = ancestries.next().unwrap_or_default();
        let shared = ancestries.fold(first, |common, next| &common & &next);
        let before = |ix: &Ix| shared.iter().any(|other| other != ix && self.ancestry(*other).contains(ix));
        shared.iter().copied().filter(|ix| !before(ix)).min_by_key(|ix| self.register.get(*ix).id)
    }

    pub(super) fn collapse(&self, one: Ix, other: Ix) -> bool {
        let (one, other) = (&self.symbols[&one], &self.symbols[&other]);
        let parents = |symbol: &Symbol| symbol.parents().collect::<BTreeSet<_>>();
        let members = one.members() == other.members() && one.members() & !self.desired == 0;
        let alike = parents(one) == parents(other) && !one.made.external && !other.made.external;
        alike && members && self.bent != Some(Bent::NoCollapse)
    }

    /// A deliberate update of this device is newer than its leaf in the head, and that leaf lives.
    fn stale(&self, head: Ix) -> bool {
        let updates = self.view.known.iter().filter(|(_, mark)| mark.healing && !mark.abandoned);
        let newest = updates.map(|(ix, _)| self.symbols[ix].made.serial).max();
        self.live_leaf(head, self.view.who).is_some_and(|own| newest.is_some_and(|newest| own < newest))
    }

    /// Whether every held epoch is merged in one of these.
    pub(super) fn keeps_all(&self, heads: &[Ix]) -> bool {
        let held = self.view.accepted().filter(|ix| self.symbols[ix].has(self.view.who));
        held.into_iter().all(|ix| heads.iter().any(|head| self.merged[head].contains(&ix)))
    }

    /// Whether each held epoch that is none of these heads is merged in another one that takes back no more than it brings.
    pub(super) fn weighs_all(&self, heads: &[Ix]) -> bool {
        let held = || self.view.accepted().filter(|ix| self.symbols[ix].has(self.view.who));
        held().filter(|ix| !heads.contains(ix)).all(|ix| held().any(|above| self.covers(above, ix)))
    }
}
