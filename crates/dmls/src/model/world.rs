//! The world of the model: what devices know, what is on its way, and who can take in what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU8;

use super::epochs::{DEVICES, FIRST, Ix, Register, Set, each};
use super::known::{Gallery, Known, ViewId};
use super::reading::Bent;
use super::view::{Fact, Mark, View};

/// At most this many sides of a split.
pub(super) const SIDES: usize = 3;

/// What may happen only so often in one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Event {
    /// A device updates of its own accord.
    Update,
    /// A device does what is due before all that is on the wire arrived.
    Early,
    /// A user leaves or is kicked.
    Leave,
    /// A user joins.
    Join,
    /// A device asks to be added anew, with or without a reason.
    Ask,
    /// The Welcomes of an honest commit never arrive.
    Lost,
    /// A bad member drops another one.
    Drop,
    /// A bad member adds another one, perhaps in place of the leaf that it has, and sends it no Welcome.
    Ghost,
    /// A bad member makes two commits on one base.
    Twin,
    /// A bad member's commit cannot be opened by one device, or by none.
    Poison,
    /// A bad member names any epoch as merged, and makes up the merge value.
    Fake,
    /// A bad member commits on an epoch that it left behind.
    Old,
    /// A device whose owner left goes on committing.
    Stray,
    /// A device stops between storing a commit and publishing it.
    Crash,
    /// A device joins by external commit.
    Enter,
    /// The room splits.
    Cut,
    /// A server shows a membership that had ended.
    Reset,
}

/// How many kinds of [`Event`] there are.
pub(super) const EVENTS: usize = 17;

/// What must not happen when a commit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    /// An honest device's commit keeps or adds a device outside its D.
    Outside = 1,
    /// An honest device's commit adds a device though it knows that the membership ended which is shown.
    Readded = 2,
    /// A device comes back by external commit though it has a head to use.
    Returned = 4,
}

/// Everything that a future depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) views: Vec<ViewId>,
    /// Each user's membership as each side has it.
    pub(super) room: [[u8; SIDES]; DEVICES],
    /// Published commits and the sides that see them.
    pub(super) wire: BTreeMap<Ix, Set>,
    /// The serial of each device's newest leaf or key package.
    pub(super) serials: [u8; DEVICES],
    /// The serial of each device's last ask, as each side has it.
    pub(super) asks: [[u8; SIDES]; DEVICES],
    /// The serials of all its asks, a bit each.
    pub(super) asked: [u64; DEVICES],
    /// What each device could not enter when it last came in, where that causes no ask.
    pub(super) dismissed: Vec<BTreeSet<Ix>>,
    pub(super) split: bool,
    pub(super) left: [u8; EVENTS],
    pub(super) quiet: bool,
    pub(super) rounds: u8,
    pub(super) faults: u8,
}

/// What a server gives out as a device's key package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packages {
    /// One made just now.
    Fresh,
    /// Always the same, which is older than any leaf.
    Old,
}

/// Who is there, what may happen, and by which rules devices decide.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) devices: u8,
    /// Members of the first epoch.
    pub(super) members: Set,
    /// The side of each device while the room is split.
    pub(super) sides: [u8; DEVICES],
    /// Who may do what no honest device does.
    pub(super) bad: Set,
    pub(super) packages: Packages,
    pub(super) events: Vec<(Event, u8)>,
    /// At most this many rounds until nothing is due.
    pub(super) rounds: u8,
    pub(super) bent: Option<Bent>,
    /// So many it took at most.
    pub(super) most_rounds: AtomicU8,
    pub(super) register: Register,
    pub(super) gallery: Gallery,
}

