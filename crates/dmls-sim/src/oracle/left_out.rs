//! Nobody speaks for long without a device that may read and that nothing keeps from being added.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::Timestamp;
use dmls_matrix::RoomId;

use super::book::{Book, DeviceName, name_of};
use super::{Fault, Finding};
use crate::trace::{Fact, Name, ServerName, Trace};

/// Longer than all pauses between tries to add a device.
const PATIENCE: u64 = 600_000;

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, room) in &book.rooms {
        let mut seen = Seen::default();
        let mut messages = room.messages.iter().peekable();
        for (at, entry) in trace.entries.iter().enumerate() {
            seen.note(id, entry.at, &entry.fact);
            let Some(message) = messages.next_if(|message| message.at == at) else { continue };
            let Some(epoch) = room.epochs.0.get(&message.epoch) else { continue };
            if book.dishonest.contains(&message.name) {
                continue;
            }
            for device in seen.overdue(&message.name, entry.at).filter(|device| !epoch.has(device)) {
                findings.push(Finding {
                    fault: Fault::CutOff,
                    room: id.clone(),
                    name: message.name.clone(),
                    text: format!("{} left without {device:?}, whom it could have added long ago", message.event_id),
                });
            }
        }
    }
    findings
}

/// The devices that may read, as one copy of a device is shown them: with the key of each, and since when.
type Shown = BTreeMap<DeviceName, (Vec<u8>, Timestamp)>;

/// What is known at one moment of a run.
#[derive(Default)]
struct Seen {
    shown: BTreeMap<Name, Shown>,
    /// Since when nothing befell a copy of a device.
    calm: BTreeMap<Name, Timestamp>,
    /// Since when nothing happened between servers.
    linked: Timestamp,
    cut: BTreeSet<(ServerName, ServerName)>,
    device: BTreeMap<Name, DeviceName>,
    /// Devices with key packages at their servers.
    ready: BTreeSet<DeviceName>,
    /// Users who left and did not come back, whatever their servers say.
    gone: BTreeSet<String>,
}

impl Seen {
    fn note(&mut self, id: &RoomId, now: Timestamp, fact: &Fact) {
        match fact {
            Fact::Desired { name, room, devices, .. } if room == id => {
                let mut before = self.shown.remove(name).unwrap_or_default();
                let mut since = |device: DeviceName, key: &[u8]| match before.remove(&device) {
                    Some((known, since)) if known == key => (device, (known, since)),
                    _ => (device, (key.to_vec(), now)),
                };
                let shown = devices.iter().map(|(device, key)| since(name_of(device), &key.0)).collect();
                self.shown.insert(name.clone(), shown);
            }
            Fact::Began { name, device, .. } => {
                self.ready.remove(&name_of(device));
                self.device.insert(name.clone(), name_of(device));
                self.calm.insert(name.clone(), now);
            }
            Fact::Uploaded { name, .. } => self.ready.extend(self.device.get(name).cloned()),
            Fact::WentOffline { name }
            | Fact::CameOnline { name }
            | Fact::Crashed { name }
            | Fact::Restarted { name }
            | Fact::DiskFull { name } => drop(self.calm.insert(name.clone(), now)),
            Fact::Split { one, other } => {
                self.cut.insert(pair(one, other));
                self.linked = now;
            }
            Fact::Healed { one, other } => {
                self.cut.remove(&pair(one, other));
                self.linked = now;
            }
            Fact::Posted { state_key: Some(user), content, .. } => match content["membership"].as_str() {
                Some("leave" | "ban") => drop(self.gone.insert(user.clone())),
                Some("join") => drop(self.gone.remove(user)),
                _ => {}
            },
            _ => {}
        }
    }

    /// The devices that `name` had time enough to add.
    fn overdue<'a>(&'a self, name: &Name, now: Timestamp) -> impl Iterator<Item = &'a DeviceName> {
        let calm = self.calm.get(name).copied().unwrap_or(now).max(self.linked);
        let shown = self.shown.get(name).filter(|_| self.cut.is_empty()).into_iter().flatten();
        shown
            .filter(move |(_, (_, since))| calm.max(*since).plus(PATIENCE) < now)
            .map(|(device, _)| device)
            .filter(|device| self.ready.contains(*device) && !self.gone.contains(&device.0))
    }
}

fn pair(one: &ServerName, other: &ServerName) -> (ServerName, ServerName) {
    (one.min(other).clone(), one.max(other).clone())
}
