//! Every message that a device took to be sent is read exactly once by every device of its epoch and room, and by no
//! other.

use std::collections::{BTreeMap, BTreeSet};

use dmls_matrix::view::{MessageRow, UtdCode};
use dmls_matrix::{MessageId, RoomId};

use super::book::{Book, DeviceName, Message, Room, name_of};
use super::epochs::Id;
use super::together::members;
use super::{Fault, Finding};
use crate::trace::{End, Fact, Name, Showing, Trace};

/// An input waits for a day in which its device was in touch, and is told so within another hour.
const DAY: u64 = 25 * 3_600_000 - 1;
/// So much less counts of each time in which a device was in touch: it does not look at the time more often.
const COARSE: u64 = 3_600_000;

/// So long a device that is shut out takes to come back: `rejoin_after`, once more as jitter, and the way (SPEC §5.8).
const BACK: u64 = 150_000;

pub(super) fn check(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, room) in &book.rooms {
        let names = names(trace, id);
        findings.extend(never_sent(trace, book, id, room));
        for (name, end) in &trace.ends {
            let Some(view) = end.views.get(id) else { continue };
            let mut note = |fault, text: String| {
                findings.push(Finding { fault, room: id.clone(), name: name.clone(), text });
            };
            let rows = by_event(&view.messages);
            for text in twice(&view.messages) {
                note(Fault::Twice, text);
            }
            for message in &room.messages {
                let reads = rows.get(message.event_id.as_str()).is_some_and(|row| row.utd.is_none());
                let Some(epoch) = room.epochs.0.get(&message.epoch) else { continue };
                if reads && !epoch.has(&name_of(&end.device)) {
                    note(Fault::Outsider, format!("reads {} of {}", message.event_id, message.name));
                }
            }
        }
        findings.extend(waits_on(trace, book, id, room));
        for (name, end) in members(trace, book, room) {
            let rows = end.views.get(id).map(|view| by_event(&view.messages)).unwrap_or_default();
            let read: BTreeSet<_> = rows.values().filter_map(|row| row.message_id.as_ref()).collect();
            for message in &room.messages {
                let again = names.get(message.event_id.as_str()).is_some_and(|name| read.contains(name));
                let missed = missed(trace, book, room, end, message, &rows).filter(|_| !again);
                if let Some((fault, text)) = missed {
                    findings.push(Finding { fault, room: id.clone(), name: name.clone(), text });
                }
            }
        }
    }
    findings
}

/// Which message an event is, by the word of those who read it: what its sender sealed anew may be in the room twice, and
/// is listed once.
fn names<'a>(trace: &'a Trace, id: &RoomId) -> BTreeMap<&'a str, &'a MessageId> {
    let views = trace.ends.values().filter(|end| end.honest).filter_map(|end| end.views.get(id));
    let rows = views.flat_map(|view| &view.messages);
    rows.filter_map(|row| Some((row.event_id.as_deref()?, row.message_id.as_ref()?))).collect()
}

type Rows<'a> = BTreeMap<&'a str, &'a MessageRow>;

fn by_event(rows: &[MessageRow]) -> Rows<'_> {
    rows.iter().filter_map(|row| Some((row.event_id.as_deref()?, row))).collect()
}