impl Setting {
    pub(super) fn start(&self) -> World {
        let genesis = self.register.genesis(self.members);
        let joined = |user: u8| u8::from(self.members & (1 << user) != 0);
        let facts: [Fact; DEVICES] =
            std::array::from_fn(|user| Fact { shown: joined(user.try_into().unwrap()), ends: [0; 2] });
        let view = |who: u8| {
            let entry = Mark { entry: true, ..Mark::default() };
            let known = if joined(who) == 1 { [(genesis, entry)].into() } else { BTreeMap::new() };
            let view = View { who, known, facts, floors: [0; DEVICES] };
            self.gallery.enter(view, &self.register, self.bent)
        };
        let mut left = [0; EVENTS];
        for (event, times) in &self.events {
            left[*event as usize] = *times;
        }
        World {
            views: (0..self.devices).map(view).collect(),
            room: facts.map(|fact| [fact.shown; SIDES]),
            wire: BTreeMap::new(),
            serials: [FIRST; DEVICES],
            asks: [[0; SIDES]; DEVICES],
            asked: [0; DEVICES],
            dismissed: vec![BTreeSet::new(); self.devices.into()],
            // The sides start apart; a world that never split is one that healed at once.
            split: true,
            left,
            quiet: false,
            rounds: 0,
            faults: 0,
        }
    }

    pub(super) fn known(&self, world: &World, who: u8) -> std::sync::Arc<Known> {
        self.gallery.get(world.views[usize::from(who)])
    }

    pub(super) fn change(&self, world: &mut World, who: u8, change: impl FnOnce(&mut View)) {
        let mut view = self.known(world, who).view.clone();
        change(&mut view);
        world.views[usize::from(who)] = self.gallery.enter(view, &self.register, self.bent);
    }

    pub(super) fn side(&self, who: u8) -> usize {
        usize::from(self.sides[usize::from(who)])
    }

    /// Sides that see what `who` publishes now.
    pub(super) fn reach(&self, world: &World, who: u8) -> Set {
        if world.split { 1 << self.side(who) } else { Set::MAX }
    }

    pub(super) fn publish(&self, world: &mut World, who: u8, ix: Ix) {
        let reach = self.reach(world, who);
        world.wire.insert(ix, reach);
    }

    /// Devices whose servers `who` can reach: for their key packages, and for answers.
    pub(super) fn claimable(&self, world: &World, who: u8) -> Set {
        let near = |other: &u8| !world.split || self.side(*other) == self.side(who);
        (0..self.devices).filter(near).fold(0, |set, other| set | 1 << other)
    }

    /// Everybody who is joined in the room as all sides together have it.
    pub(super) fn joined(&self, world: &World) -> Set {
        let newest = |user: &u8| world.room[usize::from(*user)].iter().max().is_some_and(|step| step % 2 == 1);
        (0..self.devices).filter(newest).fold(0, |set, user| set | 1 << user)
    }

    pub(super) fn ask_seen(&self, world: &World, who: u8, asker: u8) -> u8 {
        world.asks[usize::from(asker)][self.side(who)]
    }

    fn is_new(&self, world: &World, view: &View, ix: Ix) -> bool {
        let seen = world.wire.get(&ix).is_some_and(|sides| sides & (1 << self.side(view.who)) != 0);
        seen && !view.known.contains_key(&ix)
    }

    /// How `who` would take in a published commit now, if it can.
    pub(super) fn takes(&self, world: &World, who: u8, ix: Ix) -> Option<Mark> {
        let known = self.known(world, who);
        let view = &known.view;
        if !self.is_new(world, view, ix) {
            return None;
        }
        let symbol = self.register.get(ix);
        let (made, me) = (&symbol.made, 1 << who);
        let package = made.package(who);
        if package.is_some_and(|package| made.ghosts & me == 0 && self.has_key(world, view, package)) {
            return Some(Mark { entry: true, ..Mark::default() });
        }
        if !view.holds(made.base?, &self.register) || package.is_some() {
            return None;
        }
        // Whoever is removed sees it, and needs nothing for that.
        let open = !symbol.has(who) || made.poisons & me == 0 && self.has_inputs(world, view, ix);
        open.then(Mark::default)
    }

