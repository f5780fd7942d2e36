//! Room events on their way in: state, commits, messages. Every one gets exactly one verdict.

use dmls::effect::{Applied, EpochRef, Verdict};
use dmls::entropy::Entropy;
use dmls::id::{EpochId, Locator, Timestamp};
use dmls::input::Input;
use dmls::journal::Journal;
use serde_json::Value;

use super::Machine;
use super::calls::note_changed;
use crate::error::Error;
use crate::id::RoomId;
use crate::ledger::Ledger;
use crate::names::ENCRYPTED;
use crate::room::Room;
use crate::room::members::Departure;
use crate::room::queue::{CommitItem, Item, KeptWelcome};
use crate::room::record::{Place, RowRecord, RowState, SealedAs};
use crate::room::rows::{Name, code_of_text};
use crate::view::{Encryption, Remark, Report, UtdCode};
use crate::wire::room::{self, CommitContent, MessageContent, RawEvent, Refused, Sealed};
use crate::wire::text;

/// What was under way for longer, in milliseconds, was not: this device was away, or a clock is wrong.
const MAX_DELAY: u64 = 60_000;

/// Where the events of a batch go in the list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Placing {
    /// Live: each after the one before.
    After(Place),
    /// Newest first: each before the one before.
    Before(Place),
}

impl Placing {
    pub(super) fn anchor(&self) -> Place {
        match self {
            Self::After(place) | Self::Before(place) => *place,
        }
    }

    fn step(&mut self, taken: Place) {
        match self {
            Self::After(place) => place.minor = place.minor.saturating_add(Place::STEP),
            Self::Before(place) => *place = taken.just_before(),
        }
    }
}

