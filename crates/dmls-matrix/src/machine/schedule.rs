//! What a room does by itself: joins, commits that are due, messages that may leave, searches.

use dmls::defence;
use dmls::effect::{Due, Readiness};
use dmls::entropy::Entropy;
use dmls::error::GroupError;
use dmls::group::Orders;
use dmls::id::Timestamp;
use dmls::input::Input;
use dmls::journal::Journal;
use dmls::package::KeyPackages;

use super::Machine;
use crate::error::Error;
use crate::id::RoomId;
use crate::plaintext;
use crate::room::Room;
use crate::room::queue::{CommitItem, Draft, Item, SealedDraft, fresh_name};
use crate::room::record::{EntryPoint, Place, RowState, SealedAs};
use crate::room::rows::Name;
use crate::view::Report;

/// No new commit so soon after one that failed.
const COMMIT_HOLD: u64 = 5_000;
/// It doubles at most so often: to some ninety minutes.
const MAX_HOLD_DOUBLINGS: u32 = 10;
/// So long neither commits nor messages leave, at most, while a gap is being filled.
const CATCH_UP: u64 = 60_000;
/// Between one tick and the next.
const TICKS: u64 = 1_000;
/// So long after a sync the homeserver is within reach.
const IN_TOUCH: u64 = 600_000;
/// At most so many devices are added by one commit; the rest follow.
const MAX_ADDS: usize = 256;

impl<J: Journal> Machine<J> {
    /// Does all that can be done in a room without an answer from outside.
    pub(super) fn tend_room(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let in_touch = self.is_in_touch(now);
        let Some(room) = self.room(id)?.filter(|room| room.is_active()) else { return Ok(()) };
        room.note_gap_open(now);
        if in_touch && room.tick_is_due(now) {
            room.ticked = now;
            self.handle(id, Input::Tick, now, entropy, report)?;
        }
        self.refresh_desired(id, now, entropy, report)?;
        self.join_by_welcomes(id, now, entropy, report)?;
        if self.rooms.get(id).is_some_and(|room| room.group.in_group()) {
            self.tend_ask(id, now, entropy, report)?;
            self.tend_commit(id, now, entropy, report)?;
            self.tend_draft(id, now, entropy, report)?;
        } else {
            self.tend_entry(id, now, entropy, report)?;
        }
        let (own, welcomed) = (self.account.device.clone(), self.welcomed(id));
        if let Some(room) = self.rooms.get_mut(id) {
            room.welcomed = welcomed;
            room.tend_searches(&own, now, entropy)?;
        }
        self.flush(id)
    }

    /// Whether the homeserver is within reach.
    pub(super) fn is_in_touch(&self, now: Timestamp) -> bool {
        self.synced.is_some_and(|synced| now <= synced.plus(IN_TOUCH))
    }

    /// Joins by external commit once nobody sent a Welcome for long enough (SPEC §5.5).
    fn tend_entry(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        if room.record.waiting_since.is_none() {
            room.record.edit().waiting_since = Some(now);
        }
        if !self.may_enter(id, now) {
            return Ok(());
        }
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let Some((entry, group_info)) = room.group_info.take() else {
            if room.entries.is_empty() {
                room.page_for_entries(now);
            }
            return Ok(());
        };
        self.enter(id, entry, group_info, now, entropy, report)
    }

    /// Asks to be added anew once others went on where this device cannot follow (SPEC §5.8).
    fn tend_ask(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        if let Some(room) = self.rooms.get_mut(id) {
            room.note_head(now);
        }
        let asks = self.rooms.get(id).is_some_and(|room| room.unsent_ask().is_none() && room.asks_now(now));
        if !asks || !self.is_free_to_join(id, now) {
            return Ok(());
        }
        let mut packages = std::mem::take(&mut self.packages);
        let asked = self.call(
            id,
            entropy,
            report,
            |group, entropy| group.ask(&mut packages, now, entropy),
            |room, _, _| {
                room.note_asked(now);
                Ok(())
            },
        );
        match asked {
            Ok(_) => self.packages = packages,
            // What was made in memory only is not there on disk.
            Err(_) => self.packages = KeyPackages::load(&self.journal)?,
        }
        asked.map(drop)
    }