/// Whether `end` should read the message and does not, or has no verdict on it.
fn missed(
    trace: &Trace,
    book: &Book,
    room: &Room,
    end: &End,
    message: &Message,
    rows: &Rows<'_>,
) -> Option<(Fault, String)> {
    // Nobody has to understand what a malicious device sends, or what nobody who is left has the keys of.
    if book.dishonest.contains(&message.name) || is_withheld(trace, book, room, &message.epoch) {
        return None;
    }
    let shown = book.showing.get(&(end.server.clone(), message.event_id.clone()));
    if !matches!(shown, Some(Showing::Live | Showing::Backfilled)) {
        return None;
    }
    let epoch = room.epochs.0.get(&message.epoch)?;
    let row = rows.get(message.event_id.as_str());
    let code = row.and_then(|row| row.utd.as_ref()).map(|utd| utd.code);
    if code.is_some() && nobody_has_it(trace, book, room, end, &message.epoch) {
        return None;
    }
    let device = name_of(&end.device);
    // A lost Welcome may be a late one.
    let let_down = was_let_down(trace, book, room, &message.epoch, &device)
        || lacks_inputs(trace, book, room, end, &message.epoch);
    let refuses_line = refuses_line(trace, book, room, end, message);
    if matches!(code, Some(UtdCode::WaitingCommit | UtdCode::WaitingWelcome)) && !let_down && !refuses_line {
        return Some((Fault::Unjudged, format!("{} of {} is {code:?}", message.event_id, message.name)));
    }
    let excused = let_down
        || refuses_line
        || book.was_poisoned(room, &message.epoch, &device)
        || epoch.leaf(&device).is_some_and(|(_, leaf)| book.was_replaced(leaf))
        || code == Some(UtdCode::Replay) && reads_copy(room, message, rows);
    let unheard = shown == Some(&Showing::Backfilled) && !is_heard_later(room, message, rows);
    let due = epoch.has(&device) && !excused && !(row.is_none() && unheard);
    if due && (row.is_none() || code.is_some()) && !(row.is_none() && was_out(trace, end, &message.event_id)) {
        let what = code.map_or("is not there".to_owned(), |code| format!("is {}", code.code()));
        return Some((Fault::Lost, format!("{} of {} {what}", message.event_id, message.name)));
    }
    None
}

/// Whether the other device could tell this one what it knows: it is up, and in the room as this one's server sees it.
fn tells(room: &Room, end: &End, other: &End) -> bool {
    let joined = room.joined.get(&end.server);
    other.online && !other.logged_out && joined.is_some_and(|users| users.contains(&other.device.user))
}

/// Whether a commit that led to the epoch is out of the device's reach: its server does not show it, for the committer had
/// left there before it came, and no device that is in the room, as this server sees it, ever had it. That goes for the
/// heads that a merge resolves, too.
fn nobody_has_it(trace: &Trace, book: &Book, room: &Room, end: &End, epoch: &Id) -> bool {
    let knows = |end: &End, id: &Id| {
        let mut log = end.views.values().flat_map(|view| &view.log);
        log.any(|info| info.epoch.id.0 == *id)
    };
    let is_shown = |id: &Id| {
        let event = room.event_of.get(id).map(|event| (end.server.clone(), event.clone()));
        let showing = event.and_then(|event| book.showing.get(&event));
        matches!(showing, Some(Showing::Live | Showing::Backfilled))
    };
    let anybody_knows =
        |id: &Id| trace.ends.values().filter(|other| tells(room, end, other)).any(|other| knows(other, id));
    let (mut work, mut seen) = (vec![*epoch], BTreeSet::new());
    while let Some(id) = work.pop() {
        if knows(end, &id) || !seen.insert(id) {
            continue;
        }
        if !is_shown(&id) && !anybody_knows(&id) {
            return true;
        }
        let Some(epoch) = room.epochs.0.get(&id) else { continue };
        work.extend(epoch.base);
        // Who is in a merge can tell its merge value to those who cannot come by the heads that it resolves.
        let is_in = |other: &End| knows(other, &id) && epoch.has(&name_of(&other.device));
        if !trace.ends.values().filter(|other| tells(room, end, other)).any(is_in) {
            work.extend(epoch.resolves.iter().filter(|head| room.epochs.0.contains_key(*head)));
        }
    }
    false
}

/// Whether an epoch descends from one that resolves what does not exist, so that its maker alone could tell the merge value
/// (SPEC §3.9), and told nobody who is still here.
fn is_withheld(trace: &Trace, book: &Book, room: &Room, epoch: &Id) -> bool {
    let ancestry = room.epochs.ancestry(epoch);
    let invented = ancestry.iter().any(|id| !room.epochs.0.contains_key(id));
    let entered =
        |(_, end): (_, &End)| end.views.values().any(|view| view.log.iter().any(|info| info.epoch.id.0 == *epoch));
    invented && !members(trace, book, room).any(entered)
}

