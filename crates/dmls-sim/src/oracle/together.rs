//! Everybody who may read is in one epoch, with exactly those who may read in it.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::EpochId;

use super::book::{Book, DeviceName, Room, name_of};
use super::{Fault, Finding};
use crate::trace::{End, Name, Trace, View};

/// Devices whose state must agree: honest, running, vouched for, their user joined.
pub(super) fn members<'a>(
    trace: &'a Trace,
    book: &'a Book,
    room: &'a Room,
) -> impl Iterator<Item = (&'a Name, &'a End)> {
    trace.ends.iter().filter(move |(_, end)| {
        let joined = room.joined.get(&end.server).is_some_and(|users| users.contains(&end.device.user));
        end.honest && end.online && !end.logged_out && joined && book.vouched.contains(&name_of(&end.device))
    })
}

/// The devices in each canonical head.
type Heads<'a> = BTreeMap<Option<EpochId>, Vec<&'a Name>>;

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, room) in &book.rooms {
        let mut note = |fault, name: &Name, text: String| {
            findings.push(Finding { fault, room: id.clone(), name: name.clone(), text });
        };
        // Who is joined is each server's own word, and a server that others take to be out of the room never hears theirs.
        let mut worlds: BTreeMap<Option<&BTreeSet<String>>, Heads<'_>> = BTreeMap::new();
        for (name, end) in members(trace, book, room) {
            if let Some(code) = &end.broken {
                note(Fault::Broken, name, code.clone());
            }
            let row = end.rooms.iter().find(|row| row.room == *id);
            let heads = worlds.entry(room.joined.get(&end.server)).or_default();
            heads.entry(row.and_then(|row| row.canonical)).or_default().push(name);
            let Some(view) = end.views.get(id) else { continue };
            for text in false_rosters(room, view) {
                note(Fault::FalseRoster, name, text);
            }
        }
        // Rooms that were never encrypted with this protocol have no epochs.
        if room.epochs.0.is_empty() {
            continue;
        }
        for heads in worlds.values().filter(|heads| heads.len() > 1 || heads.contains_key(&None)) {
            let names = |names: &Vec<&Name>| names.iter().map(|name| name.0.as_str()).collect::<Vec<_>>().join(" ");
            let all: Vec<_> = heads.iter().map(|(head, who)| format!("{head:?}: {}", names(who))).collect();
            if let Some(first) = heads.values().flatten().next() {
                note(Fault::Diverged, first, all.join("; "));
            }
        }
        for (head, names) in worlds.values().flatten().filter_map(|(head, names)| Some(((*head)?, names))) {
            let Some(epoch) = room.epochs.0.get(&head.0) else {
                note(Fault::FalseRoster, names[0], format!("{head} was made by no posted commit"));
                continue;
            };
            let wanted = may_read(trace, book, room, &names[0].clone());
            let there = epoch.members();
            if there != wanted {
                let missing: Vec<_> = wanted.difference(&there).collect();
                let outside: Vec<_> = there.difference(&wanted).collect();
                note(Fault::WrongRoster, names[0], format!("{head} lacks {missing:?}, has {outside:?} besides"));
            }
        }
    }
    findings
}

/// The vouched-for devices of users joined as the server of `name` sees it.
fn may_read(trace: &Trace, book: &Book, room: &Room, name: &Name) -> BTreeSet<DeviceName> {
    let server = trace.ends.get(name).map(|end| &end.server);
    let joined = server.and_then(|server| room.joined.get(server));
    let is_joined = |device: &&DeviceName| joined.is_some_and(|users| users.contains(&device.0));
    book.vouched.iter().filter(is_joined).cloned().collect()
}

/// Epochs of which a device tells other readers than the commits do.
fn false_rosters(room: &Room, view: &View) -> Vec<String> {
    let differs = |(id, readers): (&EpochId, &Vec<dmls::id::Device>)| {
        let epoch = room.epochs.0.get(&id.0)?;
        let told: BTreeSet<_> = readers.iter().map(name_of).collect();
        let there = epoch.members();
        (told != there).then(|| format!("{id}: it says {told:?}, the commits say {there:?}"))
    };
    view.readers.iter().filter_map(differs).collect()
}
