//! The world of the model: what may happen to the devices of a room, in any order.

use std::collections::BTreeMap;

use super::epochs::{DEVICES, Ix, Made, Register, Set, each};
use super::known::{Gallery, Known, ViewId};
use super::reading::{Bent, Reading};
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
    /// A bad member drops another one and names no cause.
    Drop,
    /// A bad member drops another one and invents a cause.
    Lie,
    /// A bad member makes two commits on one base.
    Twin,
    /// A bad member's commit cannot be opened by one device.
    Poison,
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
pub(super) const EVENTS: usize = 13;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Deliver(u8, Ix),
    Fact(u8, u8),
    Due(u8),
    Update(u8),
    Leave(u8, u8),
    Join(u8),
    Drop(u8, u8),
    Lie(u8, u8),
    Twin(u8),
    Poison(u8, u8),
    Stray(u8),
    Store(u8),
    Publish(u8),
    Abandon(u8),
    Enter(u8),
    Cut,
    Heal,
    Reset(u8, u8),
    /// From here on everything arrives before anybody acts again.
    Quiet,
    /// These devices do what is due for them, none seeing the others' commits; then everything arrives.
    Round(Set),
}

/// What must not happen when a commit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    /// An honest device's commit keeps or adds a device outside its D.
    Outside = 1,
    /// An honest device's commit holds a device whose removal with cause it has seen, for the same join.
    Returned = 2,
    /// An honest device's commit adds such a device.
    Readded = 8,
}

/// Everything that a future depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) views: Vec<ViewId>,
    /// Each user's membership as each side has it.
    pub(super) room: [[u8; SIDES]; DEVICES],
    /// Published commits and the sides that see them.
    pub(super) wire: BTreeMap<Ix, Set>,
    pub(super) split: bool,
    pub(super) left: [u8; EVENTS],
    pub(super) quiet: bool,
    pub(super) rounds: u8,
    pub(super) faults: u8,
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
    /// Devices that cannot process a commit join again by external commit; then commits of a round keep to their slots,
    /// for an external commit comes to nothing if others commit at the same time.
    pub(super) rejoin: bool,
    pub(super) events: Vec<(Event, u8)>,
    /// At most this many rounds until nothing is due.
    pub(super) rounds: u8,
    pub(super) bent: Option<Bent>,
    pub(super) register: Register,
    pub(super) gallery: Gallery,
}

