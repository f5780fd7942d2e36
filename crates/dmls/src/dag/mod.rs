//! The epoch DAG: what is accepted, what builds on what (SPEC §2).
//!
//! Every question is answered from indices that each change keeps up to date, or by a walk that ends where the epochs in
//! question begin: none goes back to the genesis epoch.

mod audience;
mod cover;
mod generation;
mod index;
mod past;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crate::contrast::Contrast;
use crate::defence;
use crate::effect::{EpochKind, EpochRef};
use crate::id::{Device, EpochId, EpochNumber, LeafIndex, Locator, SignatureKey, Timestamp};
use crate::input::{BaseProof, Desired};
use crate::members::{Leaf, Members};
use crate::secret::Secret;
use crate::wire;

pub(crate) use audience::Audience;
use audience::{Newest, note_newest};
pub(crate) use cover::{MISSING, OLDER};
pub(crate) use generation::Generation;
use index::Index;
pub(crate) use past::{Joined, Past, Stub};

/// So many heads count of those that one user made.
const MAX_HEADS: usize = 64;

/// An accepted epoch.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    pub(crate) id: EpochId,
    pub(crate) number: EpochNumber,
    pub(crate) creator: Device,
    pub(crate) kind: EpochKind,
    pub(crate) base: Option<EpochRef>,
    pub(crate) resolves: Vec<EpochRef>,
    /// Where its commit is; empty while not published or not known.
    pub(crate) locator: Locator,
    /// Hash of the commit's bytes: finds echoes and duplicates, names nothing.
    pub(crate) commit_hash: [u8; 32],
    pub(crate) proof: BaseProof,
    pub(crate) members: Members,
    pub(crate) added: Vec<Device>,
    pub(crate) removed: Vec<Device>,
    pub(crate) first_seen: Timestamp,
    /// How old the group was then, as far as this device lived through it (SPEC §7.6).
    pub(crate) age: u64,
    /// This device's leaf; `None` when the epoch removed it.
    pub(crate) own_leaf: Option<LeafIndex>,
    /// This device made it.
    pub(crate) own: bool,
    /// This device made it in order to heal: a deliberate update.
    pub(crate) healing: bool,
    /// This device came in here: it holds nothing older on this line.
    pub(crate) entry: bool,
    /// Its secrets are here.
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
        EpochRef { id: self.id, locator: self.locator.clone() }
    }

    /// Whether its creator is in D, under the very key with which it stands in this epoch.
    pub(crate) fn by_desired(&self, desired: &Desired) -> bool {
        desired.devices.get(&self.creator).is_some_and(|facts| self.members.has(&self.creator, &facts.key))
    }

    /// How it names {base} ∪ resolves.
    pub(crate) fn named(&self) -> impl Iterator<Item = &EpochRef> {
        self.base.iter().chain(&self.resolves)
    }

    /// {base} ∪ resolves.
    pub(crate) fn parents(&self) -> BTreeSet<EpochId> {
        self.named().map(|parent| parent.id).collect()
    }

    /// Whether it is a commit of this device's own that is not known to be in the room: it may yet be taken back.
    fn is_uncertain(&self) -> bool {
        self.own && self.base.is_some() && self.locator.0.is_empty()
    }

    /// Which of this device's leaves is in it.
    pub(crate) fn own_serial(&self) -> Option<u64> {
        self.members.get(self.own_leaf?).map(|leaf| leaf.serial)
    }

    /// Whether its secrets are here and nobody took it back.
    pub(crate) fn usable(&self) -> bool {
        self.held && !self.abandoned && self.own_leaf.is_some()
    }
}

/// All accepted epochs, and D, by which they are judged.
#[derive(Default)]
pub(crate) struct Dag {
    nodes: BTreeMap<EpochId, Node>,
    index: Index,
    /// Known epochs, parents before children.
    order: BTreeSet<(Generation, EpochId)>,
    past: Past,
    audience: Audience,
    /// Epochs that nothing covers, and how their members differ from D.
    heads: BTreeMap<EpochId, Contrast>,
    /// What follows from all this, worked out when it is first asked for; forgotten whenever something changes.
    counting: OnceLock<BTreeSet<EpochId>>,
    eligible: OnceLock<Vec<EpochId>>,
    resolving: OnceLock<Vec<EpochId>>,
    turn: OnceLock<u64>,
    membership: OnceLock<[u8; 32]>,
}

/// An epoch, and its place in the order.
struct Node {
    epoch: Epoch,
    generation: Generation,
}