/// Whether the device's user was not in the room when the event came to its server.
fn was_out(trace: &Trace, end: &End, event: &str) -> bool {
    let came = |fact: &Fact| matches!(fact, Fact::Arrived { server, event_id, .. } if *server == end.server && event_id == event);
    let Some(at) = trace.entries.iter().position(|entry| came(&entry.fact)) else { return false };
    let before = trace.entries[..at].iter().rev().find_map(|entry| match &entry.fact {
        Fact::Membership { server, user, membership, .. } if *server == end.server && *user == end.device.user => {
            Some(membership != "join")
        }
        _ => None,
    });
    before.unwrap_or(true)
}

/// Whether the device reads a later message of the same sender. If not, nothing told it that any was missing, which its
/// server got hold of after it had paged there.
fn is_heard_later(room: &Room, message: &Message, rows: &Rows<'_>) -> bool {
    let later = room.messages.iter().filter(|other| other.name == message.name && other.at > message.at);
    later.filter_map(|other| rows.get(other.event_id.as_str())).any(|row| row.utd.is_none())
}

/// Whether a copy of the message came first and is what is read.
fn reads_copy(room: &Room, message: &Message, rows: &Rows<'_>) -> bool {
    let copies = room.messages.iter().filter(|other| other.bytes == message.bytes);
    copies.filter_map(|copy| rows.get(copy.event_id.as_str())).any(|row| row.utd.is_none())
}

/// Whether the Welcome to the line of epochs on which the device has its leaf was lost or false, or never sent by a device
/// that was logged out, is down or is no longer in the room, or that saw the user leave first: it never came into them, and
/// no protocol could bring it there. It joins later, by external commit (ATTACKS X3).
fn was_let_down(trace: &Trace, book: &Book, room: &Room, epoch: &Id, device: &DeviceName) -> bool {
    let Some(entered) = room.epochs.entry_of(epoch, device) else { return false };
    let Some(event) = room.event_of.get(&entered) else { return false };
    let is_there = |creator: &DeviceName| {
        let joined = |end: &End| room.joined.get(&end.server).is_some_and(|users| users.contains(&end.device.user));
        let mut ends = trace.ends.values().filter(|end| end.online && !end.logged_out && joined(end));
        ends.any(|end| name_of(&end.device) == *creator)
    };
    let welcome = (device.clone(), event.clone());
    match book.welcomes.get(&welcome) {
        Some(sent) => !sent || book.false_welcomes.contains(&welcome),
        None => room.epochs.0.get(&entered).is_some_and(|epoch| {
            epoch.creator != *device && (!is_there(&epoch.creator) || left_before_welcome(trace, event, &device.0))
        }),
    }
}

/// Whether a merge that led to the epoch resolved a head whose Welcome the device never got, on a base that an external
/// commit made: of that base nobody tells M (SPEC §3.9).
fn lacks_inputs(trace: &Trace, book: &Book, room: &Room, end: &End, epoch: &Id) -> bool {
    let device = name_of(&end.device);
    let knows = |id: &Id| end.views.values().flat_map(|view| &view.log).any(|info| info.epoch.id.0 == *id);
    let get = |id: &Id| room.epochs.0.get(id);
    let mut next = Some(*epoch);
    while let Some(merge) = next.filter(|id| !knows(id)).and_then(|id| get(&id)) {
        let untold = merge.base.and_then(|base| get(&base)).is_some_and(|base| base.external);
        if untold && merge.resolves.iter().any(|head| was_let_down(trace, book, room, head, &device)) {
            return true;
        }
        next = merge.base;
    }
    false
}

