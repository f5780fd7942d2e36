//! A device is what its store gives back, and all who hold an epoch hold the same one.

use std::collections::BTreeMap;

use dmls::id::EpochId;
use dmls_matrix::RoomId;

use super::{Fault, Finding};
use crate::trace::{Fact, Name, Trace};

pub(super) fn check(trace: &Trace) -> Vec<Finding> {
    let mut findings = reopened(trace);
    findings.extend(exports(trace));
    findings
}

/// What was stored is all there is: a fresh machine on a copy of the store is no other.
fn reopened(trace: &Trace) -> Vec<Finding> {
    let differing = trace.facts().filter_map(|(at, fact)| match fact {
        Fact::Reopened { name, differences } if !differences.is_empty() => Some((at, name, differences)),
        _ => None,
    });
    let finding = |(at, name, differences): (dmls::id::Timestamp, &Name, &Vec<String>)| Finding {
        fault: Fault::Unstored,
        room: RoomId::from(""),
        name: name.clone(),
        text: format!("at {}: {}", at.0, differences.join(", ")),
    };
    differing.map(finding).collect()
}

/// What an epoch exports is the same for everybody in it.
fn exports(trace: &Trace) -> Vec<Finding> {
    let mut known: BTreeMap<(&RoomId, EpochId), (&Name, [u8; 32])> = BTreeMap::new();
    let mut findings = Vec::new();
    for (name, end) in trace.ends.iter().filter(|(_, end)| end.honest) {
        for (room, view) in &end.views {
            for (epoch, export) in &view.exports {
                let (first, other) = *known.entry((room, *epoch)).or_insert((name, *export));
                if other != *export {
                    let text = format!("{epoch} exports something else than for {first}");
                    findings.push(Finding { fault: Fault::Diverged, room: room.clone(), name: name.clone(), text });
                }
            }
        }
    }
    findings
}
