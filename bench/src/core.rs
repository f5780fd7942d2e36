//! The core, through its public interface: `dmls::group::Group` over a journal in memory.
//!
//! A commit in all is what its maker does until it may go on: carry out, store, learn that it was published, store.
//! Facts about who may read are given beforehand and are not timed: they come from the host.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dmls::device::OwnDevice;
use dmls::effect::{Applied, GroupInfo, Outcome, OutgoingCommit, Publish, Verdict};
use dmls::group::{Group, Orders, Settings};
use dmls::id::{Device, EpochId, GroupId, Locator, Timestamp};
use dmls::input::{Desired, DesiredDevice, Input, Welcome};
use dmls::journal::{Durable, Journal, Records, Write};
use dmls::package::KeyPackages;
use dmls_store::{Key, MemoryStore, SqliteStore};

use crate::contestant::{Agreed, Contestant, Failure, Made};
use crate::meter::{at_most, timed};
use crate::module::own_device;
use crate::roster::{Number, Roster, names};
use crate::seeded::Seeded;
use crate::sheet::CORE;

const NOW: Timestamp = Timestamp(1);

/// In how many rounds forks must have come together.
const ROUNDS: usize = 40;

/// A room that the core keeps.
pub struct Core {
    members: BTreeMap<Number, Member>,
    published: BTreeMap<Number, (Device, Vec<u8>)>,
    desired: Desired,
    /// Those of the last commit.
    welcomes: BTreeMap<Device, Welcome>,
    /// That of the last commit.
    group_info: Option<GroupInfo>,
    /// How many events there were.
    events: u64,
}

struct Member {
    own: Arc<OwnDevice>,
    group: Group,
    packages: KeyPackages,
    store: MemoryStore,
    rng: Seeded,
    written: usize,
}

fn room() -> GroupId {
    GroupId::new("!room:server.example.org")
}

fn settings() -> Settings {
    // The limit is that of an event in Matrix; above 555 devices the commit that creates a room does not fit.
    Settings { commit_limit: usize::MAX, ..Settings::default() }
}

/// Bytes of keys and values.
fn size(writes: &[Write]) -> usize {
    let size = |write: &Write| match write {
        Write::Put { key, value, .. } => key.len() + value.len(),
        Write::Delete { key, .. } => key.len(),
    };
    writes.iter().map(size).sum()
}

impl Member {
    fn new(number: Number) -> Result<Self, Failure> {
        let mut rng = Seeded::of(number);
        let own = Arc::new(own_device(number, &mut rng)?);
        let group = Group::new(room(), own.clone(), settings());
        Ok(Self { own, group, packages: KeyPackages::default(), store: MemoryStore::new(), rng, written: 0 })
    }

    fn persist<T>(&mut self, durable: Durable<T>) -> Result<T, Failure> {
        self.written += size(durable.writes());
        Ok(durable.persist(&mut self.store)?)
    }

    fn input(&mut self, input: Input) -> Result<Verdict, Failure> {
        let durable = self.group.handle(input, NOW, &mut self.rng)?;
        Ok(self.persist(durable)?.verdict)
    }

    fn package(&mut self) -> Result<Vec<u8>, Failure> {
        let durable = self.packages.generate(&self.own, 1, false, &mut self.rng)?;
        Ok(self.persist(durable)?.pop().ok_or("no key package")?.bytes)
    }

    /// Commits all that is due, and learns where it was published.
    fn commit(&mut self, orders: Orders, locator: &Locator) -> Result<Box<OutgoingCommit>, Failure> {
        let durable = self.group.carry_out(orders, NOW, &mut self.rng)?;
        let Outcome { publish, .. } = self.persist(durable)?;
        let Some(Publish::Commit(commit)) = publish.into_iter().next() else { return Err("no commit".into()) };
        self.input(Input::Published { epoch: commit.epoch.id, locator: locator.clone() })?;
        Ok(commit)
    }

    fn is_due(&self) -> bool {
        let due = self.group.due(NOW);
        due.at.is_some() || due.update
    }
}

impl Core {
    fn member(&mut self, number: Number) -> Result<&mut Member, Failure> {
        self.members.get_mut(&number).ok_or_else(|| "no actor".into())
    }

