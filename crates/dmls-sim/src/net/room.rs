//! One room as one server has it: what it holds, in which order it shows it, and the current state.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Event;
use super::numbers::{EventNo, Events};
use super::state::{self, State};
use crate::trace::Showing;

/// Where an event stands in a server's order: stream position, then place before the event that came live there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) position: u64,
    pub(crate) before: usize,
}

impl Place {
    pub(crate) fn live(position: u64) -> Self {
        Self { position, before: usize::MAX }
    }

    /// As a pagination token.
    pub(crate) fn token(self) -> String {
        format!("p{}.{}", self.position, self.before)
    }

    pub(crate) fn parse(token: &str) -> Option<Self> {
        let (position, before) = token.strip_prefix('p')?.split_once('.')?;
        Some(Self { position: position.parse().ok()?, before: before.parse().ok()? })
    }
}

/// Events that a server knows of and does not have, before the one that came live at a position.
pub(crate) struct Gap {
    pub(crate) position: u64,
    pub(crate) missing: Vec<EventNo>,
}

/// A change of the current state.
pub(crate) struct Delta {
    pub(crate) position: u64,
    pub(crate) key: (String, String),
    pub(crate) event: Option<EventNo>,
}

/// One room at one server.
#[derive(Default)]
pub(crate) struct RoomAt {
    /// What clients can see, in the order of this server.
    pub(crate) order: BTreeMap<Place, EventNo>,
    pub(crate) showing: BTreeMap<EventNo, Showing>,
    /// Everything that is held or known to be missing.
    pub(crate) held: Events,
    /// All accepted events and what they build on: the state is resolved over these.
    pub(crate) known: Events,
    pub(crate) current: State,
    pub(crate) deltas: Vec<Delta>,
    /// Keys whose state changed without an event: clients hear of them with the next one.
    untold: BTreeSet<(String, String)>,
    pub(crate) gaps: Vec<Gap>,
}

impl RoomAt {
    /// Whether the event may be taken in as live: allowed by the current state, or built upon by what was.
    pub(crate) fn admits(&self, arena: &[Event], event: &Event) -> bool {
        if self.known.contains(event.number) {
            // A state event that came behind those that build on it may have lost against others since.
            return event.state_key.is_none() || state::allows(arena, &self.current, event);
        }
        if self.lacks(arena, event).is_empty() {
            return state::allows(arena, &self.current, event);
        }
        // With a gap the state at the event counts too.
        let mut known = self.known.clone();
        known.extend(&event.past);
        state::allows(arena, &state::resolve(arena, &known), event)
    }

    /// What the event builds on and this server does not have, oldest first.
    pub(crate) fn lacks(&self, arena: &[Event], event: &Event) -> Vec<EventNo> {
        let mut lacking = event.past.without(&self.held);
        lacking.retain(|number| arena[number.0].room == event.room);
        lacking
    }

    /// Takes an event in as the newest of the timeline; gives the keys whose state changed.
    pub(crate) fn accept(&mut self, arena: &[Event], event: &Event, position: u64) -> Vec<(String, String)> {
        self.show(event.number, Showing::Live);
        self.order.insert(Place::live(position), event.number);
        for key in std::mem::take(&mut self.untold) {
            self.deltas.push(Delta { position, event: self.current.get(&key).copied(), key });
        }
        let in_line = self.known == *event.past;
        let before = self.known.clone();
        self.known.extend(&event.past);
        self.known.insert(event.number);
        let state = if in_line {
            let mut state = self.current.clone();
            state::apply(arena, &mut state, event);
            state
        } else if self.known.without(&before).iter().any(|number| arena[number.0].state_key.is_some()) {
            state::resolve(arena, &self.known)
        } else {
            return Vec::new();
        };
        self.change(state, position)
    }

    /// Puts another state in place of the current one, for which no event is the reason; gives the keys that changed.
    pub(super) fn change_untold(&mut self, state: State) -> Vec<(String, String)> {
        let changed = self.replace(state);
        self.untold.extend(changed.iter().cloned());
        changed
    }

    fn change(&mut self, state: State, position: u64) -> Vec<(String, String)> {
        let changed = self.replace(state);
        for key in &changed {
            self.deltas.push(Delta { position, key: key.clone(), event: self.current.get(key).copied() });
        }
        changed
    }

    fn replace(&mut self, state: State) -> Vec<(String, String)> {
        let gone = self.current.keys().filter(|key| !state.contains_key(*key)).cloned();
        let new =
            state.iter().filter(|(key, number)| self.current.get(*key) != Some(*number)).map(|(key, _)| key.clone());
        let changed: Vec<_> = gone.chain(new).collect();
        self.current = state;
        changed
    }

    /// Keeps an event that clients are not shown.
    pub(crate) fn show(&mut self, event: EventNo, showing: Showing) {
        self.held.insert(event);
        self.showing.insert(event, showing);
    }

    /// Takes note of events that came too late to be fetched, before the one that is about to come at `position`.
    pub(crate) fn note_gap(&mut self, missing: Vec<EventNo>, position: u64) {
        if missing.is_empty() {
            return;
        }
        for number in &missing {
            self.show(*number, Showing::Missing);
        }
        self.gaps.push(Gap { position, missing });
    }

    /// A missing event was got: paging shows it from now on.
    pub(crate) fn backfill(&mut self, position: u64, event: EventNo) {
        self.show(event, Showing::Backfilled);
        self.order.insert(Place { position, before: event.0 }, event);
    }

    /// Where the newest event stands that clients see.
    pub(crate) fn place_of(&self, event: EventNo) -> Option<Place> {
        self.order.iter().find(|(_, number)| **number == event).map(|(place, _)| *place)
    }

    /// The state at a position, without what `event` did there itself: a gap before it may have brought state along.
    pub(crate) fn state_before(&self, position: u64, event: EventNo) -> State {
        let mut state = State::new();
        for delta in self.deltas.iter().filter(|delta| delta.position <= position && delta.event != Some(event)) {
            match delta.event {
                Some(event) => drop(state.insert(delta.key.clone(), event)),
                None => drop(state.remove(&delta.key)),
            }
        }
        state
    }
}
