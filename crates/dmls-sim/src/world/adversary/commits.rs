//! Commits: forks, forged bookkeeping, members who should not be there.

use std::collections::VecDeque;
use std::sync::Arc;

use dmls::craft::{Commit, Message, State};
use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::effect::EpochRef;
use dmls::entropy::Entropy as _;
use dmls::id::{Device, EpochId, Height, Locator};
use dmls::package::KeyPackages;
use dmls_matrix::{RoomId, insider};
use dmls_store::MemoryStore;
use ed25519_dalek::Signer as _;

use super::super::{Fault, World};
use super::plotter::{Plotter, Post};
use crate::script::Ploy;
use crate::trace::Name;

/// Commits from which the best is picked.
const TRIES: u64 = 32;
/// Commits of a tree of forks.
const BOMB: usize = 12;
/// Epochs long past that commits are made on.
const PAST: usize = 6;

impl World {
    pub(super) fn plot_forks(&mut self, name: &Name, room: &RoomId, ploy: Ploy) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        match ploy {
            Ploy::Fork => {
                for _ in 0..2 {
                    self.commit_and_post(name, room, &Commit::on(&base))?;
                }
            }
            Ploy::Grind => {
                let tries: Vec<_> = (0..TRIES).filter_map(|_| self.make(name, &Commit::on(&base))).collect();
                if let Some(best) = tries.into_iter().min_by_key(|made| made.state.id()) {
                    self.put(name, room, Post::Commit(&best.commit))?;
                }
            }
            Ploy::Bomb => {
                let mut todo = VecDeque::from([base]);
                for _ in 0..BOMB / 3 {
                    let Some(parent) = todo.pop_front() else { break };
                    for _ in 0..3 {
                        todo.extend(self.commit_and_post(name, room, &Commit::on(&parent))?);
                    }
                }
            }
            Ploy::Withhold => self.withhold(name, base),
            Ploy::Reveal => {
                for commit in std::mem::take(&mut self.plotter(name).withheld) {
                    self.put(name, room, Post::Commit(&commit))?;
                }
            }
            _ => {
                let states = self.plotter(name).states();
                let past = states.len().saturating_sub(2 + below(self.plotter(name), 4));
                if let Some(old) = states.get(past) {
                    self.commit_and_post(name, room, &Commit::on(old))?;
                    if let Ok((bytes, _)) =
                        Message::of(old, b"from an old epoch").build(&mut self.plotter(name).chances)
                    {
                        self.put(name, room, Post::Content(insider::message_content(&bytes, old.reference())))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A private branch, on from what is withheld already.
    fn withhold(&mut self, name: &Name, mut base: State) {
        let newest = self.plotter(name).withheld.last().map(|commit| commit.epoch.id);
        if let Some(state) = newest.and_then(|id| self.plotter(name).kept.get(&id).cloned()) {
            base = state;
        }
        for _ in 0..3 + below(self.plotter(name), 4) {
            let Some(made) = self.make(name, &Commit::on(&base)) else { return };
            let plotter = self.plotter(name);
            plotter.withheld.push(made.commit);
            plotter.keep(made.state.clone());
            base = made.state;
        }
    }

    pub(super) fn plot_forged(&mut self, name: &Name, room: &RoomId, ploy: Ploy) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        let others = self.honest_in(&base);
        let some = self.some_of(name, &others);
        let commit = Commit::on(&base);
        match ploy {
            Ploy::Poison => drop(self.commit_and_post(name, room, &commit.poison(&some))?),
            Ploy::Point => {
                let leaf = some.first().and_then(|device| base.leaf_of(device)).unwrap_or(base.own_leaf());
                self.commit_and_post(name, room, &commit.clone().point(move |point| point.leaf = leaf))?;
                self.commit_and_post(name, room, &commit.point(|point| point.base = EpochId([7; 32])))?;
            }
            Ploy::Height => {
                self.commit_and_post(name, room, &commit.edit(|data| data.base.height.0 += 1_000))?;
            }
            Ploy::Grants => {
                let heads: Vec<_> = self.plotter(name).states().into_iter().rev().take(3).collect();
                let heads: Vec<&State> = heads.iter().filter(|head| head.id() != base.id()).collect();
                let commit = commit.resolves(&heads);
                self.commit_and_post(name, room, &commit.clone().misgranted(&some))?;
                self.commit_and_post(name, room, &commit.ungranted(&some))?;
            }
            _ => {
                let invented = self.invented(name);
                self.commit_and_post(name, room, &commit.edit(move |data| data.resolves.push(invented.clone())))?;
            }
        }
        Ok(())
    }

    /// Some of these, at least one.
    pub(super) fn some_of(&mut self, name: &Name, devices: &[Device]) -> Vec<Device> {
        let plotter = self.plotter(name);
        let mut some: Vec<_> = devices.iter().filter(|_| plotter.chances.chance(500)).cloned().collect();
        if some.is_empty() {
            some.extend(plotter.chances.pick(devices).cloned());
        }
        some
    }

    /// An epoch that there is not.
    pub(super) fn invented(&mut self, name: &Name) -> EpochRef {
        let plotter = self.plotter(name);
        let mut id = [0; 32];
        // This randomness never fails.
        let _ = plotter.chances.fill(&mut id);
        let creator = plotter.states().pop().map(|state| state.reference().creator.clone());
        let creator = creator.unwrap_or_else(|| Device::new("@nobody:hs1", "NOBODY"));
        EpochRef { id: EpochId(id), height: Height(3), creator, locator: Locator("$nowhere".to_owned()) }
    }

    pub(super) fn plot_members(&mut self, name: &Name, room: &RoomId, ploy: Ploy) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        match ploy {
            Ploy::Bury => {
                let lacks = |state: &&State| base.members().iter().any(|device| !state.members().contains(device));
                let states = self.plotter(name).states();
                let Some(old) = states.iter().rev().find(lacks).or_else(|| states.iter().rev().nth(1)) else {
                    return Ok(());
                };
                self.commit_and_post(name, room, &Commit::on(old).resolves(&[&base]))?;
            }
            Ploy::CutOff | Ploy::FalseCause => {
                let others = self.honest_in(&base);
                // Best somebody whose keys a thief has.
                let stolen = self.stolen.last().map(|(_, thief)| thief.device.clone());
                let stolen = stolen.filter(|device| others.contains(device));
                let Some(victim) = stolen.or_else(|| self.plotter(name).chances.pick(&others).cloned()) else {
                    return Ok(());
                };
                let cause = if ploy == Ploy::CutOff { "" } else { "$e00003" };
                self.commit_and_post(name, room, &Commit::on(&base).remove(&victim, Locator(cause.to_owned())))?;
            }
            _ => {
                let states = self.plotter(name).states();
                for state in states.iter().rev().take(PAST) {
                    let Some(package) = self.sybil(name) else { return Ok(()) };
                    let cause = Locator("$e00003".to_owned());
                    self.commit_and_post(name, room, &Commit::on(state).add(&package, cause))?;
                }
            }
        }
        Ok(())
    }

    /// A key package of a device that its owner never had.
    fn sybil(&mut self, name: &Name) -> Option<Vec<u8>> {
        let plotter = self.plotter(name);
        let matrix = SigningKey::generate(&mut plotter.chances).ok()?;
        let signing = SigningKey::generate(&mut plotter.chances).ok()?;
        let device = Device::new("@sybil:hs1", "SYBIL");
        let payload = Credential::payload(&device, &signing.public(), 1);
        let signature = ed25519_dalek::SigningKey::from_bytes(&matrix.to_bytes()).sign(&payload).to_bytes();
        let own = Arc::new(OwnDevice::new(signing, device, matrix.public().0, 1, signature).ok()?);
        let mut store = MemoryStore::new();
        let mut packages = KeyPackages::load(&store).ok()?;
        let made = packages.generate(&own, 1, false, &mut plotter.chances).ok()?.persist(&mut store).ok()?;
        made.into_iter().next().map(|package| package.bytes)
    }
}

pub(super) fn below(plotter: &mut Plotter, end: u64) -> usize {
    usize::try_from(plotter.chances.below(end)).unwrap_or_default()
}
