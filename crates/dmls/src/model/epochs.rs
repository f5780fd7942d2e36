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

/// The step that an event is, for the user that it is about.
pub(super) fn step(event: &Locator) -> u8 {
    event.0.rsplit('.').next().and_then(|step| step.parse().ok()).unwrap_or(0)
}

/// All that a commit says: equal content is the same epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Made {
    pub(super) base: Option<Ix>,
    pub(super) resolves: Vec<Ix>,
    pub(super) creator: u8,
    pub(super) added: Set,
    /// Who was removed, with the step of its owner's membership that is named as the cause, or 0.
    pub(super) removed: Vec<(u8, u8)>,
    pub(super) external: bool,
    /// Devices that cannot open its UpdatePath.
    pub(super) poisons: Set,
    /// Tells apart what one device commits on one base.
    pub(super) attempt: u8,
}

/// An epoch as everybody would compute it.
#[derive(Debug)]
pub(super) struct Symbol {
    pub(super) made: Made,
    pub(super) id: EpochId,
    pub(super) number: u64,
    pub(super) leaves: Set,
}

impl Symbol {
    pub(super) fn has(&self, device: u8) -> bool {
        self.leaves & (1 << device) != 0
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
        self.enter(Made { added: members, ..Made::default() })
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
            let gone = made.removed.iter().fold(0, |set, (device, _)| set | 1 << device);
            let leaves = (made.base.map_or(0, |base| get(base).leaves) & !gone) | made.added;
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
    let Made { base, resolves, creator, added, removed, external, poisons, attempt } = made;
    let mut hash = Sha256::new();
    hash.update(b"model epoch");
    for parent in base.iter().chain(resolves) {
        hash.update(id(*parent).0);
    }
    for (device, cause) in removed {
        hash.update([*device, *cause]);
    }
    let resolved = u8::try_from(resolves.len()).unwrap();
    hash.update([resolved, *creator, *added, u8::from(*external), *poisons, *attempt]);
    EpochId(hash.finalize().into())
}