/// Whether the message's line of epochs goes through a commit of a malicious device that this one did not accept although
/// it has its base, or one on an epoch that no commit made, or through a merge of what descends from one, on an external
/// commit: of too many on one base each device takes those that it has first, a poisoned one shuts out whom it wants, and
/// who joins by external commit what cannot be followed can show the way to nobody. The device comes back within two
/// minutes; only who came back before has to pause.
fn refuses_line(trace: &Trace, book: &Book, room: &Room, end: &End, message: &Message) -> bool {
    let has = |end: &End, id: &Id| end.views.values().flat_map(|view| &view.log).any(|info| info.epoch.id.0 == *id);
    let knows = |id: &Id| has(end, id);
    let own = name_of(&end.device);
    let comebacks = room.epochs.0.iter().filter(|(_, epoch)| epoch.external && epoch.creator == own);
    let first = comebacks.filter_map(|(id, _)| room.posted_at.get(id)).min();
    let sent = trace.entries.get(message.at).map_or(0, |entry| entry.at.0);
    let is_of = |event: &String, fact: &Fact, taken: bool| match fact {
        Fact::Told { name, remark } if remark.event_id.as_ref() == Some(event) => Some(name.clone()),
        Fact::Took { name, event_id } if taken && event_id == event => Some(name.clone()),
        _ => None,
    };
    let shut_out = |event: &String, taken: bool| {
        trace.entries.iter().enumerate().any(|(place, entry)| {
            let came_back = first.is_some_and(|first| *first < place);
            let whose = is_of(event, &entry.fact, taken).and_then(|name| trace.ends.get(&name));
            whose.is_some_and(|whose| whose.device == end.device) && (came_back || sent < entry.at.0 + BACK)
        })
    };
    let dishonest = |creator: &DeviceName| {
        let name = trace.ends.iter().find(|(_, end)| name_of(&end.device) == *creator).map(|(name, _)| name);
        name.is_some_and(|name| book.dishonest.contains(name))
    };
    // What cannot be followed: its maker's bookkeeping, path or number of commits forbids it, or its base does not exist.
    let is_barred = |id: &Id| match room.epochs.0.get(id) {
        None => true,
        Some(epoch) => !knows(id) && dishonest(&epoch.creator) && epoch.base.is_some_and(|base| knows(&base)),
    };
    let (mut work, mut seen) = (vec![message.epoch], BTreeSet::new());
    while let Some(id) = work.pop() {
        let Some(epoch) = room.epochs.0.get(&id).filter(|_| !knows(&id) && seen.insert(id)) else { continue };
        // Of most merges members tell the merge value, those who have it.
        let on_external = epoch.base.and_then(|base| room.epochs.0.get(&base)).is_some_and(|base| base.external);
        let told =
            trace.ends.values().filter(|other| other.honest && tells(room, end, other)).any(|other| has(other, &id));
        let needed = || epoch.resolves.iter().filter(|_| on_external || !told);
        // It shuts out from when it comes, and anew when somebody joins or merges it.
        let shuts = is_barred(&id) || epoch.base.iter().chain(needed()).any(is_barred);
        if (shuts || dishonest(&epoch.creator)) && room.event_of.get(&id).is_some_and(|event| shut_out(event, shuts)) {
            return true;
        }
        work.extend(epoch.base.iter().chain(needed()));
    }
    false
}

/// Whether the server on which a commit was posted took the user to have left then, or after that: who is out is not
/// welcomed.
fn left_before_welcome(trace: &Trace, commit: &str, user: &str) -> bool {
    let (mut posted, mut out) = (None, BTreeSet::new());
    for (_, fact) in trace.facts() {
        match fact {
            Fact::Posted { server, event_id, .. } if event_id == commit => posted = Some(server),
            Fact::Membership { server, user: whose, membership, .. } if whose == user => {
                if membership == "join" {
                    out.remove(server)
                } else {
                    out.insert(server)
                };
            }
            _ => {}
        }
        if posted.is_some_and(|server| out.contains(server)) {
            return true;
        }
    }
    false
}

