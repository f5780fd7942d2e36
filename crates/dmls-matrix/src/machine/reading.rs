//! What people are shown; nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};

use dmls::effect::EpochInfo;
use dmls::group::Standing;
use dmls::id::{Device, EpochId};
use dmls::journal::Journal;

use super::Machine;
use crate::error::Error;
use crate::facts::Endorsement;
use crate::id::{MessageId, RoomId};
use crate::room::Room;
use crate::room::lineage::Lineage;
use crate::room::queue::Item;
use crate::room::record::{RowRecord, RowState, Stage};
use crate::room::rows::Name;
use crate::table;
use crate::view::{Encryption, MemberRow, Membership, MessageRow, RoomRow, Utd, UtdCode};

impl<J: Journal> Machine<J> {
    /// All known rooms.
    pub fn rooms(&mut self) -> Result<Vec<RoomRow>, Error<J::Error>> {
        let ids: Vec<_> = self.known.iter().cloned().collect();
        let mut out = Vec::new();
        for id in ids {
            let row = match self.room(&id)? {
                Some(room) => room.view(),
                None => broken_row(&id, self.broken.get(&id).cloned()),
            };
            out.push(row);
        }
        Ok(out)
    }

    /// All messages of a room, oldest first.
    pub fn messages(&mut self, room: &RoomId) -> Result<Vec<MessageRow>, Error<J::Error>> {
        let state = self.known_room(room)?.ok_or_else(|| Error::UnknownRoom(room.clone()))?;
        let mut codes = BTreeMap::new();
        let id = state.id.clone();
        let rows = table::scan::<RowRecord, _>(&self.journal, table::MESSAGE, &id)?;
        let Some(state) = self.rooms.get(room) else { return Err(Error::UnknownRoom(room.clone())) };
        Ok(rows.into_iter().map(|(_, row)| state.message(row, &mut codes)).collect())
    }

    /// The newest messages of a room, at most so many, oldest first: what lies before them is not read.
    pub fn newest_messages(&mut self, room: &RoomId, most: usize) -> Result<Vec<MessageRow>, Error<J::Error>> {
        self.known_room(room)?.ok_or_else(|| Error::UnknownRoom(room.clone()))?;
        let Some(state) = self.rooms.get(room) else { return Err(Error::UnknownRoom(room.clone())) };
        let mut rows: Vec<RowRecord> = Vec::new();
        for major in (0..state.marks.next_major).rev() {
            if rows.len() >= most {
                break;
            }
            let prefix = table::key_in(room, &major.to_be_bytes());
            let batch = table::scan_under(&self.journal, table::MESSAGE, &prefix)?;
            rows.extend(batch.into_iter().rev().map(|(_, row)| row));
        }
        rows.truncate(most);
        let mut codes = BTreeMap::new();
        Ok(rows.into_iter().rev().map(|row| state.message(row, &mut codes)).collect())
    }

    /// One of this device's own messages.
    pub fn own_message(&mut self, room: &RoomId, id: &MessageId) -> Result<Option<MessageRow>, Error<J::Error>> {
        let own = self.account.device.clone();
        self.known_room(room)?.ok_or_else(|| Error::UnknownRoom(room.clone()))?;
        let Some(state) = self.rooms.get(room) else { return Ok(None) };
        let Some(place) = state.place(&self.journal, &Name::Message(&own, &id.0))? else { return Ok(None) };
        let row = state.row(&self.journal, place)?;
        Ok(row.map(|row| state.message(row, &mut BTreeMap::new())))
    }

    /// The devices of all joined users and all leaves of the canonical head.
    pub fn members(&mut self, room: &RoomId) -> Result<Vec<MemberRow>, Error<J::Error>> {
        self.known_room(room)?.ok_or_else(|| Error::UnknownRoom(room.clone()))?;
        let Some(state) = self.rooms.get(room) else { return Ok(Vec::new()) };
        let canonical = state.group.canonical();
        let head: BTreeSet<_> =
            canonical.and_then(|head| state.group.readers(&head)).unwrap_or_default().into_iter().collect();
        let mut endorsements: BTreeMap<Device, Endorsement> = BTreeMap::new();
        let users = state.joined().map(|(user, _)| user.as_str()).chain(head.iter().map(|device| device.user.as_str()));
        for facts in users.collect::<BTreeSet<_>>().into_iter().flat_map(|user| self.facts.devices(user)) {
            endorsements.insert(facts.device.clone(), facts.endorsement);
        }
        let shown = |device: &Device| state.is_joined(&device.user) || head.contains(device);
        let devices: BTreeSet<_> = endorsements.keys().filter(|device| shown(device)).chain(&head).cloned().collect();
        let row = |device: Device| {
            let endorsement = endorsements.get(&device).copied();
            let (in_room, in_head) = (state.is_joined(&device.user), head.contains(&device));
            let reason = reason(endorsement, in_room, in_head).to_owned();
            let endorsed = endorsement == Some(Endorsement::Endorsed);
            MemberRow { device, in_room, in_head, endorsed, reason }
        };
        Ok(devices.into_iter().map(row).collect())
    }

    /// The devices with a leaf in an epoch; `None` when they are not known.
    pub fn readers(&mut self, room: &RoomId, epoch: &EpochId) -> Result<Option<Vec<Device>>, Error<J::Error>> {
        let room = self.known_room(room)?.ok_or_else(|| Error::UnknownRoom(room.clone()))?;
        Ok(room.group.readers(epoch))
    }

    /// All known epochs of a room, parents before children.
    pub fn log(&mut self, room: &RoomId) -> Result<Vec<EpochInfo>, Error<J::Error>> {
        let room = self.known_room(room)?.ok_or_else(|| Error::UnknownRoom(room.clone()))?;
        Ok(room.group.epochs())
    }
}

