//! One transaction for each call into the core; rooms are read when first needed.

use dmls::defence;
use dmls::effect::{Outcome, Verdict};
use dmls::entropy::Entropy;
use dmls::error::GroupError;
use dmls::group::{Group, Settings};
use dmls::id::Timestamp;
use dmls::input::Input;
use dmls::journal::{Durable, Journal};

use super::{Machine, Parameters};
use crate::error::Error;
use crate::id::RoomId;
use crate::ledger::Ledger;
use crate::room::Room;
use crate::room::absorb::Absorbed;
use crate::view::Report;

impl<J: Journal> Machine<J> {
    /// The room, read from the store if it is not in memory; `None` for a room that cannot be read.
    pub(super) fn room(&mut self, id: &RoomId) -> Result<Option<&mut Room>, Error<J::Error>> {
        if !self.rooms.contains_key(id) {
            if self.broken.contains_key(id) {
                return Ok(None);
            }
            let own = self.own()?;
            let Parameters { event_limit, known_epochs, .. } = self.parameters;
            let settings = Settings { commit_limit: event_limit, max_known: known_epochs, ..Settings::default() };
            match Room::load(id.clone(), own, settings, &self.journal) {
                Ok(room) => drop(self.rooms.insert(id.clone(), room)),
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) if !defence::on("D7") => return Err(error),
                Err(error) => {
                    self.broken.insert(id.clone(), error.code().to_owned());
                    return Ok(None);
                }
            }
        }
        Ok(self.rooms.get_mut(id))
    }

    /// The room, if it is in the store and can be read.
    pub(super) fn known_room(&mut self, id: &RoomId) -> Result<Option<&mut Room>, Error<J::Error>> {
        if self.known.contains(id) { self.room(id) } else { Ok(None) }
    }

    /// Stores what gathered in the room.
    pub(super) fn flush(&mut self, id: &RoomId) -> Result<(), Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.has_writes()) else { return Ok(()) };
        if !self.known.contains(id) {
            room.enlist();
        }
        let durable = Durable::new(room.take_writes(), ());
        let stored = durable.persist(&mut self.journal);
        self.after(id, stored)?;
        self.known.insert(id.clone());
        Ok(())
    }

    /// Leaves what gathered in the room to the next transaction: it comes again if there is none before a crash.
    pub(super) fn flush_later(&mut self, id: &RoomId) {
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.has_writes()) else { return };
        if !self.known.contains(id) {
            room.enlist();
        }
        self.journal.wait(room.take_writes());
        self.known.insert(id.clone());
    }

    /// A room in memory is ahead of the disk: it is read again when it is needed, and what it told of its users with it.
    pub(super) fn lose(&mut self, id: &RoomId) {
        self.rooms.remove(id);
        // Where the store cannot be read either, the next call says so.
        if let Ok(facts) = super::facts::FactBook::load(&self.journal) {
            self.facts = facts;
        }
    }

    /// After a failed store the room in memory is ahead of the disk: drop it.
    fn after<T>(&mut self, id: &RoomId, stored: Result<T, J::Error>) -> Result<T, Error<J::Error>> {
        stored.map_err(|error| {
            self.lose(id);
            Error::Store(error)
        })
    }

    /// One input for the core; everything that follows is stored with it.
    pub(super) fn handle(
        &mut self,
        id: &RoomId,
        input: Input,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<Option<Verdict>, Error<J::Error>> {
        self.call(id, entropy, report, |group, entropy| group.handle(input, now, entropy), |_, _, _| Ok(()))
    }

    /// One call of the core and what the room makes of it (`then`), as one transaction.
    ///
    /// `None` when the room cannot be used or the core failed on its own state, which the report then tells.
    pub(super) fn call(
        &mut self,
        id: &RoomId,
        entropy: &mut dyn Entropy,
        report: &mut Report,
        call: impl FnOnce(&mut Group, &mut dyn Entropy) -> Result<Durable<Outcome>, GroupError>,
        then: impl FnOnce(&mut Room, &Ledger<J>, &Absorbed) -> Result<(), Error<J::Error>>,
    ) -> Result<Option<Verdict>, Error<J::Error>> {
        match self.try_call(id, entropy, report, call, then)? {
            Ok(verdict) => Ok(verdict),
            Err(error) => self.note_group_error(id, &error, report).map(|()| None),
        }
    }

    /// As [`Machine::call`], with the core's own errors for the caller to look at.
    pub(super) fn try_call(
        &mut self,
        id: &RoomId,
        entropy: &mut dyn Entropy,
        report: &mut Report,
        call: impl FnOnce(&mut Group, &mut dyn Entropy) -> Result<Durable<Outcome>, GroupError>,
        then: impl FnOnce(&mut Room, &Ledger<J>, &Absorbed) -> Result<(), Error<J::Error>>,
    ) -> Result<Result<Option<Verdict>, GroupError>, Error<J::Error>> {
        let Some(room) = self.rooms.get_mut(id) else { return Ok(Ok(None)) };
        let durable = match call(&mut room.group, entropy) {
            Ok(durable) => durable,
            Err(GroupError::Entropy(error)) => {
                self.lose(id);
                return Err(error.into());
            }
            Err(error) => return Ok(Err(error)),
        };
        let (journal, is_new) = (&self.journal, !self.known.contains(id));
        let durable = durable.try_and_then(|outcome, writes| {
            let absorbed = room.absorb(outcome, journal, entropy)?;
            then(room, journal, &absorbed)?;
            if is_new {
                room.enlist();
            }
            writes.append(&mut room.take_writes());
            Ok(absorbed)
        });
        // All of it or nothing: a used key without its message, or a commit that is not in the outbox, would be lost.
        let durable = match durable {
            Ok(durable) => durable,
            Err(error) => {
                self.lose(id);
                if let Error::Damaged(_) = error {
                    // It comes to the same each time: the room stops, and no other.
                    self.broken.insert(id.clone(), error.code().to_owned());
                }
                return Err(error);
            }
        };
        let stored = durable.persist(&mut self.journal);
        let Absorbed { verdict, remarks, has_settled: _ } = self.after(id, stored)?;
        self.known.insert(id.clone());
        report.remarks.extend(remarks);
        note_changed(report, id);
        Ok(Ok(Some(verdict)))
    }

    /// The core failed on its own state: told, and the room is read anew; other rooms go on.
    fn note_group_error(
        &mut self,
        id: &RoomId,
        error: &GroupError,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        if let Some(room) = self.rooms.get_mut(id) {
            report.remarks.push(room.remark(None, None, "group", &error.to_string()));
        }
        self.flush(id)?;
        Ok(())
    }
}

/// Notes that a reader may see something new in the room.
pub(super) fn note_changed(report: &mut Report, id: &RoomId) {
    if !report.changed.contains(id) {
        report.changed.push(id.clone());
    }
}
