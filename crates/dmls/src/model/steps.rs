//! The steps of a history, and which of them may come next.

use std::collections::BTreeSet;

use super::acts::{Wish, spend};
use super::epochs::{Ix, Set, each};
use super::known::Known;
use super::view::Mark;
use super::world::{EVENTS, Event, SIDES, Setting, World};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Deliver(u8, Ix),
    Fact(u8, u8),
    Hear(u8, u8),
    Due(u8),
    Update(u8),
    Ask(u8),
    Lost(u8),
    Leave(u8, u8),
    Join(u8),
    Drop(u8, u8),
    Ghost(u8, u8),
    Twin(u8),
    Poison(u8, Set),
    Fake(u8, Ix),
    Old(u8, Ix),
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

impl Setting {
    pub(super) fn list(&self, world: &World, out: &mut Vec<Action>) {
        if world.quiet {
            let due = self.due(world);
            let within = world.rounds <= self.rounds;
            out.extend((1..=due).filter(|set| within && set & !due == 0).map(Action::Round));
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

    /// What `who` may do as an ordinary or bad device.
    fn list_own(&self, world: &World, who: u8, out: &mut Vec<Action>) {
        let may = |event: Event| world.left[event as usize] > 0;
        let known = self.known(world, who);
        if self.stored(world, who).is_some() {
            out.extend([Action::Publish(who), Action::Abandon(who)]);
            return;
        }
        if known.canonical().is_none() {
            let entry = may(Event::Enter) && self.entry(world, who).is_some();
            out.extend(entry.then_some(Action::Enter(who)));
            return;
        }
        if !known.is_desired() {
            out.extend(may(Event::Stray).then_some(Action::Stray(who)));
            return;
        }
        let due = known.is_due(self.claimable(world, who));
        out.extend((may(Event::Early) && due).then_some(Action::Due(who)));
        out.extend((may(Event::Lost) && known.judged.add != 0).then_some(Action::Lost(who)));
        out.extend(may(Event::Update).then_some(Action::Update(who)));
        out.extend(may(Event::Ask).then_some(Action::Ask(who)));
        out.extend(may(Event::Crash).then_some(Action::Store(who)));
        if self.bad & (1 << who) != 0 {
            self.list_bad(world, who, &known, out);
        }
    }

    fn list_bad(&self, world: &World, who: u8, known: &Known, out: &mut Vec<Action>) {
        let may = |event: Event| world.left[event as usize] > 0;
        let Some(canonical) = known.canonical() else { return };
        let members = self.register.get(canonical).members();
        out.extend(may(Event::Twin).then_some(Action::Twin(who)));
        for victim in each(members & !self.bad) {
            out.extend(may(Event::Drop).then_some(Action::Drop(who, victim)));
            out.extend(may(Event::Poison).then_some(Action::Poison(who, 1 << victim)));
        }
        for victim in each((members | known.view.desired()) & !self.bad) {
            out.extend(may(Event::Ghost).then_some(Action::Ghost(who, victim)));
        }
        out.extend(may(Event::Poison).then_some(Action::Poison(who, !(1 << who))));
        let below = self.register.ancestry(&[canonical]);
        if may(Event::Fake) {
            let elsewhere = world.wire.keys().filter(|ix| !below.contains(ix));
            out.extend(elsewhere.map(|ix| Action::Fake(who, *ix)));
        }
        if may(Event::Old) {
            let held = known.view.accepted().filter(|ix| *ix != canonical && known.view.holds(*ix, &self.register));
            out.extend(held.map(|ix| Action::Old(who, ix)));
        }
    }

    fn list_room(&self, world: &World, out: &mut Vec<Action>) {
        let may = |event: Event| world.left[event as usize] > 0;
        if world.split {
            out.push(Action::Heal);
        } else if may(Event::Cut) {
            out.push(Action::Cut);
        }
        let sides: BTreeSet<u8> = (0..self.devices).map(|who| self.sides[usize::from(who)]).collect();
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
            let heard = known.view.floors[usize::from(user)];
            out.extend((heard < self.ask_seen(world, who, user)).then_some(Action::Hear(who, user)));
        }
        let commits = world.wire.keys().copied().filter(|ix| self.takes(world, who, *ix).is_some());
        out.extend(commits.map(|ix| Action::Deliver(who, ix)));
    }

    pub(super) fn step(&self, before: &World, action: Action) -> World {
        let mut world = before.clone();
        match action {
            Action::Deliver(who, ix) => {
                let mark: Mark = self.takes(before, who, ix).unwrap_or_default();
                self.accept(&mut world, who, ix, mark);
            }
            Action::Fact(who, user) => self.change(&mut world, who, |view| view.learn(user)),
            Action::Hear(who, asker) => self.hear(&mut world, who, asker),
            Action::Reset(who, user) => {
                spend(&mut world, Event::Reset);
                self.change(&mut world, who, |view| view.facts[usize::from(user)].shown -= 1);
            }
            Action::Leave(user, side) => {
                spend(&mut world, Event::Leave);
                self.turn(&mut world, user, usize::from(side));
            }
            Action::Join(user) => {
                spend(&mut world, Event::Join);
                self.turn(&mut world, user, self.side(user));
            }
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
            Action::Lost(who) => (Event::Lost, who, Wish { lost: true, ..Wish::default() }),
            Action::Update(who) => (Event::Update, who, Wish { healing: true, ..Wish::default() }),
            Action::Store(who) => (Event::Crash, who, Wish { healing: true, unpublished: true, ..Wish::default() }),
            Action::Drop(who, victim) => (Event::Drop, who, Wish { drop: Some(victim), ..bad }),
            Action::Ghost(who, victim) => (Event::Ghost, who, Wish { ghost: Some(victim), ..bad }),
            Action::Poison(who, poisons) => (Event::Poison, who, Wish { poisons, ..bad }),
            Action::Fake(who, head) => (Event::Fake, who, Wish { fake: Some(head), ..bad }),
            Action::Old(who, base) => (Event::Old, who, Wish { base: Some(base), ..bad }),
            Action::Stray(who) => (Event::Stray, who, Wish { careless: true, ..bad }),
            Action::Twin(who) => {
                spend(world, Event::Twin);
                return self.twin(world, who);
            }
            Action::Ask(who) => {
                spend(world, Event::Ask);
                return self.ask(world, who);
            }
            Action::Enter(who) => {
                spend(world, Event::Enter);
                return self.entry(world, who).map_or((), |base| self.enter(world, who, base));
            }
            Action::Publish(who) | Action::Abandon(who) => {
                return self.recover(world, who, matches!(action, Action::Publish(_)));
            }
            _ => return,
        };
        spend(world, event);
        self.commit(world, who, wish);
    }
}