    /// Whether a device still has the key of its package with this serial.
    fn has_key(&self, world: &World, view: &View, package: u8) -> bool {
        if package < FIRST {
            return true;
        }
        let who = usize::from(view.who);
        let used = || {
            let entries = view.known.iter().filter(|(_, mark)| mark.entry);
            entries.into_iter().any(|(ix, _)| self.register.get(*ix).made.package(view.who) == Some(package))
        };
        match world.asked[who] & (1 << package) != 0 {
            true => package == view.floors[who] && (self.bent != Some(Bent::FloorKeyDies) || !used()),
            false => !used(),
        }
    }

    /// M: from the heads, from a grant, or from a member that answers (SPEC §3.7, §3.9).
    fn has_inputs(&self, world: &World, view: &View, ix: Ix) -> bool {
        let symbol = self.register.get(ix);
        let (made, who) = (&symbol.made, view.who);
        let holds = |head: &Ix| view.holds(*head, &self.register);
        if made.resolves.iter().all(holds) {
            return !made.invented;
        }
        let Some(base) = made.base.map(|base| self.register.get(base)) else { return false };
        let here = base.leaf(who).map(|leaf| leaf.serial);
        // Whoever seals a grant counts on those heads alone in which its receiver is not older than in the base.
        let is_in = |head: &&Ix| self.register.get(**head).leaf(who).map(|leaf| leaf.serial) >= here;
        let (shared, lacking): (Vec<_>, Vec<_>) = made.resolves.iter().partition(is_in);
        let granted = !made.external && !lacking.is_empty() && shared.into_iter().all(holds);
        granted || (0..self.devices).any(|other| other != who && self.answers(world, view, other, ix))
    }

    /// Whether `other` tells a device the merge value of a commit, and is asked.
    fn answers(&self, world: &World, view: &View, other: u8, ix: Ix) -> bool {
        let symbol = self.register.get(ix);
        let near = self.claimable(world, view.who) & (1 << other) != 0;
        let theirs = &self.known(world, other).view;
        let base = symbol.made.base.filter(|base| theirs.known.contains_key(base));
        let safe = base.is_some_and(|base| !self.register.get(base).made.external);
        let asked = || {
            let eligible = &self.known(world, view.who).judged.eligible;
            view.desired() & (1 << other) != 0 && eligible.iter().any(|head| self.register.get(*head).has(other))
        };
        near && safe && theirs.holds(ix, &self.register) && theirs.desired() & (1 << view.who) != 0 && asked()
    }

    /// Takes in a commit.
    pub(super) fn accept(&self, world: &mut World, who: u8, ix: Ix, mark: Mark) {
        self.change(world, who, |view| {
            view.known.insert(ix, mark);
        });
        if mark.entry && self.bent == Some(Bent::EntryDismisses) {
            let known = self.known(world, who);
            let shut = |ix: &Ix| self.is_new(world, &known.view, *ix) && self.takes(world, who, *ix).is_none();
            world.dismissed[usize::from(who)] = world.wire.keys().copied().filter(shut).collect();
        }
    }

    /// Epochs of members whose commits are here, that this device cannot enter, and that no head of it descends from
    /// (SPEC §5.8).
    fn out_of_reach(&self, world: &World, who: u8) -> BTreeSet<Ix> {
        let known = self.known(world, who);
        let view = &known.view;
        let mut closed = BTreeSet::new();
        // Parents were entered before their children.
        for ix in world.wire.keys().copied().filter(|ix| self.is_new(world, view, *ix)) {
            if self.takes(world, who, ix).is_none() && self.is_shut(world, view, ix, &closed) {
                closed.insert(ix);
            }
        }
        let calls = |ix: &Ix| {
            let by_member = view.desired() & (1 << self.register.get(*ix).made.creator) != 0;
            by_member && !world.dismissed[usize::from(who)].contains(ix)
        };
        closed.retain(calls);
        let (mut work, mut reached) = (known.judged.eligible.clone(), BTreeSet::new());
        while let Some(ix) = work.pop() {
            if reached.insert(ix) && (view.known.contains_key(&ix) || closed.contains(&ix)) {
                work.extend(self.register.get(ix).parents());
            }
        }
        &closed - &reached
    }