fn broken_row(id: &RoomId, trouble: Option<String>) -> RoomRow {
    RoomRow {
        room: id.clone(),
        name: None,
        membership: Membership::Joined,
        encryption: Encryption::None,
        canonical: None,
        unsent: 0,
        update_pending: false,
        trouble,
    }
}

fn reason(endorsement: Option<Endorsement>, in_room: bool, in_head: bool) -> &'static str {
    match (endorsement, in_room, in_head) {
        (_, false, true) => "left_the_room",
        (None, _, _) => "unknown_device",
        (Some(Endorsement::Endorsed), true, false) => "not_added_yet",
        (Some(endorsement), _, _) => endorsement.reason(),
    }
}

impl Room {
    fn view(&self) -> RoomRow {
        RoomRow {
            room: self.id.clone(),
            name: self.record.name.clone(),
            membership: self.record.membership,
            encryption: self.record.encryption,
            canonical: self.group.canonical(),
            unsent: self.queue.values().filter(|item| !matches!(item, Item::ToDevice(_))).count(),
            update_pending: self.marks.update_wanted,
            trouble: self.record.trouble.clone(),
        }
    }

    fn message(&self, row: RowRecord, codes: &mut BTreeMap<EpochId, UtdCode>) -> MessageRow {
        let RowRecord { event_id, sender, ts, epoch_id, epoch, in_order: _, ciphertext: _, sealed: _, state } = row;
        let epoch = epoch_id.and_then(|id| self.epoch_name(&id)).or(epoch);
        let readers = epoch_id.and_then(|id| self.group.readers(&id));
        let mut out = MessageRow {
            event_id,
            message_id: None,
            sender,
            device: None,
            ts,
            event_type: None,
            content: None,
            epoch,
            epoch_id,
            readers,
            utd: None,
        };
        match state {
            RowState::Readable { device, message_id, event_type, content } => {
                out.device = Some(device);
                out.message_id = Some(message_id);
                out.event_type = Some(event_type);
                out.content = serde_json::from_str(&content).ok();
            }
            RowState::Waiting => out.utd = Some(self.waiting(epoch_id, None, codes)),
            RowState::Refused { code, reason } => out.utd = Some(self.refused(epoch_id, code, reason, codes)),
        }
        out
    }

    /// Refusals that only say how this device stands to the epoch are looked at again: more may be known by now.
    fn refused(
        &self,
        epoch: Option<EpochId>,
        code: UtdCode,
        reason: String,
        codes: &mut BTreeMap<EpochId, UtdCode>,
    ) -> Utd {
        let open = matches!(reason.as_str(), "not_in_epoch" | "expired" | "removed" | "too_many_pending");
        match self.waiting(epoch, Some(reason.clone()), codes) {
            utd if open && !matches!(utd.code, UtdCode::WaitingCommit | UtdCode::WaitingWelcome) => utd,
            _ => utd(code, String::new(), Some(reason)),
        }
    }

    fn waiting(&self, epoch: Option<EpochId>, reason: Option<String>, codes: &mut BTreeMap<EpochId, UtdCode>) -> Utd {
        let Some(epoch) = epoch else { return utd(UtdCode::Malformed, String::new(), reason) };
        let code = *codes.entry(epoch).or_insert_with(|| self.code(&epoch));
        utd(code, self.doing(&epoch, code), reason)
    }

    /// Why messages of an epoch cannot be read.
    fn code(&self, epoch: &EpochId) -> UtdCode {
        match self.group.standing(epoch) {
            Standing::Held => UtdCode::WaitingCommit,
            Standing::Gone => UtdCode::BeyondWindow,
            Standing::Removed => UtdCode::Removed,
            Standing::BeforeJoin => UtdCode::BeforeJoin,
            Standing::NoGroup => UtdCode::WaitingWelcome,
            _ => match self.lineage(epoch) {
                Lineage::BeforeJoin => UtdCode::BeforeJoin,
                Lineage::OtherFork => UtdCode::NotInEpoch,
                Lineage::Open => UtdCode::WaitingCommit,
            },
        }
    }

    fn doing(&self, epoch: &EpochId, code: UtdCode) -> String {
        match (code, self.searches.get(epoch).map(|search| search.stage)) {
            (UtdCode::WaitingWelcome, _) => "waiting to be added by a member".to_owned(),
            (UtdCode::WaitingCommit, Some(Stage::Fetch | Stage::FetchAgain)) => "fetching its commit".to_owned(),
            (UtdCode::WaitingCommit, Some(Stage::Page)) => "paging back through the room".to_owned(),
            (UtdCode::WaitingCommit, Some(Stage::Ask)) => "asking members for its commit".to_owned(),
            (UtdCode::WaitingCommit, None) if !self.asked.is_empty() => {
                "asking members for a merge's inputs".to_owned()
            }
            _ => String::new(),
        }
    }
}

fn utd(code: UtdCode, doing: String, reason: Option<String>) -> Utd {
    let text = match code {
        UtdCode::BeforeJoin => "sent before this device was added",
        UtdCode::NotInEpoch => "sent on a fork that this device was never in",
        UtdCode::Removed => "sent after this device was removed",
        UtdCode::WaitingCommit => "the commit that makes its epoch is not here yet",
        UtdCode::WaitingWelcome => "this device is not in the group yet",
        UtdCode::BeyondWindow => "its keys are gone",
        UtdCode::Forged => "it was not made by who it says, or not for this place",
        UtdCode::Malformed => "not a message of this protocol",
        UtdCode::UnknownVersion => "made by a newer version",
        UtdCode::RejectedSender => "the room's sender is not who sealed it",
        UtdCode::Replay => "a copy of a message that is already there",
    };
    Utd { code, text: text.to_owned(), doing, reason }
}
