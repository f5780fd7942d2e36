//! What lies behind: epochs by which nothing is decided any more become stubs (SPEC §7.10).

use super::records::{COMMIT, EPOCH, TRAFFIC};
use super::{Batch, Group};
use crate::base::eligible;
use crate::id::EpochId;
use crate::journal::Write;

/// One part in so many of those that are known in full becomes stubs at a time: they share a record.
const PAGES: usize = 8;
/// Pages that one commit turns at most; what is left comes with later ones.
const MAX_TURNED: usize = 4;

impl Group {
    /// Makes stubs of the oldest epochs once there are too many that are known in full, more of them than `before`.
    pub(super) fn settle_past(&mut self, before: usize, batch: &mut Batch) {
        let page = (self.settings.max_known / PAGES).max(1);
        // Not at every commit: where a fork stays open its epochs are looked through in vain.
        if self.excess() / page <= before / page {
            return;
        }
        for _ in 0..MAX_TURNED {
            if self.excess() < page || !self.settle_closed(batch) {
                return;
            }
            let mut going = self.dag.settled(page);
            if going.len() < page && self.let_aside_go(batch) {
                going = self.dag.settled(page);
            }
            if going.len() < page {
                return;
            }
            self.turn_page(&going, batch);
        }
    }

    /// Lets go what heads lead to that are set aside (SPEC §3.2): nobody merges them, and whoever left would keep the whole
    /// past of a room for ever by one of them. `false` if there is none.
    fn let_aside_go(&mut self, batch: &mut Batch) -> bool {
        let heads: Vec<_> = eligible(&self.dag).into_iter().map(|head| head.id).collect();
        let held = self.dag.held().into_iter().collect();
        let used = self.dag.among_ancestors(&held, heads.iter().copied());
        let aside: Vec<_> = held.difference(&used).copied().collect();
        if heads.is_empty() {
            return false;
        }
        aside.iter().for_each(|id| self.let_go(id, batch));
        !aside.is_empty()
    }

    /// How many epochs that are not held are known in full beyond those that should be.
    pub(super) fn excess(&self) -> usize {
        self.dag.let_go_len().saturating_sub(self.settings.max_known)
    }

    /// Forgets closed epochs that a head descends from: whether one does could not be seen any more. `false` if one of
    /// them still waits.
    fn settle_closed(&mut self, batch: &mut Batch) -> bool {
        let closed = self.known_closed();
        let reached = self.reached(&closed);
        let (done, waiting): (Vec<_>, Vec<_>) = reached.into_iter().partition(|id| self.closed.contains_key(id));
        done.iter().for_each(|id| self.open_again(id, batch));
        waiting.is_empty()
    }

    fn turn_page(&mut self, going: &[EpochId], batch: &mut Batch) {
        let turned = self.dag.turn_to_stubs(going);
        for epoch in &turned.epochs {
            self.commit_bytes.remove(&epoch.id);
            batch.writes.extend([EPOCH, COMMIT].map(|table| Write::delete(table, self.key(&[&epoch.id.0]))));
        }
        self.drop_counts(batch);
        batch.writes.push(self.page_record(turned.page));
        batch.writes.extend(turned.forgotten.map(|page| self.forget_page(page)));
        batch.writes.extend(self.floor_records(&turned.floor));
        batch.writes.extend(turned.newest.iter().filter_map(|device| self.newest_record(device)));
        // What goes on from no epoch that is known in full differs from the new floor.
        let on_floor = self.dag.epochs().filter(|epoch| self.is_on_floor(epoch)).map(|epoch| epoch.id);
        let on_floor: Vec<_> = on_floor.collect();
        batch.writes.extend(on_floor.iter().filter_map(|id| self.epoch_record(id)));
        batch.writes.push(self.group_record());
    }

    /// Counts of what was sealed in stubs are of no use, but for those of the epoch last sent in, which the next message
    /// tells.
    fn drop_counts(&mut self, batch: &mut Batch) {
        let is_past = |id: &EpochId| self.dag.get(id).is_none() && self.last_sent != Some(*id);
        let past: Vec<_> = self.traffic.keys().filter(|id| is_past(id)).copied().collect();
        for id in past {
            self.traffic.remove(&id);
            batch.writes.push(Write::delete(TRAFFIC, self.key(&[&id.0])));
        }
    }
}
