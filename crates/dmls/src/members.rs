//! Who is in an epoch: a value that epochs share as far as they agree.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde::{Deserialize, Serialize};

use crate::id::{Device, LeafIndex, SignatureKey};

/// A member's place in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leaf {
    pub(crate) index: LeafIndex,
    pub(crate) device: Device,
    pub(crate) key: SignatureKey,
    /// Its device's leaves count up.
    pub(crate) serial: u64,
    /// It came from a key package, not from its device's own commit.
    #[serde(rename = "package", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) of_package: bool,
}

/// The members of an epoch, in the order of their leaves; a copy costs nothing.
///
/// An identity has one leaf (SPEC §5.3).
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    leaves: OrdMap<LeafIndex, Arc<Leaf>>,
    by_device: OrdMap<ByDevice, ()>,
}

/// What is in one place in two epochs that differ there.
pub(crate) struct Difference<'a> {
    pub(crate) gone: Option<&'a Leaf>,
    pub(crate) new: Option<&'a Leaf>,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Every member, in the order of the leaves.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Leaf> {
        self.leaves.values().map(AsRef::as_ref)
    }

    pub(crate) fn get(&self, index: LeafIndex) -> Option<&Leaf> {
        self.leaves.get(&index).map(AsRef::as_ref)
    }

    /// The leaf of a device.
    pub(crate) fn leaf_of(&self, device: &Device) -> Option<&Leaf> {
        self.by_device.get_key_value(device).map(|(ByDevice(leaf), ())| leaf.as_ref())
    }

    /// Whether this device with this key has a leaf here.
    pub(crate) fn has(&self, device: &Device, key: &SignatureKey) -> bool {
        self.leaf_of(device).is_some_and(|leaf| leaf.key == *key)
    }

    /// Whether a leaf of another epoch is one here too, perhaps in another place.
    pub(crate) fn keeps(&self, leaf: &Leaf) -> bool {
        self.has(&leaf.device, &leaf.key)
    }

    /// Where `other` differs, in the order of the leaves. What both share is not looked at.
    pub(crate) fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Difference<'a>> {
        self.leaves.diff(&other.leaves).map(|item| match item {
            DiffItem::Add(_, new) => Difference { gone: None, new: Some(new) },
            DiffItem::Update { old: (_, gone), new: (_, new) } => Difference { gone: Some(gone), new: Some(new) },
            DiffItem::Remove(_, gone) => Difference { gone: Some(gone), new: None },
        })
    }

    /// Members that `other` lacks, or has under another key.
    pub(crate) fn lacking_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Leaf> {
        self.difference(other).filter_map(|place| place.gone).filter(|leaf| !other.keeps(leaf))
    }

    /// Whether a leaf of another epoch is one here too, and not an older one.
    pub(crate) fn is_as_new(&self, leaf: &Leaf) -> bool {
        self.leaf_of(&leaf.device).is_some_and(|known| known.key == leaf.key && known.serial >= leaf.serial)
    }

    /// Whether both have the same devices under the same keys, wherever their leaves are.
    pub(crate) fn same_devices(&self, other: &Self) -> bool {
        self.len() == other.len() && self.lacking_in(other).next().is_none()
    }

    /// These members without those in the places `gone`, and with `new`.
    pub(crate) fn with(&self, gone: impl IntoIterator<Item = LeafIndex>, new: impl IntoIterator<Item = Leaf>) -> Self {
        let (mut changed, new) = (self.clone(), new.into_iter().collect::<Vec<_>>());
        // All that goes does so first: a device may have come to another's place.
        gone.into_iter().chain(new.iter().map(|leaf| leaf.index)).for_each(|index| changed.remove(index));
        new.into_iter().for_each(|leaf| changed.put(leaf));
        changed
    }

    /// Exactly these leaves, sharing with these members what they have in common.
    pub(crate) fn following(&self, leaves: Vec<Leaf>) -> Self {
        let listed: std::collections::BTreeSet<_> = leaves.iter().map(|leaf| leaf.index).collect();
        let gone: Vec<_> = self.leaves.keys().filter(|index| !listed.contains(index)).copied().collect();
        let new = leaves.into_iter().filter(|leaf| self.get(leaf.index) != Some(leaf));
        self.with(gone, new)
    }

    fn remove(&mut self, index: LeafIndex) {
        let Some(leaf) = self.leaves.remove(&index) else { return };
        if self.leaf_of(&leaf.device).is_some_and(|known| known.index == index) {
            self.by_device.remove(&leaf.device);
        }
    }

    /// Into a free place.
    fn put(&mut self, leaf: Leaf) {
        let leaf = Arc::new(leaf);
        if !self.by_device.contains_key(&leaf.device) {
            self.by_device.insert(ByDevice(leaf.clone()), ());
        }
        self.leaves.insert(leaf.index, leaf);
    }
}

impl FromIterator<Leaf> for Members {
    fn from_iter<T: IntoIterator<Item = Leaf>>(leaves: T) -> Self {
        Self::default().with([], leaves)
    }
}

/// A leaf that is found by its device.
#[derive(Debug, Clone)]
struct ByDevice(Arc<Leaf>);

impl Borrow<Device> for ByDevice {
    fn borrow(&self) -> &Device {
        &self.0.device
    }
}

impl PartialEq for ByDevice {
    fn eq(&self, other: &Self) -> bool {
        self.0.device == other.0.device
    }
}

impl Eq for ByDevice {}

impl PartialOrd for ByDevice {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByDevice {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.device.cmp(&other.0.device)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn leaf(index: u32, user: &str) -> Leaf {
        Leaf {
            index: LeafIndex(index),
            device: Device::new(user, "D"),
            key: SignatureKey([1; 32]),
            serial: 1,
            of_package: false,
        }
    }

    /// One comes to the place that another had, who has a third one's now: all three are found.
    #[test]
    fn members_that_change_places_are_found() {
        let before: Members = [leaf(0, "a"), leaf(1, "b"), leaf(2, "c")].into_iter().collect();
        let after = before.following(vec![leaf(0, "c"), leaf(1, "a"), leaf(2, "d"), leaf(4, "b")]);
        let places = |device: &str| after.leaf_of(&Device::new(device, "D")).map(|leaf| leaf.index.0);
        assert_eq!(["a", "b", "c", "d"].map(places), [Some(1), Some(4), Some(0), Some(2)]);
        assert_eq!(after.iter().map(|leaf| leaf.index.0).collect::<Vec<_>>(), [0, 1, 2, 4]);
        assert_eq!(before.lacking_in(&after).count(), 0);
        assert_eq!(after.lacking_in(&before).collect::<Vec<_>>(), [&leaf(2, "d")]);
        assert!(before.same_devices(&before.following(vec![leaf(5, "b"), leaf(1, "a"), leaf(2, "c")])));
    }
}
