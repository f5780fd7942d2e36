//! Federating homeservers, as far as clients can tell them from Synapse.
//!
//! All events are in one arena; each server holds its own view of them. Every server has its own order, gets what it
//! lacks from whoever sends it something newer (ten events at most, the rest is a gap that paging fills), resolves
//! state by itself, and does not show what its current state does not allow.

mod accounts;
mod devices;
pub(crate) mod event;
mod lies;
mod link;
mod numbers;
mod room;
mod state;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dmls::id::{Device, Timestamp};
use dmls_matrix::RoomId;
use serde_json::{Value, json};

use crate::entropy::Stream;
use crate::trace::{Fact, ServerName, Showing};
use event::{CREATE, Event, MEMBER};
use link::{Link, Links, Parcel};
use numbers::{EventNo, Events};
use sync::Server;

pub use link::Faults;
pub(crate) use sync::{Since, algorithm};

/// Events that a server fetches by itself before one that it was sent.
const FETCHED: usize = 10;
/// Events that one page brings in from other servers.
const BACKFILLED: usize = 100;
/// Bytes of a whole event, and what there is besides its content.
const EVENT_LIMIT: usize = 65_536;
const AROUND_CONTENT: usize = 700;

/// Why a server refused something, by its error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// A state event or message to be posted.
pub(crate) struct Draft<'a> {
    pub(crate) room: &'a RoomId,
    pub(crate) sender: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) state_key: Option<&'a str>,
    pub(crate) content: Value,
}

/// All servers and the links between them.
pub struct Net {
    arena: Vec<Event>,
    servers: BTreeMap<ServerName, Server>,
    links: Links,
    media: BTreeMap<String, (ServerName, Vec<u8>)>,
    /// Servers that keep a copy of remote media.
    media_copies: BTreeSet<(ServerName, String)>,
    transactions: BTreeMap<(Device, String), String>,
    chances: Stream,
    soft_failed_by_id: bool,
    facts: Vec<Fact>,
}

/// The server part of a user id.
pub(crate) fn server_of(user: &str) -> ServerName {
    ServerName(user.split_once(':').map_or("", |(_, server)| server).to_owned())
}

impl Net {
    /// Servers that are all linked to each other. With `soft_failed_by_id` what was soft-failed can still be fetched.
    pub fn new(names: &[ServerName], chances: Stream, soft_failed_by_id: bool) -> Self {
        let pairs = names.iter().flat_map(|one| names.iter().map(|other| (one.clone(), other.clone())));
        Self {
            arena: Vec::new(),
            servers: names.iter().map(|name| (name.clone(), Server::default())).collect(),
            links: pairs.map(|pair| (pair, Link::default())).collect(),
            media: BTreeMap::new(),
            media_copies: BTreeSet::new(),
            transactions: BTreeMap::new(),
            chances,
            soft_failed_by_id,
            facts: Vec::new(),
        }
    }

