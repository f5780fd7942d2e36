//! What remains of epochs by which nothing is decided any more: a stub of constant size (SPEC §7.10).

use std::collections::{BTreeMap, BTreeSet};

use tls_codec::{Deserialize as _, VLBytes};

use super::{Dag, Epoch, Generation, Newest, note_newest};
use crate::codec::push_vector;
use crate::effect::EpochKind;
use crate::id::{Device, EpochId, EpochNumber};
use crate::input::BaseProof;
use crate::members::Members;

/// So many pages are kept, and what stood on older ones is not known any more.
const MAX_PAGES: usize = 256;

/// An epoch of which no more is known than that it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stub {
    pub(crate) number: EpochNumber,
    /// Its place among the epochs that this device knows.
    generation: Generation,
    /// It removed this device.
    pub(crate) removed: bool,
    /// Gives the ids of its children.
    pub(crate) proof: BaseProof,
}

/// Where this device first came in, once that epoch itself is a stub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Joined {
    pub(crate) epoch: EpochId,
    pub(crate) base: Option<EpochId>,
}

/// The epochs before those that are known in full.
///
/// Invariant: none of them is one of those, and none descends from one of those.
#[derive(Debug, Default)]
pub(crate) struct Past {
    stubs: BTreeMap<EpochId, Stub>,
    /// Which became stubs together: they are one record, and forgotten together.
    pages: BTreeMap<u32, Vec<EpochId>>,
    /// The members from which the records of other epochs differ: those of the newest stub, or of the first epoch here.
    pub(crate) floor: Members,
    pub(crate) joined: Option<Joined>,
    /// The newest leaves of devices, as far as they were in stubs alone.
    pub(crate) newest: BTreeMap<Device, Newest>,
    /// The newest leaf with which this device healed in an epoch that is a stub: it may yet be added by an older package.
    pub(crate) healed: Option<u64>,
    /// This device came back by external commit.
    pub(crate) returned: bool,
}

/// What changed when epochs became stubs.
pub(crate) struct Turned {
    /// The page they are on now.
    pub(crate) page: u32,
    /// A page that is forgotten.
    pub(crate) forgotten: Option<u32>,
    /// The epochs that they were.
    pub(crate) epochs: Vec<Epoch>,
    /// The floor before.
    pub(crate) floor: Members,
    /// Devices whose newest leaves are in stubs alone now.
    pub(crate) newest: BTreeSet<Device>,
}

impl Past {
    pub(crate) fn get(&self, id: &EpochId) -> Option<&Stub> {
        self.stubs.get(id)
    }

    /// Whether a stub is here whose commit has this confirmation tag: no other commit that anybody would take in has it.
    pub(crate) fn has_tag(&self, tag: &[u8]) -> bool {
        self.stubs.values().any(|stub| stub.proof.confirmation_tag == tag)
    }

    /// Whether a stub is here whose id begins so.
    pub(super) fn knows_short(&self, short: &[u8; 8]) -> bool {
        let mut first = [0; 32];
        first[..8].copy_from_slice(short);
        self.stubs.range(EpochId(first)..).next().is_some_and(|(id, _)| id.short() == *short)
    }

    /// The bytes of a page.
    pub(crate) fn page(&self, number: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for id in self.pages.get(&number).into_iter().flatten() {
            let Some(stub) = self.stubs.get(id) else { continue };
            out.extend(id.0);
            out.extend(stub.number.0.to_be_bytes());
            out.extend(stub.generation.to_bytes());
            out.push(stub.removed.into());
            push_vector(&mut out, &stub.proof.confirmed_transcript_hash);
            push_vector(&mut out, &stub.proof.confirmation_tag);
        }
        out
    }

    /// The numbers of all pages.
    #[cfg(dmls_mutants)]
    pub(crate) fn pages(&self) -> impl Iterator<Item = u32> {
        self.pages.keys().copied()
    }

