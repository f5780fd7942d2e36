//! A small world for stories: devices with the real core and a store, two sides of a room that may be split.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::effect::{Applied, EpochRef, Need, Outcome, Publish, Readiness, Verdict};
use dmls::entropy::{Entropy, EntropyError};
use dmls::error::Reason;
use dmls::group::{Group, Orders, Settings};
use dmls::id::{Device, EpochId, GroupId, Locator, Timestamp};
use dmls::input::{BaseProof, Desired, DesiredDevice, Input, Welcome};
use dmls::package::KeyPackages;
use dmls_store::MemoryStore;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Deterministic randomness for tests.
pub struct Seeded(rand_chacha::ChaCha20Rng);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(rand_chacha::ChaCha20Rng::seed_from_u64(seed))
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

pub fn room() -> GroupId {
    GroupId::new("!room")
}

/// What lies in the room, as raw bytes: attacker and friend alike see just this.
#[derive(Clone)]
pub enum Event {
    Commit { bytes: Vec<u8>, epoch: EpochRef, group_info: Vec<u8> },
    Message { bytes: Vec<u8>, commit: Locator },
    Ask { bytes: Vec<u8> },
}

#[derive(Clone)]
struct Posted {
    locator: Locator,
    from: String,
    event: Event,
    /// Sides that see it.
    sides: BTreeSet<u8>,
}

pub struct Peer {
    pub own: Arc<OwnDevice>,
    pub group: Group,
    pub packages: KeyPackages,
    pub store: MemoryStore,
    pub rng: Seeded,
    pub side: u8,
    pub seen: BTreeSet<Locator>,
    /// Plaintexts by sender.
    pub read: Vec<(String, String)>,
    pub refused: Vec<(Locator, Reason)>,
    pub welcomes: Vec<Welcome>,
    pub notices: Vec<dmls::effect::Notice>,
}

/// The room, its servers and its devices.
pub struct World {
    /// Those of every group that begins or is read back from now on.
    pub settings: Settings,
    pub peers: BTreeMap<String, Peer>,
    events: Vec<Posted>,
    published: BTreeMap<Device, Vec<Vec<u8>>>,
    /// Joined users with their join event, for each side.
    joined: BTreeMap<u8, BTreeMap<String, Locator>>,
    left: BTreeMap<u8, Vec<(String, Locator)>>,
    pub split: bool,
    counter: u64,
    pub now: Timestamp,
    pub commits: usize,
    pub wire: Vec<Vec<u8>>,
}

