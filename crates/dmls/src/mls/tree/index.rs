//! Where keys and devices may stand in a tree, so that no question about them has to walk it.

use std::collections::HashMap;
use std::hash::Hash as StdHash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::crypto::PublicKey;
use super::Leaf;
use super::place::Place;
use crate::id::Device;

/// Every key and device that a tree of this family holds, or held, with its places.
///
/// Trees that come from one another share an index. It may name more than a tree holds and never less: so whoever asks
/// checks each place that it names in the tree that is asked, and the answer depends on that tree alone (MLS M67).
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    encryption: HashMap<PublicKey, Vec<Place>>,
    signature: HashMap<[u8; 32], Vec<u32>>,
    device: HashMap<Device, Vec<u32>>,
}

impl Index {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_leaf(&self, index: u32, leaf: &Leaf) {
        let mut places = self.lock();
        note(&mut places.encryption, leaf.encryption_key(), Place::leaf(index));
        note(&mut places.signature, leaf.signature_key(), index);
        if let Some(device) = leaf.device() {
            note(&mut places.device, device, index);
        }
    }

    pub(super) fn note_parent(&self, place: Place, key: &PublicKey) {
        note(&mut self.lock().encryption, key, place);
    }

    /// The first place at which `holds` finds the key.
    pub(super) fn find_encryption(&self, key: &PublicKey, holds: impl Fn(Place) -> bool) -> Option<Place> {
        self.lock().encryption.get(key)?.iter().copied().find(|place| holds(*place))
    }

    pub(super) fn find_signature(&self, key: &[u8; 32], holds: impl Fn(u32) -> bool) -> Option<u32> {
        self.lock().signature.get(key)?.iter().copied().find(|index| holds(*index))
    }

    pub(super) fn find_device(&self, device: &Device, holds: impl Fn(u32) -> bool) -> Option<u32> {
        self.lock().device.get(device)?.iter().copied().find(|index| holds(*index))
    }

    /// How many encryption keys it knows: when to begin another one.
    pub(super) fn len(&self) -> usize {
        self.lock().encryption.len()
    }
}

fn note<K: StdHash + Eq + Clone, P: PartialEq>(map: &mut HashMap<K, Vec<P>>, key: &K, place: P) {
    match map.get_mut(key) {
        Some(places) if places.contains(&place) => {}
        Some(places) => places.push(place),
        None => drop(map.insert(key.clone(), vec![place])),
    }
}
