//! Commits: forks, forged bookkeeping, members who should not be there.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls::craft::{Commit, Message, State};
use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::effect::{EpochInfo, EpochRef};
use dmls::entropy::Entropy as _;
use dmls::id::{Device, EpochId, Locator};
use dmls::package::KeyPackages;
use dmls_matrix::{RoomId, insider};
use dmls_store::MemoryStore;
use ed25519_dalek::Signer as _;

use super::super::{Fault, World};
use super::plotter::{Plotter, Post};
use crate::client::MachineError;
use crate::entropy::Stream;
use crate::net::algorithm;
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
            Ploy::Grind => self.grind(name, room)?,
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
                for made in std::mem::take(&mut self.plotter(name).withheld) {
                    self.put(name, room, Post::Commit(&made))?;
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

    /// The machine makes a commit on its own copy again and again, and goes on from where the best was made.
    fn grind(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let mut best = None;
        for _ in 0..TRIES {
            let mut entropy = Stream::new(self.plotter(name).chances.below(u64::MAX), "grind");
            let now = self.now;
            let client = self.client(name)?;
            let (device, clock) = (client.device.clone(), client.clock(now));
            let mut tried = || -> Result<_, MachineError> {
                let mut machine = client.copy()?;
                machine.update_now(room, clock)?;
                machine.outgoing_requests(clock, &mut entropy)?;
                let unposted = |info: &EpochInfo| info.creator == device && info.epoch.locator.0.is_empty();
                let made = machine.log(room)?.iter().rev().find(|info| unposted(info)).map(|info| info.epoch.id);
                Ok((made, machine))
            };
            // Who is no longer in the room makes none.
            let Ok((Some(made), machine)) = tried() else { return Ok(()) };
            if best.as_ref().is_none_or(|(least, _, _)| made < *least) {
                best = Some((made, machine, entropy));
            }
        }
        let client = self.client(name)?;
        if let Some((_, machine, entropy)) = best {
            (client.machine, client.entropy) = (Some(machine), entropy);
            client.todo.clear();
        }
        self.stir(name);
        Ok(())
    }

    /// A private branch, on from what is withheld already.
    fn withhold(&mut self, name: &Name, mut base: State) {
        let newest = self.plotter(name).withheld.last().map(|made| made.state.id());
        if let Some(state) = newest.and_then(|id| self.plotter(name).kept.get(&id).cloned()) {
            base = state;
        }
        for _ in 0..3 + below(self.plotter(name), 4) {
            let Some(made) = self.make(name, &Commit::on(&base)) else { return };
            base = made.state.clone();
            let plotter = self.plotter(name);
            plotter.keep(base.clone());
            plotter.withheld.push(made);
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
        EpochRef { id: EpochId(id), locator: Locator("$nowhere".to_owned()) }
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

    /// A key package of a device that its owner never had. A server gives out others to whoever asks for them.
    fn sybil(&mut self, name: &Name) -> Option<Vec<u8>> {
        let suite = self.options.crypto.suite();
        let plotter = self.plotter(name);
        if plotter.sybil.is_none() {
            plotter.sybil = Some(Arc::new(invented_device(suite, &mut plotter.chances)?));
        }
        let own = plotter.sybil.clone()?;
        let mut store = MemoryStore::new();
        let mut packages = KeyPackages::load(&store).ok()?;
        let made = packages.generate(&own, 2, false, &mut plotter.chances).ok()?.persist(&mut store).ok()?;
        let [package, offered] = <[_; 2]>::try_from(made).ok()?;
        let id = format!("{}:{}", algorithm(), STANDARD_NO_PAD.encode(offered.reference));
        self.net.upload_keys(own.device(), &[(id, STANDARD_NO_PAD.encode(offered.bytes).into())], None);
        Some(package.bytes)
    }
}

/// Nobody vouches for it but itself.
fn invented_device(suite: &'static dyn dmls::suite::Suite, chances: &mut Stream) -> Option<OwnDevice> {
    let matrix = SigningKey::generate(chances).ok()?;
    let signing = SigningKey::generate_in(suite, chances).ok()?;
    let device = Device::new("@sybil:hs1", "SYBIL");
    let payload = Credential::payload(&device, &signing.public(), 1);
    let signature = ed25519_dalek::SigningKey::from_bytes(&matrix.to_bytes()).sign(&payload).to_bytes();
    OwnDevice::new(signing, device, matrix.public().0, 1, signature).ok()
}

pub(super) fn below(plotter: &mut Plotter, end: u64) -> usize {
    usize::try_from(plotter.chances.below(end)).unwrap_or_default()
}
