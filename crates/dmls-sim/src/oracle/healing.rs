//! Who changed its keys on purpose has new ones in the end; who changes nothing does not change them all at once.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, Room, name_of};
use super::epochs::Id;
use super::together::members;
use super::{Fault, Finding};
use crate::trace::{Fact, Name, ServerName, Trace};

/// Merges of the same heads that devices of one server make within one slot: by ranks there is one, and who is not in
/// all heads may have the rank of another.
const STORM: usize = 4;
const SLOT: u64 = 400;

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, room) in &book.rooms {
        let mut note = |fault, name: &Name, text: String| {
            findings.push(Finding { fault, room: id.clone(), name: name.clone(), text });
        };
        for (name, end) in members(trace, book, room) {
            let head = end.rooms.iter().find(|row| row.room == *id).and_then(|row| row.canonical);
            let asked = trace
                .entries
                .iter()
                .rposition(|entry| matches!(&entry.fact, Fact::Asked { name: who, room } if who == name && room == id));
            let (Some(head), Some(asked)) = (head, asked) else { continue };
            if let Some((old, new)) = stale(room, &head.0, &name_of(&end.device), asked) {
                let (old, new) = (dmls::id::EpochId(old), dmls::id::EpochId(new));
                note(Fault::Unhealed, name, format!("renewed its keys in {new}, and is in {head} with those of {old}"));
            }
        }
        for (name, count) in storms(trace, book, room) {
            note(Fault::Storm, &name, format!("{count} devices made the same merge at once"));
        }
    }
    findings
}

/// The epoch of a device's leaf in `head`, if it is older than what the device was asked for and did.
fn stale(room: &Room, head: &Id, device: &super::book::DeviceName, asked: usize) -> Option<(Id, Id)> {
    let later = |id: &Id| room.posted_at.get(id).is_some_and(|at| *at > asked);
    let made = room.epochs.0.iter().find(|(id, epoch)| epoch.creator == *device && later(id));
    let entered = room.epochs.entry_of(head, device)?;
    Some((entered, *made?.0)).filter(|_| !later(&entered))
}

/// Devices of one server that made the same merge at about the same time, though nobody asked them to.
fn storms(trace: &Trace, book: &Book, room: &Room) -> Vec<(Name, usize)> {
    let mut asked: BTreeSet<Name> = BTreeSet::new();
    let mut merges: BTreeMap<(BTreeSet<Id>, ServerName), Vec<(u64, Name)>> = BTreeMap::new();
    for (at, entry) in trace.entries.iter().enumerate() {
        match &entry.fact {
            Fact::Asked { name, .. } | Fact::Accepted { name, .. } => drop(asked.insert(name.clone())),
            Fact::Posted { name, server, event_id, .. } => {
                let Some(id) = room.made_by.get(event_id).filter(|id| room.posted_at.get(*id) == Some(&at)) else {
                    continue;
                };
                let Some(epoch) = room.epochs.0.get(id).filter(|epoch| !epoch.resolves.is_empty()) else { continue };
                if !asked.remove(name) && !book.dishonest.contains(name) {
                    let parents = epoch.base.iter().chain(&epoch.resolves).copied().collect();
                    merges.entry((parents, server.clone())).or_default().push((entry.at.0, name.clone()));
                }
            }
            _ => {}
        }
    }
    let crowd = |times: &Vec<(u64, Name)>| {
        let near = |first: u64| times.iter().filter(move |(at, _)| (first..first + SLOT).contains(at));
        let most = times.iter().map(|(at, name)| (near(*at).count(), name)).max_by_key(|(count, _)| *count);
        most.filter(|(count, _)| *count >= STORM).map(|(count, name)| (name.clone(), count))
    };
    merges.values().filter_map(crowd).collect()
}