    /// Bytes of all records of an actor, by table.
    pub(crate) fn records(&mut self, number: Number) -> Result<BTreeMap<&'static str, usize>, Failure> {
        let store = &self.member(number)?.store;
        let mut bytes = BTreeMap::new();
        for (table, key) in store.places() {
            *bytes.entry(table.0).or_default() += key.len() + store.get(table, key)?.map_or(0, |value| value.len());
        }
        Ok(bytes)
    }

    /// An actor's journal on disk is opened, and the group loaded: milliseconds, and bytes of heap at most.
    pub(crate) fn load_from_disk(&mut self, number: Number) -> Result<(f64, f64), Failure> {
        let (dir, key, member) = (tempfile::tempdir()?, Key::raw([1; 32]), self.member(number)?);
        let mut writes = Vec::new();
        for (table, place) in member.store.places() {
            let value = member.store.get(table, place)?.ok_or("a record has gone")?;
            writes.push(Write::Put { table, key: place.to_vec(), value });
        }
        SqliteStore::open(dir.path(), &key, Duration::ZERO)?.commit(&writes)?;
        let load = || -> Result<(SqliteStore, Group), Failure> {
            let store = SqliteStore::open(dir.path(), &key, Duration::ZERO)?;
            let group = Group::load(room(), member.own.clone(), settings(), &store)?;
            Ok((store, group))
        };
        let ((loaded, heap), spent) = timed(|| at_most(load));
        if loaded?.1.canonical() != member.group.canonical() {
            return Err("another group was loaded than was stored".into());
        }
        Ok((spent, heap))
    }

    /// How many epochs an actor holds, and how many it knows.
    pub(crate) fn epochs(&mut self, number: Number) -> Result<(usize, usize), Failure> {
        let epochs = self.member(number)?.group.epochs();
        Ok((epochs.iter().filter(|epoch| epoch.held).count(), epochs.len()))
    }

    /// Everybody is loaded from their records, and from now on holds at most so many epochs.
    pub(crate) fn restart(&mut self, max_held: usize) -> Result<(), Failure> {
        for member in self.members.values_mut() {
            let settings = Settings { max_held, ..settings() };
            member.group = Group::load(room(), member.own.clone(), settings, &member.store)?;
        }
        Ok(())
    }

    /// All but the two that measure are gone: nobody else need take in what follows.
    pub(crate) fn keep(&mut self, numbers: &BTreeSet<Number>) {
        self.members.retain(|number, _| numbers.contains(number));
    }

    fn make(&mut self, number: Number, orders: Orders) -> Result<Made, Failure> {
        self.events += 1;
        let locator = Locator(self.events.to_string());
        let commit = *self.member(number)?.commit(orders, &locator)?;
        let beside = commit.welcomes.first().map_or(0, |welcome| welcome.bytes.len());
        let OutgoingCommit { epoch, bytes, welcomes, group_info, .. } = commit;
        self.group_info = Some(group_info);
        let own = &self.members;
        let wanted = welcomes.into_iter().filter(|out| own.values().any(|member| member.own.device() == &out.to));
        let welcome = |out: dmls::effect::OutgoingWelcome| {
            let (base, grant, epoch) = (out.base, out.grant, epoch.id);
            let (commit, locator) = (bytes.clone(), locator.clone());
            (out.to, Welcome { bytes: out.bytes.to_vec(), commit, locator, epoch, base, grant })
        };
        self.welcomes = wanted.map(welcome).collect();
        Ok(Made { bytes, beside })
    }

    fn due_next(&self, committers: &[Number]) -> Option<Number> {
        let due = |number: &&Number| self.members.get(number).is_some_and(Member::is_due);
        committers.iter().find(due).copied()
    }

    fn head(&self, number: Number) -> Result<EpochId, Failure> {
        let group = &self.members.get(&number).ok_or("no actor")?.group;
        let canonical = group.canonical().ok_or("not in the group")?;
        match group.head_ids().as_slice() {
            [head] if *head == canonical => Ok(canonical),
            heads => Err(format!("device {number} has {} heads", heads.len()).into()),
        }
    }

    fn locator(&self) -> Locator {
        Locator(self.events.to_string())
    }

    fn deliver(&mut self, number: Number, bytes: &[u8], locator: Locator) -> Result<(), Failure> {
        let input = Input::Commit { bytes: bytes.to_vec(), locator: Some(locator), from: names(0).0 };
        match self.member(number)?.input(input)? {
            Verdict::Applied(Applied::Commit { .. }) => Ok(()),
            other => Err(format!("device {number} does not take a commit: {other:?}").into()),
        }
    }
}

impl Contestant for Core {
    const WHO: &'static str = CORE;

    /// The tree is in the Welcome, and hashed for each newcomer.
    fn batch(n: u32) -> u32 {
        if n > 2_000 { 500 } else { n }
    }

    fn prepare(roster: Roster) -> Result<Self, Failure> {
        let actors = roster.actors();
        let (mut members, mut published, mut desired) = (BTreeMap::new(), BTreeMap::new(), Desired::default());
        for number in 0..roster.n {
            let mut member = Member::new(number)?;
            let joined = Locator(format!("$join{number}"));
            desired.devices.insert(member.own.device().clone(), DesiredDevice { key: member.own.key(), joined });
            published.insert(number, (member.own.device().clone(), member.package()?));
            if actors.contains(&number) {
                members.insert(number, member);
            }
        }
        let mut core = Self {
            members,
            published,
            desired: desired.clone(),
            welcomes: BTreeMap::new(),
            group_info: None,
            events: 0,
        };
        for member in core.members.values_mut() {
            member.input(Input::Desired(desired.clone()))?;
        }
        Ok(core)
    }

