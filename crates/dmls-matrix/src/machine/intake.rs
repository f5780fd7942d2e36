//! What comes in: sync, state, timeline, facts. Order: rooms, then to-device messages, the position last.

use dmls::entropy::Entropy;
use dmls::id::{Locator, Timestamp};
use dmls::input::Input;
use dmls::journal::{Durable, Journal};
use serde_json::Value;

use super::events::Placing;
use super::sending::is_created_by;
use super::{Machine, POSITION, Source};
use crate::error::Error;
use crate::facts::UserDevices;
use crate::id::RoomId;
use crate::names::{JOIN_RULES, MEMBER, POWER_LEVELS, TOMBSTONE};
use crate::room::members::{Departure, replaced};
use crate::room::record::{Gap, Place};
use crate::sync::{RoomInput, Section, SyncInput};
use crate::table;
use crate::view::{Encryption, Membership, Report};
use crate::wire::room::RawEvent;

/// Pages that are asked for to fill a gap: more than a flood has in a night.
const MAX_GAP_PAGES: u16 = 500;

impl<J: Journal> Machine<J> {
    /// Takes in one sync answer and stores its position last; replaying it changes nothing.
    ///
    /// Bad rooms, events and to-device messages are reported, never an error; only the store, the randomness and a
    /// missing credential can fail this call.
    pub fn receive_sync(
        &mut self,
        sync: SyncInput,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        self.recover()?;
        self.own()?;
        let taken = self.take_sync(sync, now, entropy);
        self.conclude(taken)
    }

    /// What a room shows is shown again until the position is stored, so it may wait where nothing else must be stored.
    /// To-device messages do not come again.
    fn take_sync(
        &mut self,
        sync: SyncInput,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        self.synced = Some(now);
        let mut report = std::mem::take(&mut self.untold);
        self.take_key_counts(sync.one_time_key_counts.as_ref(), sync.unused_fallback.as_deref(), now)?;
        self.note_changed_devices(&sync.changed_devices)?;
        for (room, input) in sync.rooms {
            self.take_room(&room, input, now, entropy, &mut report)?;
            self.unload()?;
        }
        for event in sync.to_device {
            self.take_to_device(event, now, entropy, &mut report)?;
            self.unload()?;
        }
        self.journal.wait(vec![table::put(table::ACCOUNT, POSITION.to_vec(), &sync.next_batch)]);
        self.position = Some(sync.next_batch);
        Ok(report)
    }

    /// The position of the last sync that was taken in whole.
    pub fn sync_position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Takes in raw room events from elsewhere.
    pub fn receive_room_events(
        &mut self,
        room: &RoomId,
        events: &[Value],
        source: Source,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        self.recover()?;
        let taken = self.take_room_events(room, events, source, now, entropy);
        self.store()?;
        taken
    }

    fn take_room_events(
        &mut self,
        room: &RoomId,
        events: &[Value],
        source: Source,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        let mut report = std::mem::take(&mut self.untold);
        let Some(known) = self.known_room(room)? else { return Err(Error::UnknownRoom(room.clone())) };
        let major = known.marks.next_major;
        let mut placing = match source {
            Source::Timeline => known.live_places(),
            Source::Backwards => Placing::Before(Place { major, minor: Place::FIRST }),
        };
        let departures = self.take_events(room, events, &mut placing, now, entropy, &mut report)?;
        self.settle_members(room, departures, now, entropy, &mut report)?;
        Ok(report)
    }

    /// Takes in current state events of a room.
    pub fn receive_room_state(
        &mut self,
        room: &RoomId,
        events: &[Value],
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        let mut report = std::mem::take(&mut self.untold);
        let departures = self.take_state(room, events)?;
        let settled = self.settle_members(room, departures, now, entropy, &mut report);
        self.store()?;
        settled.map(|()| report)
    }

    /// Takes in the verified devices of one user: the newest answer of that user's server.
    pub fn receive_device_facts(
        &mut self,
        facts: UserDevices,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        self.recover()?;
        let taken = self.take_device_facts(facts, now, entropy);
        self.conclude(taken)
    }

