//! Answers of the homeserver, and their absence.

use std::collections::BTreeMap;

use dmls::entropy::Entropy;
use dmls::id::{Device, EpochId, Timestamp};
use dmls::input::Input;
use dmls::journal::Journal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Machine;
use super::events::Placing;
use super::requests::{Pause, RoomTicket, Ticket};
use super::to_device::commit_of;
use crate::error::Error;
use crate::id::{RequestId, RoomId};
use crate::ledger::Ledger;
use crate::names::{key_package_algorithm, unbase64};
use crate::request::{Failure, Response};
use crate::room::Room;
use crate::room::queue::{Item, WelcomeItem};
use crate::room::record::Gap;
use crate::view::Report;
use crate::wire::room::{Media, RawEvent};

/// First pause after a failure, and the longest.
const FIRST_PAUSE: u64 = 1_000;
const LONGEST_PAUSE: u64 = 300_000;
/// After this many failures a request to another device is given up.
const MAX_ATTEMPTS: u32 = 12;
/// To-device items of a room above which members' requests are no longer taken in.
const MAX_TO_DEVICE: usize = 200;

impl<J: Journal> Machine<J> {
    /// Takes in the answer to a request; an unknown id is ignored.
    pub fn mark_request_as_sent(
        &mut self,
        id: &RequestId,
        response: Response,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        self.recover()?;
        let mut report = std::mem::take(&mut self.untold);
        let Some(ticket) = self.tickets.get(id).cloned() else { return Ok(report) };
        self.pauses.remove(id);
        let answered = self.answer(ticket, response, now, entropy, &mut report);
        self.conclude(answered)?;
        self.tickets.remove(id);
        Ok(report)
    }

    /// Tells of users whose servers are silent: what is sent from here leaves their devices out.
    fn query_ended(&mut self, number: u64, now: Timestamp, report: &mut Report) {
        for user in self.facts.ended(number, now) {
            let text = format!("the server of {user} does not tell their devices: they are left out until it does");
            let rooms = self.rooms.values().filter(|room| room.is_joined(&user));
            report.remarks.extend(rooms.map(|room| room.remark(None, Some(&user), "server_silent", &text)));
        }
    }