impl Dag {
    /// The DAG of these epochs; `None` if one is its own ancestor, which only damaged records say.
    pub(crate) fn of(epochs: Vec<Epoch>, past: Past, desired: Desired) -> Option<Self> {
        let mut dag = Self { audience: Audience::of(desired), past, ..Self::default() };
        dag.past.newest.iter().for_each(|(device, newest)| dag.audience.set_newest(device, newest.clone()));
        for epoch in parents_first(epochs, |epoch| (epoch.id, epoch.parents()))? {
            dag.put(epoch);
        }
        dag.judge_all();
        Some(dag)
    }

    pub(crate) fn get(&self, id: &EpochId) -> Option<&Epoch> {
        self.node(id).map(|node| &node.epoch)
    }

    fn node(&self, id: &EpochId) -> Option<&Node> {
        #[cfg(test)]
        visits::count();
        self.nodes.get(id)
    }

    /// Takes in an epoch, which may be one that is named already; what is known of it by that id goes.
    pub(crate) fn insert(&mut self, epoch: Epoch) {
        let id = epoch.id;
        let is_linking = self.get(&id).is_some() || self.index.namers(&id).next().is_some();
        self.put(epoch);
        if is_linking {
            return self.judge_all();
        }
        let covered = |head: &&EpochId| self.get(head).is_some_and(|head| self.covers(&id, head));
        let covered: Vec<_> = self.heads.keys().filter(|head| **head != id).filter(covered).copied().collect();
        covered.iter().for_each(|head| drop(self.heads.remove(head)));
        self.judge([id]);
    }

