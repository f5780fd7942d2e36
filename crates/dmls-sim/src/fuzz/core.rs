//! The scene of the core's targets: a small group that forked, merged, grew and shrank, the same every time.

use std::sync::{Arc, OnceLock};

use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::effect::{EpochRef, Outcome, OutgoingCommit, Publish, Readiness};
use dmls::entropy::Entropy;
use dmls::error::GroupError;
use dmls::group::{Group, Orders, Settings};
use dmls::id::{Device, EpochId, GroupId, Locator, Timestamp};
use dmls::input::{Desired, DesiredDevice, Input, Welcome};
use dmls::journal::Durable;
use dmls::package::KeyPackages;
use dmls_store::MemoryStore;
use ed25519_dalek::Signer;

use crate::entropy::Stream;

type Fault = Box<dyn std::error::Error>;

/// When the scene ends, and targets begin.
pub(super) const NOW: Timestamp = Timestamp(1_000_000);

/// What targets begin from.
pub(super) struct Scene {
    /// A member that has seen nothing since it joined.
    pub(super) bob: Saved,
    /// A member that has seen everything, and may add Dave.
    pub(super) alice: Saved,
    /// Whom a Welcome adds.
    pub(super) dave: Saved,
    /// Whom nobody adds.
    pub(super) erin: Saved,
    /// What Bob missed, in the order in which it happened.
    pub(super) inputs: Vec<Input>,
    /// The bytes of all commits and messages.
    pub(super) wire: Vec<Vec<u8>>,
    /// Dave's Welcome, with what he must know of the room.
    pub(super) welcome: Welcome,
    /// D when Dave was added.
    pub(super) desired: Desired,
    /// A GroupInfo with its epoch.
    pub(super) group_info: (Vec<u8>, EpochRef),
    /// Key packages of Dave.
    pub(super) packages: Vec<Vec<u8>>,
}

/// A device, and what it stored.
pub(super) struct Saved {
    pub(super) own: Arc<OwnDevice>,
    pub(super) store: MemoryStore,
}

impl Saved {
    /// The group as it was stored.
    #[allow(clippy::expect_used, reason = "what the scene stored can be read, or the target has found something")]
    pub(super) fn load(&self) -> Live {
        let group = Group::load(room(), self.own.clone(), Settings::default(), &self.store).expect("a stored group");
        let packages = KeyPackages::load(&self.store).expect("stored key packages");
        let entropy = Stream::new(1, "fuzz");
        Live { own: self.own.clone(), group, packages, store: self.store.clone(), entropy }
    }
}

/// A device at work.
pub(super) struct Live {
    own: Arc<OwnDevice>,
    pub(super) group: Group,
    pub(super) packages: KeyPackages,
    pub(super) store: MemoryStore,
    pub(super) entropy: Stream,
}

/// The scene; played once in a process.
#[allow(clippy::expect_used, reason = "the scene is the same every time, and the corpus test plays it")]
pub(super) fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| play().expect("the scene of the core can be played"))
}

pub(super) fn room() -> GroupId {
    GroupId::new("!fuzz:hs1.test")
}

impl Live {
    fn new(name: &str) -> Result<Self, Fault> {
        let mut entropy = Stream::new(0, name);
        let own = Arc::new(own_device(name, &mut entropy)?);
        let group = Group::new(room(), own.clone(), Settings::default());
        Ok(Self { own, group, packages: KeyPackages::default(), store: MemoryStore::new(), entropy })
    }

    fn save(&self) -> Saved {
        Saved { own: self.own.clone(), store: self.store.clone() }
    }

    fn package(&mut self) -> Result<Vec<u8>, Fault> {
        let made = self.packages.generate(&self.own, 1, false, &mut self.entropy)?.persist(&mut self.store)?;
        Ok(made.into_iter().next().ok_or("no key package")?.bytes)
    }

    /// Does one thing and stores it.
    pub(super) fn call(
        &mut self,
        call: impl FnOnce(&mut Group, &mut KeyPackages, &mut Stream) -> Result<Durable<Outcome>, GroupError>,
    ) -> Result<Outcome, Fault> {
        Ok(call(&mut self.group, &mut self.packages, &mut self.entropy)?.persist(&mut self.store)?)
    }

    pub(super) fn handle(&mut self, input: Input) -> Result<Outcome, Fault> {
        self.call(|group, _, entropy| group.handle(input, NOW, entropy))
    }

