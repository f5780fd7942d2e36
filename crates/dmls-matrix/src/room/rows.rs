//! The list of messages: one record for each, found again by event, ciphertext or message id.

use dmls::effect::{Applied, Opened, Verdict};
use dmls::error::Reason;
use dmls::group::Standing;
use dmls::id::{Device, EpochId};
use dmls::journal::{Records, Write};
use sha2::{Digest, Sha256};

use super::Room;
use super::record::{Place, RowRecord, RowState, Tally};
use crate::error::Error;
use crate::plaintext::{self, Rejection};
use crate::table;
use crate::view::{EpochName, UtdCode};

/// Messages that are listed although they cannot be read: of one sender, and in all (SPEC §5.6).
///
/// Every text in such a row is an id, so that a row has at most some 1.5 kB.
const MAX_UNREAD_OF_SENDER: u32 = 6_000;
const MAX_UNREAD: u32 = 18_000;
/// Tallies kept.
const MAX_TALLIES: usize = 512;

/// How a message is found again.
pub(crate) enum Name<'a> {
    Event(&'a str),
    Ciphertext(&'a [u8]),
    /// A ciphertext again, by the key that a waiting row keeps.
    Kept(&'a [u8]),
    Message(&'a Device, &'a str),
}

impl Name<'_> {
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        match self {
            Self::Kept(key) => return key.to_vec(),
            Self::Event(id) => hash.update([b"e", id.as_bytes()].concat()),
            Self::Ciphertext(bytes) => {
                hash.update(b"c");
                hash.update(bytes);
            }
            Self::Message(device, id) => {
                hash.update(b"m");
                for part in [&device.user, &device.device, *id] {
                    hash.update((part.len() as u64).to_be_bytes());
                    hash.update(part.as_bytes());
                }
            }
        }
        hash.finalize().to_vec()
    }
}

impl Room {
    /// The place of a message.
    pub(crate) fn place<R: Records>(&self, records: &R, name: &Name<'_>) -> Result<Option<Place>, Error<R::Error>> {
        table::get(records, &self.writes, table::PLACE, &table::key_in(&self.id, &name.key()))
    }

    /// A message.
    pub(crate) fn row<R: Records>(&self, records: &R, place: Place) -> Result<Option<RowRecord>, Error<R::Error>> {
        table::get(records, &self.writes, table::MESSAGE, &table::key_in(&self.id, &place.key()))
    }

    /// Lets `name` find `place`.
    pub(crate) fn name_row(&mut self, name: &Name<'_>, place: Place) {
        self.writes.push(table::put(table::PLACE, table::key_in(&self.id, &name.key()), &place));
    }

    /// Stores a message at its place.
    pub(crate) fn keep_row(&mut self, place: Place, row: &RowRecord) {
        self.note_place(place);
        self.writes.push(table::put(table::MESSAGE, table::key_in(&self.id, &place.key()), row));
    }

    /// Forgets a message's place.
    pub(crate) fn drop_row(&mut self, place: Place) {
        self.writes.push(Write::delete(table::MESSAGE, table::key_in(&self.id, &place.key())));
    }

    /// A new place after all others.
    pub(crate) fn next_place(&mut self) -> Place {
        Place { major: self.next_major(), minor: Place::FIRST }
    }

    /// The nearest free place at or before `place`.
    pub(crate) fn free_place<R: Records>(&self, records: &R, mut place: Place) -> Result<Place, Error<R::Error>> {
        while self.row(records, place)?.is_some() && place.minor > 0 {
            place = place.just_before();
        }
        Ok(place)
    }

    /// Adds a message of the room. `false` when it is unreadable and there are too many of those already.
    pub(crate) fn add_row(&mut self, place: Place, row: &RowRecord, event_id: &str) -> bool {
        if !matches!(row.state, RowState::Readable { .. }) {
            let unread = &self.record.unread;
            let of_sender = unread.get(&row.sender).copied().unwrap_or_default();
            if of_sender >= MAX_UNREAD_OF_SENDER || unread.values().sum::<u32>() >= MAX_UNREAD {
                return false;
            }
            self.record.edit().unread.insert(row.sender.clone(), of_sender + 1);
        }
        self.keep_row(place, row);
        self.name_row(&Name::Event(event_id), place);
        true
    }

    /// Gives a listed message its next verdict.
    pub(crate) fn settle_row<R: Records>(
        &mut self,
        records: &R,
        event_id: &str,
        verdict: &Verdict,
    ) -> Result<bool, Error<R::Error>> {
        let Some(place) = self.place(records, &Name::Event(event_id))? else { return Ok(false) };
        let Some(mut row) = self.row(records, place)? else { return Ok(false) };
        if matches!(row.state, RowState::Readable { .. }) {
            return Ok(true);
        }
        let Some(state) = self.judge(&mut row, verdict) else { return Ok(true) };
        row.state = state;
        let key = match row.state {
            RowState::Waiting => None,
            _ => row.ciphertext.take(),
        };
        if let RowState::Readable { device, message_id, .. } = &row.state {
            self.count_read(&row.sender);
            let name = Name::Message(device, &message_id.0);
            let first = self.place(records, &name)?;
            if let Some(key) = key {
                self.name_row(&Name::Kept(&key), first.unwrap_or(place));
            }
            if let Some(first) = first {
                self.drop_row(place);
                self.name_row(&Name::Event(event_id), first);
                return Ok(true);
            }
            self.name_row(&name, place);
        } else if let (RowState::Refused { code: UtdCode::BeyondWindow, .. }, Some(key)) = (&row.state, key)
            && let Some(first) = self.place(records, &Name::Kept(&key))?.filter(|first| *first != place)
            && let Some(code) = self.copy_code(records, first, &row.sender)?
        {
            row.state = RowState::Refused { code: code_of_text(code), reason: code.to_owned() };
        }
        self.keep_row(place, &row);
        Ok(true)
    }

