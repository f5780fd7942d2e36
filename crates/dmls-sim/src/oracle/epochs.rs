//! The oracle's own book of epochs: who has a leaf where, told from the public bytes of commits alone.

use std::collections::{BTreeMap, BTreeSet};

use super::commit::{Commit, Name, NewLeaf};

/// An epoch's 32 bytes.
pub(super) type Id = [u8; 32];

/// One epoch.
#[derive(Debug, Clone)]
pub(super) struct Epoch {
    pub(super) base: Option<Id>,
    pub(super) resolves: Vec<Id>,
    pub(super) creator: Name,
    /// Leaves by index; blank ones are `None`.
    pub(super) leaves: Vec<Option<NewLeaf>>,
    /// Leaves of the base that the commit sealed M to.
    pub(super) granted: Vec<usize>,
    /// An external commit made it.
    pub(super) external: bool,
}

impl Epoch {
    pub(super) fn has(&self, device: &Name) -> bool {
        self.leaf(device).is_some()
    }

    pub(super) fn leaf(&self, device: &Name) -> Option<(usize, &NewLeaf)> {
        let leaves = self.leaves.iter().enumerate();
        leaves.filter_map(|(at, leaf)| Some((at, leaf.as_ref()?))).find(|(_, leaf)| leaf.device == *device)
    }

    pub(super) fn members(&self) -> BTreeSet<Name> {
        self.leaves.iter().flatten().map(|leaf| leaf.device.clone()).collect()
    }
}

/// All epochs whose commits were ever posted, and the first one.
#[derive(Debug, Default)]
pub(super) struct Epochs(pub(super) BTreeMap<Id, Epoch>);

impl Epochs {
    /// The genesis epoch, with its maker alone in it.
    pub(super) fn genesis(&mut self, id: Id, creator: Name, signer: Vec<u8>) {
        let leaf = NewLeaf { device: creator.clone(), signer, key: b"genesis".to_vec() };
        let leaves = vec![Some(leaf)];
        let epoch = Epoch { base: None, resolves: Vec::new(), creator, leaves, granted: Vec::new(), external: false };
        self.0.insert(id, epoch);
    }

    /// The epoch that `commit` makes, if its base is known.
    pub(super) fn add(&mut self, id: Id, commit: &Commit) -> Option<()> {
        let base = self.0.get(&commit.base)?;
        let mut leaves = base.leaves.clone();
        for index in &commit.removes {
            *leaves.get_mut(*index)? = None;
        }
        for leaf in &commit.adds {
            place(&mut leaves, leaf.clone());
        }
        match commit.sender {
            Some(index) => *leaves.get_mut(index)? = Some(commit.path.clone()),
            None => place(&mut leaves, commit.path.clone()),
        }
        let epoch = Epoch {
            base: Some(commit.base),
            resolves: commit.resolves.clone(),
            creator: commit.path.device.clone(),
            leaves,
            granted: commit.granted.clone(),
            external: commit.sender.is_none(),
        };
        self.0.insert(id, epoch);
        Some(())
    }

    /// Every epoch that `id` descends from, itself included.
    /// The epoch in which a device's leaf of `id` came to be.
    pub(super) fn entry_of(&self, id: &Id, device: &Name) -> Option<Id> {
        let (_, leaf) = self.0.get(id)?.leaf(device)?;
        let mut entered = *id;
        while let Some(base) = self.0.get(&entered)?.base
            && self.0.get(&base).and_then(|base| base.leaf(device)).is_some_and(|(_, before)| before == leaf)
        {
            entered = base;
        }
        Some(entered)
    }

    /// Every epoch that `id` descends from, by base or resolves, itself included.
    pub(super) fn ancestry(&self, id: &Id) -> BTreeSet<Id> {
        let (mut found, mut work) = (BTreeSet::new(), vec![*id]);
        while let Some(next) = work.pop() {
            if found.insert(next)
                && let Some(epoch) = self.0.get(&next)
            {
                work.extend(epoch.base.iter().chain(&epoch.resolves));
            }
        }
        found
    }
}

/// A new leaf goes to the leftmost blank one (RFC 9420 §7.7).
fn place(leaves: &mut Vec<Option<NewLeaf>>, leaf: NewLeaf) {
    match leaves.iter_mut().find(|place| place.is_none()) {
        Some(blank) => *blank = Some(leaf),
        None => leaves.push(Some(leaf)),
    }
}
