//! The way back into a group whose epochs this device cannot follow (SPEC §5.8).

use std::collections::BTreeSet;

use dmls::effect::Need;
use dmls::id::{EpochId, Height, Timestamp};

use super::Room;
use super::lineage::Lineage;
use super::record::EntryPoint;

/// After so many rounds through all stages a search counts as in vain: some three minutes.
const ROUNDS_IN_VAIN: u32 = 5;

/// Where this device would be if it could follow.
#[derive(Default)]
struct OutOfReach {
    /// By the transcript of commits that are here.
    certain: Vec<(EpochId, Height)>,
    /// Searched for in vain.
    missing: Vec<EpochId>,
}

impl Room {
    /// The epoch to come back by: one that is out of reach, or is said to descend from it. The highest comes first.
    pub(crate) fn way_back(&self, now: Timestamp) -> Option<EntryPoint> {
        let out = self.out_of_reach(now);
        if out.certain.is_empty() && out.missing.is_empty() {
            return None;
        }
        let unknown = self.record.entries.iter().filter(|entry| !self.group.knows(&entry.epoch.id));
        let placed = unknown.filter_map(|entry| {
            let id = entry.epoch.id;
            if let Some((_, height)) = out.certain.iter().find(|(known, _)| *known == id) {
                let mut entry = entry.clone();
                entry.epoch.height = *height;
                return Some((true, entry));
            }
            let story = self.said_ancestry(id);
            let leads = out.certain.iter().map(|(known, _)| known).chain(&out.missing).any(|id| story.contains(id));
            leads.then(|| (false, entry.clone()))
        });
        placed.max_by_key(|(certain, entry)| (*certain, entry.epoch.height)).map(|(_, entry)| entry)
    }

    /// Whether this device is to come back, and knows no epoch to do it by. A search for a missing commit pages by
    /// itself.
    pub(crate) fn seeks_way_back(&self, now: Timestamp) -> bool {
        !self.out_of_reach(now).certain.is_empty() && self.way_back(now).is_none()
    }

    fn out_of_reach(&self, now: Timestamp) -> OutOfReach {
        let mut out = OutOfReach::default();
        if self.group.may_rejoin_at().is_none_or(|at| at > now) {
            return out;
        }
        for need in self.group.needs(now) {
            if let Need::ExternalJoin { epoch, height, .. } = need {
                out.certain.push((epoch, height));
            }
        }
        let mut in_vain = self.searches.iter().filter(|(_, search)| search.rounds >= ROUNDS_IN_VAIN).peekable();
        if in_vain.peek().is_some() {
            let lines = self.lines();
            out.missing.extend(in_vain.map(|(id, _)| *id).filter(|id| lines.of(id) == Lineage::Open));
        }
        out
    }

    /// `epoch` and all that is said to be before it, as far as this device does not know it.
    fn said_ancestry(&self, epoch: EpochId) -> BTreeSet<EpochId> {
        self.ancestry(&BTreeSet::from([epoch]))
    }
}