    fn add(&mut self, numbers: Range<Number>) -> Result<Made, Failure> {
        let creator = self.member(0)?;
        if !creator.group.in_group() {
            let durable = creator.group.create(NOW, &mut creator.rng)?;
            creator.persist(durable)?;
        }
        let packages = numbers.filter_map(|number| self.published.remove(&number)).collect();
        self.make(0, Orders { packages, update: false })
    }

    fn join(&mut self, number: Number) -> Result<(), Failure> {
        let device = self.member(number)?.own.device().clone();
        let welcome = self.welcomes.remove(&device).ok_or("no Welcome")?;
        let member = self.member(number)?;
        let durable = member.group.join(welcome, &mut member.packages, NOW, &mut member.rng)?;
        match member.persist(durable)?.verdict {
            Verdict::Applied(Applied::Joined { .. }) => Ok(()),
            other => Err(format!("device {number} does not join: {other:?}").into()),
        }
    }

    fn rekey(&mut self, number: Number) -> Result<Made, Failure> {
        self.make(number, Orders { packages: Vec::new(), update: true })
    }

    fn tell_of_removal(&mut self, gone: Number) -> Result<(), Failure> {
        let (user, device) = names(gone);
        self.desired.devices.remove(&Device::new(user.clone(), device));
        self.members.remove(&gone);
        let (desired, event) = (self.desired.clone(), Locator(format!("$leave{gone}")));
        for member in self.members.values_mut() {
            member.input(Input::Departed { user: user.clone(), event: event.clone() })?;
            member.input(Input::Desired(desired.clone()))?;
        }
        Ok(())
    }

    /// Who is to go has gone from the facts: the commit that is due removes it.
    fn remove(&mut self, number: Number, _gone: Number) -> Result<Made, Failure> {
        self.make(number, Orders::default())
    }

    fn take(&mut self, number: Number, made: &Made) -> Result<(), Failure> {
        let locator = self.locator();
        self.deliver(number, &made.bytes, locator)
    }

    /// One merges all; those whose new keys were not on the way to it then say so, one by one.
    fn concur(
        &mut self,
        committers: &[Number],
        actors: &BTreeSet<Number>,
        observer: Number,
    ) -> Result<Agreed, Failure> {
        let mut agreed = Agreed { bytes: 0, receive: 0.0 };
        let mut sent = Vec::new();
        for number in committers {
            sent.push((*number, self.rekey(*number)?, self.locator()));
        }
        let mut at = 0;
        while let Some((from, made, locator)) = sent.get(at) {
            agreed.bytes += made.bytes.len();
            for other in actors.iter().filter(|other| *other != from) {
                let (taken, spent) = timed(|| self.deliver(*other, &made.bytes, locator.clone()));
                taken?;
                agreed.receive += if *other == observer { spent } else { 0.0 };
            }
            at += 1;
            let next = (at == sent.len()).then(|| self.due_next(committers)).flatten();
            if let Some(next) = next {
                if at > committers.len() + ROUNDS {
                    return Err("forks do not come together".into());
                }
                sent.push((next, self.make(next, Orders::default())?, self.locator()));
            }
        }
        Ok(agreed)
    }

    fn seal(&mut self, number: Number, text: &[u8]) -> Result<Vec<u8>, Failure> {
        let member = self.member(number)?;
        let durable = member.group.seal(&mut |_| text.to_vec(), NOW, &mut member.rng)?;
        Ok(member.persist(durable)?.bytes)
    }

    fn open(&mut self, number: Number, from: Number, message: &[u8]) -> Result<Vec<u8>, Failure> {
        self.events += 1;
        let (bytes, locator, from) = (message.to_vec(), Locator(format!("$m{}", self.events)), names(from).0);
        match self.member(number)?.input(Input::Message { bytes, locator, from, commit: None })? {
            Verdict::Applied(Applied::Message(opened)) => Ok(opened.plaintext.to_vec()),
            other => Err(format!("device {number} cannot read: {other:?}").into()),
        }
    }

    fn show(&mut self) -> Option<Vec<u8>> {
        self.group_info.as_ref().map(GroupInfo::bytes)
    }

    fn state(&mut self, number: Number) -> Result<Vec<u8>, Failure> {
        Ok(self.head(number)?.as_bytes().to_vec())
    }

    fn written(&self, number: Number) -> Option<usize> {
        self.members.get(&number).map(|member| member.written)
    }
}
