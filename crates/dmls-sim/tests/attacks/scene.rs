//! What most attacks begin with, and an attacker's own copy of a device.

use std::sync::Arc;

use dmls::device::{OwnDevice, SigningKey};
use dmls::effect::{Applied, EpochRef, Outcome, OutgoingCommit, Publish, SealedMessage, Settled, Verdict};
use dmls::error::GroupError;
use dmls::group::{Group, Orders, Settings};
use dmls::id::{Device, EpochId, Locator, Timestamp};
use dmls::input::{Desired, DesiredDevice, Input};
use dmls_store::MemoryStore;

use crate::core_world::{Event, Seeded, World, room};

/// `names` in one group that the first of them made, everybody on side 1.
pub fn group_of(names: &[&str]) -> World {
    group_on_sides(&names.iter().map(|name| (*name, 1)).collect::<Vec<_>>())
}

/// The same, with the side of each.
pub fn group_on_sides(names: &[(&str, u8)]) -> World {
    let mut world = World::new();
    for (name, side) in names {
        world.device(name, *side);
    }
    world.join_room(names[0].0);
    world.create(names[0].0);
    for (name, _) in &names[1..] {
        world.join_room(name);
    }
    let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
    settle(&mut world, &names);
    world
}

/// Everybody takes in what there is and does what is due, until nothing is left to do.
pub fn settle(world: &mut World, names: &[&str]) {
    for _ in 0..3 {
        names.iter().for_each(|name| world.sync(name));
    }
}

/// A rekey.
pub fn update() -> Orders {
    Orders { update: true, ..Orders::default() }
}

/// A commit as it comes from the room.
pub fn commit_from(user: &str, commit: &OutgoingCommit) -> Input {
    Input::Commit { bytes: commit.bytes.clone(), locator: Some(place_of(&commit.bytes)), from: user.to_owned() }
}

/// A message as it comes from the room.
pub fn message_from(user: &str, message: &SealedMessage) -> Input {
    let locator = place_of(&message.bytes);
    Input::Message { bytes: message.bytes.clone(), locator, from: user.to_owned(), commit: None }
}

/// An event id that differs from that of every other bytes.
fn place_of(bytes: &[u8]) -> Locator {
    use sha2::Digest;
    Locator(format!("${:x}", sha2::Sha256::digest(bytes)))
}

/// Puts an attacker's commit into the room.
pub fn post(world: &mut World, user: &str, commit: &OutgoingCommit) {
    let (bytes, group_info) = (commit.bytes.clone(), commit.group_info.bytes());
    world.post(user, 1, Event::Commit { bytes, epoch: commit.epoch.clone(), group_info });
}

/// Seals and posts without a commit first; whether the gate let it through.
pub fn blurt(world: &mut World, name: &str, text: &str) -> Result<EpochId, GroupError> {
    let (now, peer) = (world.now, world.peers.get_mut(name).unwrap());
    let sealed = peer.group.seal(&mut |_| text.as_bytes().to_vec(), now, &mut peer.rng)?;
    let SealedMessage { epoch, bytes, .. } = sealed.persist(&mut peer.store).unwrap();
    world.post(name, 1, Event::Message { bytes, commit: epoch.locator });
    Ok(epoch.id)
}

/// The devices that can read what `name` would send now.
pub fn readers(world: &World, name: &str) -> Vec<Device> {
    let group = &world.peers[name].group;
    let mut readers = group.canonical().and_then(|id| group.readers(&id)).unwrap_or_default();
    readers.sort();
    readers
}

/// Whether one of them is `user`'s.
pub fn can_read(world: &World, name: &str, user: &str) -> bool {
    readers(world, name).iter().any(|device| device.user == user)
}

/// The devices of `users`, as a host that wants it so would say it.
pub fn desired(world: &World, users: &[&str]) -> Desired {
    let known = world.desired(users[0]);
    let facts = |user: &&str| {
        let own = &world.peers[*user].own;
        let invented = DesiredDevice { key: own.key(), joined: Locator("$invented".into()) };
        (own.device().clone(), known.devices.get(own.device()).cloned().unwrap_or(invented))
    };
    Desired { devices: users.iter().map(facts).collect() }
}

/// A key package of `name` that the server has not given to anybody.
pub fn package_of(world: &mut World, name: &str) -> (Device, Vec<u8>) {
    let peer = world.peers.get_mut(name).unwrap();
    let made = peer.packages.generate(&peer.own, 1, false, &mut peer.rng).unwrap().persist(&mut peer.store).unwrap();
    (peer.own.device().clone(), made[0].bytes.clone())
}

/// The keys of `name` as the world makes them: the Matrix key, then the MLS key.
pub fn keys_of(name: &str) -> (SigningKey, SigningKey) {
    let mut rng = Seeded::new(name.bytes().fold(1, |seed, byte| seed * 257 + u64::from(byte)));
    (SigningKey::generate(&mut rng).unwrap(), SigningKey::generate(&mut rng).unwrap())
}

