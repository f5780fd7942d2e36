//! Where devices stand between the steps of a script, for an oracle that asks whether all who know the same agree.

use std::collections::BTreeSet;

use dmls::effect::EpochInfo;
use dmls_matrix::RoomId;
use sha2::{Digest as _, Sha256};

use super::{Fault, World, fault};
use crate::client::{Client, MachineError};
use crate::trace::{Fact, Name};

/// In worlds with more devices nobody looks: it would take as long as everything else.
const DEVICES: usize = 8;

impl World {
    /// Tells the trace where each device stands.
    pub(crate) fn look(&mut self, room: &RoomId) -> Result<(), Fault> {
        let up = self.clients.iter().filter(|(_, client)| client.is_up() && client.honest);
        let names: Vec<Name> = up.map(|(name, _)| name.clone()).collect();
        if self.clients.len() > DEVICES {
            return Ok(());
        }
        for name in names {
            let stood = stands(&name, self.client(&name)?, room).map_err(|error| fault(&name, &error))?;
            stood.into_iter().for_each(|fact| self.note(fact));
        }
        Ok(())
    }
}

fn stands(name: &Name, client: &mut Client, room: &RoomId) -> Result<Option<Fact>, MachineError> {
    let shown = client.shown(room);
    let device = client.device.clone();
    let Some((machine, (desired, _))) = client.machine.as_mut().zip(shown) else { return Ok(None) };
    if machine.rooms()?.iter().all(|row| row.room != *room || row.trouble.is_some()) {
        return Ok(None);
    }
    let log = machine.log(room)?;
    let mut known = Sha256::new();
    let ids: BTreeSet<_> = log.iter().map(|info| info.epoch.id).collect();
    ids.iter().for_each(|id| known.update(id.0));
    for (device, key) in &desired {
        known.update(format!("{device} "));
        known.update(key.0);
    }
    let mut usable = BTreeSet::new();
    let desired = |info: &&EpochInfo| desired.contains_key(&info.creator);
    let heads: Vec<_> = log.iter().filter(|info| info.head && info.held).collect();
    // Heads by others are set aside as long as there is one by a device that may read (SPEC §3.2).
    let inside = heads.iter().any(desired);
    for head in heads.iter().filter(|info| !inside || desired(info)) {
        if machine.readers(room, &head.epoch.id)?.is_some_and(|readers| readers.contains(&device)) {
            usable.insert(head.epoch.id);
        }
    }
    let canonical = log.iter().find(|info| info.canonical).map(|info| info.epoch.id);
    let known = known.finalize().into();
    Ok(Some(Fact::Stood { name: name.clone(), room: room.clone(), known, usable, canonical }))
}
