//! Devices that know the same are where the others are, at any time and not only in the end; what is due is done though
//! somebody talks.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::{Device, EpochId, SignatureKey, Timestamp};
use dmls_matrix::RoomId;

use super::book::{Book, Room, name_of};
use super::{Fault, Finding};
use crate::trace::{Fact, Kind, Name, Trace};

/// Longer than the slots of all members of a small room.
const PATIENCE: u64 = 12_000;
/// So many messages within that time are talk.
const TALK: usize = 30;

/// Who may read.
type Desired = BTreeMap<Device, SignatureKey>;

/// Hash of what a device knows, and the heads that it can use.
type Knowledge = ([u8; 32], BTreeSet<EpochId>);

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut agreed: BTreeMap<Knowledge, (EpochId, &Name)> = BTreeMap::new();
    let mut since: BTreeMap<&Name, (Timestamp, [u8; 32], usize)> = BTreeMap::new();
    let mut shown: BTreeMap<(&Name, &RoomId), &Desired> = BTreeMap::new();
    let mut talk = 0;
    for (at, fact) in trace.facts() {
        talk += usize::from(matches!(fact, Fact::Posted { kind: Kind::Message, .. }));
        if let Fact::WentOffline { name } | Fact::Crashed { name } | Fact::Restarted { name } = fact {
            since.remove(name);
        }
        if let Fact::Desired { name, room, devices, .. } = fact {
            shown.insert((name, room), devices);
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
        let Some((place, desired)) = book.rooms.get(room).zip(shown.get(&(name, room))) else { continue };
        let due = differ(place, &by_members(place, usable, desired));
        if at.0 > first.0 + PATIENCE && talk >= *said + TALK && due {
            note(Fault::PutOff, format!("heads {usable:?} for {} ms", at.0 - first.0));
        }
    }
    findings
}

/// The heads by devices that may read, under the keys with which they may; all, if there is none (SPEC §3.2).
fn by_members(room: &Room, heads: &BTreeSet<EpochId>, desired: &Desired) -> BTreeSet<EpochId> {
    let keys: BTreeMap<_, _> = desired.iter().map(|(device, key)| (name_of(device), key.0.as_slice())).collect();
    let by_member = |head: &&EpochId| {
        let epoch = room.epochs.0.get(&head.0);
        let leaf = epoch.and_then(|epoch| Some(epoch.leaf(&epoch.creator)?.1));
        leaf.is_some_and(|leaf| keys.get(&leaf.device) == Some(&leaf.signer.as_slice()))
    };
    let inside: BTreeSet<_> = heads.iter().filter(by_member).copied().collect();
    if inside.is_empty() { heads.clone() } else { inside }
}

/// Whether heads differ in what they build on and resolve, so that they do not collapse (SPEC §3.4).
fn differ(room: &Room, heads: &BTreeSet<EpochId>) -> bool {
    let parents = heads.iter().filter_map(|head| room.epochs.0.get(&head.0)).map(|epoch| {
        let parents: BTreeSet<_> = epoch.base.iter().chain(&epoch.resolves).copied().collect();
        parents
    });
    parents.collect::<BTreeSet<_>>().len() > 1
}
