//! What must be true after a crash.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::Device;
use dmls_matrix::RoomId;
use dmls_sim::oracle::judge;
use dmls_sim::script::ROOM;
use dmls_sim::trace::{Fact, Kind, Name, Trace};

/// What people see in the end.
pub struct Seen {
    /// Who is in each device's canonical epoch; empty for who is out.
    pub members: BTreeMap<Name, BTreeSet<Device>>,
    /// How often each device shows each message, by its text.
    pub read: BTreeMap<String, BTreeMap<Name, usize>>,
}

impl Seen {
    /// What a run ended with.
    pub fn of(trace: &Trace) -> Self {
        let room = RoomId::from(ROOM);
        let mut seen = Self { members: BTreeMap::new(), read: BTreeMap::new() };
        for (name, end) in &trace.ends {
            let Some(view) = end.views.get(&room) else { continue };
            let canonical = end.rooms.iter().find(|row| row.room == room).and_then(|row| row.canonical);
            let members = canonical.and_then(|head| view.readers.get(&head)).cloned().unwrap_or_default();
            seen.members.insert(name.clone(), members.into_iter().collect());
            for body in view.messages.iter().filter(|row| row.utd.is_none()).filter_map(|row| row.body()) {
                *seen.read.entry(body.to_owned()).or_default().entry(name.clone()).or_default() += 1;
            }
        }
        seen
    }
}

/// What is wrong after a crash, in words; `done` and `undone` are what people see with the operation and without it.
pub fn wrong(trace: &Trace, done: &Seen, undone: &Seen) -> Vec<String> {
    let mut wrong: Vec<String> = judge(trace).iter().map(ToString::to_string).collect();
    wrong.extend(sent_twice(trace));
    let seen = Seen::of(trace);
    if seen.members != done.members && seen.members != undone.members {
        wrong.push(format!("in the room are {:?}", seen.members));
    }
    for (body, readers) in &seen.read {
        if done.read.get(body) != Some(readers) && undone.read.get(body) != Some(readers) {
            wrong.push(format!("{body:?} is read by {readers:?}"));
        }
    }
    let accepted = accepted(trace);
    let lost = done.read.keys().filter(|body| !seen.read.contains_key(*body) && accepted.contains(body.as_str()));
    wrong.extend(lost.map(|body| format!("{body:?} is gone")));
    wrong
}

/// Messages that a device said it would send.
fn accepted(trace: &Trace) -> BTreeSet<&str> {
    let body = |fact| match fact {
        &Fact::Accepted { ref body, .. } => Some(body.as_str()),
        _ => None,
    };
    trace.facts().filter_map(|(_, fact)| body(fact)).collect()
}

/// Commits and messages that are in the room under two event ids, and texts that were sealed and posted twice.
fn sent_twice(trace: &Trace) -> Vec<String> {
    let mut events: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, fact) in trace.facts() {
        if let Fact::Posted { kind: Kind::Commit | Kind::Message, content, .. } = fact {
            *events.entry(content["ciphertext"].as_str().unwrap()).or_default() += 1;
        }
    }
    let messages = trace.facts().filter(|(_, fact)| matches!(fact, Fact::Posted { kind: Kind::Message, .. })).count();
    let bodies = Seen::of(trace).read.len();
    let twice = events.values().filter(|count| **count > 1).map(|count| format!("one event, posted {count} times"));
    let spare = (messages != bodies).then(|| format!("{messages} messages in the room, {bodies} texts"));
    twice.chain(spare).collect()
}
