//! What the indices and bounded walks say, held against what a search through all epochs says.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Comebacks, Dag, Epoch, Past, Removal, is_desired};
use crate::base::eligible;
use crate::contrast::Contrast;
use crate::effect::{EpochKind, EpochRef};
use crate::id::{Device, EpochId, EpochNumber, LeafIndex, Locator, SignatureKey, Timestamp};
use crate::input::{BaseProof, Desired, DesiredDevice};
use crate::members::{Leaf, Members};

const DEVICES: u32 = 6;

/// A device; odd numbers are those of somebody who logged in anew.
fn leaf(number: u32, key: u8) -> Leaf {
    Leaf { index: LeafIndex(number), device: device(number), key: SignatureKey([key; 32]) }
}

fn device(number: u32) -> Device {
    Device::new(format!("u{number}"), "D")
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
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut story = Self {
            chances: Chances(ChaCha8Rng::seed_from_u64(seed)),
            dag: Dag::default(),
            hidden: Vec::new(),
            made: 0,
        };
        let genesis = story.epoch(None, Vec::new());
        story.dag.insert(genesis);
        story
    }

    fn epoch(&mut self, base: Option<&Epoch>, resolves: Vec<EpochRef>) -> Epoch {
        self.made += 1;
        let kind = match (base, resolves.is_empty()) {
            (None, _) => EpochKind::Genesis,
            (Some(_), true) if self.chances.one_in(4) => EpochKind::External,
            (Some(_), true) => EpochKind::Commit,
            (Some(_), false) => EpochKind::Merge,
        };
        let all = (0..DEVICES).map(|number| leaf(number, 1)).collect();
        let before: Members = base.map_or(all, |base| base.members.clone());
        let creator = self.chances.below(DEVICES);
        let (members, added, removed) = self.changed(&before, creator, kind);
        let mut id = [self.made as u8; 32];
        id[0] = self.chances.below(256) as u8;
        let own = creator == 0;
        Epoch {
            id: EpochId(id),
            number: base.map_or(EpochNumber(0), |base| base.number.next()),
            creator: device(creator),
            kind,
            base: base.map(Epoch::reference),
            resolves,
            locator: Locator("$commit".into()),
            commit_hash: id,
            proof: BaseProof { confirmed_transcript_hash: Vec::new(), confirmation_tag: Vec::new() },
            own_leaf: members.leaf_of(&device(0)).map(|leaf| leaf.index),
            members,
            added,
            removed,
            first_seen: Timestamp(self.made.into()),
            age: 0,
            own,
            healing: own && kind != EpochKind::External && self.chances.one_in(2),
            entry: base.is_none() || own && kind == EpochKind::External,
            held: true,
            abandoned: false,
            equivocation: false,
            merge_export: None,
            merge_inputs: None,
            granted: false,
        }
    }

    fn changed(&mut self, before: &Members, creator: u32, kind: EpochKind) -> (Members, Vec<Device>, Vec<Removal>) {
        if kind == EpochKind::External {
            let key = before.leaf_of(&device(creator)).map_or(1, |leaf| leaf.key.0[0]);
            let again = Leaf { index: LeafIndex(100 + self.made), ..leaf(creator, key) };
            let gone: Vec<_> = before.leaf_of(&device(creator)).map(|leaf| leaf.index).into_iter().collect();
            return (before.with(gone, [again]), vec![device(creator)], Vec::new());
        }
        let who = self.chances.below(DEVICES);
        match before.leaf_of(&device(who)).cloned() {
            Some(gone) if self.chances.one_in(3) => {
                let event = Locator(if self.chances.one_in(2) { String::new() } else { "$left".into() });
                let removal = Removal { device: gone.device.clone(), event };
                (before.with([gone.index], []), Vec::new(), vec![removal])
            }
            None => {
                let new = Leaf { index: LeafIndex(100 + self.made), ..leaf(who, 1 + self.chances.below(2) as u8) };
                (before.with([], [new]), vec![device(who)], Vec::new())
            }
            Some(_) => (before.clone(), Vec::new(), Vec::new()),
        }
    }

    fn step(&mut self) {
        self.step_beside(&BTreeSet::new());
    }

    /// A step in which nothing happens to some epochs any more.
    fn step_beside(&mut self, closed: &BTreeSet<EpochId>) {
        let known = self.dag.epochs().map(|epoch| epoch.id).filter(|id| !closed.contains(id));
        let known: Vec<EpochId> = known.collect();
        match self.chances.below(10) {
            0 => self.desire(),
            1 => {
                let id = known[self.chances.below(known.len() as u32) as usize];
                self.dag.change(&id, |epoch| epoch.abandoned = !epoch.abandoned);
            }
            2 if !self.hidden.is_empty() => {
                let at = self.chances.below(self.hidden.len() as u32) as usize;
                let epoch = self.hidden.swap_remove(at);
                self.dag.insert(epoch);
            }
            kind => {
                let heads: Vec<_> = self.dag.head_ids().filter(|id| !closed.contains(id)).copied().collect();
                let near = if kind < 8 && !heads.is_empty() { &heads } else { &known };
                let base = near[self.chances.below(near.len() as u32) as usize];
                let base = self.dag.get(&base).unwrap().clone();
                let resolves = if kind < 6 { self.resolves(&base.id, &heads) } else { Vec::new() };
                let epoch = self.epoch(Some(&base), resolves);
                if self.chances.one_in(6) {
                    self.hidden.push(epoch);
                } else {
                    self.dag.insert(epoch);
                }
            }
        }
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
        let facts = |key: u32| DesiredDevice { key: SignatureKey([1 + key as u8; 32]), joined: Locator::default() };
        let mut desired = Desired::default();
        for number in 0..DEVICES {
            if !self.chances.one_in(4) {
                desired.devices.insert(device(number), facts(self.chances.below(5) / 4));
            }
        }
        self.dag.set_desired(desired);
    }
}