    /// Joins `target` by external commit; an entry point that is of no use is given up.
    fn enter(
        &mut self,
        id: &RoomId,
        entry: EntryPoint,
        group_info: Vec<u8>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let target = entry.epoch.clone();
        let joined = self.try_call(
            id,
            entropy,
            report,
            |group, entropy| group.join_externally(&group_info, target, now, entropy),
            |room, _, _| {
                room.record.edit().waiting_since = None;
                Ok(())
            },
        )?;
        if let (Err(error), Some(room)) = (joined, self.rooms.get_mut(id)) {
            room.give_up_entry(&entry);
            report.remarks.push(room.remark(None, None, "external_join", &error.to_string()));
        }
        Ok(())
    }

    /// Whether this device, which is in no epoch, waited long enough and may join by external commit now.
    pub(super) fn may_enter(&self, id: &RoomId, now: Timestamp) -> bool {
        let after = self.parameters.external_join_after;
        let waited = self.rooms.get(id).and_then(|room| room.enters_at(after)).is_some_and(|at| at <= now);
        waited && self.is_free_to_join(id, now) && defence::on("X3")
    }

    /// Whether nothing else is in the way of an external commit: this device is of D, and nothing is on its way.
    pub(super) fn is_free_to_join(&self, id: &RoomId, now: Timestamp) -> bool {
        let (Some(room), Some(own)) = (self.rooms.get(id), self.account.own.as_ref()) else { return false };
        let known = self.facts.knows(&own.device().user);
        let held = room.commit_hold.is_some_and(|until| until > now);
        known && !held && room.unpublished().is_none() && room.desires(&self.facts, own.device())
    }

    /// Whether members or devices of this room changed so lately that nobody answered yet: worth a moment's wait.
    ///
    /// Users with a leaf whose server never answered this device are neither removed nor sent to before it does. But a server
    /// that is gone must not keep anybody silent: after some minutes they are left out like any other that nothing
    /// vouches for.
    pub(super) fn awaits_facts(&self, room: &Room) -> bool {
        let leaves = room.group.canonical().and_then(|head| room.group.readers(&head)).unwrap_or_default();
        let is_awaited = |user: &str| !self.facts.knows(user) && !self.facts.is_given_up(user);
        let mut strangers = leaves.iter().filter(|leaf| room.is_joined(&leaf.user) && is_awaited(&leaf.user));
        room.record.members_stale
            || room.joined().any(|(user, _)| self.facts.awaits_first_answer(user))
            || strangers.any(|leaf| leaf.user != self.account.device.user) && defence::on("K5")
    }

    fn tend_commit(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get(id) else { return Ok(()) };
        let held = room.commit_hold.is_some_and(|until| until > now) || room.is_catching_up(now);
        if held || room.unpublished().is_some() || self.awaits_facts(room) {
            return Ok(());
        }
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let Some(due) = room.due_now(now) else { return Ok(()) };
        room.claims.start(&due.add, now);
        if room.claims.wait_until(now).is_some() || !room.is_worth_a_commit(&due) {
            return Ok(());
        }
        self.carry_out(id, now, entropy, report)
    }

    /// One commit with what could be claimed; if it does not fit, with half of it.
    fn carry_out(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let mut count = MAX_ADDS;
        loop {
            let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
            let packages = room.claims.take(count, now);
            let taken = packages.len();
            let orders = Orders { packages: packages.clone(), update: room.marks.update_wanted };
            let carried = self.try_call(
                id,
                entropy,
                report,
                |group, entropy| group.carry_out(orders, now, entropy),
                |room, _, _| {
                    room.updates.tries = room.updates.tries.saturating_add(1);
                    room.note_update_made();
                    room.forget_trouble();
                    Ok(())
                },
            )?;
            let (Err(error), Some(room)) = (carried, self.rooms.get_mut(id)) else { return Ok(()) };
            match error {
                GroupError::TooLarge { .. } if taken > 1 => {
                    room.claims.put_back(packages);
                    count = taken / 2;
                }
                error => {
                    room.commit_failed(&error, now, report);
                    return Ok(());
                }
            }
        }
    }

