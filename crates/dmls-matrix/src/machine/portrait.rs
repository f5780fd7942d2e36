//! What a machine is, record by record: for tests that hold it against what its store would give back.

use std::collections::BTreeMap;

use dmls::group::portrait::{Portrait, portrait};
use dmls::id::EpochId;
use dmls::journal::{Journal, Write};

use super::{Machine, POSITION};
use crate::error::Error;
use crate::id::RoomId;
use crate::room::Room;
use crate::table;

impl<J: Journal> Machine<J> {
    /// The rooms in memory; others are as their store has them.
    pub fn rooms_in_memory(&self) -> impl Iterator<Item = &RoomId> {
        self.rooms.keys()
    }

    /// All records that the machine would write now: the device's own, and those of `rooms`.
    ///
    /// # Errors
    /// Those of reading a room that is not in memory.
    pub fn portrait(&mut self, rooms: &[RoomId]) -> Result<Portrait, Error<J::Error>> {
        let mut writes: Vec<Write> = self.account.record().into_iter().chain([self.keys.write()]).collect();
        writes.extend(self.position.iter().map(|next| table::put(table::ACCOUNT, POSITION.to_vec(), next)));
        writes.extend(self.facts.records());
        writes.extend(self.welcomes.iter().map(|(hash, waiting)| table::put(table::WELCOME, hash.to_vec(), waiting)));
        let mut whole = self.packages.portrait();
        for id in rooms {
            if let Some(room) = self.room(id)? {
                writes.extend(room.records());
                whole.extend(room.group.portrait());
            }
        }
        whole.extend(portrait(&writes));
        Ok(whole)
    }

    /// Hashes of the merge exports of all held epochs of a room.
    ///
    /// # Errors
    /// Those of reading the room.
    pub fn exports(&mut self, id: &RoomId) -> Result<BTreeMap<EpochId, [u8; 32]>, Error<J::Error>> {
        Ok(self.known_room(id)?.map(|room| room.group.exports()).unwrap_or_default())
    }
}

impl Room {
    fn records(&self) -> Vec<Write> {
        let key = |rest: &[u8]| table::key_in(&self.id, rest);
        let mut writes = vec![table::put(table::ROOM, table::room_key(&self.id), &*self.record)];
        writes.push(table::put(table::MARKS, table::room_key(&self.id), &*self.marks));
        writes.extend(self.entries.iter().map(|(at, entry)| table::put(table::ENTRY, key(&at.to_be_bytes()), entry)));
        writes.extend(self.tallies.iter().map(|(at, tally)| table::put(table::TALLY, key(&at.to_be_bytes()), tally)));
        writes
            .extend(self.members.iter().map(|(user, member)| table::put(table::MEMBER, key(user.as_bytes()), member)));
        writes.extend(self.queue.iter().map(|(at, item)| table::put(table::OUTBOX, key(&at.to_be_bytes()), item)));
        writes.extend(self.own_welcomes.iter().map(|(id, kept)| table::put(table::OWN_WELCOME, key(&id.0), kept)));
        writes.extend(self.hearsay.iter().map(|(id, stories)| table::put(table::HEARSAY, key(&id.0), stories)));
        writes.extend(self.searches.iter().map(|(id, search)| table::put(table::SEARCH, key(&id.0), search)));
        writes
    }
}
