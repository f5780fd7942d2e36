//! What the indices and bounded walks say, held against what a search through all epochs says.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Dag, Epoch, Past};
use crate::base::{collapse, eligible};
use crate::contrast::Contrast;
use crate::effect::{EpochKind, EpochRef};
use crate::id::{Device, EpochId, EpochNumber, LeafIndex, Locator, SignatureKey, Timestamp};
use crate::input::{BaseProof, Desired, DesiredDevice};
use crate::members::{Leaf, Members};
use crate::plan::Plan;

/// Whose the devices are.
const USERS: [&str; 7] = ["u0", "u1", "u1", "u2", "u3", "u3", "u3"];
const DEVICES: u32 = USERS.len() as u32;

fn leaf(number: u32, key: u8, serial: u32, of_package: bool) -> Leaf {
    let (index, serial) = (LeafIndex(number), serial.into());
    Leaf { index, device: device(number), key: SignatureKey([key + 10 * number as u8; 32]), serial, of_package }
}

fn device(number: u32) -> Device {
    Device::new(USERS[number as usize], format!("D{number}"))
}

struct Chances(ChaCha8Rng);

impl Chances {
    fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end.max(1)
    }

    fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    fn some(&mut self, of: &[EpochId]) -> Vec<EpochId> {
        of.iter().filter(|_| self.one_in(2)).copied().collect()
    }
}

/// Epochs that come in one after the other, some long after others have named them.
struct Story {
    chances: Chances,
    dag: Dag,
    /// Made, and not yet taken in.
    hidden: Vec<Epoch>,
    made: u32,
    /// Who asked last, and from which serial on its leaves live.
    raised: Option<(Device, SignatureKey, u64)>,
}