/// A commit that is about to be made.
#[derive(Default)]
struct Wish {
    healing: bool,
    drop: Option<(u8, u8)>,
    poisons: Set,
    /// Does nothing that is due.
    careless: bool,
    unpublished: bool,
    /// Made by a device that does not keep to the rules.
    bad: bool,
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
            self.gallery.enter(View { who, known, facts }, &self.register, self.bent)
        };
        let mut left = [0; EVENTS];
        for (event, times) in &self.events {
            left[*event as usize] = *times;
        }
        World {
            views: (0..self.devices).map(view).collect(),
            room: facts.map(|fact| [fact.shown; SIDES]),
            wire: BTreeMap::new(),
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

    fn change(&self, world: &mut World, who: u8, change: impl FnOnce(&mut View)) {
        let mut view = self.known(world, who).view.clone();
        change(&mut view);
        world.views[usize::from(who)] = self.gallery.enter(view, &self.register, self.bent);
    }

    fn side(&self, who: u8) -> usize {
        usize::from(self.sides[usize::from(who)])
    }

    /// Sides that see what `who` publishes now.
    fn reach(&self, world: &World, who: u8) -> Set {
        if world.split { 1 << self.side(who) } else { Set::MAX }
    }

    /// Devices whose key packages `who` can claim.
    pub(super) fn claimable(&self, world: &World, who: u8) -> Set {
        let near = |other: &u8| !world.split || self.side(*other) == self.side(who);
        (0..self.devices).filter(near).fold(0, |set, other| set | 1 << other)
    }

    /// Everybody who is joined in the room as all sides together have it.
    pub(super) fn joined(&self, world: &World) -> Set {
        let newest = |user: &u8| world.room[usize::from(*user)].iter().max().is_some_and(|step| step % 2 == 1);
        (0..self.devices).filter(newest).fold(0, |set, user| set | 1 << user)
    }

    /// How `who` would take in a published commit now, if it can.
    fn takes(&self, world: &World, who: u8, ix: Ix) -> Option<Mark> {
        let known = self.known(world, who);
        let view = &known.view;
        let symbol = self.register.get(ix);
        let made = &symbol.made;
        let seen = world.wire.get(&ix).is_some_and(|sides| sides & (1 << self.side(who)) != 0);
        if !seen || view.known.contains_key(&ix) {
            return None;
        }
        let me = 1 << who;
        if made.added & me != 0 && !made.external {
            return Some(Mark { entry: true, ..Mark::default() });
        }
        let base = made.base?;
        let open = view.usable(base, &self.register) && made.poisons & me == 0;
        (open && self.has_inputs(world, view, ix)).then(Mark::default)
    }

    /// M: from the heads, from a grant, or from a member that answers (SPEC §3.7, §3.9).
    fn has_inputs(&self, world: &World, view: &View, ix: Ix) -> bool {
        let symbol = self.register.get(ix);
        let made = &symbol.made;
        let held = made.resolves.iter().all(|head| view.usable(*head, &self.register));
        let one_sided = made.resolves.iter().any(|head| !self.register.get(*head).has(view.who));
        let granted = symbol.has(view.who) && one_sided;
        let answers = |other: u8| {
            let near = self.claimable(world, view.who) & (1 << other) != 0;
            let theirs = &self.known(world, other).view;
            let base = made.base.filter(|base| theirs.known.contains_key(base));
            let safe = base.is_some_and(|base| !self.register.get(base).made.external);
            near && safe && theirs.usable(ix, &self.register) && theirs.desired() & (1 << view.who) != 0
        };
        held || granted || (symbol.has(view.who) && (0..self.devices).any(|other| other != view.who && answers(other)))
    }

    /// Commits as the plan says, bent as wished; `None` where the device has nothing to build on.
    fn commit(&self, world: &mut World, who: u8, wish: Wish) -> Option<Ix> {
        let known = self.known(world, who);
        let (view, judged) = (&known.view, &known.judged);
        let (&base, resolves) = judged.eligible.split_first()?;
        let mut removed: Vec<(u8, u8)> = Vec::new();
        let mut made = Made { base: Some(base), creator: who, poisons: wish.poisons, ..Made::default() };
        if !wish.careless {
            made.resolves = resolves.to_vec();
            made.resolves.sort_by_key(|head| self.register.get(*head).id);
            made.added = judged.add & self.claimable(world, who);
            removed.extend(each(judged.remove).map(|gone| (gone, view.cause(gone))));
        }
        if let Some((victim, cause)) = wish.drop {
            removed.retain(|(gone, _)| *gone != victim);
            made.added &= !(1 << victim);
            removed.push((victim, cause));
            removed.sort_unstable();
        }
        made.removed = removed;
        let children = |ix: &&Ix| {
            let symbol = self.register.get(**ix);
            symbol.made.base == Some(base) && symbol.made.creator == who
        };
        made.attempt = u8::try_from(view.known.keys().filter(children).count()).unwrap();
        let ix = self.register.enter(made);
        if !wish.bad {
            world.faults |= self.faults(view, ix);
        }
        let mark = Mark { healing: wish.healing, unpublished: wish.unpublished, ..Mark::default() };
        self.change(world, who, |view| {
            view.known.insert(ix, mark);
        });
        if !wish.unpublished {
            let reach = self.reach(world, who);
            world.wire.insert(ix, reach);
        }
        Some(ix)
    }

    /// What an honest device must not do.
    fn faults(&self, view: &View, ix: Ix) -> u8 {
        let symbol = self.register.get(ix);
        let others = symbol.leaves & !(1 << view.who);
        let honest = Reading::new(view, &self.register, None);
        let outside = others & !view.desired() != 0;
        let refused = |devices: Set| each(devices).any(|device| honest.refused(device));
        let reset = self.events.iter().any(|(event, _)| *event == Event::Reset);
        let faults = [
            (outside, Fault::Outside),
            (refused(symbol.made.added), Fault::Readded),
            (!reset && refused(others), Fault::Returned),
        ];
        faults.into_iter().filter(|(found, _)| *found).fold(0, |set, (_, fault)| set | fault as u8)
    }

    /// Joins by external commit what another device has as its canonical head.
    fn enter(&self, world: &mut World, who: u8, base: Ix) {
        let (external, added) = (true, 1 << who);
        let attempt = u8::try_from(world.wire.len()).unwrap();
        let ix =
            self.register.enter(Made { base: Some(base), creator: who, external, added, attempt, ..Made::default() });
        self.change(world, who, |view| {
            view.known.insert(ix, Mark { entry: true, ..Mark::default() });
        });
        let reach = self.reach(world, who);
        world.wire.insert(ix, reach);
    }

    /// A published epoch that somebody near builds on and `who` cannot take in.
    fn entry(&self, world: &World, who: u8) -> Option<Ix> {
        let known = self.known(world, who);
        let near = self.claimable(world, who);
        let mut others = each(near & !(1 << who)).filter_map(|other| {
            let theirs = self.known(world, other);
            theirs.canonical().filter(|_| theirs.is_desired())
        });
        let open = |ix: &Ix| {
            let published = world.wire.get(ix).is_some_and(|sides| sides & (1 << self.side(who)) != 0);
            published && !known.view.known.contains_key(ix)
        };
        others.find(|ix| open(ix))
    }

    /// Whether only an external commit brings `who` to where others are: it has a leaf there and cannot follow.
    pub(super) fn is_stuck(&self, world: &World, who: u8) -> bool {
        let entry = self.entry(world, who).map(|ix| self.register.get(ix));
        self.known(world, who).is_desired() && entry.is_some_and(|entry| entry.has(who))
    }

    /// Devices that do something by themselves, when everything has arrived.
    ///
    /// A device that cannot follow waits much longer than a slot: it comes back when nobody else has anything to do.
    pub(super) fn due(&self, world: &World) -> Set {
        let acts = |who: &u8| {
            let known = self.known(world, *who);
            known.is_desired() && known.is_due(self.claimable(world, *who))
        };
        let returns = |who: &u8| self.rejoin && self.is_stuck(world, *who);
        let set = |filter: &dyn Fn(&u8) -> bool| (0..self.devices).filter(filter).fold(0, |set, who| set | 1 << who);
        match set(&acts) {
            0 => set(&returns),
            acting => acting,
        }
    }

    fn stored(&self, world: &World, who: u8) -> Option<Ix> {
        let known = self.known(world, who);
        known.view.known.iter().find(|(_, mark)| mark.unpublished).map(|(ix, _)| *ix)
    }

    /// Delivers all facts and commits that can be taken in.
    fn settle(&self, world: &mut World) {
        for who in 0..self.devices {
            for user in 0..self.devices {
                let target = world.room[usize::from(user)][self.side(who)];
                let shown = |world: &World| self.known(world, who).view.facts[usize::from(user)].shown;
                while shown(world) < target {
                    self.change(world, who, |view| view.learn(user));
                }
            }
        }
        let mut moved = true;
        while moved {
            moved = false;
            for ix in world.wire.keys().copied().collect::<Vec<_>>() {
                for who in 0..self.devices {
                    if let Some(mark) = self.takes(world, who, ix) {
                        moved = true;
                        self.change(world, who, |view| {
                            view.known.insert(ix, mark);
                        });
                    }
                }
            }
        }
    }

    fn heal(&self, world: &mut World) {
        world.split = false;
        world.wire.values_mut().for_each(|sides| *sides = Set::MAX);
        for user in &mut world.room {
            *user = [user.iter().copied().max().unwrap_or(0); SIDES];
        }
    }

    /// What `who` may do as an ordinary or bad device.
    fn list_own(&self, world: &World, who: u8, out: &mut Vec<Action>) {
        let may = |event: Event| world.left[event as usize] > 0;
        let known = self.known(world, who);
        if self.stored(world, who).is_some() {
            out.extend([Action::Publish(who), Action::Abandon(who)]);
            return;
        }
        let Some(canonical) = known.canonical() else {
            let entry = may(Event::Enter) && known.is_desired() && self.entry(world, who).is_some();
            out.extend(entry.then_some(Action::Enter(who)));
            return;
        };
        if !known.is_desired() {
            out.extend(may(Event::Stray).then_some(Action::Stray(who)));
            return;
        }
        let due = known.is_due(self.claimable(world, who));
        out.extend((may(Event::Early) && due).then_some(Action::Due(who)));
        out.extend(may(Event::Update).then_some(Action::Update(who)));
        out.extend(may(Event::Crash).then_some(Action::Store(who)));
        if self.bad & (1 << who) != 0 {
            out.extend(may(Event::Twin).then_some(Action::Twin(who)));
            for victim in each(self.register.get(canonical).leaves & !self.bad) {
                out.extend(may(Event::Drop).then_some(Action::Drop(who, victim)));
                out.extend(may(Event::Lie).then_some(Action::Lie(who, victim)));
                out.extend(may(Event::Poison).then_some(Action::Poison(who, victim)));
            }
        }
    }

    fn list_room(&self, world: &World, out: &mut Vec<Action>) {
        let may = |event: Event| world.left[event as usize] > 0;
        if world.split {
            out.push(Action::Heal);
        } else if may(Event::Cut) {
            out.push(Action::Cut);
        }
        let sides: std::collections::BTreeSet<u8> = (0..self.devices).map(|who| self.sides[usize::from(who)]).collect();
        for user in 0..self.devices {
            let steps = world.room[usize::from(user)];
            let newest = steps.iter().copied().max().unwrap_or(0);
            if newest >= 4 {
                continue;
            }
            // While split, one side alone changes a membership: the room's history of it stays a line.
            let ahead = |side: &&u8| steps[usize::from(**side)] == newest;
            let leaves = sides.iter().filter(ahead).filter(|_| newest % 2 == 1 && may(Event::Leave));
            let leaves = leaves.take(if world.split { SIDES } else { 1 });
            out.extend(leaves.map(|side| Action::Leave(user, *side)));
            let home = steps[self.side(user)] == newest;
            out.extend((newest % 2 == 0 && home && may(Event::Join)).then_some(Action::Join(user)));
        }
    }

    fn list_arrivals(&self, world: &World, who: u8, out: &mut Vec<Action>) {
        let known = self.known(world, who);
        for user in 0..self.devices {
            let shown = known.view.facts[usize::from(user)].shown;
            out.extend((shown < world.room[usize::from(user)][self.side(who)]).then_some(Action::Fact(who, user)));
            let reset = world.left[Event::Reset as usize] > 0 && shown > 0 && shown.is_multiple_of(2) && user != who;
            out.extend(reset.then_some(Action::Reset(who, user)));
        }
        let commits = world.wire.keys().copied().filter(|ix| self.takes(world, who, *ix).is_some());
        out.extend(commits.map(|ix| Action::Deliver(who, ix)));
    }

    pub(super) fn list(&self, world: &World, out: &mut Vec<Action>) {
        if world.quiet {
            let due = self.due(world);
            let within = world.rounds <= self.rounds;
            let together = |set: &Set| set & !due == 0 && (!self.rejoin || set.is_power_of_two());
            out.extend((1..=due).filter(|set| within && together(set)).map(Action::Round));
            return;
        }
        for who in 0..self.devices {
            self.list_arrivals(world, who, out);
            self.list_own(world, who, out);
        }
        self.list_room(world, out);
        if (0..self.devices).all(|who| self.stored(world, who).is_none()) {
            out.push(Action::Quiet);
        }
    }

    pub(super) fn step(&self, before: &World, action: Action) -> World {
        let mut world = before.clone();
        match action {
            Action::Deliver(who, ix) => {
                let mark = self.takes(before, who, ix).unwrap_or_default();
                self.change(&mut world, who, |view| {
                    view.known.insert(ix, mark);
                });
            }
            Action::Fact(who, user) => self.change(&mut world, who, |view| view.learn(user)),
            Action::Reset(who, user) => {
                spend(&mut world, Event::Reset);
                self.change(&mut world, who, |view| view.facts[usize::from(user)].shown -= 1);
            }
            Action::Leave(user, side) => self.turn(&mut world, user, usize::from(side), Event::Leave),
            Action::Join(user) => self.turn(&mut world, user, self.side(user), Event::Join),
            Action::Cut => {
                spend(&mut world, Event::Cut);
                world.split = true;
            }
            Action::Heal => self.heal(&mut world),
            Action::Quiet => {
                self.heal(&mut world);
                world.quiet = true;
                world.left = [0; EVENTS];
                self.settle(&mut world);
            }
            Action::Round(set) => self.round(&mut world, set),
            _ => self.step_own(&mut world, action),
        }
        world
    }

    fn step_own(&self, world: &mut World, action: Action) {
        let bad = Wish { bad: true, ..Wish::default() };
        let (event, who, wish) = match action {
            Action::Due(who) => (Event::Early, who, Wish::default()),
            Action::Update(who) => (Event::Update, who, Wish { healing: true, ..Wish::default() }),
            Action::Store(who) => (Event::Crash, who, Wish { healing: true, unpublished: true, ..Wish::default() }),
            Action::Drop(who, victim) => (Event::Drop, who, Wish { drop: Some((victim, 0)), ..bad }),
            Action::Lie(who, victim) => (Event::Lie, who, Wish { drop: Some((victim, 6)), ..bad }),
            Action::Poison(who, victim) => (Event::Poison, who, Wish { poisons: 1 << victim, ..bad }),
            Action::Stray(who) => (Event::Stray, who, Wish { careless: true, ..bad }),
            Action::Twin(who) => return self.twin(world, who),
            Action::Publish(who) | Action::Abandon(who) => {
                return self.recover(world, who, matches!(action, Action::Publish(_)));
            }
            Action::Enter(who) => {
                spend(world, Event::Enter);
                return self.entry(world, who).map_or((), |base| self.enter(world, who, base));
            }
            _ => return,
        };
        spend(world, event);
        self.commit(world, who, wish);
    }

    /// Two commits on one base, neither resolving the other.
    fn twin(&self, world: &mut World, who: u8) {
        spend(world, Event::Twin);
        let wish = || Wish { bad: true, ..Wish::default() };
        let mut apart = world.clone();
        let Some(first) = self.commit(&mut apart, who, wish()) else { return };
        let twin = Made { attempt: 100, ..self.register.get(first).made.clone() };
        let second = self.register.enter(twin);
        let reach = self.reach(world, who);
        for ix in [first, second] {
            world.wire.insert(ix, reach);
            self.change(world, who, |view| {
                view.known.insert(ix, Mark::default());
            });
        }
    }

    /// After a restart the stored bytes go out, or the server refuses them for good.
    fn recover(&self, world: &mut World, who: u8, publish: bool) {
        let Some(ix) = self.stored(world, who) else { return };
        self.change(world, who, |view| {
            if let Some(mark) = view.known.get_mut(&ix) {
                mark.unpublished = false;
                mark.abandoned = !publish;
            }
        });
        if publish {
            let reach = self.reach(world, who);
            world.wire.insert(ix, reach);
        }
    }

    fn turn(&self, world: &mut World, user: u8, side: usize, event: Event) {
        spend(world, event);
        let steps = &mut world.room[usize::from(user)];
        let next = steps[side] + 1;
        if world.split { steps[side] = next } else { *steps = [next; SIDES] }
    }

    fn round(&self, world: &mut World, set: Set) {
        world.rounds += 1;
        let before = world.clone();
        for who in each(set) {
            let known = self.known(&before, who);
            if known.is_due(self.claimable(&before, who)) && known.is_desired() {
                self.commit(world, who, Wish::default());
            } else if let Some(base) = self.entry(&before, who) {
                self.enter(world, who, base);
            }
        }
        self.settle(world);
    }
}

fn spend(world: &mut World, event: Event) {
    world.left[event as usize] -= 1;
}