impl World {
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            peers: BTreeMap::new(),
            events: Vec::new(),
            published: BTreeMap::new(),
            joined: [(1, BTreeMap::new()), (2, BTreeMap::new())].into(),
            left: [(1, Vec::new()), (2, Vec::new())].into(),
            split: false,
            counter: 0,
            now: Timestamp(1_000_000),
            commits: 0,
            wire: Vec::new(),
        }
    }

    /// Alice and Bob on side 1, Carol and Dan on side 2, all in one group.
    pub fn four(settings: Settings) -> Self {
        let mut world = Self { settings, ..Self::new() };
        for (name, side) in [("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2)] {
            world.device(name, side);
            world.join_room(name);
        }
        world.create("alice");
        world.sync("alice");
        for name in ["bob", "carol", "dan"] {
            world.sync(name);
            assert_eq!(world.canonical(name), world.canonical("alice"));
        }
        world
    }

    fn next(&mut self) -> Locator {
        self.counter += 1;
        Locator(format!("${}", self.counter))
    }

    fn sides(&self, side: u8) -> BTreeSet<u8> {
        if self.split { [side].into() } else { [1, 2].into() }
    }

    /// A device whose own Matrix key vouches for its MLS key.
    pub fn device(&mut self, name: &str, side: u8) {
        self.begin(name, side, Seeded::new(name.bytes().fold(1, |seed, byte| seed * 257 + u64::from(byte))));
    }

    /// Others find no other key package of this device than this one.
    pub fn publish_only(&mut self, name: &str, package: Vec<u8>) {
        self.published.insert(self.peers[name].own.device().clone(), vec![package]);
    }

    /// The same device with an empty store and new keys; everybody hears of it.
    pub fn log_in_anew(&mut self, name: &str) {
        self.begin(name, self.peers[name].side, Seeded::new(0));
        self.facts();
    }

    fn begin(&mut self, name: &str, side: u8, mut rng: Seeded) {
        let own = Arc::new(own_device(name, &mut rng));
        let mut packages = KeyPackages::default();
        let mut store = MemoryStore::new();
        let made = packages.generate(&own, 12, false, &mut rng).unwrap().persist(&mut store).unwrap();
        self.published.insert(own.device().clone(), made.into_iter().map(|package| package.bytes).collect());
        let group = Group::new(room(), own.clone(), self.settings.clone());
        let peer = Peer {
            own,
            group,
            packages,
            store,
            rng,
            side,
            seen: BTreeSet::new(),
            read: Vec::new(),
            refused: Vec::new(),
            welcomes: Vec::new(),
            notices: Vec::new(),
        };
        self.peers.insert(name.to_owned(), peer);
    }

    /// `name` becomes a joined member, as its own side sees it.
    pub fn join_room(&mut self, name: &str) {
        let event = self.next();
        for side in self.sides(self.peers[name].side) {
            self.joined.get_mut(&side).unwrap().insert(name.to_owned(), event.clone());
        }
        self.facts();
    }

    pub fn leave_room(&mut self, name: &str) {
        let event = self.next();
        for side in self.sides(self.peers[name].side) {
            self.joined.get_mut(&side).unwrap().remove(name);
            self.left.get_mut(&side).unwrap().push((name.to_owned(), event.clone()));
        }
        self.facts();
    }

    pub fn cut(&mut self) {
        self.split = true;
    }

    /// Both sides see everything again; membership is the union of joins less the leaves.
    pub fn heal(&mut self) {
        self.split = false;
        for posted in &mut self.events {
            posted.sides = [1, 2].into();
        }
        let mut left: Vec<_> = self.left.values().flatten().cloned().collect();
        left.sort();
        left.dedup();
        let mut joined: BTreeMap<_, _> = self.joined.values().flatten().map(|(n, e)| (n.clone(), e.clone())).collect();
        joined.retain(|name, event| !left.iter().any(|(gone, at)| gone == name && number(at) > number(event)));
        for side in [1, 2] {
            self.joined.insert(side, joined.clone());
            self.left.insert(side, left.clone());
        }
        self.facts();
    }

    /// Gives every device the facts of its side.
    pub fn facts(&mut self) {
        let names: Vec<_> = self.peers.keys().cloned().collect();
        for name in names {
            let side = self.peers[&name].side;
            for (user, event) in self.left[&side].clone() {
                self.input(&name, Input::Departed { user, event });
            }
            let desired = self.desired(&name);
            self.input(&name, Input::Desired(desired));
        }
    }

    /// D as the side of `name` shows it.
    pub fn desired(&self, name: &str) -> Desired {
        let devices = self.joined[&self.peers[name].side].iter().map(|(user, joined)| {
            let own = &self.peers[user].own;
            (own.device().clone(), DesiredDevice { key: own.key(), joined: joined.clone() })
        });
        Desired { devices: devices.collect() }
    }

    /// Joins by external commit from the newest GroupInfo in the room.
    pub fn join_externally(&mut self, name: &str) {
        let newest = self.visible(self.peers[name].side).into_iter().rev().find_map(|posted| match posted.event {
            Event::Commit { epoch, group_info, .. } => {
                Some((EpochRef { locator: posted.locator, ..epoch }, group_info))
            }
            Event::Message { .. } | Event::Ask { .. } => None,
        });
        let (target, group_info) = newest.expect("a commit is in the room");
        let now = self.now;
        let peer = self.peers.get_mut(name).unwrap();
        let durable = peer.group.join_externally(&group_info, target, now, &mut peer.rng).unwrap();
        let outcome = durable.persist(&mut peer.store).unwrap();
        self.act(name, outcome);
    }

    pub fn input(&mut self, name: &str, input: Input) -> Verdict {
        let now = self.now;
        let peer = self.peers.get_mut(name).unwrap();
        let durable = peer.group.handle(input, now, &mut peer.rng).unwrap();
        let outcome = durable.persist(&mut peer.store).unwrap();
        self.act(name, outcome)
    }

    /// Publishes what follows; returns the verdict.
    pub fn act(&mut self, name: &str, outcome: Outcome) -> Verdict {
        let peer = self.peers.get_mut(name).unwrap();
        peer.notices.extend(outcome.notices);
        for settled in outcome.settled {
            note(peer, settled.locator.unwrap_or_default(), &settled.verdict);
        }
        for publish in outcome.publish {
            self.publish(name, publish);
        }
        outcome.verdict
    }

    fn publish(&mut self, name: &str, publish: Publish) {
        let side = self.peers[name].side;
        match publish {
            Publish::Commit(commit) => {
                self.commits += 1;
                self.wire.push(commit.bytes.clone());
                let event = Event::Commit {
                    bytes: commit.bytes.clone(),
                    epoch: commit.epoch.clone(),
                    group_info: commit.group_info.bytes(),
                };
                let locator = self.post(name, side, event);
                self.input(name, Input::Published { epoch: commit.epoch.id, locator: locator.clone() });
                for out in commit.welcomes {
                    let welcome = Welcome {
                        bytes: out.bytes.to_vec(),
                        commit: commit.bytes.clone(),
                        locator: locator.clone(),
                        epoch: commit.epoch.id,
                        base: out.base,
                        grant: out.grant,
                    };
                    self.peers.get_mut(&out.to.user).unwrap().welcomes.push(welcome);
                }
            }
            Publish::Ask { bytes } => drop(self.post(name, side, Event::Ask { bytes })),
            Publish::MergeReply { to, epoch, value } => {
                let from = self.peers[name].own.device().clone();
                self.input(&to.user, Input::MergeReply { epoch, value, from });
            }
            Publish::CommitReply { to, commits } => {
                for (makes, bytes) in commits {
                    let locator = Some(makes.locator).filter(|locator| !locator.0.is_empty());
                    self.input(&to.user, Input::Commit { bytes, locator, from: name.to_owned() });
                }
            }
            _ => unreachable!("no other kind"),
        }
    }

    pub fn post(&mut self, from: &str, side: u8, event: Event) -> Locator {
        let locator = self.next();
        let sides = self.sides(side);
        self.events.push(Posted { locator: locator.clone(), from: from.to_owned(), event, sides });
        self.peers.get_mut(from).unwrap().seen.insert(locator.clone());
        locator
    }

    /// Takes in everything that the device's side shows, Welcomes first, until nothing is new.
    pub fn take_in(&mut self, name: &str) {
        let welcomes = std::mem::take(&mut self.peers.get_mut(name).unwrap().welcomes);
        let mut kept = Vec::new();
        for welcome in welcomes {
            let visible = self.visible(self.peers[name].side).iter().any(|posted| posted.locator == welcome.locator);
            if visible { self.welcome(name, welcome) } else { kept.push(welcome) }
        }
        self.peers.get_mut(name).unwrap().welcomes.extend(kept);
        for posted in self.visible(self.peers[name].side) {
            if self.peers.get_mut(name).unwrap().seen.insert(posted.locator.clone()) {
                self.deliver(name, &posted.locator, &posted.from, &posted.event);
            }
        }
    }

    fn visible(&self, side: u8) -> Vec<Posted> {
        self.events.iter().filter(|posted| posted.sides.contains(&side)).cloned().collect()
    }

    pub fn deliver(&mut self, name: &str, locator: &Locator, from: &str, event: &Event) -> Verdict {
        let (locator, from) = (locator.clone(), from.to_owned());
        let input = match event.clone() {
            Event::Commit { bytes, .. } => Input::Commit { bytes, locator: Some(locator.clone()), from },
            Event::Message { bytes, commit } => {
                Input::Message { bytes, locator: locator.clone(), from, commit: Some(commit) }
            }
            Event::Ask { bytes } => Input::Ask { bytes, from },
        };
        let verdict = self.input(name, input);
        note(self.peers.get_mut(name).unwrap(), locator, &verdict);
        verdict
    }

    pub fn welcome(&mut self, name: &str, welcome: Welcome) {
        let now = self.now;
        let peer = self.peers.get_mut(name).unwrap();
        let durable = peer.group.join(welcome, &mut peer.packages, now, &mut peer.rng).unwrap();
        let outcome = durable.persist(&mut peer.store).unwrap();
        let verdict = self.act(name, outcome);
        assert!(
            matches!(verdict, Verdict::Applied(Applied::Joined { .. }) | Verdict::Known),
            "{name} refuses its Welcome: {verdict:?}"
        );
    }

    /// Takes in what is there, then does what is due; like a client's `sync`.
    pub fn sync(&mut self, name: &str) {
        self.take_in(name);
        self.ask_for_merge_values(name);
        let due = self.peers[name].group.due(self.now);
        if due.at.is_some() {
            self.commit(name, false);
            self.take_in(name);
        }
    }

    /// Everybody near who may know a merge value is asked for it.
    fn ask_for_merge_values(&mut self, name: &str) {
        let (side, from) = (self.peers[name].side, self.peers[name].own.device().clone());
        for need in self.peers[name].group.needs(self.now) {
            let Need::MergeValue { epoch, ask, .. } = need else { continue };
            let near: Vec<_> =
                ask.into_iter().filter(|device| self.sides(side).contains(&self.peers[&device.user].side)).collect();
            for device in near {
                self.input(&device.user, Input::MergeRequest { epoch, from: from.clone() });
            }
        }
    }

    pub fn create(&mut self, name: &str) {
        let now = self.now;
        let peer = self.peers.get_mut(name).unwrap();
        let outcome = peer.group.create(now, &mut peer.rng).unwrap().persist(&mut peer.store).unwrap();
        self.act(name, outcome);
    }

    /// Asks the others to add this device anew.
    pub fn ask(&mut self, name: &str) {
        let now = self.now;
        let peer = self.peers.get_mut(name).unwrap();
        let durable = peer.group.ask(&mut peer.packages, now, &mut peer.rng).unwrap();
        let outcome = durable.persist(&mut peer.store).unwrap();
        self.act(name, outcome);
    }

    /// One commit with all that is due.
    pub fn commit(&mut self, name: &str, update: bool) {
        let due = self.peers[name].group.due(self.now);
        let packages = due.add.into_iter().filter_map(|device| self.claim(name, device)).collect();
        let now = self.now;
        let peer = self.peers.get_mut(name).unwrap();
        match peer.group.carry_out(Orders { packages, update }, now, &mut peer.rng) {
            Ok(durable) => {
                let outcome = durable.persist(&mut peer.store).unwrap();
                self.act(name, outcome);
            }
            Err(dmls::error::GroupError::NothingDue) => {}
            Err(error) => panic!("{name} cannot commit: {error}"),
        }
    }

    /// A key package of a device whose server can be reached.
    fn claim(&mut self, claimer: &str, device: Device) -> Option<(Device, Vec<u8>)> {
        if self.split && self.peers[&device.user].side != self.peers[claimer].side {
            return None;
        }
        let package = self.published.get_mut(&device)?.pop()?;
        Some((device, package))
    }

    /// Sends `text`: syncs, commits first where the gate says so, then seals and posts.
    pub fn send(&mut self, name: &str, text: &str) -> EpochId {
        self.sync(name);
        if let Readiness::CommitFirst(_) = self.peers[name].group.readiness() {
            self.commit(name, false);
        }
        self.say(name, text)
    }

    /// Seals and posts without syncing first.
    pub fn say(&mut self, name: &str, text: &str) -> EpochId {
        let now = self.now;
        let peer = self.peers.get_mut(name).unwrap();
        let mut compose = |_: &dmls::group::SealContext<'_>| text.as_bytes().to_vec();
        let durable = peer.group.seal(&mut compose, now, &mut peer.rng);
        let sealed = durable.unwrap_or_else(|error| panic!("{name}: {error}")).persist(&mut peer.store).unwrap();
        let side = peer.side;
        peer.read.push((name.to_owned(), text.to_owned()));
        assert!(peer.group.may_release(&sealed.epoch.id));
        self.wire.push(sealed.bytes.clone());
        self.post(name, side, Event::Message { bytes: sealed.bytes, commit: sealed.epoch.locator });
        sealed.epoch.id
    }

    /// Drops the group in memory and reads it back from the store.
    pub fn restart(&mut self, name: &str) {
        let peer = self.peers.get_mut(name).unwrap();
        peer.group = Group::load(room(), peer.own.clone(), self.settings.clone(), &peer.store).unwrap();
        peer.packages = KeyPackages::load(&peer.store).unwrap();
    }

    pub fn canonical(&self, name: &str) -> Option<EpochId> {
        self.peers[name].group.canonical()
    }

    pub fn texts(&self, name: &str) -> BTreeSet<String> {
        self.peers[name].read.iter().map(|(_, text)| text.clone()).collect()
    }

    pub fn events(&self) -> Vec<(Locator, Event)> {
        self.events.iter().map(|posted| (posted.locator.clone(), posted.event.clone())).collect()
    }

    /// Who posted what lies there.
    pub fn sender(&self, locator: &Locator) -> &str {
        &self.events.iter().find(|posted| posted.locator == *locator).unwrap().from
    }

    /// Memberships that ended, as the side of `name` shows it.
    pub fn departures(&self, name: &str) -> Vec<(String, Locator)> {
        self.left[&self.peers[name].side].clone()
    }

    pub fn tick(&mut self, millis: u64) {
        self.now = self.now.plus(millis);
    }
}