fn is_in(epoch: &Epoch, number: u32) -> bool {
    epoch.members.leaf_of(&device(number)).is_some()
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut story = Self {
            chances: Chances(ChaCha8Rng::seed_from_u64(seed)),
            dag: Dag::default(),
            hidden: Vec::new(),
            made: 0,
            raised: None,
        };
        let genesis = story.epoch(None, Vec::new());
        story.dag.insert(genesis);
        story
    }

    fn epoch(&mut self, base: Option<&Epoch>, resolves: Vec<EpochRef>) -> Epoch {
        self.made += 1;
        let there: Vec<u32> = (0..DEVICES).filter(|number| base.is_none_or(|base| is_in(base, *number))).collect();
        let kind = match (base, resolves.is_empty()) {
            (None, _) => EpochKind::Genesis,
            (Some(_), _) if there.is_empty() => EpochKind::External,
            (Some(_), true) if self.chances.one_in(6) => EpochKind::External,
            (Some(_), true) => EpochKind::Commit,
            (Some(_), false) => EpochKind::Merge,
        };
        let all = (0..DEVICES).map(|number| leaf(number, 1, 1, false)).collect();
        let before: Members = base.map_or(all, |base| base.members.clone());
        let creator = match kind {
            EpochKind::External => self.chances.below(DEVICES),
            _ => there[self.chances.below(there.len() as u32) as usize],
        };
        let (members, added, removed) = self.changed(&before, creator);
        let mut id = [self.made as u8; 32];
        id[0] = self.chances.below(256) as u8;
        let own = creator == 0;
        let own_leaf = members.leaf_of(&device(0)).map(|leaf| leaf.index);
        let welcomed = !own && added.contains(&device(0));
        let is_published = !own || base.is_none() || self.chances.one_in(2);
        Epoch {
            id: EpochId(id),
            number: base.map_or(EpochNumber(0), |base| base.number.next()),
            creator: device(creator),
            kind,
            base: base.map(Epoch::reference),
            resolves,
            locator: Locator(if is_published { "$commit".into() } else { String::new() }),
            commit_hash: id,
            proof: BaseProof { confirmed_transcript_hash: Vec::new(), confirmation_tag: Vec::new() },
            own_leaf,
            members,
            added,
            removed,
            first_seen: Timestamp(self.made.into()),
            age: 0,
            own,
            healing: own && kind != EpochKind::External && self.chances.one_in(2),
            entry: base.is_none() || own && kind == EpochKind::External || welcomed,
            held: own_leaf.is_some(),
            abandoned: false,
            equivocation: false,
            merge_export: None,
            merge_inputs: None,
            granted: false,
        }
    }

    /// Whoever commits has a new leaf; beside that somebody goes, comes, or does both at once. A package may be an old one.
    fn changed(&mut self, before: &Members, creator: u32) -> (Members, Vec<Device>, Vec<Device>) {
        let (mut gone, mut new, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let known = before.leaf_of(&device(creator));
        let key = known.map_or(1, |leaf| leaf.key.0[0] - 10 * creator as u8);
        let index = known.map_or(LeafIndex(100 + self.made), |leaf| leaf.index);
        new.push(Leaf { index, ..leaf(creator, key, self.made, false) });
        let who = self.chances.below(DEVICES);
        let known = before.leaf_of(&device(who)).filter(|_| who != creator);
        if let Some(leaf) = known.filter(|_| self.chances.one_in(3)) {
            gone.push(leaf.index);
            removed.push(leaf.device.clone());
        }
        let is_free = who != creator && (known.is_none() || !gone.is_empty());
        if is_free && self.chances.one_in(2) {
            let (key, serial) = (1 + self.chances.below(4) / 3, 1 + self.chances.below(self.made));
            new.push(Leaf { index: LeafIndex(200 + self.made), ..leaf(who, key as u8, serial, true) });
            added.push(device(who));
        }
        (before.with(gone, new), added, removed)
    }

    fn step(&mut self) {
        self.step_beside(&BTreeSet::new());
    }

    /// A step in which nothing happens to some epochs any more.
    fn step_beside(&mut self, closed: &BTreeSet<EpochId>) {
        let known = self.dag.epochs().map(|epoch| epoch.id).filter(|id| !closed.contains(id));
        let known: Vec<EpochId> = known.collect();
        match self.chances.below(12) {
            0 => self.desire(),
            1 => {
                let own: Vec<_> = known.into_iter().filter(|id| self.dag.get(id).unwrap().is_uncertain()).collect();
                if !own.is_empty() {
                    let id = own[self.chances.below(own.len() as u32) as usize];
                    self.dag.change(&id, |epoch| epoch.abandoned = !epoch.abandoned);
                }
            }
            2 => {
                let (who, floor) = (self.chances.below(DEVICES), 1 + self.chances.below(self.made));
                let (key, floor) = (leaf(who, 1, 1, true).key, floor.into());
                self.raised = Some((device(who), key, floor));
                self.dag.raise_floor(&device(who), &key, floor);
            }
            3 if !self.hidden.is_empty() => {
                let at = self.chances.below(self.hidden.len() as u32) as usize;
                let epoch = self.hidden.swap_remove(at);
                self.dag.insert(epoch);
            }
            kind => {
                let heads: Vec<_> = self.dag.head_ids().filter(|id| !closed.contains(id)).copied().collect();
                let near = if kind < 10 && !heads.is_empty() { &heads } else { &known };
                // Of a room that this device is put out of nothing more comes.
                if near.is_empty() {
                    return;
                }
                let base = near[self.chances.below(near.len() as u32) as usize];
                let base = self.dag.get(&base).unwrap().clone();
                let resolves = if kind < 8 { self.resolves(&base.id, &heads) } else { Vec::new() };
                let epoch = self.epoch(Some(&base), resolves);
                if self.chances.one_in(6) {
                    self.hidden.push(epoch);
                } else {
                    self.dag.insert(epoch);
                }
            }
        }
    }

    /// A device lets an epoch go; or it is read back, as it is from its records.
    fn let_go(&mut self) {
        let known: Vec<EpochId> = self.dag.epochs().map(|epoch| epoch.id).collect();
        let id = known[self.chances.below(known.len() as u32) as usize];
        self.dag.change(&id, |epoch| epoch.held = !epoch.held && epoch.own_leaf.is_some());
    }

    fn resolves(&mut self, base: &EpochId, heads: &[EpochId]) -> Vec<EpochRef> {
        let some = self.chances.some(heads).into_iter().filter(|id| id != base);
        let mut resolves: Vec<_> = some.filter_map(|id| self.dag.get(&id)).map(Epoch::reference).collect();
        if let Some(hidden) = self.hidden.first().filter(|_| self.chances.one_in(4)) {
            resolves.push(hidden.reference());
        }
        resolves
    }

    fn desire(&mut self) {
        let facts = |number: u32, key: u32| DesiredDevice {
            key: leaf(number, 1 + key as u8, 1, true).key,
            joined: Locator::default(),
        };
        let mut desired = Desired::default();
        for number in 0..DEVICES {
            if !self.chances.one_in(4) {
                desired.devices.insert(device(number), facts(number, self.chances.below(5) / 4));
            }
        }
        self.dag.set_desired(desired);
    }
}