    fn take_device_facts(
        &mut self,
        facts: UserDevices,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        let mut report = std::mem::take(&mut self.untold);
        let (user, mut writes) = (facts.user.clone(), Vec::new());
        self.facts.answer(facts, &mut writes);
        self.store_facts(writes)?;
        let affected = self.rooms.iter_mut().filter(|(_, room)| room.is_joined(&user));
        let affected: Vec<_> = affected
            .map(|(id, room)| {
                room.desired_stale = true;
                room.claims.hurry(&user);
                id.clone()
            })
            .collect();
        for id in affected {
            self.refresh_desired(&id, now, entropy, &mut report)?;
        }
        Ok(report)
    }

    /// Marks the devices of users as out of date, as if a sync had said so.
    pub fn mark_devices_changed(&mut self, users: &[String]) -> Result<(), Error<J::Error>> {
        self.recover()?;
        let marked = self.note_changed_devices(users);
        self.conclude(marked)
    }

    fn note_changed_devices(&mut self, users: &[String]) -> Result<(), Error<J::Error>> {
        let mut writes = Vec::new();
        for user in users {
            self.facts.changed(user, &mut writes);
        }
        self.store_facts(writes)
    }

    fn store_facts(&mut self, writes: Vec<dmls::journal::Write>) -> Result<(), Error<J::Error>> {
        Durable::new(writes, ()).persist(&mut self.journal).map_err(Error::Store)
    }

    fn take_room(
        &mut self,
        id: &RoomId,
        input: RoomInput,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let user = self.account.device.user.clone();
        let Some(room) = self.room(id)? else { return Ok(()) };
        let membership = match input.section {
            Section::Join => Membership::Joined,
            Section::Invite => Membership::Invited,
            Section::Leave => Membership::Left,
        };
        if room.record.membership != membership {
            room.record.edit().membership = membership;
        }
        if input.section == Section::Invite {
            self.take_invite_state(id, &input.state);
            super::calls::note_changed(report, id);
            self.flush_later(id);
            return Ok(());
        }
        let mut departures = self.take_state(id, &input.state)?;
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let mut placing = room.live_places();
        room.note_gap(&input, &placing);
        // Before a gap another branch of the room's history may lie: its state can show who has long left.
        if input.limited || names_members(&input.state) {
            room.doubt_members();
        }
        departures.extend(self.take_events(id, &input.timeline, &mut placing, now, entropy, report)?);
        if let Some(room) = self.rooms.get_mut(id)
            && room.record.encryption == Encryption::Dmls
        {
            room.note_newest(&input.timeline);
            if membership == Membership::Joined && !room.is_joined(&user) {
                room.ask_for_members();
            }
        }
        self.settle_members(id, departures, now, entropy, report)?;
        // The device may have crashed before it heard that the room was made (SPEC §7.8).
        if is_created_by(&input, &self.account.device) {
            self.begin(id, now, entropy, report)?;
        }
        self.flush_later(id);
        Ok(())
    }

