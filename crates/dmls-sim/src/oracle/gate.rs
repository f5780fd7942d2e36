//! No message leaves for an epoch with a device in it that, as far as its sender has seen, may not read.

use std::collections::BTreeMap;

use dmls_matrix::RoomId;

use super::book::{Book, DeviceName, name_of};
use super::commit::NewLeaf;
use super::{Fault, Finding};
use crate::trace::{Fact, Name, Trace};

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, room) in &book.rooms {
        let mut shown = Shown::default();
        let mut messages = room.messages.iter().peekable();
        for (at, entry) in trace.entries.iter().enumerate() {
            shown.note(id, &entry.fact);
            let Some(message) = messages.next_if(|message| message.at == at) else { continue };
            if book.dishonest.contains(&message.name) {
                continue;
            }
            let (Some(epoch), Some(desired)) = (room.epochs.0.get(&message.epoch), shown.0.get(&message.name)) else {
                continue;
            };
            let may = |leaf: &&NewLeaf| desired.get(&leaf.device) == Some(&leaf.signer);
            let outside: Vec<_> =
                epoch.leaves.iter().flatten().filter(|leaf| !may(leaf)).map(|leaf| &leaf.device).collect();
            if !outside.is_empty() {
                let text = format!("{} went to an epoch with {outside:?}", message.event_id);
                findings.push(Finding { fault: Fault::Gate, room: id.clone(), name: message.name.clone(), text });
            }
        }
    }
    findings
}

/// Who may read, as each copy of a device was last shown.
#[derive(Default)]
struct Shown(BTreeMap<Name, BTreeMap<DeviceName, Vec<u8>>>);

impl Shown {
    fn note(&mut self, id: &RoomId, fact: &Fact) {
        if let Fact::Desired { name, room, devices, .. } = fact
            && room == id
        {
            let devices = devices.iter().map(|(device, key)| (name_of(device), key.0.to_vec()));
            self.0.insert(name.clone(), devices.collect());
        }
    }
}
