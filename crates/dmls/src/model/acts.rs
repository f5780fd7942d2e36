//! What the devices of a room do, honest and bad ones.

use std::sync::atomic::Ordering;

use super::epochs::{Ix, Made, OLD, Set, each};
use super::view::{Mark, View};
use super::world::{Event, Fault, Packages, SIDES, Setting, World};

/// A commit that is about to be made.
#[derive(Default)]
pub(super) struct Wish {
    pub(super) healing: bool,
    pub(super) drop: Option<u8>,
    pub(super) ghost: Option<u8>,
    /// Its Welcomes are lost.
    pub(super) lost: bool,
    pub(super) poisons: Set,
    /// Named as merged in any case, with a merge value that is made up.
    pub(super) fake: Option<Ix>,
    /// Not on the head that is to be built on.
    pub(super) base: Option<Ix>,
    /// Does nothing that is due.
    pub(super) careless: bool,
    pub(super) unpublished: bool,
    /// Made by a device that does not keep to the rules.
    pub(super) bad: bool,
}

impl Setting {
    /// Commits as the plan says, bent as wished; `None` where the device has nothing to build on.
    pub(super) fn commit(&self, world: &mut World, who: u8, wish: Wish) -> Option<Ix> {
        let made = self.plan(world, who, &wish)?;
        let ix = self.register.enter(made);
        if !wish.bad {
            world.faults |= self.faults(&self.known(world, who).view, ix);
        }
        let mark = Mark { healing: wish.healing, unpublished: wish.unpublished, ..Mark::default() };
        self.accept(world, who, ix, mark);
        if !wish.unpublished {
            self.publish(world, who, ix);
        }
        Some(ix)
    }

    fn plan(&self, world: &mut World, who: u8, wish: &Wish) -> Option<Made> {
        let known = self.known(world, who);
        let judged = &known.judged;
        let base = wish.base.or(known.canonical())?;
        let mut made = Made { base: Some(base), creator: who, poisons: wish.poisons, ..Made::default() };
        if wish.base.is_some() {
            let below = self.register.ancestry(&[base]);
            made.resolves = judged.eligible.iter().copied().filter(|head| !below.contains(head)).collect();
        } else if !wish.careless {
            made.resolves = judged.resolve.clone();
            made.removed = judged.remove;
            made.added = self.packages(world, &known.view, judged.add);
        }
        if let Some(fake) = wish.fake {
            made.invented = true;
            made.resolves.retain(|head| *head != fake);
            made.resolves.push(fake);
        }
        made.resolves.sort_by_key(|head| self.register.get(*head).id);
        if let Some(victim) = wish.drop.or(wish.ghost) {
            made.removed |= self.register.get(base).members() & (1 << victim);
            made.added.retain(|(added, _)| *added != victim);
        }
        if let Some(victim) = wish.ghost {
            let package = self.claim(world, victim);
            made.added.push((victim, package));
            made.added.sort_unstable();
            made.ghosts = 1 << victim;
        }
        if wish.lost {
            made.ghosts = made.added.iter().fold(0, |set, (added, _)| set | 1 << added);
        }
        made.serial = self.next_serial(world, who);
        Some(made)
    }

    /// A package for each of these devices that has one: that of its ask, or what its server gives out.
    fn packages(&self, world: &mut World, view: &View, devices: Set) -> Vec<(u8, u8)> {
        let near = self.claimable(world, view.who);
        let package = |device: u8| match view.floors[usize::from(device)] {
            0 if near & (1 << device) == 0 => None,
            0 => Some((device, self.claim(world, device))),
            floor => Some((device, floor)),
        };
        each(devices).filter_map(package).collect()
    }

    fn claim(&self, world: &mut World, device: u8) -> u8 {
        if self.packages == Packages::Old { OLD } else { self.next_serial(world, device) }
    }

    fn next_serial(&self, world: &mut World, device: u8) -> u8 {
        let serial = &mut world.serials[usize::from(device)];
        *serial += 1;
        *serial
    }

    /// What an honest device must not do.
    fn faults(&self, view: &View, ix: Ix) -> u8 {
        let symbol = self.register.get(ix);
        let outside = symbol.members() & !(1 << view.who) & !view.desired() != 0;
        let refused = symbol.made.added.iter().any(|(device, _)| view.is_over(*device));
        let faults = [(outside, Fault::Outside), (refused, Fault::Readded)];
        faults.into_iter().filter(|(found, _)| *found).fold(0, |set, (_, fault)| set | fault as u8)
    }

    /// Joins by external commit what another device has as its canonical head.
    pub(super) fn enter(&self, world: &mut World, who: u8, base: Ix) {
        if self.known(world, who).canonical().is_some() {
            world.faults |= Fault::Returned as u8;
        }
        let serial = self.next_serial(world, who);
        let made = Made { base: Some(base), creator: who, serial, external: true, ..Made::default() };
        let ix = self.register.enter(made);
        self.accept(world, who, ix, Mark { entry: true, ..Mark::default() });
        self.publish(world, who, ix);
    }

    /// Asks to be added anew: the serial of a fresh key package is the floor of this device's leaves.
    pub(super) fn ask(&self, world: &mut World, who: u8) {
        let serial = self.next_serial(world, who);
        let reach = self.reach(world, who);
        world.asked[usize::from(who)] |= 1 << serial;
        (0..SIDES).filter(|side| reach & (1 << side) != 0).for_each(|side| world.asks[usize::from(who)][side] = serial);
        self.hear(world, who, who);
    }

    /// Two commits on one base, neither resolving the other.
    pub(super) fn twin(&self, world: &mut World, who: u8) {
        let wish = || Wish { bad: true, ..Wish::default() };
        let Some(first) = self.commit(world, who, wish()) else { return };
        let second = self.register.enter(Made { twin: true, ..self.register.get(first).made.clone() });
        self.accept(world, who, second, Mark::default());
        self.publish(world, who, second);
    }

    /// After a restart the stored bytes go out, or the server refuses them for good.
    pub(super) fn recover(&self, world: &mut World, who: u8, publish: bool) {
        let Some(ix) = self.stored(world, who) else { return };
        self.change(world, who, |view| {
            if let Some(mark) = view.known.get_mut(&ix) {
                mark.unpublished = false;
                mark.abandoned = !publish;
            }
        });
        if publish {
            self.publish(world, who, ix);
        }
    }

    pub(super) fn turn(&self, world: &mut World, user: u8, side: usize) {
        let steps = &mut world.room[usize::from(user)];
        let next = steps[side] + 1;
        if world.split { steps[side] = next } else { *steps = [next; SIDES] }
    }

    pub(super) fn round(&self, world: &mut World, set: Set) {
        world.rounds += 1;
        self.most_rounds.fetch_max(world.rounds, Ordering::Relaxed);
        let before = world.clone();
        for who in each(set) {
            let known = self.known(&before, who);
            if known.is_due(self.claimable(&before, who)) && known.is_desired() {
                self.commit(world, who, Wish::default());
            } else if let Some(base) = self.entry(&before, who) {
                self.enter(world, who, base);
            } else {
                self.ask(world, who);
            }
        }
        self.settle(world);
    }
}

pub(super) fn spend(world: &mut World, event: Event) {
    world.left[event as usize] -= 1;
}
