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
    let Some((parent, base)) = epoch.base.and_then(|parent| Some((parent, epochs.0.get(&parent)?))) else {
        return false;
    };
    let before = base.leaf(&loot.device).filter(|(_, before)| before.key == after.key);
    let Some((index, _)) = before else {
        // A new leaf: its key is known if it came with a stolen key package, to which the Welcome with M is sealed.
        return loot.packages.contains(&after.key);
    };
    // A grant opens with the leaf key and with the exports of those merged heads that the member is in (SPEC §3.7).
    let in_head = |head: &Id| epochs.0.get(head).is_some_and(|head| head.has(&loot.device));
    let granted = epoch.granted.contains(&index);
    // Of heads that do not exist the maker chose the value, and may have chosen one that can be guessed.
    let invented = |head: &Id| !epochs.0.contains_key(head);
    let learns = |head: &Id| known.contains(head) || invented(head) || (granted && !in_head(head));
    let inputs = epoch.resolves.iter().all(learns);
    known.contains(&parent) && inputs
}
