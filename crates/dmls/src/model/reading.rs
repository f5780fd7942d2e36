//! A second reading of SPEC §2.6 to §3.4 and §5.4, on sets and small numbers, sharing no code with the first.
//!
//! As it stands it must say what the project's functions say, of every view. With one rule [`Bent`] it takes their
//! place, to show that the properties notice.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::epochs::{Ix, Register, Set, Symbol};
use super::view::{Judged, View};
use crate::id::EpochId;

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bent {
    /// A commit buries its base whomever it drops (against SPEC §2.7).
    BuriesAlways,
    /// Resolved heads stay heads (against SPEC §2.6).
    ResolvesIgnored,
    /// Heads by outsiders count like others (against SPEC §3.2).
    OutsidersCount,
    /// Heads that are set aside bury and resolve all the same (against SPEC §3.2).
    OutsidersBury,
    /// Ties fall to the smallest EpochId, which can be ground (against SPEC §3.2).
    TieById,
    /// Of equal heads, each device prefers its own (against SPEC §3.2).
    OwnFirst,
    /// The fork point of each two heads for themselves (against SPEC §3.2).
    ForkPointOfTwo,
    /// Heads never collapse (against SPEC §3.4).
    NoCollapse,
    /// Who was removed with cause is added again for the same join (against SPEC §5.4).
    NotSticky,
    /// Members outside D stay (against SPEC §3.3).
    RemovesNobody,
}

/// SPEC §3.2's criteria in their order, smaller first.
type Place = (u32, u32, bool, Reverse<usize>, Reverse<u64>, [u8; 32], EpochId);

