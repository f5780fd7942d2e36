//! Facts about the room: who may read, who left.

use std::collections::BTreeSet;

use super::{Batch, Departure, Group};
use crate::dag::Removal;
use crate::defence;
use crate::effect::{Applied, Verdict};
use crate::id::{Device, Locator, Timestamp};
use crate::input::Desired;
use crate::plan::Plan;

impl Group {
    pub(super) fn take_desired(&mut self, desired: Desired, batch: &mut Batch) -> Verdict {
        if *self.dag.desired() == desired {
            return Verdict::Known;
        }
        self.dag.set_desired(desired);
        batch.writes.push(self.desired_record());
        Verdict::Applied(Applied::Fact)
    }

    pub(super) fn take_departure(&mut self, user: String, event: Locator, batch: &mut Batch) -> Verdict {
        if self.departures.contains_key(&event) {
            return Verdict::Known;
        }
        let joined = self.dag.desired().of_user(&user).next().map(|(_, facts)| facts.joined.clone());
        let departure = Departure { order: self.departures.len(), user, joined, removed: BTreeSet::new() };
        self.departures.insert(event.clone(), departure);
        batch.writes.extend(self.departure_record(&event));
        Verdict::Applied(Applied::Fact)
    }

    /// Removal is sticky: who was removed with cause comes back only by a join that was not known then (SPEC §5.4).
    pub(super) fn refused(&self, device: &Device) -> bool {
        let Some(facts) = self.dag.desired().devices.get(device) else { return true };
        let same = |left: &Departure| left.user == device.user && left.joined.as_ref() == Some(&facts.joined);
        let known = |removal: &Removal| self.departures.get(&removal.event).is_some_and(same);
        let stub = |left: &Departure| left.removed.contains(device) && same(left);
        let removed = self.dag.removals(device).any(known) || self.departures.values().any(stub);
        removed && defence::on("F18")
    }

    /// The event that ended the membership of `device`'s owner, to justify its removal.
    pub(super) fn cause_of_removal(&self, device: &Device) -> Locator {
        let user_stays = self.dag.desired().has_user(&device.user);
        let left = self.departures.iter().filter(|(_, left)| left.user == device.user);
        let newest = left.max_by_key(|(_, left)| left.order).map(|(event, _)| event.clone());
        if user_stays { Locator::default() } else { newest.unwrap_or_default() }
    }

    pub(super) fn plan(&self) -> Option<Plan<'_>> {
        Plan::make(&self.dag, self.own.device(), &|device| self.refused(device))
    }

    /// Keeps the moment from which deadlines count.
    pub(super) fn note_due(&mut self, now: Timestamp, batch: &mut Batch) {
        let due = self.plan().is_some_and(|plan| plan.is_due());
        let since = if due { self.due_since.filter(|_| defence::on("C15")).or(Some(now)) } else { None };
        if since != self.due_since {
            self.due_since = since;
            batch.writes.push(self.group_record());
        }
    }
}
