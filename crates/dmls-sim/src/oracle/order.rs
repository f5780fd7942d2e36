//! Devices that know the same are where the others are, at any time and not only in the end; what is due is done though
//! somebody talks.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::{EpochId, Timestamp};

use super::book::{Book, Room};
use super::{Fault, Finding};
use crate::trace::{Fact, Kind, Name, Trace};

/// Longer than the slots of all members of a small room.
const PATIENCE: u64 = 12_000;
/// So many messages within that time are talk.
const TALK: usize = 30;

/// Hash of what a device knows, and the heads that it can use.
type Knowledge = ([u8; 32], BTreeSet<EpochId>);

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut agreed: BTreeMap<Knowledge, (EpochId, &Name)> = BTreeMap::new();
    let mut since: BTreeMap<&Name, (Timestamp, [u8; 32], usize)> = BTreeMap::new();
    let mut talk = 0;
    for (at, fact) in trace.facts() {
        talk += usize::from(matches!(fact, Fact::Posted { kind: Kind::Message, .. }));
        if let Fact::WentOffline { name } | Fact::Crashed { name } | Fact::Restarted { name } = fact {
            since.remove(name);
        }
        let Fact::Stood { name, room, known, usable, canonical } = fact else { continue };
        if book.dishonest.contains(name) {
            continue;
        }
        let mut note = |fault, text: String| {
            findings.push(Finding { fault, room: room.clone(), name: name.clone(), text });
        };
        if let Some(canonical) = canonical {
            let (first, other) = agreed.entry((*known, usable.clone())).or_insert((*canonical, name));
            if first != canonical {
                note(Fault::Diverged, format!("it is in {canonical}, {other} knew the same and was in {first}"));
            }
        }
        let (first, last, said) = since.entry(name).or_insert((at, *known, talk));
        if last != known {
            (*first, *last, *said) = (at, *known, talk);
        }
        let room = book.rooms.get(room);
        if at.0 > first.0 + PATIENCE && talk >= *said + TALK && room.is_some_and(|room| differ(room, usable)) {
            note(Fault::PutOff, format!("heads {usable:?} for {} ms", at.0 - first.0));
        }
    }
    findings
}

/// Whether heads differ in what they build on and resolve, so that they do not collapse (SPEC §3.4).
fn differ(room: &Room, heads: &BTreeSet<EpochId>) -> bool {
    let parents = heads.iter().filter_map(|head| room.epochs.0.get(&head.0)).map(|epoch| {
        let parents: BTreeSet<_> = epoch.base.iter().chain(&epoch.resolves).copied().collect();
        parents
    });
    parents.collect::<BTreeSet<_>>().len() > 1
}