/// The rules, read as they stand, over all epochs.
struct Searched<'a> {
    dag: &'a Dag,
    desired: &'a Desired,
}

impl<'a> Searched<'a> {
    fn of(dag: &'a Dag) -> Self {
        Self { dag, desired: dag.desired() }
    }

    fn ancestry(&self, id: &EpochId) -> BTreeSet<EpochId> {
        let (mut found, mut work) = (BTreeSet::new(), vec![*id]);
        while let Some(next) = work.pop() {
            if found.insert(next) {
                work.extend(self.dag.get(&next).map(Epoch::parents).unwrap_or_default());
            }
        }
        found
    }

    fn accepted(&self) -> impl Iterator<Item = &'a Epoch> {
        self.dag.epochs().filter(|epoch| !epoch.abandoned)
    }

    fn held(&self, aside: &BTreeSet<EpochId>) -> Vec<&'a Epoch> {
        self.accepted().filter(|epoch| epoch.held && !aside.contains(&epoch.id)).collect()
    }

    /// The base, and of the resolved epochs those in which the maker has a leaf; and what is merged in these.
    fn merged(&self, above: &Epoch) -> BTreeSet<EpochId> {
        let (mut found, mut work) = (BTreeSet::from([above.id]), vec![above.id]);
        while let Some(next) = work.pop().and_then(|id| self.dag.get(&id)) {
            if next.abandoned {
                continue;
            }
            let maker = next.members.leaf_of(&next.creator);
            let is_there = |head: &&EpochRef| {
                let head = self.dag.get(&head.id).and_then(|head| head.members.leaf_of(&next.creator));
                maker.zip(head).is_some_and(|(one, other)| one.key == other.key)
            };
            let below = next.base.iter().chain(next.resolves.iter().filter(is_there)).map(|head| head.id);
            work.extend(below.filter(|id| found.insert(*id)));
        }
        found
    }

    fn is_live(&self, leaf: &Leaf) -> bool {
        let facts = self.desired.devices.get(&leaf.device);
        facts.is_some_and(|facts| facts.key == leaf.key) && leaf.serial >= self.dag.audience().floor(&leaf.key)
    }

    /// The serial of a device's live leaf.
    fn serial(&self, members: &Members, device: &Device) -> Option<u64> {
        members.leaf_of(device).filter(|leaf| self.is_live(leaf)).map(|leaf| leaf.serial)
    }

    fn most_by_user(&self, loss: impl Fn(&Device) -> usize) -> usize {
        let of_user = |user: &&str| self.desired.devices.keys().filter(|device| device.user == **user).map(&loss).max();
        let users: BTreeSet<_> = USERS.into_iter().collect();
        users.iter().filter_map(of_user).sum()
    }

    fn loss(&self, from: &Epoch, to: &Epoch) -> usize {
        self.most_by_user(|device| match (self.serial(&from.members, device), self.serial(&to.members, device)) {
            (Some(_), None) => 2,
            (Some(from), Some(to)) if to < from => 1,
            _ => 0,
        })
    }

    fn behind(&self, head: &Epoch) -> usize {
        self.most_by_user(|device| {
            let key = self.desired.devices[device].key;
            let leaves = self.accepted().filter_map(|epoch| epoch.members.leaf_of(device));
            let newest = leaves.filter(|leaf| leaf.key == key && !leaf.of_package).map(|leaf| leaf.serial).max();
            match self.serial(&head.members, device) {
                None => 2,
                Some(serial) if newest > Some(serial) => 1,
                Some(_) => 0,
            }
        })
    }

    fn heads(&self, aside: &BTreeSet<EpochId>) -> BTreeSet<EpochId> {
        let held = self.held(aside);
        let covers = |above: &Epoch, below: &Epoch| {
            above.id != below.id
                && self.merged(above).contains(&below.id)
                && self.loss(below, above) <= self.loss(above, below)
        };
        let is_covered = |below: &Epoch| held.iter().any(|above| covers(above, below));
        held.iter().filter(|epoch| !is_covered(epoch)).map(|epoch| epoch.id).collect()
    }

    fn heads_by_desired(&self) -> BTreeSet<EpochId> {
        let mut aside = BTreeSet::new();
        loop {
            let heads = self.heads(&aside);
            let by_desired = |id: &&EpochId| self.dag.get(id).unwrap().by_desired(self.desired);
            let known = aside.len();
            aside.extend(heads.iter().filter(|id| !by_desired(id)));
            if aside.len() == known {
                return heads;
            }
        }
    }

    fn eligible(&self) -> BTreeSet<EpochId> {
        let heads = self.heads(&BTreeSet::new());
        let is_inside = |id: &EpochId| self.dag.get(id).unwrap().by_desired(self.desired);
        if heads.iter().any(is_inside) { self.heads_by_desired() } else { heads }
    }

    /// Those of the heads that are neither merged in the base nor in one another.
    fn to_resolve(&self, base: &Epoch) -> BTreeSet<EpochId> {
        let mut heads = self.eligible();
        let merged: Vec<_> = heads.iter().map(|id| (*id, self.merged(self.dag.get(id).unwrap()))).collect();
        for (id, merged) in merged.iter().filter(|(id, _)| *id != base.id) {
            heads.retain(|head| head == id || !merged.contains(head));
        }
        let in_base = self.merged(base);
        heads.retain(|head| !in_base.contains(head));
        heads
    }

    fn fork_point(&self, heads: &[&Epoch]) -> (BTreeSet<EpochId>, Option<EpochId>) {
        let shared = heads.iter().map(|head| self.ancestry(&head.id)).reduce(|shared, next| &shared & &next);
        let shared = shared.unwrap_or_default();
        let before = |id: &EpochId| shared.iter().any(|other| other != id && self.ancestry(other).contains(id));
        let point = shared.iter().find(|id| !before(id)).copied();
        (shared, point)
    }

    fn is_stale(&self, head: &Epoch) -> bool {
        let own = |epoch: &'a Epoch| epoch.members.leaf_of(&device(0));
        let Some(here) = head.members.leaf_of(&device(0)).filter(|leaf| self.is_live(leaf)) else { return false };
        let mut healed = self.accepted().filter(|epoch| epoch.healing).filter_map(own);
        healed.any(|leaf| leaf.serial > here.serial)
    }
}