/// For how long a copy of a device has been up and online since a fact of the trace.
fn in_touch(trace: &Trace, name: &Name, since: usize) -> u64 {
    let (mut online, mut up) = (true, true);
    let (mut begun, mut sum) = (None, 0);
    let end = trace.entries.last().map_or(0, |entry| entry.at.0);
    for (place, (at, fact)) in trace.facts().enumerate() {
        match fact {
            Fact::WentOffline { name: who } if who == name => online = false,
            Fact::CameOnline { name: who } if who == name => online = true,
            Fact::Crashed { name: who } if who == name => up = false,
            Fact::Restarted { name: who } if who == name => up = true,
            _ if place == since => {}
            _ => continue,
        }
        if place >= since {
            sum += begun.take().map_or(0, |begun: u64| at.0.saturating_sub(begun).saturating_sub(COARSE));
            begun = (online && up).then_some(at.0);
        }
    }
    sum + begun.map_or(0, |begun| end.saturating_sub(begun))
}

/// Messages that still wait after a device took them in and was in touch for a day (SPEC §6.2), whoever sent them.
fn waits_on(trace: &Trace, book: &Book, id: &RoomId, room: &Room) -> Vec<Finding> {
    let now = trace.entries.last().map_or(0, |entry| entry.at.0);
    let mut findings = Vec::new();
    for (place, (at, fact)) in trace.facts().enumerate().filter(|(_, (at, _))| at.0 + DAY < now) {
        let Fact::Took { name, event_id } = fact else { continue };
        let Some((_, end)) = members(trace, book, room).find(|(member, _)| *member == name) else { continue };
        // A device that was logged in anew took it in anew.
        if book.is_anew(end, place) || in_touch(trace, name, place) < DAY {
            continue;
        }
        let rows = end.views.get(id).map(|view| view.messages.as_slice()).unwrap_or_default();
        let row = rows.iter().find(|row| row.event_id.as_ref() == Some(event_id));
        let code = row.and_then(|row| row.utd.as_ref()).map(|utd| utd.code);
        if matches!(code, Some(UtdCode::WaitingCommit | UtdCode::WaitingWelcome)) {
            let text = format!("{event_id}, taken in at {}, is {code:?}", at.0);
            findings.push(Finding { fault: Fault::Unjudged, room: id.clone(), name: name.clone(), text });
        }
    }
    findings
}

/// Messages that an honest, running member took to be sent and that are in no room.
fn never_sent(trace: &Trace, book: &Book, id: &RoomId, room: &Room) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, fact) in trace.facts().map(|(_, fact)| fact).enumerate() {
        let Fact::Accepted { name, room: at, message_id, body } = fact else { continue };
        let Some((_, end)) = members(trace, book, room).find(|(member, _)| *member == name && at == id) else {
            continue;
        };
        // A device that was logged in anew knows nothing of what it was to send before.
        if book.is_anew(end, place) || was_put_out(trace, place, id, end) {
            continue;
        }
        let rows = end.views.get(id).map(|view| view.messages.as_slice()).unwrap_or_default();
        let row = rows.iter().find(|row| row.message_id.as_ref() == Some(message_id));
        if row.and_then(|row| row.event_id.as_ref()).is_none() {
            findings.push(Finding {
                fault: Fault::NeverSent,
                room: id.clone(),
                name: name.clone(),
                text: format!("{body:?} ({})", row.map_or("no row", |_| "not sent")),
            });
        }
    }
    findings
}

/// Whether after this entry the device's own server did not take it for a member: it refuses for good what waited.
fn was_put_out(trace: &Trace, after: usize, id: &RoomId, end: &End) -> bool {
    trace.entries[after..].iter().any(|entry| match &entry.fact {
        Fact::Membership { server, room, user, membership, .. } => {
            (server, room, user) == (&end.server, id, &end.device.user) && membership != "join"
        }
        _ => false,
    })
}

/// Messages that stand in more than one row.
fn twice(rows: &[MessageRow]) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &MessageId), usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.utd.is_none()) {
        if let Some(message_id) = &row.message_id {
            *counts.entry((row.sender.as_str(), message_id)).or_default() += 1;
        }
    }
    let often = counts.into_iter().filter(|(_, count)| *count > 1);
    often.map(|((sender, message), count)| format!("{message:?} of {sender}: {count} times")).collect()
}
