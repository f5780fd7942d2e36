//! What thieves make of what they took: the stolen store is given everything that was ever posted, and only listens.

use std::collections::BTreeSet;

use dmls::id::{Device, EpochId};
use dmls_matrix::sync::SyncInput;
#[cfg(dmls_mutants)]
use dmls_matrix::sync::ToDeviceEvent;
use dmls_matrix::{Machine, RoomId, Source};
use dmls_store::MemoryStore;
use serde_json::{Value, json};

use super::{Fault, World, fault};
use crate::client::{Client, MachineError};
use crate::entropy::Stream;
use crate::trace::{Fact, Name, Theft};

/// So often everything is shown to a thief: what waits for something finds it the next time.
const ROUNDS: usize = 2;
/// Messages that were read and that a thief tries to open once more.
#[cfg(dmls_mutants)]
const TRIED: usize = 12;

/// The epochs whose secrets a store holds.
pub(super) fn held(thief: &mut Client) -> Result<BTreeSet<EpochId>, MachineError> {
    let Some(machine) = thief.machine.as_mut() else { return Ok(BTreeSet::new()) };
    let mut held = BTreeSet::new();
    for row in machine.rooms()? {
        let log = machine.log(&row.room)?;
        held.extend(log.iter().filter(|info| info.held).map(|info| info.epoch.id));
    }
    Ok(held)
}

impl World {
    /// How all thefts ended.
    pub(super) fn thefts(&mut self) -> Result<Vec<Theft>, Fault> {
        let posted: Vec<_> = self.trace.entries.iter().filter_map(|entry| event(&entry.fact, entry.at.0)).collect();
        let stolen = std::mem::take(&mut self.stolen);
        let mut thefts = Vec::new();
        for (entry, mut thief) in stolen {
            let Some(Fact::Stolen { name, .. }) = self.trace.entries.get(entry).map(|entry| &entry.fact) else {
                continue;
            };
            let name: Name = name.clone();
            let reopened = again(&mut thief, &posted).map_err(|error| fault(&name, &error))?;
            let opened = self.listen(&mut thief, &posted).map_err(|error| fault(&name, &error))?;
            thefts.push(Theft { name, entry, opened, reopened });
        }
        Ok(thefts)
    }

    fn listen(&self, thief: &mut Client, posted: &[(RoomId, Value)]) -> Result<BTreeSet<String>, MachineError> {
        let now = self.now;
        let Some(machine) = thief.machine.as_mut() else { return Ok(BTreeSet::new()) };
        let rooms: BTreeSet<_> = machine.rooms()?.into_iter().map(|row| row.room).collect();
        let mut opened = BTreeSet::new();
        for room in &rooms {
            let here = || posted.iter().filter(|(place, _)| place == room).map(|(_, event)| event.clone());
            for _ in 0..ROUNDS {
                machine.receive_room_events(
                    room,
                    &here().collect::<Vec<_>>(),
                    Source::Timeline,
                    now,
                    &mut thief.entropy,
                )?;
                let others = machine.members(room)?.into_iter().filter(|row| row.in_head && row.device != thief.device);
                let from = others.map(|row| row.device).next();
                if let Some(guesses) = from.and_then(|from| guesses(machine, room, &from, posted, &mut thief.entropy)) {
                    machine.receive_sync(guesses, now, &mut thief.entropy)?;
                }
            }
            let rows = machine.messages(room)?.into_iter().filter(|row| row.utd.is_none());
            opened.extend(rows.filter_map(|row| row.event_id));
        }
        Ok(opened)
    }
}

/// A thief tells its copy of the device, as if a member answered, that each merge has the merge value of one that merges
/// nothing (SPEC §3.5).
#[cfg(dmls_mutants)]
fn guesses(
    machine: &mut Machine<MemoryStore>,
    room: &RoomId,
    from: &Device,
    posted: &[(RoomId, Value)],
    entropy: &mut Stream,
) -> Option<SyncInput> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use dmls::craft::State;
    use dmls_matrix::insider;
    use sha2::{Digest as _, Sha256};
    let nothing: [u8; 32] = Sha256::digest(b"DMLS 1.0 inputs\0").into();
    let group = machine.insider(room)?;
    let made = posted.iter().filter(|(place, _)| place == room);
    let letters = made.filter_map(|(_, event)| {
        let made = insider::made_by(&event["content"])?;
        let bytes = STANDARD_NO_PAD.decode(event["content"]["ciphertext"].as_str()?).ok()?;
        let commit = dmls::group::inspect_commit(&bytes).ok()?;
        let base = State::of(group, &commit.base.id)?;
        let reply = base.reply(group.device(), &commit.resolves, nothing, entropy).ok()?;
        let (event_type, content) = insider::merge_reply(room, made.id, &reply);
        Some(ToDeviceEvent {
            sender: from.user.clone(),
            sender_device: Some(from.clone()),
            encrypted: true,
            event_type,
            content,
        })
    });
    SyncInput::parse(&json!({ "next_batch": "s0_0" }), letters.collect())
}

#[cfg(not(dmls_mutants))]
fn guesses(
    _: &mut Machine<MemoryStore>,
    _: &RoomId,
    _: &Device,
    _: &[(RoomId, Value)],
    _: &mut Stream,
) -> Option<SyncInput> {
    None
}

/// Messages that the device had read, as far as the secrets of their epochs and of what was built on those open them.
#[cfg(dmls_mutants)]
fn again(thief: &mut Client, posted: &[(RoomId, Value)]) -> Result<BTreeSet<String>, MachineError> {
    use dmls::craft::{Message, State};
    let Some(machine) = thief.machine.as_mut() else { return Ok(BTreeSet::new()) };
    let mut opened = BTreeSet::new();
    for room in machine.rooms()?.into_iter().map(|row| row.room) {
        let rows =
            machine.messages(&room)?.into_iter().filter(|row| row.utd.is_none() && row.sender != thief.device.user);
        let read: Vec<String> = rows.filter_map(|row| row.event_id).rev().take(TRIED).collect();
        let log = machine.log(&room)?;
        let Some(group) = machine.insider(&room) else { continue };
        for (_, event) in posted.iter().filter(|(place, _)| *place == room) {
            let Some(id) = read.iter().find(|id| event["event_id"] == ***id) else { continue };
            let Some(bytes) = super::adversary::bytes_of(&event["content"]) else { continue };
            let Ok(header) = dmls::group::inspect_message(&bytes) else { continue };
            let near =
                |info: &&dmls::effect::EpochInfo| info.epoch.id == header.epoch || info.base == Some(header.epoch);
            let mut states = log.iter().filter(near).filter_map(|info| State::of(group, &info.epoch.id));
            if states.any(|state| Message::overheard(&state, &bytes).is_ok()) {
                opened.insert(id.clone());
            }
        }
    }
    Ok(opened)
}

#[cfg(not(dmls_mutants))]
fn again(_: &mut Client, _: &[(RoomId, Value)]) -> Result<BTreeSet<String>, MachineError> {
    Ok(BTreeSet::new())
}

/// A sealed event as any server would show it.
fn event(fact: &Fact, at: u64) -> Option<(RoomId, Value)> {
    let Fact::Posted { room, event_id, sender, event_type, state_key: None, content, .. } = fact else { return None };
    let event = json!({
        "type": event_type, "event_id": event_id, "room_id": room.0, "sender": sender.user,
        "origin_server_ts": at, "content": content,
    });
    Some((room.clone(), event))
}