/// The leaves outside D, the dead ones, the devices that are missing, and how far it is behind.
type Said = (Vec<LeafIndex>, Vec<LeafIndex>, Vec<Device>, usize);

fn said_of(contrast: &Contrast) -> Said {
    let missing = contrast.missing().iter().cloned().collect();
    (contrast.outside().collect(), contrast.dead().collect(), missing, contrast.behind())
}

fn check(story: &mut Story) {
    let (dag, searched) = (&story.dag, Searched::of(&story.dag));
    assert_eq!(dag.head_ids().copied().collect::<BTreeSet<_>>(), searched.heads(&BTreeSet::new()));
    let by_desired: BTreeSet<_> = dag.heads_by_desired().iter().map(|head| head.id).collect();
    assert_eq!(by_desired, searched.heads_by_desired());
    let known: Vec<EpochId> = dag.epochs().map(|epoch| epoch.id).collect();
    let some = story.chances.some(&known);
    let groups = [dag.heads(), some.iter().take(4).filter_map(|id| dag.get(id)).collect()];
    for heads in groups.iter().filter(|heads| !heads.is_empty()) {
        let (fork, (shared, point)) = (dag.fork(heads), searched.fork_point(heads));
        assert_eq!(fork.point, point);
        for head in heads {
            let since: BTreeSet<_> = fork.since(&head.id).iter().copied().collect();
            assert_eq!(since, &searched.ancestry(&head.id) - &shared);
            assert_eq!(dag.is_stale(head), searched.is_stale(head));
            let said = said_of(&dag.contrast(head));
            assert_eq!(said, said_of(&Contrast::of(&head.members, dag.audience())));
            assert_eq!(said.3, searched.behind(head));
        }
        let wanted: BTreeSet<_> = some.iter().copied().collect();
        let ancestors: BTreeSet<_> = heads.iter().flat_map(|head| searched.ancestry(&head.id)).collect();
        assert_eq!(dag.among_ancestors(&wanted, heads.iter().map(|head| head.id)), &ancestors & &wanted);
    }
    check_plan(dag, &searched);
}

