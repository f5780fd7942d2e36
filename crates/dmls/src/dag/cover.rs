//! Which epochs cover others: heads are those that nothing covers (SPEC §2.6, §2.7).

use std::collections::{BTreeMap, BTreeSet};

use super::{Dag, Epoch, Generation};
use crate::defence;
use crate::id::{Device, EpochId};
use crate::members::Members;

/// What a user loses who has a leaf here and none there, and one whose leaf there is older.
pub(crate) const MISSING: usize = 2;
pub(crate) const OLDER: usize = 1;

/// What the users of D lose from one epoch to another, and what from that one to this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loss {
    there: usize,
    back: usize,
}

impl Dag {
    /// Whether an accepted epoch may cover others: what this device does not hold covers nothing for it.
    fn counts(&self, id: &EpochId, aside: &BTreeSet<EpochId>) -> bool {
        !aside.contains(id) && self.get(id).is_some_and(|epoch| !epoch.abandoned && epoch.held)
    }

    /// Whether `id` is a head once these epochs are set aside.
    pub(super) fn leads(&self, id: &EpochId, aside: &BTreeSet<EpochId>) -> bool {
        self.counts(id, aside) && !self.is_covered(id, aside)
    }

    /// Whether an epoch that counts covers this one. Most are covered by the first that was built on them.
    fn is_covered(&self, id: &EpochId, aside: &BTreeSet<EpochId>) -> bool {
        let Some(epoch) = self.get(id) else { return false };
        let (mut work, mut seen) = (vec![*id], BTreeSet::new());
        while let Some(below) = work.pop() {
            for above in self.index.namers(&below).filter(|above| self.takes_in(above, &below)) {
                if !seen.insert(*above) {
                    continue;
                }
                if self.counts(above, aside) && self.outweighs(above, epoch) {
                    return true;
                }
                work.push(*above);
            }
        }
        false
    }

    /// Whether one epoch covers another: it is held, has the other merged in it, and the users of D lose no more by it than
    /// they would lose by going back.
    pub(super) fn covers(&self, above: &EpochId, epoch: &Epoch) -> bool {
        let first = self.generation(&epoch.id).unwrap_or_default();
        self.counts(above, &BTreeSet::new())
            && self.merged(above, first).contains(&epoch.id)
            && self.outweighs(above, epoch)
    }

    fn outweighs(&self, above: &EpochId, epoch: &Epoch) -> bool {
        let Some(above) = self.get(above) else { return false };
        let Loss { there, back } = self.loss(&epoch.members, &above.members);
        there <= back || !defence::on("C12")
    }

    /// Whether an epoch takes in one that it names. A device merges what it is in: nobody covers a line that they cannot
    /// read.
    fn takes_in(&self, above: &EpochId, below: &EpochId) -> bool {
        let Some(above) = self.get(above).filter(|above| !above.abandoned) else { return false };
        if above.base.as_ref().is_some_and(|base| base.id == *below) {
            return true;
        }
        let creator = above.members.leaf_of(&above.creator);
        creator.zip(self.get(below)).is_some_and(|(leaf, below)| below.members.keeps(leaf))
    }

    /// What is merged in an epoch, itself included, as far as it is of this generation or later.
    pub(crate) fn merged(&self, id: &EpochId, first: Generation) -> BTreeSet<EpochId> {
        let (mut work, mut found) = (vec![*id], BTreeSet::from([*id]));
        while let Some(above) = work.pop() {
            for below in self.get(&above).map(Epoch::parents).unwrap_or_default() {
                let is_late = self.generation(&below).is_some_and(|generation| generation >= first);
                if is_late && self.takes_in(&above, &below) && found.insert(below) {
                    work.push(below);
                }
            }
        }
        found
    }

    /// Whether this device's leaf in `head` is older than the one with which it healed, on a fork that `head` does not build
    /// on. A leaf is never copied between forks (SPEC §3.10). A dead leaf is replaced by others.
    pub(crate) fn is_stale(&self, head: &Epoch) -> bool {
        let Some(own) = head.own_leaf.and_then(|index| head.members.get(index)) else { return false };
        let healed = self.healing().filter(|healed| !healed.abandoned).filter_map(Epoch::own_serial);
        let healed = healed.chain(self.past().healed).max();
        self.audience.is_live(own) && healed.is_some_and(|healed| own.serial < healed)
    }

    /// Of each user the device that loses most counts: whoever has many has no more weight.
    fn loss(&self, from: &Members, to: &Members) -> Loss {
        let (mut there, mut back) = (BTreeMap::new(), BTreeMap::new());
        for place in from.difference(to) {
            for leaf in [place.gone, place.new].into_iter().flatten() {
                let [one, other] =
                    [from, to].map(|members| self.audience.live(members, &leaf.device).map(|leaf| leaf.serial));
                note(&mut there, &leaf.device, one, other);
                note(&mut back, &leaf.device, other, one);
            }
        }
        Loss { there: there.values().sum(), back: back.values().sum() }
    }
}

fn note<'a>(losses: &mut BTreeMap<&'a str, usize>, device: &'a Device, from: Option<u64>, to: Option<u64>) {
    let loss = match (from, to) {
        (Some(_), None) => MISSING,
        (Some(from), Some(to)) if to < from => OLDER,
        _ => return,
    };
    let most = losses.entry(&device.user).or_default();
    *most = loss.max(*most);
}