    /// Stripped state: only what people are shown.
    fn take_invite_state(&mut self, id: &RoomId, events: &[Value]) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let name = events.iter().find(|event| event.get("type").and_then(Value::as_str) == Some("m.room.name"));
        let name = name.and_then(|event| event.pointer("/content/name")).and_then(Value::as_str);
        if let Some(name) = name {
            room.record.edit().name = Some(name.chars().take(255).collect());
        }
    }

    /// Current state; nothing is stored yet.
    pub(super) fn take_state(&mut self, id: &RoomId, events: &[Value]) -> Result<Vec<Departure>, Error<J::Error>> {
        let Some(room) = self.room(id)? else { return Ok(Vec::new()) };
        let raw = events.iter().filter_map(RawEvent::parse).filter(|event| event.state_key.is_some());
        Ok(raw.filter_map(|event| room.take_state_event(&event)).collect())
    }

    /// The whole member list.
    pub(super) fn take_members(
        &mut self,
        id: &RoomId,
        events: &[Value],
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.room(id)? else { return Ok(()) };
        let raw: Vec<_> =
            events.iter().filter_map(RawEvent::parse).filter(|event| event.event_type == MEMBER).collect();
        let departures = room.take_all_members(&raw);
        self.settle_members(id, departures, now, entropy, report)
    }

    /// Tells the core who left, then who should be in; asks for the devices of those who are new.
    pub(super) fn settle_members(
        &mut self,
        id: &RoomId,
        departures: Vec<Departure>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let encrypted = self.rooms.get(id).is_some_and(|room| room.record.encryption == Encryption::Dmls);
        if !encrypted {
            self.flush_later(id);
            return Ok(());
        }
        for Departure { user, event } in departures {
            self.handle(id, Input::Departed { user, event: Locator(event) }, now, entropy, report)?;
        }
        self.refresh_desired(id, now, entropy, report)?;
        self.flush_later(id);
        Ok(())
    }

    /// Gives the core D anew if members or devices changed.
    pub(super) fn refresh_desired(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let own = self.own()?;
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        if !room.desired_stale || room.record.encryption != Encryption::Dmls {
            return Ok(());
        }
        room.desired_stale = false;
        for (user, _) in room.members.iter().filter(|(_, member)| member.joined) {
            self.facts.track(user, &mut room.writes);
        }
        let desired = room.desired(&self.facts, (own.device(), &own.key()));
        room.drop_welcomes(&|device| desired.devices.contains_key(device));
        self.handle(id, Input::Desired(desired), now, entropy, report)?;
        Ok(())
    }
}

/// Whether there are member events among these.
fn names_members(events: &[Value]) -> bool {
    events.iter().filter_map(RawEvent::parse).any(|event| event.event_type == MEMBER)
}

impl crate::room::Room {
    /// Takes in one state event.
    pub(super) fn take_state_event(&mut self, event: &RawEvent<'_>) -> Option<Departure> {
        match (event.event_type, event.state_key) {
            (MEMBER, Some(_)) => return self.take_member(event),
            (crate::names::ENCRYPTION, Some("")) => {
                let ours = crate::wire::room::is_ours(event.content);
                // Sticky: never switched off or changed.
                if self.record.encryption != Encryption::Dmls {
                    self.record.edit().encryption = if ours { Encryption::Dmls } else { Encryption::Other };
                }
                self.desired_stale = true;
            }
            // On another branch of the room's history somebody may have joined by the rules of before. Resolution drops
            // that join, and no sync says so (SPEC §6.8).
            (JOIN_RULES, Some("")) if replaced(event).is_some() => self.doubt_members(),
            (POWER_LEVELS | TOMBSTONE, Some("")) => self.release_commits(),
            ("m.room.name", Some("")) => {
                let name = crate::wire::text(event.content, "name");
                self.record.edit().name = name.map(|name| name.chars().take(255).collect());
            }
            _ => {}
        }
        None
    }

    /// Places for a batch of live events.
    pub(super) fn live_places(&mut self) -> Placing {
        Placing::After(self.next_place())
    }

    fn note_gap(&mut self, input: &RoomInput, placing: &Placing) {
        let (true, Some(from)) = (input.limited, &input.prev_batch) else { return };
        let before = placing.anchor().just_before();
        let gap = |until| Gap { from: from.clone(), before, until, pages_left: MAX_GAP_PAGES };
        let record = self.record.edit();
        match (self.marks.newest_event.clone(), record.gap.take()) {
            (None, _) => record.beginning = Some(gap(None)),
            // Below a gap that is still open the same holds: paging goes on down to where that one ends.
            (_, Some(Gap { until: Some(until), .. })) => record.gap = Some(gap(Some(until))),
            (Some(newest), open) => {
                record.beginning = open.or(record.beginning.take());
                record.gap = Some(gap(Some(newest)));
            }
        }
    }

    fn note_newest(&mut self, timeline: &[Value]) {
        if let Some(newest) = timeline.iter().rev().find_map(|event| crate::wire::id(event, "event_id")) {
            self.note_newest_event(newest);
        }
    }
}