/// The rules, read as they stand, over all epochs.
struct Searched<'a>(&'a Dag);

impl<'a> Searched<'a> {
    fn ancestry(&self, id: &EpochId) -> BTreeSet<EpochId> {
        let (mut found, mut work) = (BTreeSet::new(), vec![*id]);
        while let Some(next) = work.pop() {
            if found.insert(next) {
                work.extend(self.0.get(&next).map(Epoch::parents).unwrap_or_default());
            }
        }
        found
    }

    fn line(&self, id: &EpochId) -> Vec<EpochId> {
        let next = |id: &EpochId| self.0.get(id)?.base.as_ref().map(|base| base.id);
        std::iter::successors(Some(*id), next).collect()
    }

    fn accepted(&self) -> impl Iterator<Item = &'a Epoch> {
        self.0.epochs().filter(|epoch| !epoch.abandoned)
    }

    fn heads(&self, aside: &BTreeSet<EpochId>) -> BTreeSet<EpochId> {
        let mut buried = BTreeSet::new();
        for epoch in self.accepted().filter(|epoch| !aside.contains(&epoch.id)) {
            buried.extend(epoch.resolves.iter().map(|head| head.id));
            if let Some(base) = epoch.base.as_ref().and_then(|base| self.0.get(&base.id))
                && self.buries(epoch, base)
            {
                buried.insert(base.id);
            }
        }
        let counted = self.accepted().map(|epoch| epoch.id);
        counted.filter(|id| !aside.contains(id) && !buried.contains(id)).collect()
    }

    fn buries(&self, child: &Epoch, base: &Epoch) -> bool {
        let caused = |leaf: &Leaf| {
            child.removed.iter().any(|removal| removal.device == leaf.device && !removal.event.0.is_empty())
        };
        let stays = |leaf: &Leaf| child.members.keeps(leaf) || !is_desired(self.0.desired(), leaf) || caused(leaf);
        child.removed.is_empty() && !child.entry || base.members.iter().all(stays)
    }

    fn heads_by_desired(&self) -> BTreeSet<EpochId> {
        let mut aside = BTreeSet::new();
        loop {
            let heads = self.heads(&aside);
            let by_desired = |id: &&EpochId| self.0.get(id).unwrap().by_desired(self.0.desired());
            let known = aside.len();
            aside.extend(heads.iter().filter(|id| !by_desired(id)));
            if aside.len() == known {
                return heads;
            }
        }
    }

    fn fork_point(&self, heads: &[&Epoch]) -> (BTreeSet<EpochId>, Option<EpochId>) {
        let shared = heads.iter().map(|head| self.ancestry(&head.id)).reduce(|shared, next| &shared & &next);
        let shared = shared.unwrap_or_default();
        let before = |id: &EpochId| shared.iter().any(|other| other != id && self.ancestry(other).contains(id));
        let point = shared.iter().find(|id| !before(id)).copied();
        (shared, point)
    }

    /// Of those who came back and have a leaf in `head`, whether it is one since then; `None` where nobody here knows.
    fn noted(&self, head: &Epoch, heads: &[&Epoch]) -> BTreeMap<EpochId, Option<bool>> {
        let lines: BTreeSet<_> = heads.iter().flat_map(|head| self.ancestry(&head.id)).collect();
        let back = self.accepted().filter(|epoch| epoch.kind == EpochKind::External && lines.contains(&epoch.id));
        let key = |back: &Epoch| back.members.leaf_of(&back.creator).unwrap().key;
        let back = back.filter(|back| head.members.has(&back.creator, &key(back)));
        back.map(|back| (back.id, self.noted_on(&self.line(&head.id), back))).collect()
    }

    fn noted_on(&self, line: &[EpochId], back: &Epoch) -> Option<bool> {
        let fresh = |epoch: &&Epoch| epoch.creator == back.creator || epoch.added.contains(&back.creator);
        let fresh = line.iter().filter_map(|id| self.0.get(id)).filter(fresh);
        let mut before: BTreeSet<_> = fresh.flat_map(|epoch| self.ancestry(&epoch.id)).collect();
        if line.contains(&back.id) || before.contains(&back.id) {
            return Some(true);
        }
        before.extend(line);
        let later = |id: &EpochId| self.0.generation(id) > self.0.generation(&back.id);
        let unseen = |id: &EpochId| self.0.get(id).is_none() && later(id);
        if before.iter().any(unseen) { None } else { Some(false) }
    }

    fn is_stale(&self, head: &Epoch) -> bool {
        let line = self.line(&head.id);
        let updates = || line.iter().filter_map(|id| self.0.get(id)).filter(|epoch| epoch.own || epoch.entry);
        let noted = |healed: &Epoch| updates().any(|update| self.ancestry(&update.id).contains(&healed.id));
        let healed = self.accepted().filter(|epoch| epoch.healing && !line.contains(&epoch.id));
        healed.into_iter().any(|healed| !noted(healed))
    }
}

