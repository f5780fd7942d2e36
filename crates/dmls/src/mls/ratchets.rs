//! The secret tree and its ratchets (RFC 9420 §9): the one part of an epoch that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Refusal;
use super::crypto::{AeadKey, Expander, derive, expand};
use super::record::{RatchetRecord, node_record, ratchet_record, skipped_record};
use super::tree::Place;
use crate::secret::Secret;

/// A message may be so many generations ahead of the newest that was opened before it: so many derivations are made
/// before anything shows that it is not invented (MLS M31).
pub(crate) const MAX_AHEAD: u32 = 24_576;
/// As far one leaps over what cannot come any more.
pub(crate) const MAX_LEAP: u32 = 1 << 20;
/// Of one sender at most so many keys that were passed over are kept; the oldest go first (MLS M35).
pub(crate) const MAX_SKIPPED: usize = MAX_AHEAD as usize;
/// Of all senders at most so many; those of whoever passes over more go first (MLS M35).
const MAX_SKIPPED_IN_ALL: usize = 4 * MAX_SKIPPED;
/// Keys that were passed over are stored so many to a record.
pub(super) const BLOCK: u32 = 64;

/// Message keys of an epoch, sparse: only what was touched is there.
///
/// At first one node, the root. A leaf's first message replaces the nodes above it by those beside its path, so that
/// every secret is there once: as a node, in a ratchet, or as a key that was passed over.
#[derive(Clone, Debug)]
pub(crate) struct Ratchets {
    pub(super) height: u32,
    pub(super) nodes: BTreeMap<Place, Secret>,
    pub(super) senders: BTreeMap<u32, Ratchet>,
}

/// A sender's application ratchet.
#[derive(Clone, Debug)]
pub(crate) struct Ratchet {
    pub(super) secret: Secret,
    /// The generation of the next key.
    pub(super) generation: u32,
    /// Keys that were passed over.
    pub(super) skipped: BTreeMap<u32, AeadKey>,
}

/// A key that was worked out, and what becomes of the ratchets once it is used.
///
/// Until [`Ratchets::advance`] nothing has changed: a key is used up only by a message that holds (RFC 9420 §9.1).
pub(crate) struct Turn {
    leaf: u32,
    generation: u32,
    key: AeadKey,
    change: Change,
}

enum Change {
    /// The key was kept for it.
    Kept,
    /// The ratchet moves on from `start`, past the keys of the generations since `from`.
    Ahead { start: Secret, from: u32, next: Secret, opened: Option<OpenedLeaf> },
}

/// What a leaf's first message does to the secret tree: a node goes, those beside the path come.
pub(super) struct OpenedLeaf {
    from: Place,
    beside: Vec<(Place, Secret)>,
}

impl Turn {
    pub(super) fn key(&self) -> AeadKey {
        self.key.clone()
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }
}

impl Ratchets {
    /// The ratchets of a tree that is `2^height` leaves wide.
    pub(super) fn new(encryption: Secret, height: u32) -> Self {
        Self { height, nodes: BTreeMap::from([(Place { height, first: 0 }, encryption)]), senders: BTreeMap::new() }
    }

    /// The next key of a sender: to seal with, once each (MLS M36).
    pub(super) fn next(&self, leaf: u32) -> Result<Turn, Refusal> {
        let generation = self.senders.get(&leaf).map_or(0, |ratchet| ratchet.generation);
        self.turn(leaf, generation)
    }

    /// The key of this generation: to open with.
    pub(super) fn turn(&self, leaf: u32, generation: u32) -> Result<Turn, Refusal> {
        self.turn_within(leaf, generation, MAX_AHEAD)
    }

    /// As [`Self::turn`], however much cannot come any more that lies before.
    pub(super) fn leap(&self, leaf: u32, generation: u32) -> Result<Turn, Refusal> {
        self.turn_within(leaf, generation, MAX_LEAP)
    }

    /// How many generations lie between the next one of a sender and this one: so many are worked out to open it.
    pub(crate) fn distance(&self, leaf: u32, generation: u32) -> u32 {
        generation.saturating_sub(self.senders.get(&leaf).map_or(0, |ratchet| ratchet.generation))
    }

    fn turn_within(&self, leaf: u32, generation: u32, most: u32) -> Result<Turn, Refusal> {
        if let Some(ratchet) = self.senders.get(&leaf) {
            if generation < ratchet.generation {
                // MLS M32.
                let key = ratchet.skipped.get(&generation).ok_or(Refusal::KeyUsed)?.clone();
                return Ok(Turn { leaf, generation, key, change: Change::Kept });
            }
            return ahead(leaf, generation, most, ratchet.generation, ratchet.secret.clone(), None);
        }
        let (secret, opened) = self.open_leaf(leaf, "application")?;
        ahead(leaf, generation, most, 0, secret, Some(opened))
    }

