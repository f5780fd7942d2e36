//! What remains of epochs by which nothing is decided any more: a stub of constant size (SPEC §7.10).

use std::collections::{BTreeMap, BTreeSet};

use tls_codec::{Deserialize as _, VLBytes};

use super::lineage::Generation;
use super::{Dag, Epoch};
use crate::codec::push_vector;
use crate::effect::EpochKind;
use crate::id::{EpochId, EpochNumber};
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
            // This device's own commit is not in the room yet.
            let leaves = epoch.own && epoch.base.is_some() && !epoch.abandoned && epoch.locator.0.is_empty();
            if !leaves && epoch.named().all(|parent| self.get(&parent.id).is_none() || going.contains(&parent.id)) {
                going.push(epoch.id);
            }
        }
        going
    }

    /// Earlier than whatever not all epochs descend from that a head may still come of, and than what they are asked about by
    /// name: external commits and updates that one of them knows nothing of.
    fn horizon(&self) -> Option<Generation> {
        let heads: Vec<EpochId> = self.head_ids().copied().filter(|id| !self.is_let_go(id)).collect();
        let held: BTreeSet<EpochId> = self.held().into_iter().collect();
        let outermost = self.epochs_of(&self.outermost(&heads, &held));
        let live = self.epochs_of(&heads.iter().copied().chain(held).collect());
        let fork = self.fork(&outermost);
        let since = outermost.iter().flat_map(|epoch| fork.since(&epoch.id));
        let parted = [fork.point?].into_iter().chain(since.copied());
        let comebacks = self.comebacks(&live);
        let behind = live.iter().flat_map(|epoch| self.left_behind(epoch, &comebacks));
        let is_noted = |healed: &Epoch| live.iter().all(|epoch| self.has_updated(epoch, healed));
        let unhealed = self.healing().filter(|healed| !healed.abandoned && !is_noted(healed));
        let decisive = parted.chain(behind.chain(unhealed).map(|epoch| epoch.id));
        decisive.filter_map(|id| self.generation(&id)).min()
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

    /// A head that this device can neither build on nor merge any more, for it let its secrets go.
    fn is_let_go(&self, head: &EpochId) -> bool {
        self.get(head).is_some_and(|head| !head.held && head.own_leaf.is_some())
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
            self.order.remove(&(node.lineage.generation, *id));
            self.heads.remove(id);
            self.index.set_dropped(id, Vec::new());
            if first == Some(*id) {
                self.past.joined.get_or_insert(Joined { epoch: *id, base: epoch.base.as_ref().map(|base| base.id) });
            }
            self.past.returned |= is_return(&epoch);
            self.past.keep(&epoch, node.lineage.generation);
            epochs.push(epoch);
        }
        for child in ids.iter().flat_map(|id| self.index.children(id).copied()).collect::<Vec<_>>() {
            self.index.set_dropped(&child, Vec::new());
        }
        if let Some(newest) = epochs.iter().max_by_key(|epoch| (epoch.number, epoch.id)) {
            self.past.floor = newest.members.clone();
        }
        let (page, forgotten) = self.past.turn_page(epochs.iter().map(|epoch| epoch.id).collect());
        Turned { page, forgotten, epochs, floor }
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
    let replaced = epoch.removed.iter().any(|removal| removal.device == epoch.creator);
    epoch.own && epoch.kind == EpochKind::External && replaced
}
