//! Removed means removed, and only who is removed is left out.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, DeviceName, Room, name_of};
use super::epochs::Id;
use super::{Fault, Finding};
use crate::trace::{Fact, Name, Trace};

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, room) in &book.rooms {
        let mut shown: BTreeMap<&Name, BTreeSet<DeviceName>> = BTreeMap::new();
        let mut left: BTreeMap<&Name, BTreeSet<&str>> = BTreeMap::new();
        let mut gone: BTreeSet<String> = BTreeSet::new();
        let mut messages = room.messages.iter().peekable();
        for (at, entry) in trace.entries.iter().enumerate() {
            let mut note = |fault, name: &Name, text: String| {
                findings.push(Finding { fault, room: id.clone(), name: name.clone(), text });
            };
            match &entry.fact {
                Fact::Desired { name, room: place, devices, left: gone } if place == id => {
                    shown.insert(name, devices.keys().map(name_of).collect());
                    left.entry(name).or_default().extend(gone.iter().map(String::as_str));
                }
                // Whoever joins again is welcome again, however late others hear of it.
                Fact::Posted { state_key: Some(user), content, .. } => match content["membership"].as_str() {
                    Some("leave" | "ban") => gone.extend([user.clone()]),
                    Some("join") => drop(gone.take(user)),
                    _ => {}
                },
                Fact::Posted { name, event_id, .. } if !book.dishonest.contains(name) => {
                    if let (Some(made), Some(left)) = (room.made_by.get(event_id), left.get(name)) {
                        // A commit that was on its way when its maker heard of a removal brings nobody in: no Welcome goes out.
                        let back = |device: &&DeviceName| {
                            let welcome = ((*device).clone(), event_id.clone());
                            gone.contains(&device.0) && book.welcomes.contains_key(&welcome)
                        };
                        for device in revived(room, made, left).into_iter().filter(back) {
                            note(
                                Fault::Revived,
                                name,
                                format!("{device:?}, who left and did not come back, was added"),
                            );
                        }
                    }
                    if let (Some(message), Some(shown)) =
                        (messages.peek().filter(|next| next.at == at), shown.get(name))
                    {
                        for device in cut_off(room, &message.epoch, shown) {
                            note(Fault::CutOff, name, format!("{} left without {device:?}", message.event_id));
                        }
                    }
                }
                _ => {}
            }
            messages.next_if(|next| next.at == at);
        }
    }
    findings
}

/// Devices that a commit adds though a commit that it descends from removed them with cause and their users are gone.
fn revived<'a>(room: &'a Room, made: &Id, left: &BTreeSet<&str>) -> Vec<&'a DeviceName> {
    let Some(commit) = room.commit_of.get(made) else { return Vec::new() };
    let line = room.epochs.ancestry(made);
    let caused = |device: &DeviceName| {
        let removals = line.iter().filter_map(|id| room.commit_of.get(id)).flat_map(|commit| &commit.caused);
        removals.into_iter().any(|removed| removed == device)
    };
    let added = commit.adds.iter().map(|leaf| &leaf.device);
    added.filter(|device| left.contains(device.0.as_str()) && caused(device)).collect()
}

/// Devices that may read, and that the newest commit about them dropped from the line of `epoch` without naming a cause.
fn cut_off(room: &Room, epoch: &Id, shown: &BTreeSet<DeviceName>) -> Vec<DeviceName> {
    let there = room.epochs.0.get(epoch).map(|epoch| epoch.members()).unwrap_or_default();
    let line: Vec<Id> = std::iter::successors(Some(*epoch), |id| room.epochs.0.get(id)?.base).collect();
    let dropped = |device: &&DeviceName| {
        let last = line.windows(2).find(|pair| room.epochs.0.get(&pair[1]).is_some_and(|base| base.has(device)));
        let commit = last.and_then(|pair| room.commit_of.get(&pair[0]));
        commit.is_some_and(|commit| !commit.caused.contains(device))
    };
    shown.iter().filter(|device| !there.contains(*device)).filter(dropped).cloned().collect()
}
