//! Who may read, and which of their leaves count (SPEC §2.7).

use std::collections::{BTreeMap, BTreeSet};

use imbl::OrdMap;

use crate::defence;
use crate::id::{Device, SignatureKey};
use crate::input::Desired;
use crate::members::{Leaf, Members};

/// D, with what is known of its devices' leaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audience {
    desired: Desired,
    /// Devices of D whose membership is known to have ended, though it is shown: a server went back on it.
    ended: BTreeSet<Device>,
    /// Under the key of a device: its leaves with a smaller serial are dead, for it asked to be added anew.
    floors: OrdMap<SignatureKey, u64>,
    /// The largest serials of leaves that devices made by commits of their own.
    newest: OrdMap<Device, Newest>,
}

/// The largest serial of a leaf of one device under each of its keys.
pub(crate) type Newest = BTreeMap<SignatureKey, u64>;

/// `true` if that leaf is newer than those that are known.
pub(super) fn note_newest(newest: &mut Newest, key: SignatureKey, serial: u64) -> bool {
    let is_newer = newest.get(&key).is_none_or(|known| *known < serial);
    if is_newer {
        newest.insert(key, serial);
    }
    is_newer
}

impl Audience {
    pub(crate) fn of(desired: Desired) -> Self {
        Self { desired, ..Self::default() }
    }

    pub(crate) fn desired(&self) -> &Desired {
        &self.desired
    }

    /// D is this now; gives the devices of which it says something else than before.
    pub(super) fn set_desired(&mut self, desired: Desired) -> BTreeSet<Device> {
        let before = std::mem::replace(&mut self.desired, desired);
        differences(&before, &self.desired)
    }

    /// These memberships ended; gives the devices of which that was not so, or is no more.
    pub(super) fn set_ended(&mut self, ended: BTreeSet<Device>) -> BTreeSet<Device> {
        let before = std::mem::replace(&mut self.ended, ended);
        before.symmetric_difference(&self.ended).cloned().collect()
    }

    /// Whether this device's membership is known to have ended: it is not added, and its leaves count for nothing.
    pub(crate) fn has_ended(&self, device: &Device) -> bool {
        self.ended.contains(device)
    }

    /// `true` if this raises the floor.
    pub(super) fn raise_floor(&mut self, key: &SignatureKey, floor: u64) -> bool {
        let is_raised = floor > self.floor(key);
        if is_raised {
            self.floors.insert(*key, floor);
        }
        is_raised
    }

    /// Leaves under this key with a smaller serial are dead.
    pub(crate) fn floor(&self, key: &SignatureKey) -> u64 {
        self.floors.get(key).copied().unwrap_or_default()
    }

    /// Takes note of a leaf; `true` if it is the newest that its device made by a commit.
    pub(super) fn note_leaf(&mut self, leaf: &Leaf) -> bool {
        if leaf.of_package || !self.is_newer(leaf) {
            return false;
        }
        let newest = self.newest.entry(leaf.device.clone()).or_default();
        note_newest(newest, leaf.key, leaf.serial)
    }

    fn is_newer(&self, leaf: &Leaf) -> bool {
        let known = self.newest.get(&leaf.device).and_then(|newest| newest.get(&leaf.key));
        known.is_none_or(|known| *known < leaf.serial)
    }

    pub(super) fn set_newest(&mut self, device: &Device, newest: Newest) {
        self.newest.insert(device.clone(), newest);
    }

    /// The devices of D under this key.
    pub(super) fn devices_with(&self, key: &SignatureKey) -> BTreeSet<Device> {
        let devices = self.desired.devices.iter().filter(|(_, facts)| facts.key == *key);
        devices.map(|(device, _)| device.clone()).collect()
    }

    /// Whether a leaf is a device of D under the key that its owner vouches for.
    pub(crate) fn is_desired(&self, leaf: &Leaf) -> bool {
        let device = self.desired.devices.get(&leaf.device);
        device.is_some_and(|device| device.key == leaf.key || !defence::on("C18"))
    }

    /// Whether a leaf of D is one that its device still uses.
    pub(crate) fn is_live(&self, leaf: &Leaf) -> bool {
        self.is_desired(leaf) && leaf.serial >= self.floor(&leaf.key) && !self.has_ended(&leaf.device)
    }

    /// Whether its device asked to be added anew since it had this leaf.
    pub(crate) fn is_dead(&self, leaf: &Leaf) -> bool {
        self.is_desired(leaf) && leaf.serial < self.floor(&leaf.key) && !self.has_ended(&leaf.device)
    }

    /// A device's live leaf.
    pub(crate) fn live<'a>(&self, members: &'a Members, device: &Device) -> Option<&'a Leaf> {
        members.leaf_of(device).filter(|leaf| self.is_live(leaf))
    }

    /// Members of one epoch that have no live leaf in another.
    pub(crate) fn lacking<'a>(&'a self, here: &'a Members, there: &'a Members) -> impl Iterator<Item = &'a Leaf> {
        let gone = here.difference(there).filter_map(|place| place.gone);
        gone.filter(|leaf| self.live(there, &leaf.device).is_none())
    }

    /// Whether its device made a newer leaf by a commit, wherever that is.
    pub(crate) fn is_outdated(&self, leaf: &Leaf) -> bool {
        let newest = self.newest.get(&leaf.device).and_then(|newest| newest.get(&leaf.key));
        newest.is_some_and(|newest| *newest > leaf.serial)
    }
}

/// Devices of which two versions of D say something else.
fn differences(before: &Desired, after: &Desired) -> BTreeSet<Device> {
    use imbl::ordmap::DiffItem;
    let device = |item| match item {
        DiffItem::Add(device, _) | DiffItem::Update { new: (device, _), .. } | DiffItem::Remove(device, _) => device,
    };
    before.devices.diff(&after.devices).map(device).cloned().collect()
}
