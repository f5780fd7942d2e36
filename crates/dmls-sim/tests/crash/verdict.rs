//! What must be true after a crash.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::Device;
use dmls_matrix::RoomId;
use dmls_matrix::view::MessageRow;
use dmls_sim::oracle::judge;
use dmls_sim::script::ROOM;
use dmls_sim::trace::{Entry, Fact, Kind, Name, Trace};

use crate::operations::ALL;
use crate::play::{Course, play};

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
    let bodies = trace.facts().filter_map(|(_, fact)| match fact {
        Fact::Accepted { body, .. } => Some(body.as_str()),
        _ => None,
    });
    bodies.collect()
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

/// A verdict that finds nothing in a bent trace would find nothing at all.
#[test]
fn what_is_wrong_is_found() {
    let operation = ALL.iter().find(|operation| operation.name == "send").unwrap();
    let [honest, without] = [Course::Unhindered, Course::Without].map(|course| play(operation, course).outcome.trace);
    let (done, undone) = (Seen::of(&honest), Seen::of(&without));
    assert_eq!(wrong(&honest, &done, &undone), Vec::<String>::new());
    let room = RoomId::from(ROOM);
    let found = |bend: &dyn Fn(&mut Trace)| {
        let mut trace = honest.clone();
        bend(&mut trace);
        wrong(&trace, &done, &undone).join("; ")
    };
    let rows = |trace: &mut Trace, name: &str, bend: &dyn Fn(&mut Vec<MessageRow>)| {
        bend(&mut trace.ends.get_mut(&Name::from(name)).unwrap().views.get_mut(&room).unwrap().messages);
    };

    let unread = found(&|trace| rows(trace, "carol", &|rows| rows.retain(|row| row.body() != Some("second"))));
    assert!(unread.contains("\"second\" is read by"), "{unread}");
    let gone = found(&|trace| {
        for name in ["alice", "bob", "carol"] {
            rows(trace, name, &|rows| rows.retain(|row| row.body() != Some("second")));
        }
    });
    assert!(gone.contains("\"second\" is gone"), "{gone}");
    let twice = found(&|trace| {
        let message = |entry: &&Entry| matches!(entry.fact, Fact::Posted { kind: Kind::Message, .. });
        let copy = trace.entries.iter().rfind(message).unwrap().clone();
        trace.entries.push(copy);
    });
    assert!(twice.contains("posted 2 times") && twice.contains("messages in the room"), "{twice}");
    let outside = found(&|trace| {
        let rooms = &mut trace.ends.get_mut(&Name::from("carol")).unwrap().rooms;
        rooms.iter_mut().for_each(|row| row.canonical = None);
    });
    assert!(outside.contains("in the room are"), "{outside}");
}