    /// Seals the oldest own message if it may be sent; what may no longer leave is made anew.
    fn tend_draft(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get(id) else { return Ok(()) };
        if self.awaits_facts(room) || room.unpublished().is_some() || room.is_catching_up(now) {
            return Ok(());
        }
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        room.drop_unreleasable();
        let Some(number) = room.first_draft() else { return Ok(()) };
        let Some(Item::Draft(draft)) = room.queue.get(&number).cloned() else { return Ok(()) };
        if draft.sealed.is_some() || !matches!(room.group.readiness(), Readiness::Ready(_)) {
            return Ok(());
        }
        self.seal_draft(id, number, draft.place, now, entropy, report)
    }

    /// Seals the own message that is listed at `place`; the used key, the row and the request are one transaction.
    fn seal_draft(
        &mut self,
        id: &RoomId,
        number: u64,
        place: Place,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let damaged = || Error::Damaged(crate::table::MESSAGE.0);
        let mut row = room.row(&self.journal, place)?.ok_or_else(damaged)?;
        let RowState::Readable { message_id, event_type, content, .. } = &row.state else { return Err(damaged()) };
        let content = serde_json::from_str(content).map_err(|_| damaged())?;
        let (txn_id, room_id) = (fresh_name(entropy)?, room.id.clone());
        let mut compose = |context: &dmls::group::SealContext<'_>| {
            plaintext::compose(context, &room_id, message_id, event_type, &content)
        };
        let durable = match room.group.seal(&mut compose, now, entropy) {
            Ok(durable) => durable,
            Err(GroupError::Entropy(error)) => return Err(error.into()),
            Err(error) => {
                report.remarks.push(room.remark(None, None, "group", &error.to_string()));
                return Ok(());
            }
        };
        let durable = durable.and_then(|sealed, writes| {
            (row.epoch_id, row.epoch) = (Some(sealed.epoch.id), room.epoch_name(&sealed.epoch.id));
            row.sealed.push(SealedAs { key: Name::Ciphertext(&sealed.bytes).key().into(), event: None });
            room.keep_row(place, &row);
            room.name_row(&Name::Ciphertext(&sealed.bytes), place);
            room.updates.tries = 0;
            let sealed = SealedDraft { epoch: sealed.epoch, txn_id, bytes: sealed.bytes };
            room.keep_item(number, Item::Draft(Draft { place, sealed: Some(sealed) }));
            writes.append(&mut room.take_writes());
        });
        let stored = durable.persist(&mut self.journal);
        if let Err(error) = stored {
            self.lose(id);
            return Err(Error::Store(error));
        }
        Ok(())
    }
}

impl Room {
    /// Whether the core should be told the time.
    fn tick_is_due(&self, now: Timestamp) -> bool {
        let wake = self.group.next_wake(now).is_some_and(|at| at <= now);
        wake && self.ticked.plus(TICKS) <= now
    }

    /// Since when there is a gap in what this device has seen.
    fn note_gap_open(&mut self, now: Timestamp) {
        self.gap_open = self.record.gap.as_ref().and(self.gap_open.or(Some(now)));
    }

    /// Whether what was missed is still being fetched: who commits or speaks before it is here forks off where the others
    /// were long ago, perhaps too long for them to follow. A flood, or a server that gives no pages, must not hold it up.
    fn is_catching_up(&self, now: Timestamp) -> bool {
        self.gap_open.is_some_and(|since| now < since.plus(CATCH_UP))
    }

    /// When this device joins by external commit.
    pub(super) fn enters_at(&self, after: u64) -> Option<Timestamp> {
        self.record.waiting_since.map(|since| since.plus(after))
    }

    /// What a commit should do now, if one should be made now.
    fn due_now(&self, now: Timestamp) -> Option<Due> {
        let due = self.group.due(now);
        let timely = due.at.is_some_and(|at| at <= now);
        let speaks = self.first_draft().is_some() && matches!(self.group.readiness(), Readiness::CommitFirst(_));
        let waits = due.remove.is_empty() && self.updates_at(&due).is_some_and(|at| at > now);
        (timely || speaks && !waits || self.marks.update_wanted).then_some(due)
    }

    /// Since when the canonical head is what it is.
    fn note_head(&mut self, now: Timestamp) {
        let head = self.group.canonical();
        if self.updates.head != head {
            (self.updates.head, self.updates.since, self.updates.behind) = (head, now, None);
        }
        let merged = head.is_some_and(|head| self.said_merges(head).next().is_some());
        self.updates.behind = if merged { self.updates.behind.or(Some(now)) } else { None };
    }