/// The MLS key of `name`, as the world made it, vouched for as another device's.
#[cfg(dmls_mutants)]
pub fn second_device(name: &str, device: &str) -> OwnDevice {
    let (matrix, signing) = keys_of(name);
    let device = Device::new(name, device);
    let payload = dmls::device::Credential::payload(&device, &signing.public(), 0);
    let signer = ed25519_dalek::SigningKey::from_bytes(&matrix.to_bytes());
    let signature = ed25519_dalek::Signer::sign(&signer, &payload).to_bytes();
    OwnDevice::new(signing, device, matrix.public().0, 0, signature).unwrap()
}

/// An attacker's copy of a device: the real core, told whatever the attacker likes, and silent unless asked.
pub struct Puppet {
    pub own: Arc<OwnDevice>,
    pub group: Group,
    pub store: MemoryStore,
    pub now: Timestamp,
    pub opened: Vec<String>,
    rng: Seeded,
}

impl Puppet {
    /// A copy of `name` as it is now.
    pub fn of(world: &World, name: &str, seed: u64) -> Self {
        let peer = &world.peers[name];
        Self::load(peer.own.clone(), peer.store.clone(), world.now, seed)
    }

    /// What a store holds, brought to life.
    pub fn load(own: Arc<OwnDevice>, store: MemoryStore, now: Timestamp, seed: u64) -> Self {
        let group = Group::load(room(), own.clone(), Settings::default(), &store).unwrap();
        // No two devices draw the same: they would make the same keys.
        let name: u64 =
            own.device().to_string().bytes().map(u64::from).fold(0, |sum, byte| sum * 31 % 1_000_003 + byte);
        Self { own, group, store, now, opened: Vec::new(), rng: Seeded::new(7_000 + seed + (name << 16)) }
    }

    /// Another copy.
    pub fn copy(&self, seed: u64) -> Self {
        Self::load(self.own.clone(), self.store.clone(), self.now, seed)
    }

    /// Dies and comes back with what is stored.
    pub fn restart(&mut self) {
        self.group = Group::load(room(), self.own.clone(), Settings::default(), &self.store).unwrap();
    }

    pub fn input(&mut self, input: Input) -> Verdict {
        let outcome = self.group.handle(input, self.now, &mut self.rng).unwrap().persist(&mut self.store).unwrap();
        self.note(outcome)
    }

    fn note(&mut self, outcome: Outcome) -> Verdict {
        let Outcome { verdict, settled, .. } = outcome;
        for verdict in settled.iter().map(|Settled { verdict, .. }| verdict).chain([&verdict]) {
            if let Verdict::Applied(Applied::Message(opened)) = verdict {
                self.opened.push(String::from_utf8(opened.plaintext.to_vec()).unwrap());
            }
        }
        verdict
    }

    /// A commit, shown to nobody yet.
    pub fn commit(&mut self, orders: Orders) -> OutgoingCommit {
        let made = self.group.carry_out(orders, self.now, &mut self.rng).unwrap().persist(&mut self.store).unwrap();
        let mut commits = made.publish.into_iter().filter_map(|publish| match publish {
            Publish::Commit(commit) => Some(*commit),
            _ => None,
        });
        commits.next().unwrap()
    }

    /// An external commit into `target`, if it can be made.
    pub fn enter(&mut self, group_info: &[u8], target: EpochRef) -> Option<OutgoingCommit> {
        let made = self.group.join_externally(group_info, target, self.now, &mut self.rng).ok()?;
        match made.persist(&mut self.store).unwrap().publish.pop() {
            Some(Publish::Commit(commit)) => Some(*commit),
            _ => None,
        }
    }

    /// A message, shown to nobody yet.
    pub fn say(&mut self, text: &str) -> SealedMessage {
        let sealed = self.group.seal(&mut |_| text.as_bytes().to_vec(), self.now, &mut self.rng).unwrap();
        sealed.persist(&mut self.store).unwrap()
    }

    /// Tries everything that lies in the room, whoever it may be from, again and again; all that it ever opened.
    pub fn read_room(&mut self, world: &World) -> &[String] {
        let senders: Vec<_> = world.peers.keys().cloned().collect();
        for _ in 0..2 {
            for (locator, event) in world.events() {
                for from in &senders {
                    let (locator, from) = (locator.clone(), from.clone());
                    self.input(match event.clone() {
                        Event::Commit { bytes, .. } => Input::Commit { bytes, locator: Some(locator), from },
                        Event::Message { bytes, commit } => {
                            Input::Message { bytes, locator, from, commit: Some(commit) }
                        }
                        Event::Ask { bytes } => Input::Ask { bytes, from },
                    });
                }
            }
        }
        &self.opened
    }

    /// Whether anything in the room opened that begins like this.
    pub fn learns(&mut self, world: &World, text: &str) -> bool {
        self.read_room(world).iter().any(|opened| opened.starts_with(text))
    }
}
