//! What a thief opens is no more than what the loot leads to, and healing ends it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::book::{Book, Room, name_of};
use super::commit::leaf_of_package;
use super::epochs::Id;
use super::secrecy::{Loot, known};
use super::together::members;
use super::{Fault, Finding};
use crate::trace::{Fact, Theft, Trace};

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for theft in &trace.thefts {
        let Some(loot) = loot(trace, theft) else { continue };
        for (id, room) in &book.rooms {
            let known = known(&loot, &room.epochs);
            let mut note = |text: String| {
                findings.push(Finding { fault: Fault::Leaked, room: id.clone(), name: theft.name.clone(), text });
            };
            for message in room.messages.iter().filter(|message| theft.opened.contains(&message.event_id)) {
                if !known.contains(&message.epoch) && !before(theft, message.at) {
                    let epoch = dmls::id::EpochId(message.epoch);
                    note(format!("the thief of {} opens {} of {epoch}", theft.name, message.event_id));
                }
            }
            for event in &theft.reopened {
                note(format!("the thief of {} opens {event}, which was read before", theft.name));
            }
            for head in heads(trace, book, room) {
                if known.contains(&head) && healed(room, &head, &loot, theft) {
                    note(format!("{} updated after the theft, and the thief still follows", theft.name));
                }
            }
        }
    }
    findings
}

/// What was opened before the theft lies in the stolen store in the clear.
fn before(theft: &Theft, at: usize) -> bool {
    at < theft.entry
}

fn loot(trace: &Trace, theft: &Theft) -> Option<Loot> {
    let device = name_of(&trace.ends.get(&theft.name)?.device);
    let Fact::Stolen { held, .. } = &trace.entries.get(theft.entry)?.fact else { return None };
    let mut packages = BTreeSet::new();
    for entry in &trace.entries[..theft.entry] {
        let Fact::Uploaded { name, packages: uploaded } = &entry.fact else { continue };
        if *name == theft.name {
            let bytes = uploaded.iter().filter_map(|value| STANDARD_NO_PAD.decode(value.as_str()?).ok());
            packages.extend(bytes.filter_map(|bytes| leaf_of_package(&bytes)).map(|leaf| leaf.key));
        }
    }
    Some(Loot { device, epochs: held.iter().map(|id| id.0).collect(), packages })
}

/// Canonical heads of those who must agree.
fn heads(trace: &Trace, book: &Book, room: &Room) -> BTreeSet<Id> {
    let rows = members(trace, book, room).flat_map(|(_, end)| &end.rooms);
    rows.filter_map(|row| row.canonical).map(|head| head.0).filter(|head| room.epochs.0.contains_key(head)).collect()
}

/// Whether the device made a commit after the theft that `head` takes in. What was made before lies in the loot, however
/// late it was posted; and who was added again by a key package that was stolen is where it was before.
fn healed(room: &Room, head: &Id, loot: &Loot, theft: &Theft) -> bool {
    let ancestry = room.epochs.ancestry(head);
    let own = |id: &Id| room.epochs.0.get(id).is_some_and(|epoch| epoch.creator == loot.device);
    let leaf = room.epochs.0.get(head).and_then(|epoch| epoch.leaf(&loot.device));
    if leaf.is_some_and(|(_, leaf)| loot.packages.contains(&leaf.key)) {
        return false;
    }
    let made_after = |id: &Id| !loot.epochs.contains(id) && room.posted_at.get(id).is_some_and(|at| *at > theft.entry);
    ancestry.iter().any(|id| own(id) && made_after(id))
}