fn note(peer: &mut Peer, locator: Locator, verdict: &Verdict) {
    match verdict {
        Verdict::Applied(Applied::Message(opened)) => {
            let text = String::from_utf8(opened.plaintext.to_vec()).unwrap();
            peer.read.push((opened.device.user.clone(), text));
        }
        Verdict::Rejected { reason, .. } => peer.refused.push((locator, *reason)),
        _ => {}
    }
}

fn number(locator: &Locator) -> u64 {
    locator.0[1..].parse().unwrap()
}

/// A device as a host would make it: its Matrix key signs its MLS credential.
pub fn own_device(name: &str, rng: &mut Seeded) -> OwnDevice {
    let matrix = SigningKey::generate(rng).unwrap();
    let signing = SigningKey::generate(rng).unwrap();
    let device = Device::new(name, "D");
    let payload = Credential::payload(&device, &signing.public(), 0);
    let signature = ed25519_dalek::Signer::sign(&ed25519_dalek::SigningKey::from_bytes(&matrix.to_bytes()), &payload);
    OwnDevice::new(signing, device, matrix.public().0, 0, signature.to_bytes()).unwrap()
}

/// Public transcript values that fit nothing.
pub fn no_proof() -> BaseProof {
    BaseProof { confirmed_transcript_hash: vec![], confirmation_tag: vec![] }
}
