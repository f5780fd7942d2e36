//! Who may do what, and what the state is when several sides changed it: as in room version 12, as far as memberships
//! and power go.

use std::collections::BTreeMap;

use serde_json::Value;

use super::event::{CREATE, Event, MEMBER, POWER};
use super::numbers::{EventNo, Events};

/// Current state: type and state key, event.
pub(crate) type State = BTreeMap<(String, String), EventNo>;

/// Power of a room's creator: more than anybody can be given.
const CREATOR: i64 = i64::MAX;
/// Power that is needed to kick, ban and change other state, and to change power.
const MODERATOR: i64 = 50;
const ADMIN: i64 = 100;

pub(crate) fn membership<'a>(arena: &'a [Event], state: &State, user: &str) -> &'a str {
    let event = state.get(&(MEMBER.to_owned(), user.to_owned())).and_then(|number| arena.get(number.0));
    event.and_then(Event::membership).unwrap_or("leave")
}

/// The users that are joined.
pub(crate) fn joined<'a>(arena: &'a [Event], state: &'a State) -> impl Iterator<Item = &'a str> {
    let members = state.iter().filter(|((kind, _), _)| kind == MEMBER);
    members.filter(|(_, number)| arena[number.0].membership() == Some("join")).map(|((_, user), _)| user.as_str())
}

pub(crate) fn power(arena: &[Event], state: &State, user: &str) -> i64 {
    let event = |kind: &str| state.get(&(kind.to_owned(), String::new())).and_then(|number| arena.get(number.0));
    if event(CREATE).is_some_and(|create| create.sender == user) {
        return CREATOR;
    }
    let levels = event(POWER).and_then(|levels| levels.content.get("users"));
    levels.and_then(|levels| levels.get(user)).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether `event` is allowed in `state` (room version 12's authorisation rules, without join rules and limits).
pub(crate) fn allows(arena: &[Event], state: &State, event: &Event) -> bool {
    if event.event_type == CREATE {
        return !state.contains_key(&(CREATE.to_owned(), String::new()));
    }
    let of = |user: &str| membership(arena, state, user);
    let strength = |user: &str| power(arena, state, user);
    let (sender, is_joined) = (event.sender.as_str(), of(&event.sender) == "join");
    match (event.membership(), event.state_key.as_deref()) {
        (Some("join"), Some(user)) => {
            user == sender && (matches!(of(user), "join" | "invite") || strength(user) == CREATOR)
        }
        (Some("invite"), Some(user)) => is_joined && !matches!(of(user), "join" | "ban"),
        (Some("leave"), Some(user)) if user == sender => matches!(of(user), "join" | "invite"),
        (Some("leave" | "ban"), Some(user)) => {
            is_joined && strength(sender) >= MODERATOR && strength(sender) > strength(user)
        }
        (Some(_), _) => false,
        (None, Some(_)) if event.event_type == POWER => is_joined && strength(sender) >= ADMIN,
        (None, Some(_)) => is_joined && strength(sender) >= MODERATOR,
        (None, None) => is_joined,
    }
}

/// The state after all of `known`: causes before effects, what takes power first, stronger senders first; what is not
/// allowed by the state so far counts not at all.
pub(crate) fn resolve(arena: &[Event], known: &Events) -> State {
    let events: Vec<&Event> =
        known.iter().filter_map(|number| arena.get(number.0)).filter(|event| event.state_key.is_some()).collect();
    let mut waiting: Vec<Waiting<'_>> = events.iter().map(|event| Waiting::new(event, &events)).collect();
    let mut state = State::new();
    while !waiting.is_empty() {
        let rank = |next: &Waiting<'_>| {
            let power = power(arena, &state, &next.event.sender);
            (next.causes > 0, !next.leads, std::cmp::Reverse(power), next.event.ts, next.event.number)
        };
        let Some(index) = (0..waiting.len()).min_by_key(|index| rank(&waiting[*index])) else { break };
        let next = waiting.swap_remove(index).event;
        for later in waiting.iter_mut().filter(|later| later.event.past.contains(next.number)) {
            later.causes -= 1;
        }
        if keeps_invite(arena, &state, next)
            && let Some(key) = next.key()
        {
            state.insert(key, next.number);
        }
        apply(arena, &mut state, next);
    }
    state
}

/// Whether an event is the join of a user of whom the state has no word, and replaced an invite on its own branch: each
/// event is checked with the events that it names, and the resolved state only takes the place of those that it has. So
/// who was invited by somebody whom another branch had removed stays joined (measured, Synapse 1.163.2); who had been in
/// the room before is what they were then.
fn keeps_invite(arena: &[Event], state: &State, event: &Event) -> bool {
    let Some(replaced) = event.replaces.filter(|_| event.membership() == Some("join")) else { return false };
    let invited = arena.get(replaced.0).and_then(Event::membership) == Some("invite");
    invited && event.key().is_some_and(|key| !state.contains_key(&key))
}

/// A state event that has not been placed yet.
struct Waiting<'a> {
    event: &'a Event,
    /// How many of its causes have not been placed either.
    causes: usize,
    /// It takes or gives power, or is a cause of what does.
    leads: bool,
}

impl<'a> Waiting<'a> {
    fn new(event: &'a Event, all: &[&Event]) -> Self {
        let causes = all.iter().filter(|cause| event.past.contains(cause.number)).count();
        let caused = |effect: &&&Event| effect.number == event.number || effect.past.contains(event.number);
        Self { event, causes, leads: all.iter().filter(caused).any(|effect| effect.is_powerful()) }
    }
}

/// Puts a state event into the state if it is allowed there.
pub(crate) fn apply(arena: &[Event], state: &mut State, event: &Event) {
    if let Some(key) = event.key().filter(|_| allows(arena, state, event)) {
        state.insert(key, event.number);
    }
}
