//! The epoch DAG: what is accepted, what builds on what (SPEC §2).
//!
//! Every question is answered from indices that each change keeps up to date, or by a walk that ends where the epochs in
//! question begin: none goes back to the genesis epoch.

mod index;
mod lineage;
mod past;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::contrast::Contrast;
use crate::defence;
use crate::effect::{EpochKind, EpochRef};
use crate::id::{Device, EpochId, EpochNumber, LeafIndex, Locator, Timestamp};
use crate::input::{BaseProof, Desired};
use crate::members::{Leaf, Members};
use crate::secret::Secret;
use crate::wire;

use index::Index;
pub(crate) use lineage::Comebacks;
use lineage::{Generation, Lineage};
pub(crate) use past::{Joined, Past, Stub};
pub(crate) use walk::Fork;

/// So many heads count of those that one user made.
const MAX_HEADS: usize = 64;

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
    pub(crate) removed: Vec<Removal>,
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

    /// Whether its secrets are here and nobody took it back.
    pub(crate) fn usable(&self) -> bool {
        self.held && !self.abandoned && self.own_leaf.is_some()
    }
}

/// Whether a leaf is a desired device with the key that its owner vouches for.
pub(crate) fn is_desired(desired: &Desired, leaf: &Leaf) -> bool {
    desired.devices.get(&leaf.device).is_some_and(|device| device.key == leaf.key || !defence::on("C18"))
}

/// All accepted epochs, and D, by which they are judged.
#[derive(Default)]
pub(crate) struct Dag {
    nodes: BTreeMap<EpochId, Node>,
    index: Index,
    /// Known epochs, parents before children.
    order: BTreeSet<(Generation, EpochId)>,
    past: Past,
    desired: Desired,
    /// Accepted epochs that no accepted commit builds on or resolves, and how their members differ from D.
    heads: BTreeMap<EpochId, Contrast>,
    /// What follows from all this, worked out when it is first asked for; forgotten whenever something changes.
    counting: OnceLock<BTreeSet<EpochId>>,
    eligible: OnceLock<Vec<EpochId>>,
    turn: OnceLock<u64>,
    membership: OnceLock<[u8; 32]>,
}

/// An epoch, and what follows from those that it descends from.
struct Node {
    epoch: Epoch,
    lineage: Lineage,
}

impl Dag {
    /// The DAG of these epochs; `None` if one is its own ancestor, which only damaged records say.
    pub(crate) fn of(epochs: Vec<Epoch>, past: Past, desired: Desired) -> Option<Self> {
        let mut dag = Self { desired, past, ..Self::default() };
        let mut known = Vec::with_capacity(epochs.len());
        for epoch in parents_first(epochs, |epoch| (epoch.id, epoch.parents()))? {
            known.push(epoch.id);
            dag.put(epoch);
        }
        dag.judge(known);
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
        self.put(epoch);
        let around: Vec<_> = [id].into_iter().chain(self.around(&id)).collect();
        self.judge(around);
    }