fn contrast_of(contrast: &Contrast) -> (Vec<LeafIndex>, Vec<Device>) {
    (contrast.outside().collect(), contrast.missing().iter().cloned().collect())
}

fn check(story: &mut Story) {
    let (dag, searched) = (&story.dag, Searched(&story.dag));
    assert_eq!(dag.head_ids().copied().collect::<BTreeSet<_>>(), searched.heads(&BTreeSet::new()));
    let by_desired: BTreeSet<_> = dag.heads_by_desired().iter().map(|head| head.id).collect();
    assert_eq!(by_desired, searched.heads_by_desired());
    let known: Vec<EpochId> = dag.epochs().map(|epoch| epoch.id).collect();
    let some = story.chances.some(&known);
    let groups = [dag.heads(), some.iter().take(4).filter_map(|id| dag.get(id)).collect()];
    for heads in groups.iter().filter(|heads| !heads.is_empty()) {
        let (fork, (shared, point)) = (dag.fork(heads), searched.fork_point(heads));
        assert_eq!(fork.point, point);
        let comebacks = dag.comebacks(heads);
        for head in heads {
            let since: BTreeSet<_> = fork.since(&head.id).iter().copied().collect();
            assert_eq!(since, &searched.ancestry(&head.id) - &shared);
            assert_eq!(dag.is_stale(head), searched.is_stale(head));
            check_comebacks(dag, head, &comebacks, &searched.noted(head, heads));
            let scratch = Contrast::of(&head.members, dag.desired());
            assert_eq!(contrast_of(&dag.contrast(head)), contrast_of(&scratch));
        }
        let wanted: BTreeSet<_> = some.iter().copied().collect();
        let ancestors: BTreeSet<_> = heads.iter().flat_map(|head| searched.ancestry(&head.id)).collect();
        assert_eq!(dag.among_ancestors(&wanted, heads.iter().map(|head| head.id)), &ancestors & &wanted);
    }
}

