//! Who changed its keys on purpose speaks with new ones; who changes nothing does not change them all at once.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, Message, Room, name_of};
use super::epochs::Id;
use super::{Fault, Finding};
use crate::trace::{Fact, Name, ServerName, Trace};

/// Merges of the same heads that devices of one server make within one slot. All who are in all heads have ranks of their
/// own, so there is one; two where a server was slow.
const STORM: usize = 3;
const SLOT: u64 = 400;

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, room) in &book.rooms {
        let mut note = |fault, name: &Name, text: String| {
            findings.push(Finding { fault, room: id.clone(), name: name.clone(), text });
        };
        for message in room.messages.iter().filter(|message| !book.dishonest.contains(&message.name)) {
            let asked = trace.entries[..message.at].iter().rposition(
                |entry| matches!(&entry.fact, Fact::Asked { name, room } if *name == message.name && room == id),
            );
            let Some((asked, end)) = asked.zip(trace.ends.get(&message.name)) else { continue };
            if let Some((old, new)) = stale(room, message, &name_of(&end.device), asked) {
                let (old, new) = (dmls::id::EpochId(old), dmls::id::EpochId(new));
                let text = format!("renewed its keys in {new}, and speaks with those of {old}: {}", message.event_id);
                note(Fault::Unhealed, &message.name, text);
            }
        }
        for (name, count) in storms(trace, book, room) {
            note(Fault::Storm, &name, format!("{count} devices made the same merge at once"));
        }
    }
    findings
}

/// The epoch of the leaf with which a device speaks, if it is older than what the device was asked for and did (SPEC
/// §3.10).
fn stale(room: &Room, message: &Message, device: &super::book::DeviceName, asked: usize) -> Option<(Id, Id)> {
    let posted = |id: &Id| room.posted_at.get(id).copied().unwrap_or_default();
    let between = |id: &Id| (asked..message.at).contains(&posted(id));
    let made = room.epochs.0.iter().find(|(id, epoch)| epoch.creator == *device && between(id));
    let entered = room.epochs.entry_of(&message.epoch, device)?;
    // The first message after it may have been sealed before it and sent once more.
    let since = posted(made?.0);
    room.messages.iter().find(|other| other.name == message.name && (since..message.at).contains(&other.at))?;
    Some((entered, *made?.0)).filter(|_| posted(&entered) < asked)
}

/// What a merge builds on and resolves, at which server.
type Merge = (BTreeSet<Id>, ServerName);

/// Devices of one server that made the same merge at about the same time, though nobody asked them to.
fn storms(trace: &Trace, book: &Book, room: &Room) -> Vec<(Name, usize)> {
    let mut asked: BTreeSet<Name> = BTreeSet::new();
    let mut merges: BTreeMap<Merge, Vec<(u64, Name)>> = BTreeMap::new();
    for (at, entry) in trace.entries.iter().enumerate() {
        match &entry.fact {
            Fact::Asked { name, .. } | Fact::Accepted { name, .. } => drop(asked.insert(name.clone())),
            Fact::Posted { name, server, event_id, .. } => {
                let Some(id) = room.made_by.get(event_id).filter(|id| room.posted_at.get(*id) == Some(&at)) else {
                    continue;
                };
                let Some(epoch) = room.epochs.0.get(id).filter(|epoch| !epoch.resolves.is_empty()) else { continue };
                let everywhere = epoch.base.iter().chain(&epoch.resolves).filter_map(|head| room.epochs.0.get(head));
                let ranked = everywhere.into_iter().all(|head| head.has(&epoch.creator));
                if !asked.remove(name) && ranked && !book.dishonest.contains(name) {
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