fn check_plan(dag: &Dag, searched: &Searched<'_>) {
    let heads = eligible(dag);
    assert_eq!(heads.iter().map(|head| head.id).collect::<BTreeSet<_>>(), searched.eligible());
    // Of heads that collapse the least counts for all.
    let order = |head: &&Epoch| {
        let same = heads.iter().filter(|other| other.id == head.id || collapse(dag, head, other));
        (same.map(|other| searched.behind(other)).min(), std::cmp::Reverse(head.number))
    };
    assert!(heads.is_sorted_by_key(order));
    let Some(plan) = Plan::make(dag, &device(0)) else { return assert!(heads.is_empty()) };
    assert_eq!(plan.base.id, heads[0].id);
    let resolve: BTreeSet<_> = plan.resolve.iter().map(|head| head.id).collect();
    assert_eq!(resolve, searched.to_resolve(plan.base));
    let others = || plan.base.members.iter().filter(|leaf| leaf.device != device(0));
    assert!(plan.remove.iter().copied().eq(others().filter(|leaf| !searched.is_live(leaf))));
    let lacking = |device: &&Device| searched.serial(&plan.base.members, device).is_none();
    let lacking = searched.desired.devices.keys().filter(|other| **other != device(0)).filter(lacking);
    assert!(plan.add.iter().eq(lacking));
}

/// A thousand steps of forks, merges, asks, late arrivals, commits taken back, epochs let go and changes of D.
#[test]
fn indices_and_bounded_walks_find_what_a_search_finds() {
    for seed in 0..40 {
        let mut story = Story::new(seed);
        for _ in 0..50 {
            story.step();
            check(&mut story);
            if story.chances.one_in(4) {
                story.let_go();
                check(&mut story);
            }
        }
        let epochs = story.dag.epochs().cloned().collect();
        let mut again = Dag::of(epochs, Past::default(), story.dag.desired().clone()).unwrap();
        for number in 0..DEVICES {
            let key = leaf(number, 1, 1, true).key;
            again.raise_floor(&device(number), &key, story.dag.audience().floor(&key));
        }
        let ids = |dag: &Dag| eligible(dag).iter().map(|epoch| epoch.id).collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&story.dag), "seed {seed}");
        assert!(again.head_ids().eq(story.dag.head_ids()), "seed {seed}");
    }
}

