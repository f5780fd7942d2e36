//! What a thief can work out from a device's memory at one moment: a closure over public commits.
//!
//! The rules are those of the protocol, not of the code: whoever holds an epoch's state as a member follows a commit on
//! it if that member stays, did not make the commit, and the PSK's inputs are known or granted to a leaf key that the
//! thief has.

use std::collections::BTreeSet;

use super::commit::Name;
use super::epochs::{Epoch, Epochs, Id};

/// What was taken.
pub(super) struct Loot {
    pub(super) device: Name,
    /// Epochs whose state the device held.
    pub(super) epochs: BTreeSet<Id>,
    /// HPKE public keys of leaves in key packages whose private keys it still had.
    pub(super) packages: BTreeSet<Vec<u8>>,
}

/// Every epoch whose messages the thief can open, now or later.
pub(super) fn known(loot: &Loot, epochs: &Epochs) -> BTreeSet<Id> {
    let mut known = loot.epochs.clone();
    loop {
        let follows = |(id, epoch): &(&Id, &Epoch)| !known.contains(*id) && follows(loot, epochs, &known, epoch);
        let more: Vec<_> = epochs.0.iter().filter(follows).map(|(id, _)| *id).collect();
        if more.is_empty() {
            return known;
        }
        known.extend(more);
    }
}

fn follows(loot: &Loot, epochs: &Epochs, known: &BTreeSet<Id>, epoch: &Epoch) -> bool {
    let Some((_, after)) = epoch.leaf(&loot.device) else { return false };
    if loot.packages.contains(&after.key) {
        return true; // the Welcome, with M in it, is sealed to a stolen key
    }
    let Some(base) = epoch.base.as_ref().filter(|base| known.contains(*base)).and_then(|base| epochs.0.get(base))
    else {
        return false;
    };
    let Some((index, before)) = base.leaf(&loot.device) else { return false };
    let stays = before.key == after.key; // a new leaf's key was made after the theft
    let inputs = epoch.resolves.iter().all(|head| known.contains(head)) || epoch.granted.contains(&index);
    stays && inputs
}