    /// Makes what [`Self::turn`] worked out the state, and gives what changes in the store: nothing is left of what was
    /// used (MLS M33, SPEC §7.3).
    pub(crate) fn advance(&mut self, turn: Turn) -> Vec<RatchetRecord> {
        let Turn { leaf, generation, key: _, change } = turn;
        let mut records = Vec::new();
        let Change::Ahead { start, from, next, opened } = change else {
            let Some(ratchet) = self.senders.get_mut(&leaf) else { return records };
            ratchet.skipped.remove(&generation);
            return vec![skipped_record(leaf, generation / BLOCK, &ratchet.skipped)];
        };
        if let Some(opened) = opened {
            self.nodes.remove(&opened.from);
            records.push(node_record(opened.from, None));
            records.extend(opened.beside.iter().map(|(place, secret)| node_record(*place, Some(secret))));
            self.nodes.extend(opened.beside);
        }
        let others = self.skipped() - self.senders.get(&leaf).map_or(0, |ratchet| ratchet.skipped.len());
        let most = MAX_SKIPPED.min(MAX_SKIPPED_IN_ALL.saturating_sub(others));
        let ratchet = self.senders.entry(leaf).or_insert_with(|| Ratchet::new(start.clone()));
        let changed = ratchet.pass(start, from..generation, most);
        (ratchet.secret, ratchet.generation) = (next, generation + 1);
        records.push(ratchet_record(leaf, &ratchet.secret, ratchet.generation));
        records.extend(changed.into_iter().map(|block| skipped_record(leaf, block, &ratchet.skipped)));
        records
    }

    /// A leaf's first ratchet (RFC 9420 §9.2); `label` is "application", handshakes are not private here.
    pub(super) fn open_leaf(&self, leaf: u32, label: &str) -> Result<(Secret, OpenedLeaf), Refusal> {
        let above = (0..=self.height).map(|height| Place::above(leaf, height));
        let held = above.filter_map(|place| Some((place, self.nodes.get(&place)?))).next();
        let (from, secret) = held.ok_or(Refusal::KeyUsed)?;
        let (mut place, mut secret, mut beside) = (from, secret.clone(), Vec::new());
        while place.height > 0 {
            let (left, right) = (expand(&secret, "tree", b"left"), expand(&secret, "tree", b"right"));
            if place.is_right(leaf) {
                beside.push((place.left(), left));
                (place, secret) = (place.right(), right);
            } else {
                beside.push((place.right(), right));
                (place, secret) = (place.left(), left);
            }
        }
        Ok((derive(&secret, label), OpenedLeaf { from, beside }))
    }

    /// How many keys are kept for messages that were passed over.
    pub(crate) fn skipped(&self) -> usize {
        self.senders.values().map(|ratchet| ratchet.skipped.len()).sum()
    }
}

impl Ratchet {
    fn new(secret: Secret) -> Self {
        Self { secret, generation: 0, skipped: BTreeMap::new() }
    }

    /// Keeps the keys of these generations, the first of which `secret` gives; gives the blocks that changed.
    fn pass(&mut self, mut secret: Secret, generations: Range<u32>, most: usize) -> BTreeSet<u32> {
        let mut changed = BTreeSet::new();
        let kept_from = generations.end.saturating_sub(u32::try_from(most).unwrap_or(u32::MAX));
        for generation in generations {
            secret = if generation >= kept_from {
                let (key, next) = step(&secret, generation);
                self.skipped.insert(generation, key);
                changed.insert(generation / BLOCK);
                next
            } else {
                following(&secret, generation)
            };
        }
        while self.skipped.len() > most
            && let Some((oldest, _)) = self.skipped.pop_first()
        {
            changed.insert(oldest / BLOCK);
        }
        changed
    }
}

/// The key of a generation that comes at `from` or later.
fn ahead(
    leaf: u32,
    generation: u32,
    most: u32,
    from: u32,
    start: Secret,
    opened: Option<OpenedLeaf>,
) -> Result<Turn, Refusal> {
    if generation - from > most || generation == u32::MAX {
        return Err(Refusal::TooFarAhead);
    }
    let mut secret = start.clone();
    for before in from..generation {
        secret = following(&secret, before);
    }
    let (key, next) = step(&secret, generation);
    Ok(Turn { leaf, generation, key, change: Change::Ahead { start, from, next, opened } })
}

/// The key of a generation, and the secret of the next one.
pub(super) fn step(secret: &Secret, generation: u32) -> (AeadKey, Secret) {
    let (expander, context) = (Expander::new(secret), generation.to_be_bytes());
    (expander.aead_key(&context), expander.expand("secret", &context))
}

pub(super) fn following(secret: &Secret, generation: u32) -> Secret {
    expand(secret, "secret", &generation.to_be_bytes())
}