    /// Changes what may change in an epoch: how this device stands to it, and where its commit is.
    pub(crate) fn change(&mut self, id: &EpochId, change: impl FnOnce(&mut Epoch)) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        self.index.remove(&node.epoch);
        let standing = |epoch: &Epoch| (epoch.abandoned, epoch.usable());
        let before = standing(&node.epoch);
        change(&mut node.epoch);
        self.index.insert(&node.epoch);
        if standing(&node.epoch) != before {
            let around: Vec<_> = [*id].into_iter().chain(self.around(id)).collect();
            self.judge(around);
        }
    }

    /// D is this now.
    pub(crate) fn set_desired(&mut self, desired: Desired) {
        let before = std::mem::replace(&mut self.desired, desired);
        let changed: BTreeSet<Device> = differences(&before, &self.desired);
        for (id, contrast) in &mut self.heads {
            let Some(node) = self.nodes.get(id) else { continue };
            changed.iter().for_each(|device| contrast.reconsider(device, &node.epoch.members, &self.desired));
        }
        let dropping = changed.iter().flat_map(|device| self.index.dropping(device));
        let bases = dropping.filter_map(|id| self.get(id)?.base.as_ref().map(|base| base.id)).collect();
        self.membership = OnceLock::new();
        self.judge(bases);
    }

    /// D: the devices that may read.
    pub(crate) fn desired(&self) -> &Desired {
        &self.desired
    }

    /// The digest of D that commits carry (SPEC §2.3).
    pub(crate) fn membership_digest(&self) -> [u8; 32] {
        let devices = || self.desired.devices.iter().map(|(device, facts)| (device, &facts.key.0));
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

    /// The number of an accepted epoch.
    pub(crate) fn number(&self, id: &EpochId) -> Option<EpochNumber> {
        let stub = || self.past.get(id).map(|stub| stub.number);
        self.get(id).map(|epoch| epoch.number).or_else(stub)
    }

    /// How an accepted commit names `id`.
    pub(crate) fn named(&self, id: &EpochId) -> Option<&EpochRef> {
        let first = self.index.namers(id).min()?;
        self.get(first)?.named().find(|reference| reference.id == *id)
    }

    /// Heads, for me: accepted epochs that no accepted commit builds on or resolves, as far as they count (SPEC §2.6).
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

    /// The heads there would be if no device outside D had made anything. What is set aside neither buries its base nor
    /// resolves anything, or a device that left would keep what it built on out of every merge.
    pub(crate) fn heads_by_desired(&self) -> Vec<&Epoch> {
        let (mut aside, mut found) = (BTreeSet::new(), BTreeMap::new());
        let mut work: Vec<_> = self.heads.keys().filter_map(|id| self.get(id)).collect();
        while let Some(head) = work.pop() {
            if head.by_desired(&self.desired) {
                found.insert(head.id, head);
            } else if aside.insert(head.id) {
                let parents = head.parents();
                work.extend(parents.iter().filter_map(|id| self.get(id)).filter(|epoch| self.leads(epoch, &aside)));
            }
        }
        counting(found.into_values().collect())
    }

    /// How the members of an epoch differ from D.
    pub(crate) fn contrast(&self, epoch: &Epoch) -> Contrast {
        if let Some(known) = self.heads.get(&epoch.id) {
            return known.clone();
        }
        let base = epoch.base.as_ref().and_then(|base| self.heads.get_key_value(&base.id));
        let near = base.or_else(|| self.heads.first_key_value());
        match near.and_then(|(id, contrast)| Some((self.nodes.get(id)?, contrast))) {
            Some((node, contrast)) => contrast.moved(&node.epoch.members, &epoch.members, &self.desired),
            None => Contrast::of(&epoch.members, &self.desired),
        }
    }

    /// What `work_out` gives, which follows from the DAG and D alone; worked out once as long as neither changes.
    pub(crate) fn eligible<'a>(&'a self, work_out: impl FnOnce() -> Vec<&'a Epoch>) -> Vec<&'a Epoch> {
        let ids = || work_out().into_iter().map(|epoch| epoch.id).collect();
        self.eligible.get_or_init(ids).iter().filter_map(|id| self.get(id)).collect()
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
            self.order.remove(&(known.lineage.generation, id));
            self.heads.remove(&id);
        }
        self.index.insert(&epoch);
        self.nodes.insert(id, Node { epoch, lineage: Lineage::default() });
        self.order.insert((Generation::default(), id));
        self.trace(&id);
        let children: Vec<_> = self.index.children(&id).copied().collect();
        for child in [id].into_iter().chain(children) {
            self.note_dropped(&child);
        }
    }

    /// Notes which members of its base an epoch has not, for no cause.
    fn note_dropped(&mut self, id: &EpochId) {
        let dropped = self.get(id).map(|child| self.dropped(child)).unwrap_or_default();
        self.index.set_dropped(id, dropped);
    }

    fn dropped(&self, child: &Epoch) -> Vec<Leaf> {
        // A commit changes no other leaf than those it removes; only of one that this device joined by is that not certain.
        if child.removed.is_empty() && !child.entry {
            return Vec::new();
        }
        let Some(base) = child.base.as_ref().and_then(|base| self.get(&base.id)) else { return Vec::new() };
        let caused = |leaf: &&Leaf| {
            let with_cause = |removal: &Removal| removal.device == leaf.device && !removal.event.0.is_empty();
            child.removed.iter().any(with_cause)
        };
        base.members.lacking_in(&child.members).filter(|leaf| !caused(leaf)).cloned().collect()
    }

    /// The known epochs that `id` is built on.
    fn around(&self, id: &EpochId) -> Vec<EpochId> {
        self.get(id).map(Epoch::parents).unwrap_or_default().into_iter().collect()
    }

    /// Looks again whether these epochs are heads.
    fn judge(&mut self, epochs: Vec<EpochId>) {
        let none = BTreeSet::new();
        let (heads, buried): (Vec<_>, Vec<_>) =
            epochs.into_iter().partition(|id| self.get(id).is_some_and(|epoch| self.leads(epoch, &none)));
        for id in heads {
            if let Some(contrast) = self.get(&id).map(|epoch| self.contrast(epoch)) {
                self.heads.insert(id, contrast);
            }
        }
        for id in buried {
            self.heads.remove(&id);
        }
        (self.counting, self.eligible, self.turn) = Default::default();
    }

    /// Whether no accepted epoch but those set aside buries or resolves this one.
    fn leads(&self, epoch: &Epoch, aside: &BTreeSet<EpochId>) -> bool {
        let counts = |id: &&EpochId| !aside.contains(id) && self.get(id).is_some_and(|other| !other.abandoned);
        let mut burying = self.index.children(&epoch.id).filter(|id| self.buries(id)).filter(counts);
        let mut resolving = self.index.resolving(&epoch.id).filter(counts);
        !epoch.abandoned && burying.next().is_none() && resolving.next().is_none()
    }

    /// Whether an epoch buries its base: not if it drops, without naming a cause, a device that may read (SPEC §2.7).
    fn buries(&self, child: &EpochId) -> bool {
        !defence::on("C12") || !self.index.dropped(child).iter().any(|leaf| is_desired(&self.desired, leaf))
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

/// Devices of which two versions of D say something else.
fn differences(before: &Desired, after: &Desired) -> BTreeSet<Device> {
    use imbl::ordmap::DiffItem;
    let device = |item| match item {
        DiffItem::Add(device, _) | DiffItem::Update { new: (device, _), .. } | DiffItem::Remove(device, _) => device,
    };
    before.devices.diff(&after.devices).map(device).cloned().collect()
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
