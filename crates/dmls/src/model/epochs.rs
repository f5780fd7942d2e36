//! Symbolic epochs: what a commit says, without any cryptography.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use sha2::{Digest, Sha256};

use crate::effect::{EpochKind, EpochRef};
use crate::id::{Device, EpochId, Locator, SignatureKey};

/// Names an epoch within one search; its EpochId is found in the register.
pub(super) type Ix = u32;
/// A set of devices (or sides), one bit each.
pub(super) type Set = u8;
/// At most this many devices.
pub(super) const DEVICES: usize = 4;

/// The members of a set, ascending.
pub(super) fn each(set: Set) -> impl Iterator<Item = u8> {
    (0..8).filter(move |bit| set & (1 << bit) != 0)
}

/// The device with this number: one for each user.
pub(super) fn device(number: u8) -> Device {
    Device::new(["a", "b", "c", "d"][usize::from(number)], "D")
}

/// The number of a device.
pub(super) fn number(device: &Device) -> u8 {
    device.user.as_bytes()[0] - b'a'
}

/// The key that its owner vouches for.
pub(super) fn key(number: u8) -> SignatureKey {
    SignatureKey([number + 1; 32])
}

/// Event `step` of a user's membership: odd ones are joins, even ones end it; 0 is none.
pub(super) fn event(user: u8, step: u8) -> Locator {
    if step == 0 { Locator::default() } else { Locator(format!("${user}.{step}")) }
}

/// The serial of everybody's leaf in the first epoch.
pub(super) const FIRST: u8 = 2;
/// The serial of the key package that a device made before any leaf, and that is given out again and again.
pub(super) const OLD: u8 = 1;

/// A device's place in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Leaf {
    pub(super) serial: u8,
    /// It came from a key package, not from its device's own commit.
    pub(super) of_package: bool,
}

/// All that a commit says: equal content is the same epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Made {
    pub(super) base: Option<Ix>,
    pub(super) resolves: Vec<Ix>,
    pub(super) creator: u8,
    /// Of the leaf that its creator made with it.
    pub(super) serial: u8,
    /// Who was added, with the serials of their key packages.
    pub(super) added: Vec<(u8, u8)>,
    pub(super) removed: Set,
    pub(super) external: bool,
    /// Devices that cannot open its UpdatePath.
    pub(super) poisons: Set,
    /// Devices that it added and that never get a Welcome.
    pub(super) ghosts: Set,
    /// Its merge value is made up: whoever can compute the true one cannot enter.
    pub(super) invented: bool,
    /// The second one that its creator made on the same base with the same serial.
    pub(super) twin: bool,
}

impl Made {
    /// The serial of the key package with which it adds a device.
    pub(super) fn package(&self, device: u8) -> Option<u8> {
        self.added.iter().find(|(added, _)| *added == device).map(|(_, serial)| *serial)
    }
}

/// An epoch as everybody would compute it.
#[derive(Debug)]
pub(super) struct Symbol {
    pub(super) made: Made,
    pub(super) id: EpochId,
    pub(super) number: u64,
    pub(super) leaves: [Option<Leaf>; DEVICES],
}

impl Symbol {
    pub(super) fn leaf(&self, device: u8) -> Option<Leaf> {
        self.leaves[usize::from(device)]
    }

    pub(super) fn has(&self, device: u8) -> bool {
        self.leaf(device).is_some()
    }

    pub(super) fn members(&self) -> Set {
        (0u8..).zip(&self.leaves).filter(|(_, leaf)| leaf.is_some()).fold(0, |set, (device, _)| set | 1 << device)
    }

    pub(super) fn kind(&self) -> EpochKind {
        match (self.made.base, self.made.external, self.made.resolves.is_empty()) {
            (None, ..) => EpochKind::Genesis,
            (_, true, _) => EpochKind::External,
            (_, _, true) => EpochKind::Commit,
            (_, _, false) => EpochKind::Merge,
        }
    }

    pub(super) fn parents(&self) -> impl Iterator<Item = Ix> {
        self.made.base.into_iter().chain(self.made.resolves.iter().copied())
    }

    pub(super) fn reference(&self) -> EpochRef {
        EpochRef { id: self.id, locator: Locator::default() }
    }
}

/// All epochs of one search.
#[derive(Default)]
pub(super) struct Register {
    inner: RwLock<Entered>,
}

#[derive(Default)]
struct Entered {
    symbols: Vec<Arc<Symbol>>,
    by_content: HashMap<Made, Ix>,
}

impl Register {
    pub(super) fn get(&self, ix: Ix) -> Arc<Symbol> {
        self.inner.read().unwrap().symbols[ix as usize].clone()
    }

    /// These epochs and all that they descend from, whoever knows of it.
    pub(super) fn ancestry(&self, heads: &[Ix]) -> BTreeSet<Ix> {
        let mut found = BTreeSet::new();
        let mut work = heads.to_vec();
        while let Some(next) = work.pop() {
            if found.insert(next) {
                work.extend(self.get(next).parents());
            }
        }
        found
    }

    /// The first epoch, with these members.
    pub(super) fn genesis(&self, members: Set) -> Ix {
        let added = each(members).map(|device| (device, FIRST)).collect();
        self.enter(Made { added, ..Made::default() })
    }

    /// The epoch that this commit makes; the same for equal content.
    pub(super) fn enter(&self, made: Made) -> Ix {
        let mut inner = self.inner.write().unwrap();
        if let Some(known) = inner.by_content.get(&made) {
            return *known;
        }
        let symbol = {
            let get = |ix: Ix| &inner.symbols[ix as usize];
            let number = made.base.map_or(0, |base| get(base).number + 1);
            let mut leaves = made.base.map_or([None; DEVICES], |base| get(base).leaves);
            each(made.removed).for_each(|device| leaves[usize::from(device)] = None);
            for (device, serial) in &made.added {
                leaves[usize::from(*device)] = Some(Leaf { serial: *serial, of_package: made.base.is_some() });
            }
            if made.base.is_some() {
                leaves[usize::from(made.creator)] = Some(Leaf { serial: made.serial, of_package: false });
            }
            let id = id_of(&made, &|ix| get(ix).id);
            Symbol { id, number, leaves, made: made.clone() }
        };
        let ix = Ix::try_from(inner.symbols.len()).unwrap();
        inner.symbols.push(Arc::new(symbol));
        inner.by_content.insert(made, ix);
        ix
    }
}

/// Follows from the content alone, whatever order a search finds epochs in.
fn id_of(made: &Made, id: &dyn Fn(Ix) -> EpochId) -> EpochId {
    let Made { base, resolves, creator, serial, added, removed, external, poisons, ghosts, invented, twin } = made;
    let mut hash = Sha256::new();
    hash.update(b"model epoch");
    for parent in base.iter().chain(resolves) {
        hash.update(id(*parent).0);
    }
    for (device, package) in added {
        hash.update([*device, *package]);
    }
    let counts = [resolves.len(), added.len()].map(|count| u8::try_from(count).unwrap());
    hash.update(counts);
    let flags = [external, invented, twin].map(|flag| u8::from(*flag));
    hash.update(flags);
    hash.update([*creator, *serial, *removed, *poisons, *ghosts]);
    EpochId(hash.finalize().into())
}
