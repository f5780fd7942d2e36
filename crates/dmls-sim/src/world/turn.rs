//! One device's turn: a sync if there is news, else one request, else a look at what is due.

use std::collections::BTreeSet;

use dmls::id::Device;
use dmls_matrix::error::Error;
use dmls_matrix::request::{Failure, Request};
use dmls_matrix::sync::{SyncInput, ToDeviceEvent};
use dmls_matrix::view::Report;
use dmls_matrix::{Machine, RoomId};
use dmls_store::MemoryStore;
use serde_json::Value;

use super::{Fault, World, fault};
use crate::client::{Arrival, CrashPoint, MachineError};
use crate::net::event::MEMBER;
use crate::trace::{Fact, Name};

/// So often a device that has something to do syncs at least, although there is no news.
const LISTENING: u64 = 300_000;

impl World {
    pub(super) fn turn(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        let (device, since, synced) = (client.device.clone(), client.since(), client.synced);
        client.turn = None;
        if self.net.has_news(&device, since) || synced.plus(LISTENING) <= self.now {
            self.sync(name)?;
        } else {
            self.work(name)?;
        }
        self.note_desired(name);
        self.note_epochs(name)?;
        #[cfg(dmls_mutants)]
        self.keep_new_states(name)?;
        self.audit(name)?;
        self.plan(name)
    }

    /// When the device's next turn is.
    fn plan(&mut self, name: &Name) -> Result<(), Fault> {
        let (now, latency) = (self.now, self.latency());
        let client = self.client(name)?;
        if client.is_up() {
            client.turn = if client.rests { client.wake(now) } else { Some(now.plus(latency)) };
        }
        Ok(())
    }

    fn sync(&mut self, name: &Name) -> Result<(), Fault> {
        let now = self.now;
        let client = self.client(name)?;
        client.synced = now;
        let (device, since, home) = (client.device.clone(), client.since(), client.home.clone());
        client.rests = false;
        // What was listed before may no longer be right.
        client.todo.clear();
        if client.crashes_before() {
            return self.crash(name);
        }
        let Some(synced) = self.net.sync(&device, since) else { return Ok(()) };
        match self.client(name)?.arrival() {
            Arrival::Whole => {}
            // It asks again from where it stood.
            Arrival::Half { crashes: false } => return Ok(()),
            Arrival::Half { crashes: true } | Arrival::Never => return self.crash(name),
        }
        let letters: Vec<_> = synced.letters.iter().filter_map(letter).collect();
        let Some(input) = SyncInput::parse(&synced.body, letters) else { return Ok(()) };
        let taken = self.call(name, |machine, now, entropy| machine.receive_sync(input, now, entropy))?;
        let rooms: Vec<_> = self.rooms.iter().cloned().collect();
        for room in rooms {
            let (mut joined, mut left) = self.net.memberships(&home, &room);
            let told = members_in(&synced.body, &room);
            let members = self.client(name)?.members.entry(room).or_default();
            if taken.is_some() {
                // Whose membership ended by state resolution, without an event, is joined as far as a sync tells.
                let untold: BTreeSet<_> =
                    members.0.iter().filter(|user| left.contains(*user) && !told.contains(*user)).cloned().collect();
                left.retain(|user| !untold.contains(user));
                joined.extend(untold);
                *members = (joined, left);
            } else {
                // Where the store failed it knows these, or those from before.
                members.1.retain(|user| !joined.contains(user));
                members.0.extend(joined);
            }
        }
        if taken.is_none() {
            return Ok(());
        }
        let mut ids = Vec::new();
        for section in ["join", "leave"] {
            for part in synced.body["rooms"][section].as_object().into_iter().flat_map(|rooms| rooms.values()) {
                ids.extend(events_of(&part["state"]["events"]));
                ids.extend(events_of(&part["timeline"]["events"]));
            }
        }
        ids.extend(synced.letters.iter().flat_map(|event| events_of(&event["content"]["commits"])));
        self.took(name, ids)
    }

    /// One request, or a new list of them.
    fn work(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        let Some(next) = client.todo.pop_front() else {
            let listed = self.call(name, |machine, now, entropy| machine.outgoing_requests(now, entropy))?;
            let client = self.client(name)?;
            if let Some(listed) = listed {
                client.rests = listed.is_empty();
                client.todo = listed.into();
            }
            return Ok(());
        };
        if client.crashes_before() {
            return self.crash(name);
        }
        self.counts.requests += 1;
        let answer = self.perform(name, &next.request)?;
        let arrival = self.client(name)?.arrival();
        let answer = match arrival {
            Arrival::Whole => answer,
            Arrival::Half { .. } => Err(Failure::default()),
            Arrival::Never => return self.crash(name),
        };
        if let (Request::KeysQuery { users }, Ok(_)) = (&next.request, &answer) {
            self.tell_devices(name, users)?;
        }
        let took = answer.as_ref().map(|answer| super::perform::shown(&next.request, answer)).unwrap_or_default();
        let report = self.call(name, |machine, now, entropy| match answer {
            Ok(response) => machine.mark_request_as_sent(&next.id, response, now, entropy),
            Err(failure) => machine.mark_request_as_failed(&next.id, failure, now, entropy),
        })?;
        if report.is_some() {
            self.took(name, took)?;
        }
        if arrival == (Arrival::Half { crashes: true }) { self.crash(name) } else { Ok(()) }
    }