impl<J: Journal> Machine<J> {
    /// Takes in a batch of room events; gives the departures among them. State counts only when it is live.
    pub(super) fn take_events(
        &mut self,
        id: &RoomId,
        events: &[Value],
        placing: &mut Placing,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<Vec<Departure>, Error<J::Error>> {
        let mut departures = Vec::new();
        for value in events {
            let Some(room) = self.room(id)? else { return Ok(departures) };
            let Some(event) = RawEvent::parse(value) else {
                let event_id = text(value, "event_id");
                report.remarks.push(room.remark(event_id, text(value, "sender"), "malformed_event", "not an event"));
                continue;
            };
            if event.state_key.is_some() {
                if let Placing::After(_) = placing {
                    departures.extend(room.take_state_event(&event));
                }
                continue;
            }
            if room.record.encryption == Encryption::Dmls {
                self.take_event(id, &event, placing, now, entropy, report)?;
            }
        }
        Ok(departures)
    }

    fn take_event(
        &mut self,
        id: &RoomId,
        event: &RawEvent<'_>,
        placing: &mut Placing,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        if let (Placing::After(_), Some(late)) = (&*placing, now.0.checked_sub(event.ts))
            && late <= MAX_DELAY
        {
            room.group.note_delay(event.sender, late);
        }
        if event.event_type != ENCRYPTED {
            #[cfg(dmls_mutants)]
            room.list_unencrypted(&self.journal, event, placing)?;
            if event.event_type == "m.room.message" {
                let remark = room.remark(Some(event.event_id), Some(event.sender), "unencrypted", "not encrypted");
                report.remarks.push(remark);
            }
            return Ok(());
        }
        if let Some(place) = room.place(&self.journal, &Name::Event(event.event_id))? {
            if !room.put_in_order(&self.journal, place, event, placing)?
                && let Placing::Before(before) = placing
            {
                *before = place.just_before();
            }
            self.flush_later(id);
            return Ok(());
        }
        let sealed = if room::is_ours(event.content) {
            room::parse(id, event.content)
        } else {
            Err(other_algorithm(event.content))
        };
        match sealed {
            Err(refused) => self.take_refused(id, event, &refused, placing, report),
            Ok(Sealed::Commit(commit)) => {
                room.note_seen(event.event_id);
                self.take_commit(id, event, commit, now, entropy, report)
            }
            Ok(Sealed::Ask(bytes)) => self.take_ask(id, event, bytes, now, entropy, report),
            Ok(Sealed::Message(message)) => self.take_message(id, event, message, placing, now, entropy, report),
        }
    }

    /// Not even an input for the core: listed, within the sender's share, and told.
    fn take_refused(
        &mut self,
        id: &RoomId,
        event: &RawEvent<'_>,
        refused: &Refused,
        placing: &mut Placing,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let state = RowState::Refused { code: code_of_text(refused.code), reason: refused.code.to_owned() };
        let row = new_row(event, refused.epoch.as_deref(), state);
        room.list_row(&self.journal, event.event_id, &row, placing)?;
        report.remarks.push(refusal(room, event, refused.code));
        note_changed(report, id);
        Ok(())
    }

    pub(super) fn take_commit(
        &mut self,
        id: &RoomId,
        event: &RawEvent<'_>,
        commit: CommitContent,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        room.hear(&commit, event.event_id, event.sender);
        room.remember_commit(event.event_id, &commit.bytes);
        if let Some(number) = room.own_commit(&commit.bytes).filter(|_| event.sender == self.account.device.user) {
            return self.published(id, number, event.event_id, now, entropy, report);
        }
        let input = Input::Commit {
            bytes: commit.bytes,
            locator: Some(Locator(event.event_id.to_owned())),
            from: event.sender.to_owned(),
        };
        let (due, mut has_settled) = (self.journal.is_due(), false);
        let then = |_: &mut Room, _: &Ledger<J>, absorbed: &crate::room::absorb::Absorbed| {
            has_settled = absorbed.has_settled;
            Ok(())
        };
        match self.call(id, entropy, report, |group, entropy| group.handle(input, now, entropy), then)? {
            // It is shown again. But the key of a message that waited goes before anybody sees the message (SPEC §7.3).
            Some(Verdict::Known) if !has_settled => self.journal.put_off(due),
            Some(Verdict::Rejected { reason, .. }) => {
                let room = self.rooms.get(id);
                report.remarks.extend(room.map(|room| refusal(room, event, reason.code())));
            }
            _ => {}
        }
        Ok(())
    }

    fn take_ask(
        &mut self,
        id: &RoomId,
        event: &RawEvent<'_>,
        bytes: Vec<u8>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        if let Some((number, _)) = room.unsent_ask().filter(|(_, ask)| *ask.bytes == bytes) {
            room.drop_item(number);
        }
        let input = Input::Ask { bytes, from: event.sender.to_owned() };
        let verdict = self.handle(id, input, now, entropy, report)?;
        if let (Some(code), Some(room)) = (verdict.as_ref().and_then(refused_code), self.rooms.get(id)) {
            report.remarks.push(refusal(room, event, code));
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn take_message(
        &mut self,
        id: &RoomId,
        event: &RawEvent<'_>,
        message: MessageContent,
        placing: &mut Placing,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let user = self.account.device.user.clone();
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let MessageContent { bytes, epoch } = message;
        let name = Name::Ciphertext(&bytes);
        if let Some(place) = room.place(&self.journal, &name)? {
            if event.sender == user && room.take_echo(&self.journal, place, event, &name.key(), placing)? {
                note_changed(report, id);
                self.flush_later(id);
                return Ok(());
            }
            if let Some(code) = room.copy_code(&self.journal, place, event.sender)? {
                let refused = Refused { code, epoch: Some(epoch.into()) };
                return self.take_refused(id, event, &refused, placing, report);
            }
        }
        let mut row = new_row(event, Some(&epoch), RowState::Waiting);
        row.ciphertext = Some(name.key().into());
        let input = Input::Message {
            bytes,
            locator: Locator(event.event_id.to_owned()),
            from: event.sender.to_owned(),
            commit: Some(epoch.locator).filter(|locator| !locator.0.is_empty()),
        };
        let mut told = None;
        let then = |room: &mut Room, journal: &Ledger<J>, absorbed: &crate::room::absorb::Absorbed| {
            told = room.list_judged(journal, event, row, &absorbed.verdict, placing)?;
            Ok(())
        };
        self.call(id, entropy, report, |group, entropy| group.handle(input, now, entropy), then)?;
        report.remarks.extend(told);
        Ok(())
    }

    /// The server took this device's own commit: its Welcomes may go.
    pub(super) fn published(
        &mut self,
        id: &RoomId,
        number: u64,
        event_id: &str,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let Some(Item::Commit(CommitItem { epoch, .. })) = room.queue.get(&number) else { return Ok(()) };
        let epoch = *epoch;
        room.release_commits();
        // Who is no longer in D, though it was when the commit was made, is not welcomed.
        let added = room.own_welcomes.get(&epoch).into_iter().flat_map(KeptWelcome::devices);
        let to: Vec<_> = added.filter(|device| room.desires(&self.facts, device)).cloned().collect();
        let (due, mut ends) = (self.journal.is_due(), to.is_empty());
        let txn_id = crate::room::queue::fresh_name(entropy)?;
        let input = Input::Published { epoch, locator: Locator(event_id.to_owned()) };
        let then = |room: &mut Room, _: &Ledger<J>, absorbed: &crate::room::absorb::Absorbed| {
            ends &= !absorbed.has_settled;
            room.finish_commit(number, epoch, to, event_id, txn_id);
            Ok(())
        };
        self.call(id, entropy, report, |group, entropy| group.handle(input, now, entropy), then)?;
        if ends {
            // The commit is sent again under its transaction id, or its echo shows it.
            self.journal.put_off(due);
        }
        Ok(())
    }
}

impl Room {
    /// Lists a message at the next place of its batch.
    fn list_row<J: Journal>(
        &mut self,
        journal: &J,
        event_id: &str,
        row: &RowRecord,
        placing: &mut Placing,
    ) -> Result<bool, Error<J::Error>> {
        let place = self.free_place(journal, placing.anchor())?;
        let listed = self.add_row(place, row, event_id);
        if listed {
            placing.step(place);
        }
        Ok(listed)
    }

    /// The rule without the defence against I12: what is in the room is shown, sealed or not.
    #[cfg(dmls_mutants)]
    fn list_unencrypted<J: Journal>(
        &mut self,
        journal: &J,
        event: &RawEvent<'_>,
        placing: &mut Placing,
    ) -> Result<(), Error<J::Error>> {
        if dmls::defence::on("I12") {
            return Ok(());
        }
        let state = RowState::Readable {
            device: dmls::id::Device::new(event.sender, ""),
            message_id: crate::id::MessageId(event.event_id.to_owned()),
            event_type: event.event_type.to_owned(),
            content: event.content.to_string(),
        };
        self.list_row(journal, event.event_id, &new_row(event, None, state), placing).map(drop)
    }

    /// Lists a message as the core judged it; gives a remark if it was refused.
    fn list_judged<J: Journal>(
        &mut self,
        journal: &J,
        event: &RawEvent<'_>,
        mut row: RowRecord,
        verdict: &Verdict,
        placing: &mut Placing,
    ) -> Result<Option<Remark>, Error<J::Error>> {
        // One's own leaf made it, and this device has no such message.
        let cloned = RowState::Refused { code: UtdCode::Forged, reason: "clone".to_owned() };
        row.state = match verdict {
            Verdict::Known => cloned,
            verdict => self.judge(&mut row, verdict).unwrap_or(RowState::Waiting),
        };
        let key = row.ciphertext.take().unwrap_or_default();
        let place = self.free_place(journal, placing.anchor())?;
        match &row.state {
            RowState::Readable { device, message_id, .. } => {
                let name = Name::Message(device, &message_id.0);
                let first = self.place(journal, &name)?;
                self.name_row(&Name::Kept(&key), first.unwrap_or(place));
                if let Some(first) = first {
                    // Sealed anew by its sender after all: listed once.
                    self.name_row(&Name::Event(event.event_id), first);
                    return Ok(None);
                }
                self.name_row(&name, place);
            }
            RowState::Waiting => row.ciphertext = Some(key),
            RowState::Refused { .. } => {}
        }
        let listed = self.list_row(journal, event.event_id, &row, placing)?;
        if let (true, Some(key)) = (listed, &row.ciphertext)
            && self.place(journal, &Name::Kept(key))?.is_none()
        {
            self.name_row(&Name::Kept(key), place);
        }
        Ok(match &row.state {
            RowState::Refused { reason, .. } => Some(refusal(self, event, reason)),
            _ => None,
        })
    }

    /// One's own message came back: the server has it. `false` for a copy under another event id.
    ///
    /// What was sealed anew may be in the room twice: it is listed once.
    fn take_echo<J: Journal>(
        &mut self,
        journal: &J,
        place: Place,
        event: &RawEvent<'_>,
        key: &[u8],
        placing: &mut Placing,
    ) -> Result<bool, Error<J::Error>> {
        let Some(row) = self.row(journal, place)? else { return Ok(false) };
        let same = |sealed: &&SealedAs| *sealed.key == *key;
        let Some(sealed) = row.sealed.iter().find(same) else { return Ok(false) };
        if sealed.event.as_deref().is_some_and(|known| known != event.event_id) {
            return Ok(false);
        }
        self.finish_draft(place, row, event.event_id, Some(key));
        self.put_in_order(journal, place, event, placing)?;
        Ok(true)
    }

    /// An own message came back: it moves to where the timeline has it. `false` when it stands in order already.
    fn put_in_order<J: Journal>(
        &mut self,
        journal: &J,
        place: Place,
        event: &RawEvent<'_>,
        placing: &mut Placing,
    ) -> Result<bool, Error<J::Error>> {
        let Some(mut row) = self.row(journal, place)?.filter(|row| !row.in_order) else { return Ok(false) };
        let RowState::Readable { device, message_id, .. } = row.state.clone() else { return Ok(false) };
        (row.in_order, row.ts) = (true, event.ts);
        // Nothing was listed after it: it is where the timeline has it.
        if matches!(placing, Placing::After(_)) && self.last_place == Some(place) {
            self.keep_row(place, &row);
            return Ok(true);
        }
        let to = self.free_place(journal, placing.anchor())?;
        self.drop_row(place);
        self.keep_row(to, &row);
        self.name_row(&Name::Event(event.event_id), to);
        self.name_row(&Name::Message(&device, &message_id.0), to);
        for sealed in &row.sealed {
            self.name_row(&Name::Kept(&sealed.key), to);
        }
        placing.step(to);
        Ok(true)
    }

    /// The own message at `place` is in the room, as what was sealed last or as the ciphertext of this key.
    pub(super) fn finish_draft(&mut self, place: Place, mut row: RowRecord, event_id: &str, key: Option<&[u8]>) {
        let of_key = |sealed: &&mut SealedAs| key.is_none_or(|key| *sealed.key == *key);
        if let Some(sealed) = row.sealed.iter_mut().rfind(of_key) {
            sealed.event = Some(event_id.to_owned());
        }
        row.event_id.get_or_insert_with(|| event_id.to_owned());
        self.keep_row(place, &row);
        self.name_row(&Name::Event(event_id), place);
        let here = |item: &Item| matches!(item, Item::Draft(draft) if draft.place == place);
        let number = self.queue.iter().find(|(_, item)| here(item)).map(|(number, _)| *number);
        if let Some(number) = number {
            self.drop_item(number);
        }
    }

    /// The outbox number of an own commit.
    fn own_commit(&self, bytes: &[u8]) -> Option<u64> {
        let is_it = |epoch: &EpochId| self.group.commit(epoch) == Some(bytes);
        let same = |item: &Item| matches!(item, Item::Commit(commit) if is_it(&commit.epoch));
        self.queue.iter().find(|(_, item)| same(item)).map(|(number, _)| *number)
    }
}

fn new_row(event: &RawEvent<'_>, epoch: Option<&EpochRef>, state: RowState) -> RowRecord {
    RowRecord {
        event_id: Some(event.event_id.to_owned()),
        sender: event.sender.to_owned(),
        ts: event.ts,
        epoch_id: epoch.map(|epoch| epoch.id),
        epoch: None,
        in_order: true,
        ciphertext: None,
        sealed: Vec::new(),
        state,
    }
}

fn refusal(room: &Room, event: &RawEvent<'_>, code: &str) -> Remark {
    room.remark(Some(event.event_id), Some(event.sender), code, "refused")
}

/// An event of another algorithm in a room that is ours.
fn other_algorithm(content: &Value) -> Refused {
    let algorithm = text(content, "algorithm").unwrap_or_default();
    // A later version of this protocol has another namespace under the same roof.
    let code = if algorithm.starts_with("org.dmls.") { "unknown_version" } else { "other_algorithm" };
    Refused { code, epoch: None }
}

/// Whether a verdict brought this device into an epoch.
pub(super) fn joined(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Applied(Applied::Joined { .. } | Applied::Commit { .. }))
}

/// The remark's code of a refusal.
pub(super) fn refused_code(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Rejected { reason, .. } => Some(reason.code()),
        _ => None,
    }
}