    /// Why a copy of the ciphertext at `first` is refused; `None` when only the core can tell (SPEC §2.9).
    pub(crate) fn copy_code<R: Records>(
        &self,
        records: &R,
        first: Place,
        sender: &str,
    ) -> Result<Option<&'static str>, Error<R::Error>> {
        let Some(row) = self.row(records, first)? else { return Ok(None) };
        Ok(match (&row.state, row.sender == sender) {
            (RowState::Readable { .. } | RowState::Waiting, true) => Some("replay"),
            (RowState::Readable { .. }, false) => Some("rejected_sender"),
            // Whose it is will show when it opens: the key is not used up by a wrong sender.
            _ => None,
        })
    }

    fn count_read(&mut self, sender: &str) {
        if let Some(left) = self.record.unread.get(sender).map(|unread| unread.saturating_sub(1)) {
            self.record.edit().unread.insert(sender.to_owned(), left);
        }
    }

    /// The state that a verdict gives a message; `None` when it stays as it is.
    pub(crate) fn judge(&mut self, row: &mut RowRecord, verdict: &Verdict) -> Option<RowState> {
        match verdict {
            Verdict::Applied(Applied::Message(opened)) => Some(self.open_row(row, opened)),
            Verdict::Deferred { .. } => Some(RowState::Waiting),
            Verdict::Rejected { reason, .. } => {
                Some(RowState::Refused { code: code_of(*reason), reason: reason.code().to_owned() })
            }
            _ => None,
        }
    }

    fn open_row(&mut self, row: &mut RowRecord, opened: &Opened) -> RowState {
        row.epoch_id = Some(opened.epoch);
        if let Some(name) = self.epoch_name(&opened.epoch) {
            row.epoch = Some(name);
        }
        self.tally(opened);
        match plaintext::check(&self.id, &row.sender, opened) {
            Ok(plaintext) => RowState::Readable {
                device: opened.device.clone(),
                message_id: plaintext.message_id,
                event_type: plaintext.event_type,
                content: plaintext.content.to_string(),
            },
            Err(rejection) => {
                let (code, reason) = match rejection {
                    Rejection::Sender => (UtdCode::RejectedSender, "rejected_sender"),
                    Rejection::Signature => (UtdCode::Forged, "content_signature"),
                    Rejection::Malformed => (UtdCode::Malformed, "malformed_plaintext"),
                };
                RowState::Refused { code, reason: reason.to_owned() }
            }
        }
    }

    /// Number and creator of a known epoch.
    pub(crate) fn epoch_name(&self, id: &EpochId) -> Option<EpochName> {
        let info = self.group.epoch(id)?;
        Some(EpochName { number: info.number, creator: info.creator })
    }

    /// Counts an opened message; a hole in the sender's numbers shows that events are missing, here or where it was
    /// before.
    fn tally(&mut self, opened: &Opened) {
        let known = self.tallies.values().any(|tally| tally.device == opened.device && tally.is_incomplete());
        if let Some((before, sent)) = opened.left
            && matches!(self.group.standing(&before), Standing::Held | Standing::Gone)
        {
            self.count(before, &opened.device, sent, 0);
        }
        self.count(opened.epoch, &opened.device, opened.sequence.0.saturating_add(1), 1);
        let mut of_sender = self.tallies.values().filter(|tally| tally.device == opened.device);
        if of_sender.any(Tally::is_incomplete) {
            self.paging.ask(!known);
        }
    }

    fn count(&mut self, epoch: EpochId, device: &Device, sent: u32, opened: u32) {
        let known = self.tallies.iter().find(|(_, tally)| tally.epoch == epoch && tally.device == *device);
        let (number, mut tally) = match known {
            Some((number, tally)) => (*number, tally.clone()),
            None => (self.new_tally(), Tally { epoch, device: device.clone(), sent: 0, opened: 0 }),
        };
        tally.count(sent, opened);
        self.writes.push(table::put(table::TALLY, table::key_in(&self.id, &number.to_be_bytes()), &tally));
        self.tallies.insert(number, tally);
    }

    /// The number of a new tally, for which the oldest may have to go.
    fn new_tally(&mut self) -> u64 {
        if self.tallies.len() >= MAX_TALLIES
            && let Some((oldest, _)) = self.tallies.pop_first()
        {
            self.writes.push(Write::delete(table::TALLY, table::key_in(&self.id, &oldest.to_be_bytes())));
        }
        self.tallies.last_key_value().map_or(0, |(newest, _)| newest + 1)
    }
}

/// The word for a message that was refused for good; the precise reason stands beside it.
pub(crate) fn code_of(reason: Reason) -> UtdCode {
    match reason {
        Reason::Malformed | Reason::WrongKind => UtdCode::Malformed,
        Reason::UnknownVersion => UtdCode::UnknownVersion,
        Reason::RejectedSender => UtdCode::RejectedSender,
        Reason::Replay => UtdCode::Replay,
        Reason::NotInEpoch => UtdCode::NotInEpoch,
        Reason::Removed => UtdCode::Removed,
        Reason::BeyondWindow | Reason::Expired | Reason::TooManyPending => UtdCode::BeyondWindow,
        _ => UtdCode::Forged,
    }
}

/// As [`code_of`], for refusals that have a code of the binding.
pub(crate) fn code_of_text(code: &str) -> UtdCode {
    match code {
        "unknown_version" => UtdCode::UnknownVersion,
        "mismatch" | "other_group" => UtdCode::Forged,
        "rejected_sender" => UtdCode::RejectedSender,
        "replay" => UtdCode::Replay,
        _ => UtdCode::Malformed,
    }
}
