//! The epoch DAG: what is accepted, what builds on what (SPEC §2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::defence;
use crate::effect::{EpochKind, EpochRef};
use crate::id::{Device, EpochId, Height, LeafIndex, Locator, SignatureKey, Timestamp};
use crate::input::{BaseProof, Desired};
use crate::mls::Leaf;
use crate::secret::Secret;

/// A device that an epoch removed, and the event said to justify it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removal {
    pub(crate) device: Device,
    pub(crate) event: Locator,
}

/// An accepted epoch.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    pub(crate) id: EpochId,
    pub(crate) height: Height,
    pub(crate) creator: Device,
    pub(crate) kind: EpochKind,
    pub(crate) base: Option<EpochRef>,
    pub(crate) resolves: Vec<EpochRef>,
    /// Where its commit is; empty while not published or not known.
    pub(crate) locator: Locator,
    /// Hash of the commit's bytes: finds echoes and duplicates, names nothing.
    pub(crate) commit_hash: [u8; 32],
    pub(crate) proof: BaseProof,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) added: Vec<Device>,
    pub(crate) removed: Vec<Removal>,
    pub(crate) first_seen: Timestamp,
    /// This device's leaf; `None` when the epoch removed it.
    pub(crate) own_leaf: Option<LeafIndex>,
    /// This device made it.
    pub(crate) own: bool,
    /// This device made it in order to heal: a deliberate update.
    pub(crate) healing: bool,
    /// This device came in here: it holds nothing older on this line.
    pub(crate) entry: bool,
    /// The view is in the store.
    pub(crate) held: bool,
    /// The server refused this device's own commit for good.
    pub(crate) abandoned: bool,
    /// Its creator made another commit on the same base.
    pub(crate) equivocation: bool,
    /// m: the single-use merge export (SPEC §3.4).
    pub(crate) merge_export: Option<Secret>,
    /// M: the merge inputs of its commit (SPEC §3.9).
    pub(crate) merge_inputs: Option<Secret>,
    /// M came from this device's grant: it is in none of the resolved heads that it did not hold.
    pub(crate) granted: bool,
}

impl Epoch {
    /// How others name it.
    pub(crate) fn reference(&self) -> EpochRef {
        EpochRef { id: self.id, height: self.height, creator: self.creator.clone(), locator: self.locator.clone() }
    }

    /// Whether this device with this key has a leaf here.
    pub(crate) fn has(&self, device: &Device, key: &SignatureKey) -> bool {
        self.leaves.iter().any(|leaf| leaf.key == *key && leaf.device == *device)
    }

    /// The leaf of a device.
    pub(crate) fn leaf_of(&self, device: &Device) -> Option<&Leaf> {
        self.leaves.iter().find(|leaf| leaf.device == *device)
    }

    /// Whether a member of the base is one here too, mostly in the same place.
    fn keeps(&self, leaf: &Leaf) -> bool {
        let place = self.leaves.binary_search_by_key(&leaf.index, |other| other.index);
        place.is_ok_and(|place| self.leaves[place] == *leaf) || self.has(&leaf.device, &leaf.key)
    }

    /// Members that are not in D: they must not read what is sent from now on.
    pub(crate) fn outside<'a>(&'a self, desired: &'a Desired) -> impl Iterator<Item = &'a Leaf> {
        self.leaves.iter().filter(|leaf| !is_desired(desired, leaf))
    }

    /// Whether its creator is in D, under the very key with which it stands in this epoch.
    pub(crate) fn by_desired(&self, desired: &Desired) -> bool {
        desired.devices.get(&self.creator).is_some_and(|facts| self.has(&self.creator, &facts.key))
    }

    /// {base} ∪ resolves.
    pub(crate) fn parents(&self) -> BTreeSet<EpochId> {
        self.base.iter().chain(&self.resolves).map(|parent| parent.id).collect()
    }