    /// Takes in what [`Self::page`] gave; `None` if it is none.
    pub(crate) fn read(&mut self, number: u32, mut bytes: &[u8]) -> Option<()> {
        let mut ids = Vec::new();
        while !bytes.is_empty() {
            let (id, rest) = bytes.split_at_checked(32)?;
            let (number, rest) = rest.split_first_chunk()?;
            let (generation, rest) = rest.split_first_chunk()?;
            let (removed, rest) = rest.split_first()?;
            bytes = rest;
            let mut vector = || Some(VLBytes::tls_deserialize(&mut bytes).ok()?.as_slice().to_vec());
            let proof = BaseProof { confirmed_transcript_hash: vector()?, confirmation_tag: vector()? };
            let id = EpochId::parse(id)?;
            ids.push(id);
            let number = EpochNumber(u64::from_be_bytes(*number));
            let stub = Stub { number, generation: Generation::from_bytes(*generation), removed: *removed != 0, proof };
            self.stubs.insert(id, stub);
        }
        self.pages.insert(number, ids);
        Some(())
    }

    fn keep(&mut self, epoch: &Epoch, generation: Generation) {
        let (number, removed, proof) = (epoch.number, epoch.own_leaf.is_none(), epoch.proof.clone());
        self.stubs.insert(epoch.id, Stub { number, generation, removed, proof });
    }

    fn turn_page(&mut self, ids: Vec<EpochId>) -> (u32, Option<u32>) {
        let number = self.pages.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        self.pages.insert(number, ids);
        let oldest = if self.pages.len() > MAX_PAGES { self.pages.pop_first() } else { None };
        let forgotten = oldest.map(|(number, ids)| {
            ids.iter().for_each(|id| drop(self.stubs.remove(id)));
            number
        });
        (number, forgotten)
    }
}

impl Dag {
    /// What lies before the epochs that are known in full.
    pub(crate) fn past(&self) -> &Past {
        &self.past
    }

    /// The public values of an epoch that give the ids of its children.
    pub(crate) fn proof(&self, id: &EpochId) -> Option<&BaseProof> {
        self.get(id).map(|epoch| &epoch.proof).or_else(|| self.past.get(id).map(|stub| &stub.proof))
    }

    /// How many epochs are known in full and not held.
    pub(crate) fn let_go_len(&self) -> usize {
        self.nodes.len().saturating_sub(self.held_len())
    }

    /// The members of the first epoch that this device is in: what the records of others say is the difference to them.
    pub(crate) fn set_floor(&mut self, members: Members) {
        self.past.floor = members;
    }

    /// The oldest epochs by which nothing is decided any more, at most so many; with each all those that it descends from
    /// (SPEC §7.10).
    pub(crate) fn settled(&self, most: usize) -> Vec<EpochId> {
        let Some(limit) = self.horizon() else { return Vec::new() };
        let mut going: Vec<EpochId> = Vec::new();
        let below = self.order.range(..(limit, EpochId([0; 32])));
        for epoch in below.filter_map(|(_, id)| self.get(id)).take(most) {
            let leaves = epoch.is_uncertain() && !epoch.abandoned;
            if !leaves && epoch.named().all(|parent| self.get(&parent.id).is_none() || going.contains(&parent.id)) {
                going.push(epoch.id);
            }
        }
        going
    }

    /// Earlier than whatever not all epochs descend from that a head may still come of.
    fn horizon(&self) -> Option<Generation> {
        let heads: Vec<EpochId> = self.head_ids().copied().collect();
        let held: BTreeSet<EpochId> = self.held().into_iter().collect();
        let outermost = self.epochs_of(&self.outermost(&heads, &held));
        let fork = self.fork(&outermost);
        let since = outermost.iter().flat_map(|epoch| fork.since(&epoch.id));
        let parted = [fork.point?].into_iter().chain(since.copied());
        parted.filter_map(|id| self.generation(&id)).min()
    }

