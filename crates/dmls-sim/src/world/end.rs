//! How everything ended: what each device shows.

use std::collections::BTreeSet;

use dmls::effect::EpochInfo;
use dmls_matrix::RoomId;
use dmls_matrix::view::RoomRow;

use super::{Fault, World, fault};
use crate::trace::{End, Name, Trace, View};

impl World {
    /// What a device shows of a room.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`], [`Fault::Machine`].
    pub fn view(&mut self, name: &Name, room: &RoomId) -> Result<View, Fault> {
        let client = self.client(name)?;
        // A machine that is down is looked at from a copy.
        client.come_up().map_err(|error| fault(name, &error))?;
        let Some(machine) = client.machine.as_mut() else { return Ok(View::default()) };
        super::audit::view(machine, room).map_err(|error| fault(name, &error))
    }

    /// A device's rooms.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`], [`Fault::Machine`].
    pub fn rooms(&mut self, name: &Name) -> Result<Vec<RoomRow>, Fault> {
        let client = self.client(name)?;
        client.come_up().map_err(|error| fault(name, &error))?;
        let Some(machine) = client.machine.as_mut() else { return Ok(Vec::new()) };
        machine.rooms().map_err(|error| fault(name, &error))
    }

    /// Ends the world: the trace, with how every device ended.
    ///
    /// # Errors
    /// [`Fault::Machine`].
    pub fn finish(mut self) -> Result<Trace, Fault> {
        crate::suites::record_in_this_thread(false);
        let names: Vec<_> = self.clients.keys().cloned().collect();
        for name in names {
            let end = self.end(&name)?;
            self.reopen_at_end(&name)?;
            self.trace.ends.insert(name, end);
        }
        self.trace.thefts = self.thefts()?;
        Ok(self.trace)
    }

    /// Keeps what a device knows of its epochs: in the end some are stubs, and the oracle asks for all.
    pub(super) fn note_epochs(&mut self, name: &Name) -> Result<(), Fault> {
        let Some(client) = self.clients.get_mut(name) else { return Ok(()) };
        let Some(machine) = client.machine.as_mut() else { return Ok(()) };
        for row in machine.rooms().map_err(|error| fault(name, &error))? {
            let Ok(log) = machine.log(&row.room) else { continue };
            let chronicle = self.chronicle.entry((name.clone(), row.room)).or_default();
            chronicle.extend(log.into_iter().map(|info| (info.epoch.id, info)));
        }
        Ok(())
    }

    /// Puts the epochs that are stubs before those that a device shows.
    fn recall(&self, name: &Name, room: &RoomId, view: &mut View) {
        let Some(chronicle) = self.chronicle.get(&(name.clone(), room.clone())) else { return };
        let shown: BTreeSet<_> = view.log.iter().map(|info| info.epoch.id).collect();
        // What is not in the room was taken back.
        let was = |info: &&EpochInfo| info.base.is_none() || !info.epoch.locator.0.is_empty();
        let stubs = chronicle.values().filter(was).filter(|info| !shown.contains(&info.epoch.id));
        let mut stubs: Vec<_> = stubs.map(|info| EpochInfo { held: false, head: false, ..info.clone() }).collect();
        stubs.sort_by_key(|info| info.number);
        view.log.splice(..0, stubs);
    }

    fn end(&mut self, name: &Name) -> Result<End, Fault> {
        let online = self.client(name)?.is_up();
        let rooms = self.rooms(name)?;
        let broken = rooms.iter().find_map(|row| row.trouble.clone());
        let mut end = {
            let client = self.client(name)?;
            End {
                device: client.device.clone(),
                server: client.home.clone(),
                online,
                honest: client.honest,
                logged_out: client.logged_out,
                broken,
                rooms,
                views: Default::default(),
            }
        };
        let known: Vec<_> = end.rooms.iter().map(|row| row.room.clone()).collect();
        for room in known {
            // Nothing can be shown of a room that cannot be read; its row says so.
            if let Ok(mut view) = self.view(name, &room) {
                self.recall(name, &room, &mut view);
                end.views.insert(room, view);
            }
        }
        Ok(end)
    }
}
