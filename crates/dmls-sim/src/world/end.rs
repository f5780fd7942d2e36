//! How everything ended: what each device shows.

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
            if let Ok(view) = self.view(name, &room) {
                end.views.insert(room, view);
            }
        }
        Ok(end)
    }
}
