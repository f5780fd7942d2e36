//! What malicious members must not get away with: equivocation unseen, races that they always win, commits that may not
//! be.

use std::collections::BTreeSet;

use dmls::id::EpochId;

use super::book::{Book, DeviceName, Room, name_of};
use super::{Fault, Finding};
use crate::trace::{Name, Trace, View};

/// So many races that one device won, and one in so many that it lost, are no luck: two times in a thousand.
const RACES: usize = 12;
const LOST: usize = 9;

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, room) in &book.rooms {
        let mut note = |fault, name: &Name, text: String| {
            findings.push(Finding { fault, room: id.clone(), name: name.clone(), text });
        };
        for (name, end) in trace.ends.iter().filter(|(_, end)| end.honest) {
            let Some(view) = end.views.get(id) else { continue };
            unseen(room, view).into_iter().for_each(|text| note(Fault::Unseen, name, text));
            forbidden(room, view).into_iter().for_each(|text| note(Fault::Forbidden, name, text));
        }
        for name in &book.dishonest {
            let Some(end) = trace.ends.get(name) else { continue };
            let (won, lost) = races(book, trace, room, &name_of(&end.device));
            if won >= RACES && lost * LOST <= won {
                note(Fault::Steered, name, format!("its commits won {won} races and lost {lost}"));
            }
        }
    }
    findings
}

/// Two commits of one device on one base, neither of which descends from the other, that a device knows and does not
/// tell (SPEC §2.8).
fn unseen(room: &Room, view: &View) -> Vec<String> {
    let made: Vec<_> = view.log.iter().filter(|info| info.base.is_some()).collect();
    let descends = |one: &EpochId, other: &EpochId| room.epochs.ancestry(&one.0).contains(&other.0);
    let mut found = Vec::new();
    for (at, one) in made.iter().enumerate().filter(|(_, one)| !one.equivocation) {
        let twins = made[at + 1..].iter().filter(|twin| twin.base == one.base && twin.creator == one.creator);
        let silent = twins.filter(|twin| !twin.equivocation).map(|twin| twin.epoch.id);
        let one = one.epoch.id;
        for other in silent.filter(|other| !descends(&one, other) && !descends(other, &one)) {
            found.push(format!("{one} and {other} are by one device"));
        }
    }
    found
}

/// Epochs whose commits the SPEC forbids: with the point of another (§4.1).
fn forbidden(room: &Room, view: &View) -> Vec<String> {
    let mut found = Vec::new();
    for epoch in &view.log {
        let Some(commit) = room.commit_of.get(&epoch.epoch.id.0) else { continue };
        let points: Vec<_> = commit.sender.map(|leaf| Some((commit.base, leaf))).into_iter().collect();
        if commit.points != points {
            found.push(format!("{} carries a point that is not its maker's", epoch.epoch.id));
        }
    }
    found
}

/// How many races a device won and lost: an honest commit builds on one of two siblings with the same members and
/// resolves the other.
fn races(book: &Book, trace: &Trace, room: &Room, device: &DeviceName) -> (usize, usize) {
    let honest = |other: &DeviceName| {
        let mut ends = trace.ends.iter().filter(|(_, end)| name_of(&end.device) == *other);
        ends.any(|(name, _)| !book.dishonest.contains(name))
    };
    let (mut won, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for epoch in room.epochs.0.values().filter(|epoch| honest(&epoch.creator)) {
        let Some((base, winner)) = epoch.base.and_then(|base| Some((base, room.epochs.0.get(&base)?))) else {
            continue;
        };
        for loser in epoch.resolves.iter().filter_map(|head| room.epochs.0.get(head)) {
            let race = loser.base.is_some() && loser.base == winner.base && loser.members() == winner.members();
            if race && winner.creator == *device && honest(&loser.creator) {
                won.insert(base);
            } else if race && loser.creator == *device && honest(&winner.creator) {
                lost.insert(base);
            }
        }
    }
    (won.len(), lost.len())
}