    /// What happened since the last call.
    pub(crate) fn facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }

    /// The names of all servers.
    pub fn servers(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.keys()
    }

    /// How many room events there are.
    pub fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether there is no room event yet.
    pub fn is_empty(&self) -> bool {
        self.arena.is_empty()
    }

    /// Two servers lose sight of each other.
    pub fn cut(&mut self, one: &ServerName, other: &ServerName) {
        self.set_cut(one, other, true);
    }

    /// Two servers see each other again.
    pub fn heal(&mut self, one: &ServerName, other: &ServerName) {
        self.set_cut(one, other, false);
    }

    fn set_cut(&mut self, one: &ServerName, other: &ServerName, cut: bool) {
        let between = |from: &ServerName, to: &ServerName| (from, to) == (one, other) || (from, to) == (other, one);
        let mut changed = false;
        for (_, link) in self.links.iter_mut().filter(|((from, to), _)| from != to && between(from, to)) {
            changed |= link.cut != cut;
            link.cut = cut;
        }
        if changed {
            let (one, other) = (one.clone(), other.clone());
            self.facts.push(if cut { Fact::Split { one, other } } else { Fact::Healed { one, other } });
        }
    }

    /// Whether two servers see each other.
    pub fn linked(&self, one: &ServerName, other: &ServerName) -> bool {
        self.links.get(&(one.clone(), other.clone())).is_some_and(|link| !link.cut)
    }

    /// Sets what a link does, in both directions.
    pub fn set_faults(&mut self, one: &ServerName, other: &ServerName, faults: Faults) {
        for pair in [(one.clone(), other.clone()), (other.clone(), one.clone())] {
            if let Some(link) = self.links.get_mut(&pair) {
                link.faults = faults;
            }
        }
    }

    /// A server is restarted: of what waits for servers that it cannot reach, it will send only the newest events.
    pub fn restart_server(&mut self, name: &ServerName) {
        let room_of = |number: EventNo| self.arena[number.0].room.0.clone();
        for (_, link) in self.links.iter_mut().filter(|((from, _), link)| from == name && link.cut) {
            link.catch_up(&room_of);
        }
    }

    /// When the next parcel is due.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.links.values().filter_map(Link::due).min()
    }

    /// Delivers what is due.
    pub(crate) fn deliver(&mut self, now: Timestamp) {
        let pairs: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.due().is_some_and(|due| due <= now))
            .map(|(pair, _)| pair.clone())
            .collect();
        for (from, to) in pairs {
            let arrive = |net: &mut Self| net.links.get_mut(&(from.clone(), to.clone()))?.arrive(now, &mut net.chances);
            while let Some(parcel) = arrive(self) {
                match parcel {
                    Parcel::Event(number) => self.receive(&from, &to, number),
                    Parcel::ToDevice(device, event) => self.put_letter(&to, &device, event),
                    Parcel::List(user, listed) => self.take_list(&to, &user, listed, false),
                }
            }
        }
    }

    /// `false` if the parcel will never come.
    fn send(&mut self, from: &ServerName, to: &ServerName, parcel: Parcel, now: Timestamp) -> bool {
        let link = self.links.get_mut(&(from.clone(), to.clone()));
        link.is_some_and(|link| link.send(parcel, now, &mut self.chances))
    }

    /// Makes a room with what its create event says besides: its creator is joined, and `state` follows.
    pub(crate) fn create(
        &mut self,
        home: &ServerName,
        room: &RoomId,
        user: &str,
        mut content: Value,
        state: &[Value],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let draft = |event_type, state_key, content| Draft {
            room,
            sender: user,
            event_type,
            state_key: Some(state_key),
            content,
        };
        content["room_version"] = json!("12");
        self.post(home, draft(CREATE, "", content), now)?;
        self.post(home, draft(MEMBER, user, json!({ "membership": "join" })), now)?;
        for event in state {
            let event_type = event.get("type").and_then(Value::as_str).unwrap_or_default();
            self.post(home, draft(event_type, "", event.get("content").cloned().unwrap_or_default()), now)?;
        }
        Ok(())
    }

    /// Posts an event at a server that is in the room; gives its id.
    pub(crate) fn post(&mut self, home: &ServerName, draft: Draft<'_>, now: Timestamp) -> Result<String, Refusal> {
        if draft.content.to_string().len() + AROUND_CONTENT > EVENT_LIMIT {
            return Err(Refusal("M_TOO_LARGE"));
        }
        let server = self.servers.get_mut(home).ok_or(Refusal("M_UNKNOWN"))?;
        let at = server.rooms.entry(draft.room.clone()).or_default();
        let past = Arc::new(at.known.clone());
        let event = make(self.arena.len(), home, draft, past, &at.current, now);
        if !state::allows(&self.arena, &at.current, &event) {
            return Err(Refusal("M_FORBIDDEN"));
        }
        let (number, id) = (event.number, event.id.clone());
        let before = self.residents(home, &event.room);
        self.arena.push(event);
        self.accept(home, number);
        self.spread(home, number, before, now);
        Ok(id)
    }

    /// A user joins: at a server that is in the room, or by way of one that is.
    pub(crate) fn join(
        &mut self,
        home: &ServerName,
        room: &RoomId,
        user: &str,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let draft = Draft {
            room,
            sender: user,
            event_type: MEMBER,
            state_key: Some(user),
            content: json!({ "membership": "join" }),
        };
        if self.residents(home, room).contains(home) {
            return self.post(home, draft, now);
        }
        let via = self.servers.keys().find(|via| self.linked(home, via) && self.residents(via, room).contains(*via));
        let via = via.cloned().ok_or(Refusal("M_UNKNOWN"))?;
        let past = self
            .servers
            .get(&via)
            .and_then(|server| server.rooms.get(room))
            .map(|at| (at.known.clone(), at.current.clone()));
        let (known, current) = past.ok_or(Refusal("M_UNKNOWN"))?;
        let event = make(self.arena.len(), home, draft, Arc::new(known), &current, now);
        if !state::allows(&self.arena, &current, &event) {
            return Err(Refusal("M_FORBIDDEN"));
        }
        let (number, id) = (event.number, event.id.clone());
        self.arena.push(event);
        if let Some(server) = self.servers.get_mut(home) {
            server.invites.remove(&(room.clone(), user.to_owned()));
            let position = server.stream + 1;
            let at = server.rooms.entry(room.clone()).or_default();
            let lacking = at.lacks(&self.arena, &self.arena[number.0]);
            at.note_gap(lacking, position);
        }
        self.accept(home, number);
        // The resident server takes it in and tells the others.
        let before = self.residents(&via, room);
        self.accept(&via, number);
        self.spread(&via, number, before, now);
        Ok(id)
    }

    /// Invites a user; a user of a server that is not in the room must be reachable now.
    pub(crate) fn invite(
        &mut self,
        home: &ServerName,
        room: &RoomId,
        by: &str,
        user: &str,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let (theirs, content) = (server_of(user), json!({ "membership": "invite" }));
        let resident = self.residents(home, room).contains(&theirs);
        if !resident && !self.linked(home, &theirs) {
            return Err(Refusal("M_UNREACHABLE"));
        }
        let id =
            self.post(home, Draft { room, sender: by, event_type: MEMBER, state_key: Some(user), content }, now)?;
        let number = EventNo(self.arena.len() - 1);
        if let Some(server) = self.servers.get_mut(&theirs).filter(|_| !resident) {
            server.stream += 1;
            server.invites.insert((room.clone(), user.to_owned()), (number, server.stream));
        }
        Ok(id)
    }

    /// The servers with a joined user, as far as one of them knows.
    fn residents(&self, server: &ServerName, room: &RoomId) -> BTreeSet<ServerName> {
        let at = self.servers.get(server).and_then(|server| server.rooms.get(room));
        at.into_iter().flat_map(|at| state::joined(&self.arena, &at.current)).map(server_of).collect()
    }

    /// Sends an event to all servers in the room, before it or after it.
    fn spread(&mut self, home: &ServerName, number: EventNo, before: BTreeSet<ServerName>, now: Timestamp) {
        let mut servers = self.residents(home, &self.arena[number.0].room);
        servers.extend(before);
        servers.retain(|to| to != home && *to != self.arena[number.0].origin);
        servers.retain(|to| !self.mutes(home, to, number));
        for to in &servers {
            self.send(home, to, Parcel::Event(number), now);
        }
    }

    /// A server is sent an event by another.
    fn receive(&mut self, from: &ServerName, to: &ServerName, number: EventNo) {
        let (room, scrambled) = (self.arena[number.0].room.clone(), self.reorders(from, to));
        let muted = self.muted();
        let Some(server) = self.servers.get_mut(to) else { return };
        let Some(at) = server.rooms.get_mut(&room) else { return };
        if at.showing.get(&number).is_some_and(|showing| *showing != Showing::Missing) {
            return;
        }
        let mut lacking = at.lacks(&self.arena, &self.arena[number.0]);
        lacking.retain(|lacking| *lacking != number && !muted.contains(lacking));
        let near = if scrambled { Vec::new() } else { lacking.split_off(lacking.len().saturating_sub(FETCHED)) };
        if !scrambled {
            let far: Vec<_> = lacking;
            at.note_gap(far.clone(), server.stream + 1);
            self.facts.extend(far.iter().map(|number| arrived(to, &self.arena[number.0], Showing::Missing)));
        }
        for number in near.into_iter().chain([number]) {
            self.take(to, number);
        }
    }

    fn reorders(&mut self, from: &ServerName, to: &ServerName) -> bool {
        let chance = self.links.get(&(from.clone(), to.clone())).map_or(0, |link| link.faults.reorder);
        self.chances.chance(chance)
    }

    /// One event from elsewhere: live, or soft-failed.
    fn take(&mut self, to: &ServerName, number: EventNo) {
        if self.hides(to, number) {
            return;
        }
        let event = &self.arena[number.0];
        let Some(at) = self.servers.get_mut(to).and_then(|server| server.rooms.get_mut(&event.room)) else { return };
        if at.admits(&self.arena, event) {
            self.accept(to, number);
        } else {
            at.show(number, Showing::SoftFailed);
            self.facts.push(arrived(to, event, Showing::SoftFailed));
        }
    }

    /// A server puts an event into its timeline.
    fn accept(&mut self, at: &ServerName, number: EventNo) {
        let event = &self.arena[number.0];
        let Some(server) = self.servers.get_mut(at) else { return };
        server.stream += 1;
        let position = server.stream;
        let room = server.rooms.entry(event.room.clone()).or_default();
        let changed = room.accept(&self.arena, event, position);
        self.facts.push(arrived(at, event, Showing::Live));
        for key in changed.iter().filter(|(kind, _)| kind == MEMBER) {
            let event_id = room.current.get(key).map(|number| self.arena[number.0].id.clone());
            self.facts.push(Fact::Membership {
                server: at.clone(),
                room: event.room.clone(),
                user: key.1.clone(),
                membership: state::membership(&self.arena, &room.current, &key.1).to_owned(),
                event_id,
            });
        }
    }

    /// Gets missing events of a room from servers that can be reached, newest first, as a client pages.
    fn backfill(&mut self, home: &ServerName, room: &RoomId) {
        let Some(at) = self.servers.get(home).and_then(|server| server.rooms.get(room)) else { return };
        let missing =
            at.gaps.iter().rev().flat_map(|gap| gap.missing.iter().rev().map(|number| (gap.position, *number)));
        let missing = missing.filter(|(_, number)| at.showing.get(number) == Some(&Showing::Missing));
        let wanted: Vec<_> =
            missing.filter(|(_, number)| self.is_to_be_had(home, room, *number)).take(BACKFILLED).collect();
        let Some(at) = self.servers.get_mut(home).and_then(|server| server.rooms.get_mut(room)) else { return };
        for (position, number) in wanted {
            at.backfill(position, number);
            self.facts.push(arrived(home, &self.arena[number.0], Showing::Backfilled));
        }
    }

    fn is_to_be_had(&self, home: &ServerName, room: &RoomId, number: EventNo) -> bool {
        let others = self.servers.iter().filter(|(name, _)| *name != home && self.linked(home, name));
        let mut showing = others.filter_map(|(_, server)| server.rooms.get(room)?.showing.get(&number));
        showing.any(|showing| *showing >= Showing::Backfilled)
    }
}

fn arrived(server: &ServerName, event: &Event, showing: Showing) -> Fact {
    Fact::Arrived { server: server.clone(), event_id: event.id.clone(), showing }
}

fn make(
    number: usize,
    home: &ServerName,
    draft: Draft<'_>,
    past: Arc<Events>,
    current: &state::State,
    now: Timestamp,
) -> Event {
    let Draft { room, sender, event_type, state_key, content } = draft;
    let state_key = state_key.map(str::to_owned);
    let replaces = state_key.as_ref().and_then(|key| current.get(&(event_type.to_owned(), key.clone())).copied());
    Event {
        number: EventNo(number),
        id: format!("$e{number:05}"),
        room: room.clone(),
        origin: home.clone(),
        sender: sender.to_owned(),
        ts: now.0,
        event_type: event_type.to_owned(),
        state_key,
        content,
        past,
        replaces,
    }
}
