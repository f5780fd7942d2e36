//! What one device knows, and what the project's own functions make of it.

use std::collections::BTreeMap;

use super::epochs::{DEVICES, Ix, Register, Set, Symbol, device, each, event, key, number};
use crate::base::eligible;
use crate::dag::{Dag, Epoch};
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
    /// Accepted epochs. Those that removed the device are not held, all others are.
    pub(super) known: BTreeMap<Ix, Mark>,
    pub(super) facts: [Fact; DEVICES],
    /// The serial of each device's last ask that came here: older leaves are dead.
    pub(super) floors: [u8; DEVICES],
}

/// What the rules make of a view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Judged {
    pub(super) heads: Vec<Ix>,
    /// Best first.
    pub(super) eligible: Vec<Ix>,
    pub(super) add: Set,
    pub(super) remove: Set,
    pub(super) resolve: Vec<Ix>,
    pub(super) differing: Vec<Ix>,
    pub(super) stale: bool,
}

/// In which order a view came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Epochs from first to last, then who is in the room, then asks.
    EpochsFirst,
    /// Asks and who is in the room, then epochs from last to first.
    EpochsLast,
}

impl View {
    /// D, as this device knows it.
    pub(super) fn desired(&self) -> Set {
        let joined = (0u8..).zip(&self.facts).filter(|(_, fact)| fact.shown % 2 == 1);
        joined.fold(0, |set, (user, _)| set | 1 << user)
    }

    /// Those of D whose membership is known to have ended (SPEC §5.4).
    pub(super) fn ended(&self) -> Set {
        super::epochs::each(self.desired()).filter(|user| self.is_over(*user)).fold(0, |set, user| set | 1 << user)
    }

    pub(super) fn accepted(&self) -> impl Iterator<Item = Ix> {
        self.known.iter().filter(|(_, mark)| !mark.abandoned).map(|(ix, _)| *ix)
    }

    /// Has this epoch's secrets.
    pub(super) fn holds(&self, ix: Ix, register: &Register) -> bool {
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

    /// Whether it is known that the membership ended which is shown.
    pub(super) fn is_over(&self, user: u8) -> bool {
        let fact = &self.facts[usize::from(user)];
        fact.ends.contains(&(1 + fact.shown))
    }

    /// The project's own epoch DAG for this view, with the desired devices and the floors.
    pub(super) fn build(&self, register: &Register, order: Order) -> Dag {
        let mut dag = Dag::default();
        let epochs: Vec<_> =
            self.known.iter().map(|(ix, mark)| epoch(&register.get(*ix), *mark, self.who, register)).collect();
        if order == Order::EpochsFirst {
            epochs.into_iter().for_each(|epoch| dag.insert(epoch));
            dag.set_desired(self.room());
            dag.set_ended(super::epochs::each(self.ended()).map(device).collect());
            self.raise_floors(&mut dag);
        } else {
            self.raise_floors(&mut dag);
            dag.set_desired(self.room());
            dag.set_ended(super::epochs::each(self.ended()).map(device).collect());
            epochs.into_iter().rev().for_each(|epoch| dag.insert(epoch));
        }
        dag
    }

    fn room(&self) -> Desired {
        let step = |user: u8| self.facts[usize::from(user)].shown;
        let vouched = |user: u8| DesiredDevice { key: key(user), joined: event(user, step(user)) };
        super::epochs::each(self.desired()).map(|user| (device(user), vouched(user))).collect()
    }

    fn raise_floors(&self, dag: &mut Dag) {
        for (asker, floor) in (0u8..).zip(&self.floors).filter(|(_, floor)| **floor > 0) {
            dag.raise_floor(&device(asker), &key(asker), u64::from(*floor));
        }
    }

    /// What the project's own functions make of this view.
    pub(super) fn judge(&self, register: &Register, order: Order) -> Judged {
        let dag = self.build(register, order);
        let names: BTreeMap<EpochId, Ix> = self.known.keys().map(|ix| (register.get(*ix).id, *ix)).collect();
        let named = |epochs: &[&Epoch]| epochs.iter().map(|epoch| names[&epoch.id]).collect::<Vec<_>>();
        let own = device(self.who);
        let plan = Plan::make(&dag, &own);
        let set = |devices: &[Device]| devices.iter().fold(0, |set, device| set | 1 << number(device));
        let mut judged = Judged { heads: named(&dag.heads()), eligible: named(&eligible(&dag)), ..Judged::default() };
        if let Some(plan) = plan {
            assert_eq!(judged.eligible.first(), names.get(&plan.base.id), "the plan builds on the canonical head");
            let gone: Vec<_> = plan.remove.iter().map(|leaf| leaf.device.clone()).collect();
            judged.resolve = named(&plan.resolve);
            judged.differing = plan.differing.iter().map(|id| names[id]).collect();
            (judged.add, judged.remove, judged.stale) = (set(&plan.add), set(&gone), plan.stale);
        }
        judged
    }
}

fn leaves(symbol: &Symbol) -> Members {
    let leaf = |member: u8| {
        symbol.leaf(member).map(|leaf| Leaf {
            index: LeafIndex(member.into()),
            device: device(member),
            key: key(member),
            serial: leaf.serial.into(),
            of_package: leaf.of_package,
        })
    };
    each(symbol.members()).filter_map(leaf).collect()
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
        added: made.added.iter().map(|(added, _)| device(*added)).collect(),
        removed: each(made.removed).map(device).collect(),
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
