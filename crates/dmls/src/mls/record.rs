//! The persistent form: an epoch's own secrets, ratchets, key packages. Trees have theirs (`tree/records.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::commit::Public;
use super::crypto::{AeadKey, Hash, KeyPair};
use super::path::PathKeys;
use super::ratchets::{BLOCK, Ratchet, Ratchets};
use super::schedule::Secrets;
use super::tree::{Forest, Place};
use super::wire::{GroupContext, KeyPackage, decode, encode, next};
use super::{Epoch, OwnPackage, Refusal};
use crate::secret::Secret;
use crate::suite::Suite;

/// A forward-only reader of fixed fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u32, Refusal> {
        self.array().map(u32::from_be_bytes)
    }

    fn secret(&mut self) -> Result<Secret, Refusal> {
        self.array().map(Secret::new)
    }

    fn end(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Malformed) }
    }
}

impl Epoch {
    /// All of the epoch but its tree and its ratchets. Secret.
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        // In one piece from the start: growing would leave a copy of secrets behind.
        let keys: Vec<_> = self.keys.iter().collect();
        let context = encode(&*self.public.context);
        let mut out = Zeroizing::new(Vec::with_capacity(context.len() + 176 + 36 * keys.len()));
        out.extend(context);
        out.extend(self.public.tag);
        out.extend(self.public.tree.height().to_be_bytes());
        out.extend(self.own.to_be_bytes());
        let Secrets { sender_data, membership, external, init } = &*self.secrets;
        [sender_data, membership, external, init].into_iter().for_each(|secret| out.extend(secret.expose()));
        for (height, pair) in keys {
            out.extend(height.to_be_bytes());
            out.extend(pair.private.expose());
        }
        out
    }

    /// Reads [`Self::record`] back; `node` gives the record of a tree node that the forest does not have.
    pub(crate) fn load(
        suite: &'static dyn Suite,
        record: &[u8],
        forest: &mut Forest,
        node: &mut dyn FnMut(&Hash) -> Option<Vec<u8>>,
    ) -> Result<Self, Refusal> {
        let mut rest = record;
        let context: GroupContext = next(&mut rest)?;
        let mut fields = Fields(rest);
        let tag = fields.array()?;
        let (height, own) = (fields.number()?, fields.number()?);
        let root = context.tree_hash.as_slice().try_into().map_err(|_| Refusal::Malformed)?;
        let secrets = Secrets {
            sender_data: fields.secret()?,
            membership: fields.secret()?,
            external: fields.secret()?,
            init: fields.secret()?,
        };
        let tree = forest.load(suite, root, height, node).map_err(|_| Refusal::TreeHash)?;
        let mut keys = PathKeys::default();
        while !fields.0.is_empty() {
            let (height, private) = (fields.number()?, fields.secret()?);
            let public = tree.key(Place::above(own, height.min(31))).ok_or(Refusal::Tree)?.clone();
            keys.set(height, KeyPair { public, private });
        }
        let public = Public { suite, context: Arc::new(context), tree, tag };
        Ok(Self { public, secrets: Arc::new(secrets), keys: Arc::new(keys), own })
    }
}

/// One record of the ratchets of an epoch: its key below the epoch's name, and what it says; `None` when it goes.
pub(crate) type RatchetRecord = (Vec<u8>, Option<Zeroizing<Vec<u8>>>);

const NODE: u8 = 0;
const RATCHET: u8 = 1;
const SKIPPED: u8 = 2;
const HEIGHT: u8 = 3;

pub(super) fn node_record(place: Place, secret: Option<&Secret>) -> RatchetRecord {
    let mut key = vec![NODE];
    key.extend(place.height.to_be_bytes());
    key.extend(place.first.to_be_bytes());
    (key, secret.map(|secret| Zeroizing::new(secret.expose().to_vec())))
}