    /// Drops the group in memory and reads it back.
    pub(super) fn restart(&mut self) {
        *self = Saved { own: self.own.clone(), store: std::mem::take(&mut self.store) }.load();
    }

    /// What is due, with these key packages.
    fn commit(&mut self, packages: Vec<(Device, Vec<u8>)>) -> Result<OutgoingCommit, Fault> {
        self.carry_out(Orders { packages, update: false })
    }

    fn rekey(&mut self) -> Result<OutgoingCommit, Fault> {
        self.carry_out(Orders { packages: Vec::new(), update: true })
    }

    fn carry_out(&mut self, orders: Orders) -> Result<OutgoingCommit, Fault> {
        let outcome = self.call(|group, _, entropy| group.carry_out(orders, NOW, entropy))?;
        commit_of(outcome)
    }
}

fn commit_of(outcome: Outcome) -> Result<OutgoingCommit, Fault> {
    let mut commits = outcome.publish.into_iter().filter_map(|publish| match publish {
        Publish::Commit(commit) => Some(*commit),
        _ => None,
    });
    commits.next_back().ok_or_else(|| "no commit".into())
}

/// What the room shows, by and by.
#[derive(Default)]
struct Room {
    inputs: Vec<Input>,
    wire: Vec<Vec<u8>>,
    count: usize,
}

impl Room {
    fn next(&mut self) -> Locator {
        self.count += 1;
        Locator(format!("${}", self.count))
    }

    /// A commit is published; its maker hears of it.
    fn commit(&mut self, maker: &mut Live, commit: &OutgoingCommit) -> Result<Locator, Fault> {
        let locator = self.next();
        maker.handle(Input::Published { epoch: commit.epoch.id, locator: locator.clone() })?;
        let from = maker.own.device().user.clone();
        self.wire.push(commit.bytes.clone());
        self.inputs.push(Input::Commit { bytes: commit.bytes.clone(), locator: Some(locator.clone()), from });
        Ok(locator)
    }

    /// A message is sealed and published, after what must come first.
    fn message(&mut self, sender: &mut Live, text: &str) -> Result<(), Fault> {
        if let Readiness::CommitFirst(_) = sender.group.readiness() {
            let first = sender.commit(Vec::new())?;
            self.commit(sender, &first)?;
        }
        let mut compose = |_: &dmls::group::SealContext<'_>| text.as_bytes().to_vec();
        let sealed = sender.group.seal(&mut compose, NOW, &mut sender.entropy)?.persist(&mut sender.store)?;
        let (locator, from) = (self.next(), sender.own.device().user.clone());
        self.wire.push(sealed.bytes.clone());
        self.inputs.push(Input::Message { bytes: sealed.bytes, locator, from, commit: Some(sealed.epoch.locator) });
        Ok(())
    }

    /// Everything so far, for somebody who was there.
    fn show(&self, to: &mut Live) -> Result<(), Fault> {
        self.inputs.iter().try_for_each(|input| to.handle(input.clone()).map(drop))
    }
}

fn desired(devices: &[&Live]) -> Desired {
    let facts = |live: &&Live| {
        let joined = Locator(format!("$join-{}", live.own.device().user));
        (live.own.device().clone(), DesiredDevice { key: live.own.key(), joined })
    };
    devices.iter().map(facts).collect()
}

fn welcome_to(device: &Device, commit: &OutgoingCommit, locator: Locator) -> Result<Welcome, Fault> {
    let out = commit.welcomes.iter().find(|welcome| welcome.to == *device).ok_or("no Welcome")?.clone();
    let OutgoingCommit { epoch, bytes, .. } = commit;
    Ok(Welcome {
        bytes: out.bytes.to_vec(),
        commit: bytes.clone(),
        locator,
        epoch: epoch.id,
        base: out.base,
        grant: out.grant,
    })
}

fn join(who: &mut Live, welcome: Welcome) -> Result<(), Fault> {
    who.call(|group, packages, entropy| group.join(welcome, packages, NOW, entropy)).map(drop)
}

