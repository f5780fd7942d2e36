//! How the members of an epoch differ from D, kept up to date by differences instead of counted anew.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet};

use crate::dag::{Audience, MISSING, OLDER};
use crate::id::{Device, LeafIndex};
use crate::members::{Leaf, Members};

/// Where an epoch's members are not D; a copy costs nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contrast {
    /// Members that are not in D: they must not read what is sent from now on.
    outside: OrdMap<LeafIndex, ()>,
    /// Leaves of devices of D that asked to be added anew since they had them.
    dead: OrdMap<LeafIndex, ()>,
    /// Devices of D without a live leaf.
    missing: OrdSet<Device>,
    /// Devices of D whose live leaf is older than one that they made by a commit elsewhere.
    older: OrdSet<Device>,
}

impl Contrast {
    /// Counted from scratch.
    pub(crate) fn of(members: &Members, audience: &Audience) -> Self {
        let mut contrast = Self::default();
        for leaf in members.iter() {
            contrast.place(leaf, audience);
            contrast.look_at(&leaf.device, members, audience);
        }
        let missing = audience.desired().devices.keys().filter(|device| audience.live(members, device).is_none());
        contrast.missing = missing.cloned().collect();
        contrast
    }

    /// The contrast of other members to the same D.
    pub(crate) fn moved(&self, from: &Members, to: &Members, audience: &Audience) -> Self {
        let mut contrast = self.clone();
        let places: Vec<_> = from.difference(to).collect();
        for gone in places.iter().filter_map(|place| place.gone) {
            contrast.outside.remove(&gone.index);
            contrast.dead.remove(&gone.index);
            contrast.look_at(&gone.device, to, audience);
        }
        for new in places.iter().filter_map(|place| place.new) {
            contrast.place(new, audience);
            contrast.look_at(&new.device, to, audience);
        }
        contrast
    }

    /// What is known of this device changed.
    pub(crate) fn reconsider(&mut self, device: &Device, members: &Members, audience: &Audience) {
        if let Some(leaf) = members.leaf_of(device) {
            self.place(leaf, audience);
        }
        self.look_at(device, members, audience);
    }

    /// The leaves of members that are not in D.
    pub(crate) fn outside(&self) -> impl ExactSizeIterator<Item = LeafIndex> {
        self.outside.keys().copied()
    }

    /// The leaves that are dead.
    pub(crate) fn dead(&self) -> impl Iterator<Item = LeafIndex> {
        self.dead.keys().copied()
    }

    /// Devices of D without a live leaf.
    pub(crate) fn missing(&self) -> &OrdSet<Device> {
        &self.missing
    }

    /// How far it is behind what the users of D have anywhere: of each the device that lacks most counts (SPEC §3.2).
    pub(crate) fn behind(&self) -> usize {
        let mut users: BTreeMap<&str, usize> = self.older.iter().map(|device| (&*device.user, OLDER)).collect();
        users.extend(self.missing.iter().map(|device| (&*device.user, MISSING)));
        users.values().sum()
    }

    fn place(&mut self, leaf: &Leaf, audience: &Audience) {
        let (is_outside, is_dead) = (!audience.is_desired(leaf), audience.is_dead(leaf));
        for (set, belongs) in [(&mut self.outside, is_outside), (&mut self.dead, is_dead)] {
            if belongs {
                set.insert(leaf.index, ());
            } else {
                set.remove(&leaf.index);
            }
        }
    }

    fn look_at(&mut self, device: &Device, members: &Members, audience: &Audience) {
        let live = audience.live(members, device);
        let is_missing = live.is_none() && audience.desired().devices.contains_key(device);
        let is_older = live.is_some_and(|leaf| audience.is_outdated(leaf));
        for (set, belongs) in [(&mut self.missing, is_missing), (&mut self.older, is_older)] {
            if belongs {
                set.insert(device.clone());
            } else {
                set.remove(device);
            }
        }
    }
}