pub(super) fn ratchet_record(leaf: u32, secret: &Secret, generation: u32) -> RatchetRecord {
    let mut key = Vec::with_capacity(5);
    key.push(RATCHET);
    key.extend(leaf.to_be_bytes());
    let mut value = Zeroizing::new(Vec::with_capacity(36));
    value.extend(generation.to_be_bytes());
    value.extend(secret.expose());
    (key, Some(value))
}

/// The keys of one block of generations that are still kept.
pub(super) fn skipped_record(leaf: u32, block: u32, skipped: &BTreeMap<u32, AeadKey>) -> RatchetRecord {
    let mut key = vec![SKIPPED];
    key.extend(leaf.to_be_bytes());
    key.extend(block.to_be_bytes());
    let first = block * BLOCK;
    let kept = skipped.range(first..first.saturating_add(BLOCK));
    let mut value = Zeroizing::new(Vec::with_capacity(BLOCK as usize * 32));
    for (generation, kept) in kept {
        value.extend(generation.to_be_bytes());
        value.extend(kept.key);
        value.extend(kept.nonce);
    }
    let value = if value.is_empty() { None } else { Some(value) };
    (key, value)
}

impl Ratchets {
    /// All records of a whole.
    pub(crate) fn records(&self) -> Vec<RatchetRecord> {
        let mut out = vec![(vec![HEIGHT], Some(Zeroizing::new(self.height.to_be_bytes().to_vec())))];
        out.extend(self.nodes.iter().map(|(place, secret)| node_record(*place, Some(secret))));
        for (leaf, ratchet) in &self.senders {
            out.push(ratchet_record(*leaf, &ratchet.secret, ratchet.generation));
            let blocks: BTreeSet<u32> = ratchet.skipped.keys().map(|generation| generation / BLOCK).collect();
            out.extend(blocks.into_iter().map(|block| skipped_record(*leaf, block, &ratchet.skipped)));
        }
        out
    }

    /// Reads them back, in any order.
    pub(crate) fn load(records: &[(Vec<u8>, Zeroizing<Vec<u8>>)]) -> Result<Self, Refusal> {
        let mut out = Self { height: 0, nodes: BTreeMap::new(), senders: BTreeMap::new() };
        let mut skipped = Vec::new();
        for (key, value) in records {
            let (kind, key) = key.split_first().ok_or(Refusal::Malformed)?;
            let (mut key, mut value) = (Fields(key), Fields(value));
            match *kind {
                HEIGHT => out.height = value.number()?,
                NODE => {
                    let place = Place { height: key.number()?, first: key.number()? };
                    out.nodes.insert(place, value.secret()?);
                }
                RATCHET => {
                    let (leaf, generation, secret) = (key.number()?, value.number()?, value.secret()?);
                    out.senders.insert(leaf, Ratchet { secret, generation, skipped: BTreeMap::new() });
                }
                SKIPPED => {
                    let (leaf, _block) = (key.number()?, key.number()?);
                    while !value.0.is_empty() {
                        let generation = value.number()?;
                        skipped.push((leaf, generation, AeadKey { key: value.array()?, nonce: value.array()? }));
                    }
                }
                _ => return Err(Refusal::Malformed),
            }
            key.end()?;
            value.end()?;
        }
        for (leaf, generation, kept) in skipped {
            let ratchet = out.senders.get_mut(&leaf).ok_or(Refusal::Malformed)?;
            ratchet.skipped.insert(generation, kept);
        }
        Ok(out)
    }
}

impl OwnPackage {
    /// The key package and its private keys. Secret.
    pub(crate) fn record(&self) -> Zeroizing<Vec<u8>> {
        let wire = encode(&self.wire);
        let mut out = Zeroizing::new(Vec::with_capacity(64 + wire.len()));
        out.extend(self.init.expose());
        out.extend(self.leaf.expose());
        out.extend(wire);
        out
    }

    /// Reads [`Self::record`] back.
    pub(crate) fn load(record: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields(record);
        let (init, leaf) = (fields.secret()?, fields.secret()?);
        Ok(Self { wire: decode::<KeyPackage>(fields.0)?, init, leaf })
    }
}
