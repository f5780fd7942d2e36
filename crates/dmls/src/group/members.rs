//! Facts about the room: who may read, who left.

use super::{Batch, Departure, Group};
use crate::defence;
use crate::effect::{Applied, Verdict};
use crate::id::{Device, Locator, Timestamp};
use crate::input::Desired;
use crate::plan::Plan;

impl Group {
    pub(super) fn take_desired(&mut self, desired: Desired, now: Timestamp, batch: &mut Batch) -> Verdict {
        if *self.dag.desired() == desired {
            return Verdict::Known;
        }
        // Before D was told for the first time it is empty.
        let before = self.dag.desired();
        let is_in = |desired: &Desired| desired.devices.contains_key(self.own.device());
        let returns = !before.devices.is_empty() && !is_in(before) && is_in(&desired);
        self.dag.set_desired(desired);
        self.note_ended();
        batch.writes.push(self.desired_record());
        if returns && self.in_group() {
            self.of_d_since = Some(now);
            batch.writes.push(self.group_record());
        }
        Verdict::Applied(Applied::Fact)
    }

    pub(super) fn take_departure(&mut self, user: String, event: Locator, batch: &mut Batch) -> Verdict {
        if self.departures.contains_key(&event) {
            return Verdict::Known;
        }
        let joined = self.dag.desired().of_user(&user).next().map(|(_, facts)| facts.joined.clone());
        let departure = Departure { order: self.departures.len(), user, joined };
        self.departures.insert(event.clone(), departure);
        batch.writes.extend(self.departure_record(&event));
        self.note_ended();
        Verdict::Applied(Applied::Fact)
    }

    /// Whose membership ended counts again only by a join that was not known then (SPEC §5.4): a server that goes back on it
    /// leads nobody back to an epoch in which they read.
    pub(super) fn note_ended(&mut self) {
        let desired = self.dag.desired();
        let over = self.departures.values().filter(|_| defence::on("F18")).flat_map(|left| {
            let shown = desired.of_user(&left.user);
            shown.filter(|(_, facts)| left.joined.as_ref() == Some(&facts.joined)).map(|(device, _)| device.clone())
        });
        let over = over.collect();
        self.dag.set_ended(over);
    }

    /// The event that ended the membership of `device`'s owner, to justify its removal.
    pub(super) fn cause_of_removal(&self, device: &Device) -> Locator {
        let user_stays = self.dag.desired().has_user(&device.user);
        let left = self.departures.iter().filter(|(_, left)| left.user == device.user);
        let newest = left.max_by_key(|(_, left)| left.order).map(|(event, _)| event.clone());
        if user_stays { Locator::default() } else { newest.unwrap_or_default() }
    }

    pub(super) fn plan(&self) -> Option<Plan<'_>> {
        Plan::make(&self.dag, self.own.device())
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
