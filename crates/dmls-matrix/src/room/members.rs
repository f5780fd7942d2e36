//! Who is in the room: from state and timeline alike (SPEC §6.8).

use dmls::defence;
use dmls::id::{Device, Locator, SignatureKey};
use dmls::input::{Desired, DesiredDevice};
use serde_json::Value;

use super::Room;
use super::record::Member;
use crate::facts::Endorsement;
use crate::machine::facts::FactBook;
use crate::table;
use crate::view::Membership;
use crate::wire::room::RawEvent;
use crate::wire::text;

/// A user's membership that ended.
pub(crate) struct Departure {
    pub(crate) user: String,
    pub(crate) event: String,
}

impl Room {
    /// Takes in a member event; gives the departure that it is, if it is one.
    pub(crate) fn take_member(&mut self, event: &RawEvent<'_>) -> Option<Departure> {
        let user = event.state_key?;
        let joined = text(event.content, "membership")? == "join";
        let old = self.members.get(user).cloned();
        let is_same = old.as_ref().is_some_and(|old| old.event == event.event_id);
        // A list without the user may have been wrong: then the same event says something new.
        if is_same && old.as_ref().is_some_and(|old| old.joined == joined) {
            return None;
        }
        // Another branch of the room's history: the resolved state may differ from the timeline's last word.
        if !is_same && old.as_ref().is_some_and(|old| replaced(event) != Some(&old.event)) {
            self.ask_for_members();
        }
        let stays = joined && (is_same || old.as_ref().is_some_and(|old| old.joined) && !rejoined(event));
        let since = old.as_ref().filter(|_| stays).map_or(event.event_id, |old| old.since.as_str()).to_owned();
        let left = old.is_some_and(|old| old.joined) && !stays;
        self.set_member(user, Member { joined, event: event.event_id.to_owned(), since });
        // Of a join after an unseen leave, the leave is what it replaced.
        let event = if joined { replaced(event).unwrap_or(event.event_id) } else { event.event_id };
        left.then(|| Departure { user: user.to_owned(), event: event.to_owned() })
    }

    /// A user's membership is this from now on.
    pub(crate) fn set_member(&mut self, user: &str, member: Member) {
        self.writes.push(table::put(table::MEMBER, table::key_in(&self.id, user.as_bytes()), &member));
        self.members.insert(user.to_owned(), member);
        self.desired_stale = true;
    }

    /// The whole list of members as the server has it. Whoever is not there may not read; but no event says that they left,
    /// so that is the cause of nothing.
    pub(crate) fn take_all_members(&mut self, events: &[RawEvent<'_>]) -> Vec<Departure> {
        let departures: Vec<_> = events.iter().filter_map(|event| self.take_member(event)).collect();
        let named = |user: &String| events.iter().any(|event| event.state_key == Some(user));
        let gone: Vec<_> = self.members.iter().filter(|(user, member)| member.joined && !named(user)).collect();
        let gone: Vec<_> = gone.into_iter().map(|(user, member)| (user.clone(), member.clone())).collect();
        for (user, member) in gone {
            self.set_member(&user, Member { joined: false, ..member });
        }
        self.record.edit().members_stale = false;
        departures
    }

    /// The list of members is asked for before anything else is built upon it.
    pub(crate) fn doubt_members(&mut self) {
        if self.record.membership == Membership::Joined && defence::on("Z2") {
            self.ask_for_members();
        }
    }

    /// The list of members is asked for.
    pub(crate) fn ask_for_members(&mut self) {
        if !self.record.members_stale {
            self.record.edit().members_stale = true;
        }
    }

    /// The users that are joined now.
    pub(crate) fn joined(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter().filter(|(_, member)| member.joined)
    }

    pub(crate) fn is_joined(&self, user: &str) -> bool {
        self.members.get(user).is_some_and(|member| member.joined)
    }

    /// Whether a user is joined or, by what the server says, was or was invited.
    pub(crate) fn knows_member(&self, user: &str) -> bool {
        self.members.contains_key(user)
    }

    /// Whether a device is in D, by what is known of its user's devices.
    pub(crate) fn desires(&self, facts: &FactBook, device: &Device) -> bool {
        let vouched = |known: &crate::facts::DeviceFacts| may_read(known.endorsement) && known.mls_key.is_some();
        let mut devices = facts.devices(&device.user).iter();
        self.is_joined(&device.user) && devices.any(|known| known.device == *device && vouched(known))
    }

    /// D: devices of joined users that their owners vouch for.
    pub(crate) fn desired(&self, facts: &FactBook, own: (&Device, &SignatureKey)) -> Desired {
        let mut desired = Desired::default();
        for (user, member) in self.joined() {
            for known in facts.devices(user) {
                let (true, Some(key)) = (may_read(known.endorsement), known.mls_key) else { continue };
                let joined = Locator(member.since.clone());
                desired.devices.insert(known.device.clone(), DesiredDevice { key: SignatureKey(key), joined });
            }
        }
        // Before the own user's devices are known this device trusts itself.
        let (device, key) = own;
        if let Some(member) = self.members.get(&device.user).filter(|member| member.joined)
            && !facts.knows(&device.user)
        {
            let joined = Locator(member.since.clone());
            desired.devices.insert(device.clone(), DesiredDevice { key: *key, joined });
        }
        desired
    }
}

/// Only an endorsed device may read; every other word says why not (SPEC §6.8).
fn may_read(endorsement: Endorsement) -> bool {
    match endorsement {
        Endorsement::Endorsed => true,
        Endorsement::NotCrossSigned => !defence::on("K1"),
        Endorsement::Blocked => !defence::on("K3"),
        _ => false,
    }
}

/// The state event that this one replaces, by the server's word.
pub(crate) fn replaced<'a>(event: &RawEvent<'a>) -> Option<&'a str> {
    text(event.unsigned?, "replaces_state")
}

/// A join that replaces something else than a join: an unseen leave lies between.
fn rejoined(event: &RawEvent<'_>) -> bool {
    let previous = event.unsigned.and_then(|unsigned| unsigned.get("prev_content"));
    previous.and_then(|content: &Value| text(content, "membership")).is_some_and(|membership| membership != "join")
}