    /// Heads, and of the epochs that are held those that no head descends from and those that descend from no other: what
    /// all of these have in common all have, and what not all have none of the others adds to.
    fn outermost(&self, heads: &[EpochId], held: &BTreeSet<EpochId>) -> BTreeSet<EpochId> {
        let under = self.among_ancestors(held, heads.iter().copied());
        let is_first = |id: &&EpochId| self.get(id).is_some_and(|epoch| epoch.parents().is_disjoint(held));
        let first = held.iter().filter(is_first);
        held.difference(&under).chain(first).chain(heads).copied().collect()
    }

    fn epochs_of(&self, ids: &BTreeSet<EpochId>) -> Vec<&Epoch> {
        ids.iter().filter_map(|id| self.get(id)).collect()
    }

    /// Makes stubs of epochs that [`Self::settled`] gave.
    pub(crate) fn turn_to_stubs(&mut self, ids: &[EpochId]) -> Turned {
        let floor = self.past.floor.clone();
        let mut epochs = Vec::with_capacity(ids.len());
        let first = self.first_entry();
        for id in ids {
            let Some(node) = self.nodes.remove(id) else { continue };
            let epoch = node.epoch;
            self.index.remove(&epoch);
            self.order.remove(&(node.generation, *id));
            self.heads.remove(id);
            if first == Some(*id) {
                self.past.joined.get_or_insert(Joined { epoch: *id, base: epoch.base.as_ref().map(|base| base.id) });
            }
            self.past.returned |= is_return(&epoch);
            self.past.healed = self.past.healed.max(epoch.own_serial().filter(|_| epoch.healing && !epoch.abandoned));
            self.past.keep(&epoch, node.generation);
            epochs.push(epoch);
        }
        if let Some(newest) = epochs.iter().max_by_key(|epoch| (epoch.number, epoch.id)) {
            self.past.floor = newest.members.clone();
        }
        let newest = self.keep_newest(&epochs);
        (self.counting, self.eligible, self.resolving, self.turn) = Default::default();
        let (page, forgotten) = self.past.turn_page(epochs.iter().map(|epoch| epoch.id).collect());
        Turned { page, forgotten, epochs, floor, newest }
    }

    /// How far a head is behind must not depend on what became a stub: keeps the newest leaves that nothing else shows.
    fn keep_newest(&mut self, gone: &[Epoch]) -> BTreeSet<Device> {
        let mut heads = self.heads.keys().filter_map(|id| self.get(id)).filter(|head| !head.is_uncertain());
        let near = heads.next().map(|head| head.members.clone());
        let (near, mut lost) = (near.unwrap_or_default(), BTreeMap::<Device, Newest>::new());
        for epoch in gone.iter().filter(|epoch| !epoch.abandoned) {
            let leaves = epoch.members.difference(&near).filter_map(|place| place.gone);
            for leaf in leaves.filter(|leaf| !leaf.of_package) {
                note_newest(lost.entry(leaf.device.clone()).or_default(), leaf.key, leaf.serial);
            }
        }
        let mut changed = BTreeSet::new();
        for (device, leaves) in lost {
            let known = self.newest_among(&device, |epoch| !epoch.abandoned && !epoch.is_uncertain());
            for (key, serial) in
                leaves.into_iter().filter(|(key, serial)| known.get(key).is_none_or(|one| one < serial))
            {
                if note_newest(self.past.newest.entry(device.clone()).or_default(), key, serial) {
                    changed.insert(device.clone());
                }
            }
        }
        changed
    }

    /// What the epoch was built on in which this device first came in.
    pub(crate) fn before_join(&self) -> Option<EpochId> {
        match self.past.joined {
            Some(joined) => joined.base,
            None => self.get(&self.first_entry()?)?.base.as_ref().map(|base| base.id),
        }
    }

    /// Whether this device ever came back by external commit.
    pub(crate) fn has_returned(&self) -> bool {
        self.past.returned || self.own_external().any(is_return)
    }

    pub(super) fn stub_generation(&self, id: &EpochId) -> Option<Generation> {
        self.past.get(id).map(|stub| stub.generation)
    }
}

/// Whether a device replaced its own leaf by an external commit.
fn is_return(epoch: &Epoch) -> bool {
    epoch.own && epoch.kind == EpochKind::External && epoch.removed.contains(&epoch.creator)
}
