//! How the members of an epoch differ from D, kept up to date by differences instead of counted anew.

use imbl::{OrdMap, OrdSet};

use crate::dag::is_desired;
use crate::id::{Device, LeafIndex};
use crate::input::Desired;
use crate::members::{Leaf, Members};

/// Where an epoch's members are not D; a copy costs nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contrast {
    /// Members that are not in D: they must not read what is sent from now on.
    outside: OrdMap<LeafIndex, ()>,
    /// Devices of D without a leaf under the key that their owner vouches for.
    missing: OrdSet<Device>,
}

impl Contrast {
    /// Counted from scratch.
    pub(crate) fn of(members: &Members, desired: &Desired) -> Self {
        let mut contrast = Self::default();
        let outside = members.iter().filter(|leaf| !is_desired(desired, leaf));
        contrast.outside = outside.map(|leaf| (leaf.index, ())).collect();
        let missing = desired.devices.iter().filter(|(device, facts)| !members.has(device, &facts.key));
        contrast.missing = missing.map(|(device, _)| device.clone()).collect();
        contrast
    }

    /// The contrast of other members to the same D.
    pub(crate) fn moved(&self, from: &Members, to: &Members, desired: &Desired) -> Self {
        let mut contrast = self.clone();
        let places: Vec<_> = from.difference(to).collect();
        for gone in places.iter().filter_map(|place| place.gone) {
            contrast.outside.remove(&gone.index);
            contrast.look_at(&gone.device, to, desired);
        }
        for new in places.iter().filter_map(|place| place.new) {
            contrast.place(new, desired);
            contrast.look_at(&new.device, to, desired);
        }
        contrast
    }

    /// D changed for this device.
    pub(crate) fn reconsider(&mut self, device: &Device, members: &Members, desired: &Desired) {
        if let Some(leaf) = members.leaf_of(device) {
            self.place(leaf, desired);
        }
        self.look_at(device, members, desired);
    }

    /// The leaves of members that are not in D.
    pub(crate) fn outside(&self) -> impl ExactSizeIterator<Item = LeafIndex> {
        self.outside.keys().copied()
    }

    /// Devices of D that are not there.
    pub(crate) fn missing(&self) -> &OrdSet<Device> {
        &self.missing
    }

    fn place(&mut self, leaf: &Leaf, desired: &Desired) {
        if is_desired(desired, leaf) {
            self.outside.remove(&leaf.index);
        } else {
            self.outside.insert(leaf.index, ());
        }
    }

    fn look_at(&mut self, device: &Device, members: &Members, desired: &Desired) {
        if desired.devices.get(device).is_some_and(|facts| !members.has(device, &facts.key)) {
            self.missing.insert(device.clone());
        } else {
            self.missing.remove(device);
        }
    }
}