/// Only damaged records say that an epoch is its own ancestor; who follows them would never end.
#[test]
fn a_circle_is_no_dag() {
    let mut story = Story::new(0);
    let genesis = story.dag.epochs().next().unwrap().clone();
    let mut one = story.epoch(Some(&genesis), Vec::new());
    let two = story.epoch(Some(&one), Vec::new());
    one.resolves = vec![two.reference()];
    assert!(Dag::of(vec![genesis.clone(), one.clone(), two.clone()], Past::default(), Desired::default()).is_none());
    one.resolves = Vec::new();
    assert!(Dag::of(vec![two, one, genesis], Past::default(), Desired::default()).is_some());
}

/// What a device does next follows from this.
fn decision(dag: &Dag) -> impl PartialEq + std::fmt::Debug {
    let stand = |head: &&Epoch| (head.id, head.number, dag.is_stale(head), said_of(&dag.contrast(head)));
    let heads: Vec<_> = eligible(dag).iter().map(stand).collect();
    let plan = Plan::make(dag, &device(0));
    (heads, plan.map(|plan| (plan.resolve.iter().map(|head| head.id).collect::<Vec<_>>(), plan.differing.clone())))
}

/// Two devices see the same; one of them remembers all of it, the other makes stubs of whatever it may, and is restarted
/// now and then. They decide the same.
#[test]
fn what_became_a_stub_decides_nothing() {
    let mut turned = 0;
    for seed in 0..60 {
        let mut story = Story::new(seed);
        let mut brief = Dag::of(story.dag.epochs().cloned().collect(), Past::default(), Desired::default()).unwrap();
        for step in 0..80 {
            step_with(&mut story, &mut brief);
            let ids = brief.settled(usize::MAX);
            turned += ids.len();
            brief.turn_to_stubs(&ids);
            assert_eq!(decision(&brief), decision(&story.dag), "seed {seed} step {step}");
            if step % 7 == 0 {
                brief = read_back(brief);
                assert_eq!(decision(&brief), decision(&story.dag), "seed {seed} step {step}, read back");
            }
        }
        let known = |dag: &Dag, epoch: &Epoch| dag.proof(&epoch.id).is_some();
        assert!(story.dag.epochs().all(|epoch| known(&brief, epoch) == known(&story.dag, epoch)), "seed {seed}");
    }
    assert!(turned > 500, "{turned}");
}

fn read_back(mut brief: Dag) -> Dag {
    let past = std::mem::take(&mut brief.past);
    let mut again = Dag::of(brief.epochs().cloned().collect(), past, brief.desired().clone()).unwrap();
    for number in 0..DEVICES {
        let key = leaf(number, 1, 1, true).key;
        again.raise_floor(&device(number), &key, brief.audience().floor(&key));
    }
    again
}

/// One step of the story, as it comes to both. Only the newest epochs are held, and nothing comes on others.
fn step_with(story: &mut Story, brief: &mut Dag) {
    let before: BTreeSet<_> = story.dag.epochs().map(|epoch| epoch.id).collect();
    let standing: BTreeMap<_, _> = story.dag.epochs().map(|epoch| (epoch.id, epoch.abandoned)).collect();
    let closed: BTreeSet<_> = story.dag.epochs().filter(|epoch| !epoch.held).map(|epoch| epoch.id).collect();
    story.hidden.retain(|epoch| epoch.base.as_ref().is_none_or(|base| !closed.contains(&base.id)));
    story.step_beside(&closed);
    for epoch in story.dag.epochs().filter(|epoch| !before.contains(&epoch.id)) {
        brief.insert(epoch.clone());
    }
    for (id, abandoned) in standing {
        if story.dag.get(&id).unwrap().abandoned != abandoned {
            brief.change(&id, |epoch| epoch.abandoned = !abandoned);
        }
    }
    brief.set_desired(story.dag.desired().clone());
    if let Some((device, key, floor)) = &story.raised {
        brief.raise_floor(device, key, *floor);
    }
    let held: Vec<_> = story.dag.held().into_iter().filter(|id| !story.dag.is_head(id)).collect();
    for id in held.iter().rev().skip(3) {
        for dag in [&mut story.dag, &mut *brief] {
            dag.change(id, |epoch| epoch.held = false);
        }
    }
}
