//! What one device knows, and what the project's own functions make of it.

use std::collections::BTreeMap;

use super::epochs::{DEVICES, Ix, Register, Set, Symbol, device, event, key, number, step};
use crate::base::eligible;
use crate::dag::{Dag, Epoch, Removal};
use crate::id::{Device, EpochId, EpochNumber, LeafIndex, Locator, Timestamp};
use crate::input::{BaseProof, Desired, DesiredDevice};
use crate::members::{Leaf, Members};
use crate::plan::Plan;
use crate::secret::Secret;

/// How an epoch came to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Mark {
    /// By Welcome or external commit.
    pub(super) entry: bool,
    /// Made by the device, as a deliberate update.
    pub(super) healing: bool,
    /// Made by the device and stored, but not yet on the wire.
    pub(super) unpublished: bool,
    /// Made by the device, refused by the server for good.
    pub(super) abandoned: bool,
}

/// What a device was told of one user's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Fact {
    /// The step of the membership that the server shows now.
    pub(super) shown: u8,
    /// For each end of the membership (steps 2, 4): 0 if not told of it, else 1 + the join that was shown then.
    pub(super) ends: [u8; 2],
}

/// One device's knowledge: everything that its decisions depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) who: u8,
    pub(super) known: BTreeMap<Ix, Mark>,
    pub(super) facts: [Fact; DEVICES],
}

/// What the rules make of a view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Judged {
    pub(super) heads: Vec<Ix>,
    /// Best first.
    pub(super) eligible: Vec<Ix>,
    pub(super) add: Set,
    pub(super) remove: Set,
    pub(super) differing: Vec<Ix>,
    pub(super) stale: bool,
}

impl View {
    /// D, as this device knows it.
    pub(super) fn desired(&self) -> Set {
        let joined = (0u8..).zip(&self.facts).filter(|(_, fact)| fact.shown % 2 == 1);
        joined.fold(0, |set, (user, _)| set | 1 << user)
    }

    pub(super) fn accepted(&self) -> impl Iterator<Item = Ix> {
        self.known.iter().filter(|(_, mark)| !mark.abandoned).map(|(ix, _)| *ix)
    }

    /// Has this epoch's secrets.
    pub(super) fn usable(&self, ix: Ix, register: &Register) -> bool {
        self.known.get(&ix).is_some_and(|mark| !mark.abandoned) && register.get(ix).has(self.who)
    }

    /// Takes in the next step of a user's membership: its end is told before D is.
    pub(super) fn learn(&mut self, user: u8) {
        let fact = &mut self.facts[usize::from(user)];
        let next = fact.shown + 1;
        if next.is_multiple_of(2) {
            let end = &mut fact.ends[usize::from(next / 2 - 1)];
            if *end == 0 {
                *end = 1 + fact.shown;
            }
        }
        fact.shown = next;
    }

    /// SPEC §5.4 for a removal that names `cause`: the end is known, and D rests on the join that was known then.
    pub(super) fn sticks(&self, user: u8, cause: u8) -> bool {
        let fact = &self.facts[usize::from(user)];
        let told = (cause >= 2).then(|| fact.ends.get(usize::from(cause / 2 - 1))).flatten();
        told.is_some_and(|end| *end == 1 + fact.shown)
    }

    /// Whether a device may not be added again.
    pub(super) fn refused(&self, user: u8, dag: &Dag) -> bool {
        let shown = self.facts[usize::from(user)].shown;
        shown.is_multiple_of(2) || dag.removals(&device(user)).any(|removal| self.sticks(user, step(&removal.event)))
    }

    /// The newest end of a user's membership that this device was told of; 0 if none.
    pub(super) fn cause(&self, user: u8) -> u8 {
        match self.facts[usize::from(user)].ends {
            [0, 0] => 0,
            [_, 0] => 2,
            _ => 4,
        }
    }

    /// The project's own epoch DAG for this view, with the desired devices.
    pub(super) fn build(&self, register: &Register) -> Dag {
        let mut dag = Dag::default();
        for (ix, mark) in &self.known {
            dag.insert(epoch(&register.get(*ix), *mark, self.who, register));
        }
        let joined = (0u8..).zip(&self.facts).filter(|(_, fact)| fact.shown % 2 == 1);
        let vouched = |user: u8, fact: &Fact| DesiredDevice { key: key(user), joined: event(user, fact.shown) };
        let devices = joined.map(|(user, fact)| (device(user), vouched(user, fact))).collect();
        dag.set_desired(Desired { devices });
        dag
    }

    /// What the project's own functions make of this view.
    pub(super) fn judge(&self, register: &Register) -> Judged {
        let dag = self.build(register);
        let names: BTreeMap<EpochId, Ix> = self.known.keys().map(|ix| (register.get(*ix).id, *ix)).collect();
        let named = |epochs: Vec<&Epoch>| epochs.iter().map(|epoch| names[&epoch.id]).collect::<Vec<_>>();
        let own = device(self.who);
        let plan = Plan::make(&dag, &own, &|device| self.refused(number(device), &dag));
        let set = |devices: Vec<Device>| devices.iter().fold(0, |set, device| set | 1 << number(device));
        let mut judged = Judged { heads: named(dag.heads()), eligible: named(eligible(&dag)), ..Judged::default() };
        if let Some(plan) = plan {
            assert_eq!(judged.eligible.first(), names.get(&plan.base.id), "the plan builds on the canonical head");
            let gone = plan.remove.iter().map(|leaf| leaf.device.clone()).collect();
            judged.differing = plan.differing.iter().map(|id| names[id]).collect();
            (judged.add, judged.remove, judged.stale) = (set(plan.add), set(gone), plan.stale);
        }
        judged
    }
}

fn leaves(symbol: &Symbol) -> Members {
    let leaf = |member: u8| Leaf { index: LeafIndex(member.into()), device: device(member), key: key(member) };
    super::epochs::each(symbol.leaves).map(leaf).collect()
}

/// The project's own record of an accepted epoch.
fn epoch(symbol: &Symbol, mark: Mark, who: u8, register: &Register) -> Epoch {
    let member = symbol.has(who);
    let made = &symbol.made;
    Epoch {
        id: symbol.id,
        number: EpochNumber(symbol.number),
        creator: device(made.creator),
        kind: symbol.kind(),
        base: made.base.map(|base| register.get(base).reference()),
        resolves: made.resolves.iter().map(|head| register.get(*head).reference()).collect(),
        locator: Locator::default(),
        commit_hash: symbol.id.0,
        proof: BaseProof { confirmed_transcript_hash: Vec::new(), confirmation_tag: Vec::new() },
        members: leaves(symbol),
        added: super::epochs::each(made.added).map(device).collect(),
        removed: made
            .removed
            .iter()
            .map(|(gone, cause)| Removal { device: device(*gone), event: event(*gone, *cause) })
            .collect(),
        first_seen: Timestamp(0),
        age: 0,
        own_leaf: member.then_some(LeafIndex(who.into())),
        own: made.creator == who,
        healing: mark.healing,
        entry: mark.entry,
        held: member,
        abandoned: mark.abandoned,
        equivocation: false,
        merge_export: member.then(|| Secret::new([0; 32])),
        merge_inputs: member.then(|| Secret::new([0; 32])),
        granted: false,
    }
}