    /// Calls the machine; `None` if its store failed, which is then a crash or a full disk as was arranged.
    pub(super) fn call<T: Telling>(
        &mut self,
        name: &Name,
        call: impl FnOnce(
            &mut Machine<MemoryStore>,
            dmls::id::Timestamp,
            &mut crate::entropy::Stream,
        ) -> Result<T, MachineError>,
    ) -> Result<Option<T>, Fault> {
        let now = self.now;
        let client = self.client(name)?;
        let clock = client.clock(now);
        let Some(machine) = client.machine.as_mut() else { return Ok(None) };
        let _others = crate::suites::take();
        let called = call(machine, clock, &mut client.entropy);
        let used = crate::suites::take();
        if !used.is_empty() {
            self.note(Fact::Sealed { name: name.clone(), seals: used });
        }
        let client = self.client(name)?;
        if client.journal().is_dead() {
            return self.crash(name).map(|()| None);
        }
        match called {
            Ok(value) => {
                for remark in value.remarks() {
                    self.note(Fact::Told { name: name.clone(), remark });
                }
                Ok(Some(value))
            }
            Err(Error::Store(_)) if matches!(client.crash, Some(CrashPoint::Write(_))) => {
                self.crash(name).map(|()| None)
            }
            Err(Error::Store(_)) => {
                client.rests = false;
                self.note(Fact::DiskFull { name: name.clone() });
                Ok(None)
            }
            Err(error) => Err(fault(name, &error)),
        }
    }

    fn took(&mut self, name: &Name, ids: Vec<String>) -> Result<(), Fault> {
        for event_id in ids {
            if self.client(name)?.taken.insert(event_id.clone()) {
                self.note(Fact::Took { name: name.clone(), event_id });
            }
        }
        Ok(())
    }

    /// Tells the trace if the device was shown other members or devices than before.
    fn note_desired(&mut self, name: &Name) {
        let rooms: Vec<RoomId> = self.rooms.iter().cloned().collect();
        for room in rooms {
            let Some(client) = self.clients.get_mut(name).filter(|client| !client.was_told(&room)) else { continue };
            let Some(shown) = client.shown(&room).filter(|shown| client.desired.get(&room) != Some(shown)) else {
                continue;
            };
            client.desired.insert(room.clone(), shown.clone());
            let (devices, left) = shown;
            self.note(Fact::Desired { name: name.clone(), room, devices, left });
        }
    }
}

/// What calls of the machine tell besides.
pub(super) trait Telling {
    fn remarks(&self) -> Vec<dmls_matrix::view::Remark> {
        Vec::new()
    }
}

impl Telling for Report {
    fn remarks(&self) -> Vec<dmls_matrix::view::Remark> {
        self.remarks.clone()
    }
}

impl Telling for Vec<dmls_matrix::request::OutgoingRequest> {}
impl<T, E> Telling for Result<T, E> {}
impl Telling for () {}

/// The users of whose membership a sync tells in a room.
fn members_in(body: &Value, room: &RoomId) -> BTreeSet<String> {
    let parts = ["join", "leave"].into_iter().filter_map(|section| body["rooms"][section].get(&room.0));
    let events = parts.flat_map(|part| ["state", "timeline"].map(|list| part[list]["events"].as_array()));
    let members = events.flatten().flatten().filter(|event| event["type"] == MEMBER);
    members.filter_map(|event| event["state_key"].as_str()).map(str::to_owned).collect()
}

/// The ids of a list of events.
pub(super) fn events_of(events: &Value) -> Vec<String> {
    let ids = events.as_array().into_iter().flatten().filter_map(|event| event.get("event_id")?.as_str());
    ids.map(str::to_owned).collect()
}

fn letter(event: &Value) -> Option<ToDeviceEvent> {
    let encrypted = event.get("encrypted")?.as_bool()?;
    let sender = event.get("sender")?.as_str()?.to_owned();
    let device = Device::new(sender.clone(), event.get("device")?.as_str()?);
    Some(ToDeviceEvent {
        sender,
        sender_device: encrypted.then_some(device),
        encrypted,
        event_type: event.get("type")?.as_str()?.to_owned(),
        content: event.get("content")?.clone(),
    })
}