    /// Whether its secrets are here and nobody took it back.
    pub(crate) fn usable(&self) -> bool {
        self.held && !self.abandoned && self.own_leaf.is_some()
    }
}

/// Whether a leaf is a desired device with the key that its owner vouches for.
pub(crate) fn is_desired(desired: &Desired, leaf: &Leaf) -> bool {
    desired.devices.get(&leaf.device).is_some_and(|device| device.key == leaf.key || !defence::on("C18"))
}

/// Where heads parted.
pub(crate) struct Fork {
    /// All epochs that every head descends from.
    pub(crate) shared: BTreeSet<EpochId>,
    /// The highest of them.
    pub(crate) point: Option<EpochId>,
}

/// All accepted epochs.
#[derive(Default)]
pub(crate) struct Dag {
    epochs: BTreeMap<EpochId, Epoch>,
    /// What was worked out of them; forgotten whenever one changes.
    memo: Mutex<Option<Memo>>,
}

/// Heads for one D: every look at a group asks for them, and few looks follow a change.
#[derive(Default)]
struct Memo {
    desired: Desired,
    heads: Option<Vec<EpochId>>,
    eligible: Option<Vec<EpochId>>,
}

impl Dag {
    pub(crate) fn get(&self, id: &EpochId) -> Option<&Epoch> {
        self.epochs.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &EpochId) -> Option<&mut Epoch> {
        self.memo = Mutex::default();
        self.epochs.get_mut(id)
    }