fn check_comebacks(dag: &Dag, head: &Epoch, comebacks: &Comebacks, noted: &BTreeMap<EpochId, Option<bool>>) {
    let creators = |which: &dyn Fn(Option<bool>) -> bool| -> BTreeSet<&Device> {
        let back = noted.iter().filter(|(_, noted)| which(**noted)).map(|(id, _)| id);
        back.map(|id| &dag.get(id).unwrap().creator).collect()
    };
    let stranded: BTreeSet<_> = dag.stranded(head, comebacks).into_keys().collect();
    assert_eq!(stranded, creators(&|noted| noted != Some(true)));
    let surely = creators(&|noted| noted == Some(false));
    let unusable = head.members.iter().filter(|leaf| !dag.is_usable_by(head, leaf, comebacks));
    assert_eq!(unusable.map(|leaf| &leaf.device).collect::<BTreeSet<_>>(), surely);
}

/// A thousand steps of forks, merges, comebacks, late arrivals, commits taken back and changes of D.
#[test]
fn indices_and_bounded_walks_find_what_a_search_finds() {
    for seed in 0..25 {
        let mut story = Story::new(seed);
        for _ in 0..50 {
            story.step();
            check(&mut story);
        }
        let epochs = story.dag.epochs().cloned().collect();
        let again = Dag::of(epochs, Past::default(), story.dag.desired().clone()).unwrap();
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
    let heads = eligible(dag);
    let comebacks = dag.comebacks(&heads);
    let stand = |head: &&Epoch| {
        let stranded: Vec<_> = dag.stranded(head, &comebacks).into_keys().cloned().collect();
        let unusable = head.members.iter().filter(|leaf| !dag.is_usable_by(head, leaf, &comebacks));
        let unusable: Vec<_> = unusable.map(|leaf| leaf.index).collect();
        (head.id, head.number, dag.is_stale(head), stranded, unusable, contrast_of(&dag.contrast(head)))
    };
    heads.iter().map(stand).collect::<Vec<_>>()
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
                let past = std::mem::take(&mut brief.past);
                brief = Dag::of(brief.epochs().cloned().collect(), past, brief.desired().clone()).unwrap();
                assert_eq!(decision(&brief), decision(&story.dag), "seed {seed} step {step}, read back");
            }
        }
        let known = |dag: &Dag, epoch: &Epoch| (dag.proof(&epoch.id).is_some(), dag.number(&epoch.id));
        assert!(story.dag.epochs().all(|epoch| known(&brief, epoch) == known(&story.dag, epoch)), "seed {seed}");
    }
    assert!(turned > 500, "{turned}");
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
    let held: Vec<_> = story.dag.held().into_iter().filter(|id| !story.dag.is_head(id)).collect();
    for id in held.iter().rev().skip(3) {
        for dag in [&mut story.dag, &mut *brief] {
            dag.change(id, |epoch| epoch.held = false);
        }
    }
}