    fn answer(
        &mut self,
        ticket: Ticket,
        response: Response,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        match ticket {
            Ticket::Keys => self.keys_uploaded(&json_of(response))?,
            Ticket::Query(number) => self.query_ended(number, now, report),
            Ticket::WelcomeBody(hash, sha256) => match media_of(response, &sha256) {
                Some(bytes) => self.welcome_body(&hash, bytes)?,
                None => self.welcome_delayed(&hash, now)?,
            },
            Ticket::Room(room, ticket) => {
                if self.known_room(&room)?.is_some() {
                    let repeatable = ticket.is_repeatable();
                    self.answer_room(&room, ticket, response, now, entropy, report)?;
                    match repeatable {
                        true => self.flush_later(&room),
                        false => self.flush(&room)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn answer_room(
        &mut self,
        id: &RoomId,
        ticket: RoomTicket,
        response: Response,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        match ticket {
            RoomTicket::Claim(number) => {
                let devices = room.claims.running().find(|(running, _)| *running == number);
                let devices = devices.map(|(_, devices)| devices.to_vec()).unwrap_or_default();
                room.claims.answer(number, claimed(&json_of(response), &devices), now);
            }
            RoomTicket::CommitUpload(number) | RoomTicket::WelcomeUpload(number) => {
                let body = json_of(response);
                let url = body.get("content_uri").and_then(Value::as_str);
                let url = url.filter(|url| url.starts_with("mxc://") && url.len() <= 255);
                room.uploaded(number, url.ok_or(Error::Malformed("content_uri"))?);
            }
            RoomTicket::CommitEvent(number) => {
                let event_id = event_id_of(&json_of(response))?;
                self.published(id, number, &event_id, now, entropy, report)?;
            }
            RoomTicket::WelcomeSend(number) | RoomTicket::ToDevice(number) | RoomTicket::AskEvent(number) => {
                room.drop_item(number);
            }
            RoomTicket::DraftEvent(number) => {
                let event_id = event_id_of(&json_of(response))?;
                let Some(Item::Draft(draft)) = room.queue.get(&number) else { return Ok(()) };
                let place = draft.place;
                room.forget_trouble();
                if let Some(row) = room.row(&self.journal, place)? {
                    room.finish_draft(place, row, &event_id, None);
                }
                room.drop_item(number);
                super::calls::note_changed(report, id);
            }
            RoomTicket::Fetch(event_id) => {
                self.fetched(id, &event_id, Some(&json_of(response)), now, entropy, report)?;
            }
            RoomTicket::Gap(_) => self.gap_page(id, &json_of(response), now, entropy, report)?,
            RoomTicket::Page(_) => self.run_page(id, &json_of(response), now, entropy, report)?,
            RoomTicket::Members => {
                let body = json_of(response);
                let chunk = body.get("chunk").and_then(Value::as_array).ok_or(Error::Malformed("chunk"))?;
                self.take_members(id, chunk, now, entropy, report)?;
            }
            RoomTicket::EntryInfo(epoch, media) => {
                let name = (epoch, media);
                let entry = room.entries.values().find(|entry| entry.name() == name).cloned();
                match (entry, media_of(response, &name.1.sha256)) {
                    (Some(entry), Some(bytes)) => room.group_info = Some((entry, bytes)),
                    (Some(entry), None) => room.give_up_entry(&entry),
                    (None, _) => {}
                }
            }
        }
        Ok(())
    }

    /// One event was fetched: the commit of a Welcome or of a search.
    fn fetched(
        &mut self,
        id: &RoomId,
        event_id: &str,
        event: Option<&Value>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let event = event.and_then(RawEvent::parse).filter(|event| event.event_id == event_id);
        let commit = event.as_ref().and_then(|event| Some((event, commit_of(id, event.content)?)));
        let welcomes = self.welcomes_on(id, event_id);
        if commit.is_none() {
            for hash in &welcomes {
                self.welcome_delayed(hash, now)?;
            }
        }
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        room.fetched(event_id);
        let Some((event, commit)) = commit else { return Ok(()) };
        if !welcomes.is_empty() {
            room.note_unseen(event_id);
        }
        room.remember_commit(event_id, &commit.bytes);
        // A Welcome comes before its own commit: the commit alone could only wait.
        self.join_by_welcomes(id, now, entropy, report)?;
        self.take_commit(id, event, commit, now, entropy, report)
    }

    fn gap_page(
        &mut self,
        id: &RoomId,
        body: &Value,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(gap) = self.rooms.get(id).and_then(|room| room.record.gap.clone()) else { return Ok(()) };
        let Page { events, met, end } = page(body, gap.until.as_deref());
        let mut placing = Placing::Before(gap.before);
        self.take_events(id, events, &mut placing, now, entropy, report)?;
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let pages_left = gap.pages_left.saturating_sub(1);
        let next = end.filter(|end| !met && pages_left > 0 && *end != gap.from);
        let rest = next.map(|from| Gap { from, before: placing.anchor(), until: gap.until.clone(), pages_left });
        room.paged_gap(gap, rest);
        Ok(())
    }

    fn run_page(
        &mut self,
        id: &RoomId,
        body: &Value,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(run) = self.rooms.get(id).and_then(|room| room.paging.run.clone()) else { return Ok(()) };
        let Page { events, end, .. } = page(body, None);
        let mut placing = Placing::Before(run.before);
        self.take_events(id, events, &mut placing, now, entropy, report)?;
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let pages_left = run.pages_left.saturating_sub(1);
        match end.filter(|end| pages_left > 0 && Some(end) != run.from.as_ref()) {
            Some(from) => room.paging.turn(from, pages_left, placing.anchor()),
            None => room.paged(),
        }
        Ok(())
    }

    /// Takes in that a request was refused or could not be sent; it comes again later, or is given up for good.
    pub fn mark_request_as_failed(
        &mut self,
        id: &RequestId,
        failure: Failure,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Report, Error<J::Error>> {
        self.recover()?;
        let mut report = std::mem::take(&mut self.untold);
        let Some(ticket) = self.tickets.remove(id) else { return Ok(report) };
        let failed = self.fail(ticket, &failure, now, entropy, &mut report);
        let given_up = self.conclude(failed)?;
        if given_up {
            self.pauses.remove(id);
        } else {
            self.pause(id, failure.retry_after_ms, now);
        }
        Ok(report)
    }

    /// `true` when the request does not come again in this form.
    fn fail(
        &mut self,
        ticket: Ticket,
        failure: &Failure,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<bool, Error<J::Error>> {
        Ok(match (ticket, &failure.permanent) {
            (Ticket::Keys, Some(_)) => {
                self.keys_refused()?;
                false
            }
            (Ticket::Keys, None) => {
                self.keys_unanswered();
                false
            }
            (Ticket::Query(number), _) => {
                self.query_ended(number, now, report);
                true
            }
            (Ticket::WelcomeBody(hash, _), _) => {
                self.welcome_delayed(&hash, now)?;
                true
            }
            (Ticket::Room(room, ticket), permanent) if self.known_room(&room)?.is_some() => {
                let code = permanent.as_deref();
                let given_up = self.fail_room(&room, ticket, code, now, entropy, report)?;
                self.flush(&room)?;
                given_up
            }
            _ => false,
        })
    }

    fn pause(&mut self, id: &RequestId, retry_after_ms: Option<u64>, now: Timestamp) {
        let Pause { failures, .. } = self.pauses.get(id).copied().unwrap_or_default();
        let doubled = (FIRST_PAUSE << failures.min(12)).min(LONGEST_PAUSE);
        let until = now.plus(retry_after_ms.unwrap_or(doubled));
        self.pauses.insert(id.clone(), Pause { failures: failures.saturating_add(1), until });
    }

    /// `true` when the request does not come again in this form.
    fn fail_room(
        &mut self,
        id: &RoomId,
        ticket: RoomTicket,
        permanent: Option<&str>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<bool, Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(true) };
        match (ticket, permanent) {
            (RoomTicket::Claim(number), _) => room.claims.answer(number, BTreeMap::new(), now),
            (RoomTicket::CommitUpload(number) | RoomTicket::CommitEvent(number), Some(code)) => {
                self.commit_refused(id, number, code, now, entropy, report)?;
            }
            (RoomTicket::DraftEvent(number), Some(code)) => {
                room.drop_item(number);
                room.note_trouble(code, "the server refused a message", report);
            }
            (RoomTicket::AskEvent(number), Some(code)) => {
                room.drop_item(number);
                room.note_trouble(code, "the server refused to let this device ask", report);
            }
            (RoomTicket::WelcomeSend(number) | RoomTicket::WelcomeUpload(number), Some(code)) => {
                room.drop_item(number);
                room.note_trouble(code, "the server refused a Welcome", report);
            }
            (RoomTicket::ToDevice(number), permanent) => return Ok(room.fail_to_device(number, permanent)),
            (RoomTicket::Fetch(event_id), Some(_)) => {
                self.fetched(id, &event_id, None, now, entropy, report)?;
            }
            (RoomTicket::Gap(_), Some(_)) => {
                room.record.edit().gap = None;
            }
            (RoomTicket::Page(_), Some(_)) => room.paged(),
            (RoomTicket::EntryInfo(epoch, media), Some(_)) => room.drop_entry(&(epoch, media)),
            (RoomTicket::Members, Some(_)) => {
                room.record.edit().members_stale = false;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The server refused an own commit for good: its epoch is nobody's.
    fn commit_refused(
        &mut self,
        id: &RoomId,
        number: u64,
        code: &str,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        room.hold_commits(now);
        let Some(Item::Commit(commit)) = room.queue.get(&number).cloned() else { return Ok(()) };
        room.note_trouble(code, "the server refused a commit", report);
        let input = Input::Abandoned { epoch: commit.epoch };
        let then = |room: &mut Room, _: &Ledger<J>, _: &crate::room::absorb::Absorbed| {
            room.drop_item(number);
            if commit.update {
                room.marks.edit().update_wanted = true;
            }
            Ok(())
        };
        self.call(id, entropy, report, |group, entropy| group.handle(input, now, entropy), then)?;
        Ok(())
    }
}

impl Room {
    /// The commit is in the room: its Welcomes take its place in the outbox.
    pub(super) fn finish_commit(
        &mut self,
        number: u64,
        epoch: EpochId,
        to: Vec<Device>,
        event_id: &str,
        txn_id: String,
    ) {
        if to.is_empty() {
            self.drop_item(number);
            return;
        }
        let commit_event = event_id.to_owned();
        self.keep_item(number, Item::Welcome(WelcomeItem { epoch, commit_event, txn_id, to, media: None }));
    }

    /// Welcomes to devices that are no longer in D are not sent.
    pub(super) fn drop_welcomes(&mut self, desired: &dyn Fn(&Device) -> bool) {
        let items: Vec<_> = self.queue.iter().map(|(number, item)| (*number, item.clone())).collect();
        for (number, item) in items {
            let Item::Welcome(mut item) = item else { continue };
            let before = item.to.len();
            item.to.retain(desired);
            if item.to.is_empty() {
                self.drop_item(number);
            } else if item.to.len() < before {
                self.keep_item(number, Item::Welcome(item));
            }
        }
    }

    fn uploaded(&mut self, number: u64, url: &str) {
        let media = |bytes: &[u8]| Media { url: url.to_owned(), sha256: Sha256::digest(bytes).into() };
        let item = match self.queue.get(&number).cloned() {
            Some(Item::Commit(mut commit)) => {
                commit.media = self.group.group_info(&commit.epoch).map(|made| media(&made.bytes()));
                Item::Commit(commit)
            }
            Some(Item::Welcome(mut welcome)) => {
                welcome.media = self.own_welcomes.get(&welcome.epoch).map(|kept| media(kept.bytes()));
                Item::Welcome(welcome)
            }
            _ => return,
        };
        self.keep_item(number, item);
    }

    pub(super) fn forget_trouble(&mut self) {
        if self.record.trouble.is_some() {
            self.record.edit().trouble = None;
        }
    }

    fn note_trouble(&mut self, code: &str, text: &str, report: &mut Report) {
        self.record.edit().trouble = Some(code.to_owned());
        report.remarks.push(self.remark(None, None, code, text));
    }

    /// `true` when it is given up.
    fn fail_to_device(&mut self, number: u64, permanent: Option<&str>) -> bool {
        let Some(Item::ToDevice(mut item)) = self.queue.get(&number).cloned() else { return true };
        item.attempts += 1;
        if permanent.is_some() || item.attempts >= MAX_ATTEMPTS {
            self.drop_item(number);
            return true;
        }
        self.keep_item(number, Item::ToDevice(item));
        false
    }

    /// Whether so much is to be answered already that no more requests are taken in.
    pub(super) fn is_flooded(&self) -> bool {
        self.queue.values().filter(|item| matches!(item, Item::ToDevice(_))).count() >= MAX_TO_DEVICE
    }
}

/// One page of `/messages`.
struct Page<'a> {
    events: &'a [Value],
    /// The event to page back to was among them.
    met: bool,
    end: Option<String>,
}

fn page<'a>(body: &'a Value, until: Option<&str>) -> Page<'a> {
    let chunk = body.get("chunk").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_until = |event: &Value| until.is_some() && crate::wire::text(event, "event_id") == until;
    let met = chunk.iter().position(is_until);
    let end = body.get("end").and_then(Value::as_str).map(str::to_owned).filter(|_| !chunk.is_empty());
    Page { events: chunk.get(..met.unwrap_or(chunk.len())).unwrap_or_default(), met: met.is_some(), end }
}

fn json_of(response: Response) -> Value {
    match response {
        Response::Json(value) => value,
        Response::Done | Response::Media(_) => Value::Null,
    }
}

/// The media, if it is what its hash says.
fn media_of(response: Response, sha256: &[u8; 32]) -> Option<Vec<u8>> {
    match response {
        Response::Media(bytes) => Some(bytes).filter(|bytes| Sha256::digest(bytes).as_slice() == sha256),
        Response::Done | Response::Json(_) => None,
    }
}

fn event_id_of<E>(body: &Value) -> Result<String, Error<E>> {
    crate::wire::id(body, "event_id").map(str::to_owned).ok_or(Error::Malformed("event_id"))
}

/// The key packages in a `/keys/claim` answer, for the devices that were asked for.
fn claimed(body: &Value, devices: &[Device]) -> BTreeMap<Device, Vec<u8>> {
    let algorithm = key_package_algorithm();
    let one = |device: &Device| {
        let keys = body.get("one_time_keys")?.get(&device.user)?.get(&device.device)?.as_object()?;
        let prefix = format!("{algorithm}:");
        let (_, value) = keys.iter().find(|(id, _)| id.starts_with(&prefix))?;
        let text = value.as_str().or_else(|| value.get("key")?.as_str())?;
        Some((device.clone(), unbase64(text)?))
    };
    devices.iter().filter_map(one).collect()
}