/// One view, read by the rules of the specification.
pub(super) struct Reading<'a> {
    view: &'a View,
    symbols: BTreeMap<Ix, Arc<Symbol>>,
    register: &'a Register,
    desired: Set,
    bent: Option<Bent>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(view: &'a View, register: &'a Register, bent: Option<Bent>) -> Self {
        let symbols = view.known.keys().map(|ix| (*ix, register.get(*ix))).collect();
        Self { view, symbols, register, desired: view.desired(), bent }
    }

    pub(super) fn judge(&self) -> Judged {
        let eligible = self.eligible();
        let mut judged = Judged { heads: self.heads(&BTreeSet::new()), eligible, ..Judged::default() };
        let Some((&base, others)) = judged.eligible.split_first() else { return judged };
        let stranded = self.stranded(base, &self.comebacks(&judged.eligible));
        let leaves = self.symbols[&base].leaves;
        let own = 1 << self.view.who;
        let missing = super::epochs::each(self.desired & !(leaves & !stranded) & !own);
        judged.add = missing.filter(|device| !self.refused(*device)).fold(0, |set, device| set | 1 << device);
        judged.remove =
            if self.bent == Some(Bent::RemovesNobody) { 0 } else { leaves & (stranded | !self.desired) & !own };
        judged.differing = others.iter().copied().filter(|head| !self.collapse(base, *head)).collect();
        judged.stale = self.stale(base);
        judged
    }

    /// SPEC §2.6.
    fn heads(&self, aside: &BTreeSet<Ix>) -> Vec<Ix> {
        let counted = || self.view.accepted().filter(|ix| !aside.contains(ix));
        let buried = |ix: &Ix| {
            counted().map(|other| (other, &self.symbols[&other].made)).any(|(other, made)| {
                let resolved = made.resolves.contains(ix) && self.bent != Some(Bent::ResolvesIgnored);
                resolved || (made.base == Some(*ix) && self.buries(other, *ix))
            })
        };
        let mut heads: Vec<_> = counted().filter(|ix| !buried(ix)).collect();
        heads.sort_by_key(|ix| self.symbols[ix].id);
        heads
    }

    /// SPEC §2.7.
    fn buries(&self, child: Ix, base: Ix) -> bool {
        let child = &self.symbols[&child];
        let caused = child.made.removed.iter().filter(|(_, cause)| *cause != 0);
        let caused = caused.fold(0, |set: Set, (device, _)| set | 1 << device);
        let dropped = self.symbols[&base].leaves & self.desired & !child.leaves & !caused;
        dropped == 0 || self.bent == Some(Bent::BuriesAlways)
    }

    pub(super) fn by_desired(&self, ix: Ix) -> bool {
        let symbol = &self.symbols[&ix];
        symbol.has(symbol.made.creator) && self.desired & (1 << symbol.made.creator) != 0
    }

    /// SPEC §3.2: which heads, and in which order.
    fn eligible(&self) -> Vec<Ix> {
        let usable = |ix: &Ix| self.symbols[ix].has(self.view.who);
        let mut aside = BTreeSet::new();
        let mut chosen = self.heads(&aside);
        let inside = chosen.iter().any(|ix| usable(ix) && self.by_desired(*ix));
        while inside && self.bent != Some(Bent::OutsidersCount) && chosen.iter().any(|ix| !self.by_desired(*ix)) {
            aside.extend(chosen.iter().copied().filter(|ix| !self.by_desired(*ix)));
            match self.bent {
                Some(Bent::OutsidersBury) => chosen.retain(|ix| self.by_desired(*ix)),
                _ => chosen = self.heads(&aside),
            }
        }
        chosen.retain(usable);
        if self.bent == Some(Bent::ForkPointOfTwo) {
            // The best so far against each next one, as the heads lie.
            for at in 1..chosen.len() {
                if self.before(chosen[at], chosen[0], &[chosen[0], chosen[at]]) {
                    chosen.swap(0, at);
                }
            }
            return chosen;
        }
        let (shared, back) = (self.shared(&chosen), self.comebacks(&chosen));
        chosen.sort_by_cached_key(|ix| self.place(*ix, &shared, &back));
        chosen
    }

    /// The external commits that any of these heads descends from.
    fn comebacks(&self, heads: &[Ix]) -> Vec<Ix> {
        let external = self.view.accepted().filter(|ix| self.symbols[ix].made.external);
        external.filter(|ix| heads.iter().any(|head| self.ancestry(*head).contains(ix))).collect()
    }

    /// SPEC §3.12: members of `head` whose leaf there is one that they left behind.
    fn stranded(&self, head: Ix, back: &[Ix]) -> Set {
        let left_behind = |ix: &&Ix| {
            let device = self.symbols[*ix].made.creator;
            let line = std::iter::successors(Some(head), |ix| self.symbols.get(ix)?.made.base);
            let mut fresh = line.filter(|at| {
                let made = self.symbols.get(at).map(|symbol| &symbol.made);
                made.is_some_and(|made| made.creator == device || made.added & (1 << device) != 0)
            });
            self.symbols[&head].has(device) && !fresh.any(|at| self.ancestry(at).contains(*ix))
        };
        back.iter().filter(left_behind).fold(0, |set, ix| set | 1 << self.symbols[ix].made.creator)
    }

    /// Whether `one` comes before `other` when these are the eligible heads.
    pub(super) fn before(&self, one: Ix, other: Ix, eligible: &[Ix]) -> bool {
        let pair = [one, other];
        let heads = if self.bent == Some(Bent::ForkPointOfTwo) { &pair[..] } else { eligible };
        let (shared, back) = (self.shared(heads), self.comebacks(eligible));
        self.place(one, &shared, &back) < self.place(other, &shared, &back)
    }

    fn place(&self, ix: Ix, shared: &BTreeSet<Ix>, back: &[Ix]) -> Place {
        let symbol = &self.symbols[&ix];
        let since = self.ancestry(ix);
        let since = since.difference(shared).filter(|ix| self.symbols.contains_key(ix) && self.by_desired(**ix));
        let creators: BTreeSet<_> = since.map(|ix| self.symbols[ix].made.creator).collect();
        (
            (self.desired & !(symbol.leaves & !self.stranded(ix, back))).count_ones(),
            (symbol.leaves & !self.desired).count_ones(),
            symbol.made.external,
            Reverse(creators.len()),
            Reverse(symbol.number),
            self.tie(symbol, self.fork_point(shared)),
            symbol.id,
        )
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
        let (shared, back) = (self.shared(eligible), self.comebacks(eligible));
        let (one, other) = (self.place(first, &shared, &back), self.place(second, &shared, &back));
        let equal = (one.0, one.1, one.2, one.3, one.4) == (other.0, other.1, other.2, other.3, other.4);
        let honest = Self { bent: None, symbols: self.symbols.clone(), ..*self };
        let tie = |ix: Ix| honest.tie(&self.symbols[&ix], self.fork_point(&shared));
        !equal || tie(first) <= tie(second)
    }

    /// Also epochs that are known by name only.
    pub(super) fn ancestry(&self, ix: Ix) -> BTreeSet<Ix> {
        let mut found = BTreeSet::from([ix]);
        let mut work = vec![ix];
        while let Some(next) = work.pop() {
            let Some(symbol) = self.symbols.get(&next) else { continue };
            for parent in symbol.parents() {
                if found.insert(parent) {
                    work.push(parent);
                }
            }
        }
        found
    }

    /// What all heads descend from.
    fn shared(&self, heads: &[Ix]) -> BTreeSet<Ix> {
        let mut ancestries = heads.iter().map(|head| self.ancestry(*head));
        let first = ancestries.next().unwrap_or_default();
        ancestries.fold(first, |common, next| &common & &next)
    }

    fn fork_point(&self, shared: &BTreeSet<Ix>) -> Option<Ix> {
        let before = |ix: &Ix| shared.iter().any(|other| other != ix && self.ancestry(*other).contains(ix));
        shared.iter().copied().filter(|ix| !before(ix)).min_by_key(|ix| self.register.get(*ix).id)
    }

    /// SPEC §3.4.
    pub(super) fn collapse(&self, one: Ix, other: Ix) -> bool {
        let (one, other) = (&self.symbols[&one], &self.symbols[&other]);
        let parents = |symbol: &Symbol| symbol.parents().collect::<BTreeSet<_>>();
        let members = one.leaves == other.leaves && one.leaves & !self.desired == 0;
        let alike = parents(one) == parents(other) && !one.made.external && !other.made.external;
        alike && members && self.bent != Some(Bent::NoCollapse)
    }

    /// SPEC §5.4.
    pub(super) fn refused(&self, device: u8) -> bool {
        let removals = self.view.accepted().flat_map(|ix| self.symbols[&ix].made.removed.clone());
        let mut causes = removals.filter(|(gone, _)| *gone == device).map(|(_, cause)| cause);
        self.bent != Some(Bent::NotSticky) && causes.any(|cause| self.view.sticks(device, cause))
    }

    /// SPEC §3.10.
    fn stale(&self, base: Ix) -> bool {
        let mut chain = vec![base];
        while let Some(next) = chain.last().and_then(|last| self.symbols.get(last)).and_then(|last| last.made.base) {
            chain.push(next);
        }
        let mine = |ix: &&Ix| {
            let mark = self.view.known.get(ix);
            mark.is_some_and(|mark| mark.entry || self.symbols[ix].made.creator == self.view.who)
        };
        let updates: Vec<_> = chain.iter().filter(mine).map(|ix| self.ancestry(*ix)).collect();
        let healed = self.view.known.iter().filter(|(_, mark)| mark.healing && !mark.abandoned).map(|(ix, _)| ix);
        healed.filter(|ix| !chain.contains(ix)).any(|ix| !updates.iter().any(|update| update.contains(ix)))
    }
}