    /// Changes what may change in an epoch: how this device stands to it, and where its commit is.
    pub(crate) fn change(&mut self, id: &EpochId, change: impl FnOnce(&mut Epoch)) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        self.index.remove(&node.epoch);
        let (standing, generation) = ((node.epoch.abandoned, node.epoch.held), node.generation);
        change(&mut node.epoch);
        self.index.insert(&node.epoch);
        if (node.epoch.abandoned, node.epoch.held) != standing {
            let devices = self.bringers(id);
            self.recount(devices);
            // Only what it descends from can have been covered by it.
            let before = self.order.range(..(generation, EpochId([0; 32]))).map(|(_, id)| *id);
            let before: Vec<_> = before.filter(|id| self.is_held(id)).chain([*id]).collect();
            self.judge(before);
        }
    }

    /// The devices of which an epoch may have leaves that no other one has.
    fn bringers(&self, id: &EpochId) -> BTreeSet<Device> {
        let Some(epoch) = self.get(id) else { return BTreeSet::new() };
        if self.is_on_known(epoch) {
            return [epoch.creator.clone()].into();
        }
        epoch.members.iter().map(|leaf| leaf.device.clone()).collect()
    }

    /// Whether its base is known in full and counts: of a commit on it only its maker's leaf is new and made by a commit.
    fn is_on_known(&self, epoch: &Epoch) -> bool {
        let base = epoch.base.as_ref().and_then(|base| self.get(&base.id));
        base.is_some_and(|base| !base.abandoned) && !epoch.entry
    }

    fn is_held(&self, id: &EpochId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.epoch.held)
    }

    /// D is this now.
    pub(crate) fn set_desired(&mut self, desired: Desired) {
        let changed = self.audience.set_desired(desired);
        self.membership = OnceLock::new();
        self.reconsider(&changed);
        self.judge_all();
    }

    /// These devices of D are there by memberships that ended.
    pub(crate) fn set_ended(&mut self, ended: BTreeSet<Device>) {
        let changed = self.audience.set_ended(ended);
        if !changed.is_empty() {
            self.reconsider(&changed);
            self.judge_all();
        }
    }

    /// A device asked to be added anew: its leaves with a smaller serial are dead. `false` if that was known.
    pub(crate) fn raise_floor(&mut self, device: &Device, key: &SignatureKey, floor: u64) -> bool {
        let is_raised = self.audience.raise_floor(key, floor);
        if is_raised {
            let mut devices = self.audience.devices_with(key);
            devices.insert(device.clone());
            self.reconsider(&devices);
            self.judge_all();
        }
        is_raised
    }

    fn reconsider(&mut self, devices: &BTreeSet<Device>) {
        for (id, contrast) in &mut self.heads {
            let Some(node) = self.nodes.get(id) else { continue };
            devices.iter().for_each(|device| contrast.reconsider(device, &node.epoch.members, &self.audience));
        }
    }

    /// D, and which leaves of its devices count.
    pub(crate) fn audience(&self) -> &Audience {
        &self.audience
    }

    /// D: the devices that may read.
    pub(crate) fn desired(&self) -> &Desired {
        self.audience.desired()
    }

    /// The digest of D that commits carry (SPEC §2.3).
    pub(crate) fn membership_digest(&self) -> [u8; 32] {
        let devices = || self.desired().devices.iter().map(|(device, facts)| (device, &facts.key.0));
        *self.membership.get_or_init(|| wire::membership_digest(devices()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All that are known in full, by their ids.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        self.nodes.values().map(|node| {
            #[cfg(test)]
            visits::count();
            &node.epoch
        })
    }

    /// How an accepted commit names `id`.
    pub(crate) fn named(&self, id: &EpochId) -> Option<&EpochRef> {
        let first = self.index.namers(id).min()?;
        self.get(first)?.named().find(|reference| reference.id == *id)
    }

    /// Heads, for me: epochs that I hold and nothing covers, as far as they count (SPEC §2.6).
    pub(crate) fn heads(&self) -> Vec<&Epoch> {
        self.head_ids().filter_map(|id| self.get(id)).collect()
    }

    pub(crate) fn head_ids(&self) -> impl ExactSizeIterator<Item = &EpochId> {
        let all = || self.heads.keys().filter_map(|id| self.get(id)).collect();
        self.counting.get_or_init(|| counting(all()).iter().map(|head| head.id).collect()).iter()
    }

    pub(crate) fn is_head(&self, id: &EpochId) -> bool {
        self.heads.contains_key(id) && self.head_ids().any(|head| head == id)
    }

    /// The heads there would be if no device outside D had made anything. What is set aside covers nothing, or a device
    /// that left would keep what it built on out of every merge.
    pub(crate) fn heads_by_desired(&self) -> Vec<&Epoch> {
        let mut aside = BTreeSet::new();
        let mut heads: Vec<_> = self.heads.keys().filter_map(|id| self.get(id)).collect();
        loop {
            let known = aside.len();
            aside.extend(heads.iter().filter(|head| !head.by_desired(self.desired())).map(|head| head.id));
            if aside.len() == known {
                return counting(heads);
            }
            heads = self.held().iter().filter(|id| self.leads(id, &aside)).filter_map(|id| self.get(id)).collect();
            heads.sort_by_key(|head| head.id);
        }
    }

    /// How the members of an epoch differ from D.
    pub(crate) fn contrast(&self, epoch: &Epoch) -> Contrast {
        if let Some(known) = self.heads.get(&epoch.id) {
            return known.clone();
        }
        let base = epoch.base.as_ref().and_then(|base| self.heads.get_key_value(&base.id));
        let near = base.or_else(|| self.heads.first_key_value());
        match near.and_then(|(id, contrast)| Some((self.nodes.get(id)?, contrast))) {
            Some((node, contrast)) => contrast.moved(&node.epoch.members, &epoch.members, &self.audience),
            None => Contrast::of(&epoch.members, &self.audience),
        }
    }

    /// What `work_out` gives, which follows from the DAG and D alone; worked out once as long as neither changes.
    pub(crate) fn eligible<'a>(&'a self, work_out: impl FnOnce() -> Vec<&'a Epoch>) -> Vec<&'a Epoch> {
        let ids = || work_out().into_iter().map(|epoch| epoch.id).collect();
        self.eligible.get_or_init(ids).iter().filter_map(|id| self.get(id)).collect()
    }

    /// The same for the heads that a commit made now resolves.
    pub(crate) fn to_resolve<'a>(&'a self, work_out: impl FnOnce() -> Vec<&'a Epoch>) -> Vec<&'a Epoch> {
        let ids = || work_out().into_iter().map(|epoch| epoch.id).collect();
        self.resolving.get_or_init(ids).iter().filter_map(|id| self.get(id)).collect()
    }

    /// The same for the place of this device among those that may commit what is due.
    pub(crate) fn turn(&self, work_out: impl FnOnce() -> u64) -> u64 {
        *self.turn.get_or_init(work_out)
    }

    /// Puts an epoch in its place, without a look at who is a head now.
    fn put(&mut self, epoch: Epoch) {
        let id = epoch.id;
        if let Some(known) = self.nodes.remove(&id) {
            self.index.remove(&known.epoch);
            self.order.remove(&(known.generation, id));
            self.heads.remove(&id);
        }
        self.note_leaves(&epoch);
        self.index.insert(&epoch);
        self.nodes.insert(id, Node { epoch, generation: Generation::default() });
        self.order.insert((Generation::default(), id));
        self.trace(&id);
    }

    fn note_leaves(&mut self, epoch: &Epoch) {
        if epoch.abandoned {
            return;
        }
        let newer = |audience: &mut Audience, leaf: &Leaf| audience.note_leaf(leaf).then(|| leaf.device.clone());
        let newer: BTreeSet<_> = if self.is_on_known(epoch) {
            let leaf = epoch.members.leaf_of(&epoch.creator);
            leaf.and_then(|leaf| newer(&mut self.audience, leaf)).into_iter().collect()
        } else {
            epoch.members.iter().filter_map(|leaf| newer(&mut self.audience, leaf)).collect()
        };
        self.reconsider(&newer);
    }

    /// Looks again which leaves of these devices are their newest.
    fn recount(&mut self, devices: BTreeSet<Device>) {
        for device in &devices {
            let mut newest = self.newest_among(device, |epoch| !epoch.abandoned);
            for (key, serial) in self.past.newest.get(device).into_iter().flatten() {
                note_newest(&mut newest, *key, *serial);
            }
            self.audience.set_newest(device, newest);
        }
        self.reconsider(&devices);
    }

    /// A device's newest leaves in such epochs as are known in full.
    fn newest_among(&self, device: &Device, such: impl Fn(&Epoch) -> bool) -> Newest {
        let mut newest = Newest::new();
        let epochs = self.nodes.values().map(|node| &node.epoch).filter(|epoch| such(epoch));
        for leaf in epochs.filter_map(|epoch| epoch.members.leaf_of(device)).filter(|leaf| !leaf.of_package) {
            note_newest(&mut newest, leaf.key, leaf.serial);
        }
        newest
    }

    /// Looks again which of all epochs are heads.
    fn judge_all(&mut self) {
        self.judge(self.held());
    }

    /// Looks again whether these epochs are heads.
    fn judge(&mut self, epochs: impl IntoIterator<Item = EpochId>) {
        let none = BTreeSet::new();
        let (heads, covered): (Vec<_>, Vec<_>) = epochs.into_iter().partition(|id| self.leads(id, &none));
        covered.iter().for_each(|id| drop(self.heads.remove(id)));
        for id in heads {
            if let Some(contrast) = self.get(&id).map(|epoch| self.contrast(epoch)) {
                self.heads.insert(id, contrast);
            }
        }
        (self.counting, self.eligible, self.resolving, self.turn) = Default::default();
    }
}

/// Those of `heads` that count: of each user the [`MAX_HEADS`] of highest number. It follows from what is accepted, not
/// from what came first; whoever makes more only hides their own.
fn counting(mut heads: Vec<&Epoch>) -> Vec<&Epoch> {
    if heads.len() <= MAX_HEADS || !defence::on("F11") {
        return heads;
    }
    heads.sort_by_key(|head| std::cmp::Reverse((head.number, head.id)));
    let mut of_user: BTreeMap<&str, usize> = BTreeMap::new();
    heads.retain(|head| {
        let count = of_user.entry(&head.creator.user).or_default();
        *count += 1;
        *count <= MAX_HEADS
    });
    heads.sort_by_key(|head| head.id);
    heads
}

/// Sorts what has an id and parents so that nothing comes before one of its parents; `None` if that cannot be.
pub(crate) fn parents_first<T>(all: Vec<T>, place: impl Fn(&T) -> (EpochId, BTreeSet<EpochId>)) -> Option<Vec<T>> {
    let count = all.len();
    let mut waiting: BTreeMap<EpochId, (T, usize)> = BTreeMap::new();
    let mut built_on: BTreeMap<EpochId, Vec<EpochId>> = BTreeMap::new();
    for one in all {
        let (id, parents) = place(&one);
        parents.iter().for_each(|parent| built_on.entry(*parent).or_default().push(id));
        waiting.insert(id, (one, parents.len()));
    }
    let unknown: Vec<_> = built_on.keys().filter(|id| !waiting.contains_key(id)).copied().collect();
    let roots = waiting.iter().filter(|(_, (_, parents))| *parents == 0).map(|(id, _)| *id);
    let (mut sorted, mut done) = (Vec::with_capacity(count), roots.chain(unknown).collect::<Vec<_>>());
    while let Some(id) = done.pop() {
        sorted.extend(waiting.remove(&id).map(|(one, _)| one));
        for child in built_on.remove(&id).unwrap_or_default() {
            let Some((_, missing)) = waiting.get_mut(&child) else { continue };
            *missing -= 1;
            if *missing == 0 {
                done.push(child);
            }
        }
    }
    waiting.is_empty().then_some(sorted)
}

/// How many epochs were looked at in this thread, for the test that a long past costs no more of them than a short one.
#[cfg(test)]
pub(crate) mod visits {
    use std::cell::Cell;

    thread_local! {
        static VISITS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        VISITS.set(VISITS.get() + 1);
    }

    /// Those since the last call.
    pub(crate) fn take() -> u64 {
        VISITS.replace(0)
    }
}
