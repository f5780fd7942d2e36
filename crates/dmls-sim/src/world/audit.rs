//! Looking at devices from outside: whether their stores would give them back, and what keys they seal with.

use dmls_matrix::view::RoomRow;
use dmls_matrix::{Machine, RoomId};
use dmls_store::MemoryStore;

use super::{Fault, World, fault};
use crate::client::{Client, MachineError};
use crate::trace::{Fact, Name, View};

/// Of a thousand turns so many are followed by a look at the device's store.
const AUDITED: u32 = 3;
/// So many devices are looked at in the end, of more these by lot: opening a store takes as long as living for a while.
const AUDITED_AT_END: u64 = 12;

impl World {
    /// After a turn, now and then: the device must be what its store would give back.
    pub(super) fn audit(&mut self, name: &Name) -> Result<(), Fault> {
        if self.audits.chance(AUDITED) { self.reopen(name) } else { Ok(()) }
    }

    /// Opens a copy of a device's store beside it, and tells the trace in what the two differ.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`]; [`Fault::Machine`] if the store cannot be opened.
    pub fn reopen(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        if client.machine.is_some() {
            let mut copy = client.copy().map_err(|error| fault(name, &error))?;
            let differences = records(client, &mut copy).map_err(|error| fault(name, &error))?;
            self.note(Fact::Reopened { name: name.clone(), differences });
        }
        Ok(())
    }

    /// The same at the end, when also all that people are shown is looked at.
    pub(super) fn reopen_at_end(&mut self, name: &Name) -> Result<(), Fault> {
        if self.audits.below(self.clients.len() as u64) >= AUDITED_AT_END {
            return Ok(());
        }
        let client = self.client(name)?;
        let mut look = || -> Result<Vec<String>, MachineError> {
            let mut copy = client.copy()?;
            let mut differences = records(client, &mut copy)?;
            let Some(machine) = client.machine.as_mut() else { return Ok(differences) };
            let (here, there) = (Shown::by(machine)?, Shown::by(&mut copy)?);
            differences.extend(here.differences(&there));
            Ok(differences)
        };
        let differences = look().map_err(|error| fault(name, &error))?;
        self.note(Fact::Reopened { name: name.clone(), differences });
        Ok(())
    }
}

/// All that a machine shows.
struct Shown {
    rooms: Vec<RoomRow>,
    views: Vec<(RoomId, View)>,
}

impl Shown {
    fn by(machine: &mut Machine<MemoryStore>) -> Result<Self, MachineError> {
        let rooms = machine.rooms()?;
        let known = rooms.iter().map(|row| row.room.clone());
        // Nothing can be shown of a room that cannot be read; its row says so.
        let views = known.filter_map(|room| Some((room.clone(), view(machine, &room).ok()?)));
        let views = views.map(|(room, view)| (room, lasting(view))).collect();
        Ok(Self { rooms, views })
    }

    fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut hold = |what: String, same: bool| {
            if !same {
                found.push(what)
            }
        };
        hold("rooms".to_owned(), self.rooms == other.rooms);
        for (room, view) in &self.views {
            let Some((_, again)) = other.views.iter().find(|(other, _)| other == room) else {
                let row = other.rooms.iter().find(|row| row.room == *room);
                let trouble = row.and_then(|row| row.trouble.as_deref()).unwrap_or("not there");
                hold(format!("view of {room}: {trouble}"), false);
                continue;
            };
            hold(format!("messages of {room}"), view.messages == again.messages);
            hold(format!("members of {room}"), view.members == again.members);
            hold(format!("log of {room}"), view.log == again.log);
            hold(format!("readers of {room}"), view.readers == again.readers);
            hold(format!("exports of {room}"), view.exports == again.exports);
        }
        found
    }
}

/// What a machine shows of one room.
pub(super) fn view(machine: &mut Machine<MemoryStore>, room: &RoomId) -> Result<View, MachineError> {
    let log = machine.log(room)?;
    let mut view = View { messages: machine.messages(room)?, members: machine.members(room)?, ..View::default() };
    for info in &log {
        if let Some(readers) = machine.readers(room, &info.epoch.id)? {
            view.readers.insert(info.epoch.id, readers);
        }
    }
    #[cfg(dmls_mutants)]
    {
        view.exports = machine.exports(room)?;
    }
    view.log = log;
    Ok(view)
}

/// Without what a machine is doing at the moment: after a restart it begins anew with that.
fn lasting(mut view: View) -> View {
    view.messages.iter_mut().filter_map(|row| row.utd.as_mut()).for_each(|utd| utd.doing.clear());
    view
}

/// The records of which a machine in memory and its store say different things; the test build can tell them.
#[cfg(dmls_mutants)]
fn records(client: &mut Client, copy: &mut Machine<MemoryStore>) -> Result<Vec<String>, MachineError> {
    let Some(machine) = client.machine.as_mut() else { return Ok(Vec::new()) };
    let rooms: Vec<_> = machine.rooms_in_memory().cloned().collect();
    let (here, there) = (machine.portrait(&rooms)?, copy.portrait(&rooms)?);
    let places: std::collections::BTreeSet<_> = here.keys().chain(there.keys()).collect();
    let differ = places.into_iter().filter(|place| here.get(*place) != there.get(*place));
    let tell = |(table, key): &(dmls::journal::Table, Vec<u8>)| {
        let tail: String = key.iter().rev().take(8).rev().map(|byte| format!("{byte:02x}")).collect();
        let place = (table.clone(), key.clone());
        let word = match (here.contains_key(&place), there.contains_key(&place)) {
            (true, false) => "not stored",
            (false, true) => "only stored",
            _ => "other",
        };
        format!("{table:?} {tail} {word}")
    };
    Ok(differ.map(tell).collect())
}

#[cfg(not(dmls_mutants))]
fn records(_: &mut Client, _: &mut Machine<MemoryStore>) -> Result<Vec<String>, MachineError> {
    Ok(Vec::new())
}