    pub(crate) fn insert(&mut self, epoch: Epoch) {
        self.memo = Mutex::default();
        self.epochs.insert(epoch.id, epoch);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Epoch> {
        self.epochs.values()
    }

    pub(crate) fn by_commit(&self, hash: &[u8; 32]) -> Option<&Epoch> {
        self.iter().find(|epoch| epoch.commit_hash == *hash)
    }

    /// Epochs that count: not taken back.
    fn accepted(&self) -> impl Iterator<Item = &Epoch> {
        self.iter().filter(|epoch| !epoch.abandoned)
    }

    /// Commits on `base`.
    pub(crate) fn children<'a>(&'a self, base: &'a EpochId) -> impl Iterator<Item = &'a Epoch> {
        self.accepted().filter(|epoch| epoch.base.as_ref().is_some_and(|parent| parent.id == *base))
    }

    /// Every epoch that `id` descends from, by base or resolves, itself included; also those known by name only.
    pub(crate) fn ancestry(&self, id: &EpochId) -> BTreeSet<EpochId> {
        let mut found = BTreeSet::new();
        let mut work = vec![*id];
        while let Some(next) = work.pop() {
            if found.insert(next)
                && let Some(epoch) = self.get(&next)
            {
                work.extend(epoch.parents());
            }
        }
        found
    }

    /// `id` and its bases, newest first.
    pub(crate) fn base_chain(&self, id: &EpochId) -> Vec<EpochId> {
        let mut chain = vec![*id];
        while let Some(base) = chain.last().and_then(|last| self.get(last)).and_then(|epoch| epoch.base.as_ref()) {
            chain.push(base.id);
        }
        chain
    }

    /// Whether some epoch is its own ancestor by base: only damaged records say so, and who follows them never ends.
    pub(crate) fn has_circle(&self) -> bool {
        let mut ended = BTreeSet::new();
        self.epochs.keys().any(|start| {
            let (mut path, mut next) = (BTreeSet::new(), Some(*start));
            while let Some(id) = next.filter(|id| !ended.contains(id)) {
                if !path.insert(id) {
                    return true;
                }
                next = self.get(&id).and_then(|epoch| epoch.base.as_ref()).map(|base| base.id);
            }
            ended.append(&mut path);
            false
        })
    }

    /// The external commits that any of these heads descends from: what a commit on one of them takes note of.
    pub(crate) fn comebacks(&self, heads: &[&Epoch]) -> Vec<&Epoch> {
        let external = self.accepted().filter(|epoch| epoch.kind == EpochKind::External);
        let mut external: Vec<_> = external.collect();
        if !external.is_empty() {
            let lines: BTreeSet<_> = heads.iter().flat_map(|head| self.ancestry(&head.id)).collect();
            external.retain(|epoch| lines.contains(&epoch.id));
        }
        external
    }

    /// Members of `head` that cannot use their leaf there: they came back by external commit elsewhere, and since then
    /// neither committed on this line nor were added to it; with the event of that commit (SPEC §3.12).
    pub(crate) fn stranded<'a>(&self, head: &Epoch, comebacks: &[&'a Epoch]) -> BTreeMap<&'a Device, &'a Locator> {
        let stranded = self.took_note(head, comebacks).filter(|(_, noted)| *noted != Some(true));
        stranded.map(|(back, _)| (&back.creator, &back.locator)).collect()
    }

    /// Whether the device of a leaf is a member of `head` too, under the same key and with a leaf that it can use. One
    /// that may have come by it where this device cannot see counts: who is in a merged head needs no grant, and a grant
    /// would open to whoever stole the leaf before it was healed there (SPEC §3.7).
    pub(crate) fn is_usable_by(&self, head: &Epoch, leaf: &Leaf, comebacks: &[&Epoch]) -> bool {
        let stranded = |(back, noted): (&Epoch, Option<bool>)| back.creator == leaf.device && noted == Some(false);
        head.has(&leaf.device, &leaf.key) && !self.took_note(head, comebacks).any(stranded)
    }

    /// Of those external commits whose makers have a leaf in `head`, whether that leaf is one since the commit: its maker
    /// committed there or was added there after it. `None` where that may be so in epochs that are not known here.
    ///
    /// Under another key it is another device, logged in anew, which the commit says nothing of.
    fn took_note<'a>(&self, head: &Epoch, comebacks: &[&'a Epoch]) -> impl Iterator<Item = (&'a Epoch, Option<bool>)> {
        let is_leaf = |back: &&Epoch| head.leaf_of(&back.creator).is_some_and(|leaf| back.has(&leaf.device, &leaf.key));
        let back: Vec<_> = comebacks.iter().copied().filter(is_leaf).collect();
        let line = if back.is_empty() { Vec::new() } else { self.base_chain(&head.id) };
        back.into_iter().map(move |back| (back, self.took_note_on(&line, back)))
    }

    fn took_note_on(&self, line: &[EpochId], back: &Epoch) -> Option<bool> {
        // Mostly the line goes through the external commit itself.
        if line.contains(&back.id) {
            return Some(true);
        }
        // What descends from it is higher.
        let unseen = |id: &EpochId| self.get(id).is_none() && self.known_height(id) > Some(back.height);
        let fresh = |epoch: &&Epoch| epoch.creator == back.creator || epoch.added.contains(&back.creator);
        let fresh = line.iter().filter_map(|id| self.get(id)).filter(fresh);
        let mut before: BTreeSet<EpochId> = fresh.flat_map(|epoch| self.ancestry(&epoch.id)).collect();
        if before.contains(&back.id) {
            return Some(true);
        }
        before.extend(line);
        if before.iter().any(unseen) { None } else { Some(false) }
    }

    /// The height of an epoch, by name if it is not accepted here.
    pub(crate) fn height_of(&self, reference: &EpochRef) -> Height {
        self.get(&reference.id).map_or(reference.height, |epoch| epoch.height)
    }

    /// The height that any known epoch or reference gives `id`.
    pub(crate) fn known_height(&self, id: &EpochId) -> Option<Height> {
        self.get(id).map(|epoch| epoch.height).or_else(|| self.named(id).map(|reference| reference.height))
    }

    /// How an accepted commit names `id`.
    pub(crate) fn named(&self, id: &EpochId) -> Option<&EpochRef> {
        self.iter().flat_map(|epoch| epoch.base.iter().chain(&epoch.resolves)).find(|reference| reference.id == *id)
    }

    /// Heads, for me: accepted epochs that no accepted commit builds on or resolves (SPEC §2.6).
    pub(crate) fn heads(&self, desired: &Desired) -> Vec<&Epoch> {
        self.remembered(desired, |memo| &mut memo.heads, || self.heads_without(desired, &BTreeSet::new()))
    }

    /// What `work_out` gives, which follows from the DAG and D alone; worked out once as long as neither changes.
    pub(crate) fn eligible<'a>(
        &'a self,
        desired: &Desired,
        work_out: impl FnOnce() -> Vec<&'a Epoch>,
    ) -> Vec<&'a Epoch> {
        self.remembered(desired, |memo| &mut memo.eligible, work_out)
    }

    fn remembered<'a>(
        &'a self,
        desired: &Desired,
        place: fn(&mut Memo) -> &mut Option<Vec<EpochId>>,
        work_out: impl FnOnce() -> Vec<&'a Epoch>,
    ) -> Vec<&'a Epoch> {
        let lock = || self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memo) = lock().as_mut().filter(|memo| memo.desired == *desired)
            && let Some(known) = place(memo)
        {
            return known.iter().filter_map(|id| self.get(id)).collect();
        }
        let found = work_out();
        let mut memo = lock();
        let fresh = || Memo { desired: desired.clone(), ..Memo::default() };
        let memo = match memo.take() {
            Some(known) if known.desired == *desired => memo.insert(known),
            _ => memo.insert(fresh()),
        };
        *place(memo) = Some(found.iter().map(|epoch| epoch.id).collect());
        found
    }

    /// The heads there would be if the epochs `aside` were not there.
    pub(crate) fn heads_without(&self, desired: &Desired, aside: &BTreeSet<EpochId>) -> Vec<&Epoch> {
        let counted = || self.accepted().filter(|epoch| !aside.contains(&epoch.id));
        let mut buried = BTreeSet::new();
        for epoch in counted() {
            buried.extend(epoch.resolves.iter().map(|head| head.id));
            if let Some(base) = epoch.base.as_ref().and_then(|base| self.get(&base.id))
                && buries(epoch, base, desired)
            {
                buried.insert(base.id);
            }
        }
        counted().filter(|epoch| !buried.contains(&epoch.id)).collect()
    }

    /// What all of `heads` have in common (SPEC §3.2).
    pub(crate) fn fork(&self, heads: &[&Epoch]) -> Fork {
        let mut ancestries = heads.iter().map(|head| self.ancestry(&head.id));
        let first = ancestries.next().unwrap_or_default();
        let shared = ancestries.fold(first, |shared, next| &shared & &next);
        let rank = |id: &&EpochId| (self.known_height(id), std::cmp::Reverse(**id));
        let point = shared.iter().max_by_key(rank).copied();
        Fork { shared, point }
    }

    /// Known epochs in an order that puts parents before children.
    pub(crate) fn sorted(&self) -> Vec<&Epoch> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by_key(|epoch| (epoch.height, epoch.id));
        all
    }

    /// Removals that an accepted commit made of `device`.
    pub(crate) fn removals<'a>(&'a self, device: &'a Device) -> impl Iterator<Item = &'a Removal> {
        self.accepted().flat_map(|epoch| &epoch.removed).filter(move |removal| removal.device == *device)
    }
}

/// Whether `child` buries its base: not if it drops, without naming a cause, a device that may read (SPEC §2.7).
fn buries(child: &Epoch, base: &Epoch, desired: &Desired) -> bool {
    if !defence::on("C12") {
        return true;
    }
    // A commit changes no other leaf than those it removes; only of one that this device joined by is that not certain.
    if child.removed.is_empty() && !child.entry {
        return true;
    }
    base.leaves.iter().all(|leaf| {
        let caused = |removal: &Removal| removal.device == leaf.device && !removal.event.0.is_empty();
        child.keeps(leaf) || !is_desired(desired, leaf) || child.removed.iter().any(caused)
    })
}