fn play() -> Result<Scene, Fault> {
    let (mut alice, mut bob, mut carol) = (Live::new("alice")?, Live::new("bob")?, Live::new("carol")?);
    let (mut dave, erin) = (Live::new("dave")?, Live::new("erin")?);
    let mut room = Room::default();

    // Three are in.
    alice.call(|group, _, entropy| group.create(NOW, entropy))?;
    let three = desired(&[&alice, &bob, &carol]);
    for live in [&mut alice, &mut bob, &mut carol] {
        live.handle(Input::Desired(three.clone()))?;
    }
    let packages = vec![(bob.own.device().clone(), bob.package()?), (carol.own.device().clone(), carol.package()?)];
    let first = alice.commit(packages)?;
    let locator = Room::default().commit(&mut alice, &first)?;
    for live in [&mut bob, &mut carol] {
        let welcome = welcome_to(live.own.device(), &first, locator.clone())?;
        join(live, welcome)?;
    }
    let bob_then = bob.save();

    // Two commit at once, and speak on their forks.
    room.count = 10;
    room.message(&mut alice, "before")?;
    let (by_alice, by_carol) = (alice.rekey()?, carol.rekey()?);
    room.commit(&mut alice, &by_alice)?;
    room.commit(&mut carol, &by_carol)?;
    room.message(&mut alice, "here")?;
    room.message(&mut carol, "there")?;
    room.show(&mut alice)?;
    room.show(&mut carol)?;

    // Both merge; one more comes, one goes, and somebody asks how to follow.
    let merges = [alice.rekey()?, carol.rekey()?];
    room.commit(&mut alice, &merges[0])?;
    room.commit(&mut carol, &merges[1])?;
    room.show(&mut alice)?;
    room.show(&mut carol)?;
    room.message(&mut carol, "together")?;
    let four = desired(&[&alice, &bob, &carol, &dave]);
    let packages = vec![dave.package()?, dave.package()?];
    let dave_then = dave.save();
    room.inputs.push(Input::Desired(four.clone()));
    alice.handle(Input::Desired(four.clone()))?;
    let alice_then = alice.save();
    let adding = alice.commit(vec![(dave.own.device().clone(), packages[0].clone())])?;
    let locator = room.commit(&mut alice, &adding)?;
    let welcome = welcome_to(dave.own.device(), &adding, locator)?;
    room.message(&mut alice, "welcome")?;
    let gone = Input::Departed { user: carol.own.device().user.clone(), event: Locator("$gone".to_owned()) };
    let three = desired(&[&alice, &bob, &dave]);
    for input in [gone, Input::Desired(three)] {
        room.inputs.push(input.clone());
        alice.handle(input)?;
    }
    let removing = alice.commit(Vec::new())?;
    let locator = room.commit(&mut alice, &removing)?;
    room.message(&mut alice, "alone")?;
    let from = bob.own.device().clone();
    let asked = merges.iter().map(|merge| merge.epoch.id).collect::<Vec<EpochId>>();
    for epoch in asked {
        let answered = alice.handle(Input::MergeRequest { epoch, from: from.clone() })?;
        let replies = answered.publish.into_iter().filter_map(|publish| match publish {
            Publish::MergeReply { value, epoch, .. } => Some((epoch, value)),
            _ => None,
        });
        let from = alice.own.device().clone();
        room.inputs.extend(replies.map(|(epoch, value)| Input::MergeReply { epoch, value, from: from.clone() }));
    }
    room.inputs.push(Input::CommitRequest { epochs: vec![by_alice.epoch.id, removing.epoch.id], from });
    room.inputs.push(Input::Tick);

    let target = EpochRef { locator, ..removing.epoch.clone() };
    Ok(Scene {
        bob: bob_then,
        alice: alice_then,
        dave: dave_then,
        erin: erin.save(),
        inputs: room.inputs,
        wire: room.wire,
        welcome,
        desired: four,
        group_info: (removing.group_info.bytes(), target),
        packages,
    })
}

/// A device as a host would make it: its Matrix key signs its MLS credential.
pub(super) fn own_device(name: &str, entropy: &mut Stream) -> Result<OwnDevice, Fault> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed)?;
    let matrix = ed25519_dalek::SigningKey::from_bytes(&seed);
    let signing = SigningKey::generate(entropy)?;
    let device = Device::new(format!("@{name}:hs1.test"), name.to_uppercase());
    let signature = matrix.sign(&Credential::payload(&device, &signing.public(), 0));
    Ok(OwnDevice::new(signing, device, matrix.verifying_key().to_bytes(), 0, signature.to_bytes())?)
}