    /// Whether a commit that is here and cannot be taken in now cannot be taken in later either, as far as its device can
    /// tell.
    fn is_shut(&self, world: &World, view: &View, ix: Ix, closed: &BTreeSet<Ix>) -> bool {
        let symbol = self.register.get(ix);
        let Some(base) = symbol.made.base else { return false };
        if view.known.contains_key(&base) {
            // Also on what removed this device, which may be added again there.
            return view.holds(base, &self.register) || self.bent != Some(Bent::RemovalsEndIt);
        }
        let comes = self.takes(world, view.who, base).is_some();
        // Others merged what this device holds into what it may never have been in.
        let merges_mine = || symbol.made.resolves.iter().any(|head| view.holds(*head, &self.register));
        closed.contains(&base) || !comes && merges_mine() && self.bent != Some(Bent::UnknownBasesWait)
    }

    /// Whether `who` should ask to be added anew: it is in an epoch, and others may have gone on where it cannot follow.
    fn is_stuck(&self, world: &World, who: u8) -> bool {
        let known = self.known(world, who);
        known.is_desired() && known.canonical().is_some() && !self.out_of_reach(world, who).is_empty()
    }

    /// A published epoch that somebody near builds on, for a device of D that is in none.
    pub(super) fn entry(&self, world: &World, who: u8) -> Option<Ix> {
        let known = self.known(world, who);
        let mut others = each(self.claimable(world, who) & !(1 << who)).filter_map(|other| {
            let theirs = self.known(world, other);
            theirs.canonical().filter(|_| theirs.is_desired())
        });
        let lost = known.is_desired() && known.canonical().is_none();
        others.find(|ix| lost && self.is_new(world, &known.view, *ix))
    }

    /// Devices that do something by themselves, when everything has arrived.
    ///
    /// A device that asks or joins by itself waits much longer than a slot: until nobody else has anything to do.
    pub(super) fn due(&self, world: &World) -> Set {
        let acts = |who: &u8| {
            let known = self.known(world, *who);
            known.is_desired() && known.is_due(self.claimable(world, *who))
        };
        let returns = |who: &u8| self.is_stuck(world, *who) || self.entry(world, *who).is_some();
        let set = |filter: &dyn Fn(&u8) -> bool| (0..self.devices).filter(filter).fold(0, |set, who| set | 1 << who);
        match set(&acts) {
            0 => set(&returns),
            acting => acting,
        }
    }

    pub(super) fn stored(&self, world: &World, who: u8) -> Option<Ix> {
        let known = self.known(world, who);
        known.view.known.iter().find(|(_, mark)| mark.unpublished).map(|(ix, _)| *ix)
    }

    pub(super) fn hear(&self, world: &mut World, who: u8, asker: u8) {
        let floor = self.ask_seen(world, who, asker);
        if self.known(world, who).view.floors[usize::from(asker)] < floor {
            self.change(world, who, |view| view.floors[usize::from(asker)] = floor);
        }
    }

    /// Delivers all facts, asks, and commits that can be taken in.
    pub(super) fn settle(&self, world: &mut World) {
        for who in 0..self.devices {
            for user in 0..self.devices {
                let target = world.room[usize::from(user)][self.side(who)];
                let shown = |world: &World| self.known(world, who).view.facts[usize::from(user)].shown;
                while shown(world) < target {
                    self.change(world, who, |view| view.learn(user));
                }
                self.hear(world, who, user);
            }
        }
        let mut moved = true;
        while moved {
            moved = false;
            for ix in world.wire.keys().copied().collect::<Vec<_>>() {
                for who in 0..self.devices {
                    if let Some(mark) = self.takes(world, who, ix) {
                        moved = true;
                        self.accept(world, who, ix, mark);
                    }
                }
            }
        }
    }

    pub(super) fn heal(&self, world: &mut World) {
        world.split = false;
        world.wire.values_mut().for_each(|sides| *sides = Set::MAX);
        for seen in world.room.iter_mut().chain(&mut world.asks) {
            *seen = [seen.iter().copied().max().unwrap_or(0); SIDES];
        }
    }
}
