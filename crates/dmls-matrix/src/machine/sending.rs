//! What the user wants: rooms made, messages sent, keys changed.

use dmls::entropy::Entropy;
use dmls::id::{Device, Timestamp};
use dmls::journal::Journal;
use serde_json::{Value, json};

use super::Machine;
use crate::error::Error;
use crate::id::{MessageId, RoomId};
use crate::names::{CREATE, ENCRYPTION, creator_device, room_algorithm};
use crate::plaintext;
use crate::room::Room;
use crate::room::queue::{Draft, Item, fresh_name};
use crate::room::record::{Member, RowRecord, RowState};
use crate::room::rows::Name;
use crate::sync::{RoomInput, Section};
use crate::view::{Encryption, Membership, Report};

/// Bytes of plaintext that surely fit into an event once sealed, padded and encoded.
const MESSAGE_LIMIT: usize = 40_000;

impl<J: Journal> Machine<J> {
    /// State events for `POST /createRoom` (`initial_state`).
    pub fn initial_state() -> Vec<Value> {
        vec![json!({ "type": ENCRYPTION, "state_key": "", "content": { "algorithm": room_algorithm() } })]
    }

    /// Fields of the create event for `POST /createRoom` (`creation_content`).
    ///
    /// They name this device, which so makes the genesis epoch even if it never hears that the room was made (SPEC §7.8).
    pub fn creation_content(&self) -> Value {
        json!({ creator_device(): self.account.device.device })
    }

    /// This user created the room: makes its genesis epoch. Calling it again changes nothing.
    ///
    /// A first commit follows by itself: its GroupInfo is what others can join by while this device is away.
    pub fn room_created(
        &mut self,
        room: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Error<J::Error>> {
        self.recover()?;
        if self.room(room)?.is_none() {
            return Err(Error::UnknownRoom(room.clone()));
        }
        let mut report = std::mem::take(&mut self.untold);
        let begun = self.begin(room, now, entropy, &mut report).and_then(|()| self.flush(room));
        self.untold = report;
        self.conclude(begun)
    }

    /// Makes the genesis epoch of a room without epochs.
    pub(super) fn begin(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let user = self.account.device.user.clone();
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.group.epochs().is_empty()) else { return Ok(()) };
        let record = room.record.edit();
        (record.membership, record.encryption) = (Membership::Joined, Encryption::Dmls);
        room.marks.edit().update_wanted = true;
        room.desired_stale = true;
        if !room.is_joined(&user) {
            // Until the sync tells which event it was.
            let member = Member { joined: true, event: String::new(), since: String::new() };
            room.set_member(&user, member);
        }
        let made = self.try_call(id, entropy, report, |group, entropy| group.create(now, entropy), |_, _, _| Ok(()))?;
        if let Err(error) = made {
            self.lose(id);
            return Err(error.into());
        }
        self.refresh_desired(id, now, entropy, report)
    }

    /// Keeps a message durably, to be sent as soon as it may be; returns at once.
    pub fn send(
        &mut self,
        room: &RoomId,
        event_type: &str,
        content: Value,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<MessageId, Error<J::Error>> {
        self.recover()?;
        let device = self.account.device.clone();
        let message_id = MessageId(fresh_name(entropy)?);
        check_message(room, &message_id, event_type, &content)?;
        let state = self.writable(room)?;
        state.draft(&device, &message_id, event_type, &content, now);
        self.flush(room)?;
        self.seal_at_once(room, now, entropy);
        self.conclude(Ok(message_id))
    }

    /// Does what is due in a room, in the transaction that keeps a message: where nothing is in the way it is sealed there.
    /// A device that was away hears first what happened.
    fn seal_at_once(&mut self, room: &RoomId, now: Timestamp, entropy: &mut dyn Entropy) {
        if self.is_in_touch(now) {
            let mut report = std::mem::take(&mut self.untold);
            // The message is kept; what fails here fails again when requests are listed.
            let _ = self.tend_room(room, now, entropy, &mut report);
            self.untold = report;
        }
    }

    /// Asks for a rekey: a commit with a fresh leaf as soon as this device may commit.
    pub fn update_now(&mut self, room: &RoomId, _now: Timestamp) -> Result<(), Error<J::Error>> {
        self.recover()?;
        let state = self.writable(room)?;
        state.marks.edit().update_wanted = true;
        let kept = self.flush(room);
        self.conclude(kept)
    }

    /// The room, if this user may write to it.
    fn writable(&mut self, id: &RoomId) -> Result<&mut Room, Error<J::Error>> {
        let unknown = || Error::UnknownRoom(id.clone());
        let room = self.known_room(id)?.ok_or_else(unknown)?;
        match (room.record.membership, room.record.encryption) {
            (Membership::Joined, Encryption::Dmls) => Ok(room),
            (Membership::Joined, _) => Err(Error::NotEncrypted(id.clone())),
            _ => Err(Error::NotJoined(id.clone())),
        }
    }
}

/// Whether the create event is among what came, and says that `own` made the room.
pub(super) fn is_created_by(input: &RoomInput, own: &Device) -> bool {
    let ours = |event: &Value| {
        event["type"] == CREATE
            && event["sender"] == own.user.as_str()
            && event["content"][creator_device()] == own.device.as_str()
    };
    input.section == Section::Join && input.state.iter().chain(&input.timeline).any(ours)
}

fn check_message<E>(room: &RoomId, id: &MessageId, event_type: &str, content: &Value) -> Result<(), Error<E>> {
    if !content.is_object() || event_type.is_empty() || event_type.len() > 255 {
        return Err(Error::Malformed("content"));
    }
    let signed = plaintext::signed_bytes(room, id, event_type, content).ok_or(Error::Malformed("content"))?;
    if signed.len() > MESSAGE_LIMIT {
        return Err(Error::TooLarge { bytes: signed.len(), limit: MESSAGE_LIMIT });
    }
    Ok(())
}

impl Room {
    /// Lists an own message and puts it into the outbox.
    fn draft(&mut self, own: &Device, message_id: &MessageId, event_type: &str, content: &Value, now: Timestamp) {
        let place = self.next_place();
        let row = RowRecord {
            event_id: None,
            sender: own.user.clone(),
            ts: now.0,
            epoch_id: None,
            epoch: None,
            in_order: false,
            ciphertext: None,
            sealed: Vec::new(),
            state: RowState::Readable {
                device: own.clone(),
                message_id: message_id.clone(),
                event_type: event_type.to_owned(),
                content: content.to_string(),
            },
        };
        self.keep_row(place, &row);
        self.name_row(&Name::Message(own, &message_id.0), place);
        self.enqueue(Item::Draft(Draft { place, sealed: None }));
    }
}