    /// When a leaf that a merge left behind is made good before a message leaves. The first time that is at once; where
    /// others did the same at the same time all but one were in vain, and then they take turns (SPEC §3.10).
    fn updates_at(&self, due: &Due) -> Option<Timestamp> {
        (self.updates.tries > 0).then(|| self.updates.since.plus(due.turn))
    }

    /// Adds alone need a package; everything else is worth a commit by itself.
    fn is_worth_a_commit(&self, due: &Due) -> bool {
        let stale = due.update && self.first_draft().is_some();
        self.marks.update_wanted
            || stale
            || !due.remove.is_empty()
            || !due.asked.is_empty()
            || !due.resolve.is_empty()
            || self.claims.has_packages()
    }

    fn commit_failed(&mut self, error: &GroupError, now: Timestamp, report: &mut Report) {
        self.commit_hold = Some(now.plus(COMMIT_HOLD));
        let code = match error {
            GroupError::NothingDue => return,
            GroupError::TooLarge { .. } => "commit_too_large",
            GroupError::NotInGroup => "not_in_group",
            _ => "group",
        };
        self.record.edit().trouble = Some(code.to_owned());
        report.remarks.push(self.remark(None, None, code, &error.to_string()));
    }

    /// The send gate at release: ciphertexts for epochs with leaves outside D are dropped, to be sealed anew.
    pub(super) fn drop_unreleasable(&mut self) {
        let closed = |draft: &SealedDraft| !self.group.may_release(&draft.epoch.id);
        let stale = |item: &Item| matches!(item, Item::Draft(draft) if draft.sealed.as_ref().is_some_and(closed));
        let numbers: Vec<_> = self.queue.iter().filter(|(_, item)| stale(item)).map(|(number, _)| *number).collect();
        for number in numbers {
            let Some(Item::Draft(mut draft)) = self.queue.get(&number).cloned() else { continue };
            draft.sealed = None;
            self.keep_item(number, Item::Draft(draft));
        }
    }

    /// The rekey that was asked for is in the newest own commit.
    fn note_update_made(&mut self) {
        if !self.marks.update_wanted {
            return;
        }
        self.marks.edit().update_wanted = false;
        let newest = self.queue.iter().rev().find_map(|(number, item)| match item {
            Item::Commit(commit) => Some((*number, commit.clone())),
            _ => None,
        });
        if let Some((number, commit)) = newest {
            self.keep_item(number, Item::Commit(CommitItem { update: true, ..commit }));
        }
    }

    /// Refused for good: nothing new before a pause, which doubles. Where this device may not commit, in a room of
    /// announcements or one that is closed, others may.
    pub(super) fn hold_commits(&mut self, now: Timestamp) {
        self.commit_hold = Some(now.plus(COMMIT_HOLD << self.commits_refused.min(MAX_HOLD_DOUBLINGS)));
        self.commits_refused += 1;
    }

    /// A commit was let through, or who may send what has changed.
    pub(super) fn release_commits(&mut self) {
        (self.commit_hold, self.commits_refused) = (None, 0);
    }

    /// When this room should be looked at again, after all that is possible now was done.
    pub(super) fn next_action(&self, now: Timestamp, external_join_after: u64) -> Option<Timestamp> {
        let tick = self.group.next_wake(now).map(|at| at.max(self.ticked.plus(TICKS)));
        let caught_up = self.gap_open.map(|since| since.plus(CATCH_UP));
        let mut times: Vec<Option<Timestamp>> = vec![self.commit_hold, tick, caught_up];
        if self.group.in_group() {
            let due = self.group.due(now);
            let ask = Some(self.may_ask_at());
            times.extend([due.at, self.claims.wait_until(now), self.next_search(), ask]);
            times.push(self.behind_until());
            if due.update && self.first_draft().is_some() {
                times.push(self.updates_at(&due));
            }
            if due.at.is_some_and(|at| at <= now) && !due.add.is_empty() {
                times.push(self.claims.next_try(&due.add));
            }
        } else {
            times.extend([self.enters_at(external_join_after), Some(self.paging.entries_due())]);
        }
        times.into_iter().flatten().filter(|at| *at > now).min()
    }
}
