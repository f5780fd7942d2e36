//! What the oracle knows of a run: events, epochs and people, told from the trace alone.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls_matrix::RoomId;

use super::commit::{self, Commit};
use super::epochs::{Epochs, Id};
use crate::trace::{Fact, Kind, Name, ServerName, Showing, Trace};

pub(super) type DeviceName = commit::Name;

/// A sealed message in a room.
pub(super) struct Message {
    pub(super) event_id: String,
    pub(super) name: Name,
    pub(super) epoch: Id,
    /// Its place in the trace.
    pub(super) at: usize,
}

/// One room.
#[derive(Default)]
pub(super) struct Room {
    pub(super) epochs: Epochs,
    pub(super) messages: Vec<Message>,
    commits: Vec<(String, Commit, usize)>,
    /// When the commit of an epoch was posted: its place in the trace.
    pub(super) posted_at: BTreeMap<Id, usize>,
    /// Which epoch the commit of an event makes, by the word of honest devices.
    pub(super) made_by: BTreeMap<String, Id>,
    /// The event of the commit of each epoch.
    pub(super) event_of: BTreeMap<Id, String>,
    /// Memberships as each server shows them at the end.
    pub(super) joined: BTreeMap<ServerName, BTreeSet<String>>,
}

/// All of it.
#[derive(Default)]
pub(super) struct Book {
    pub(super) rooms: BTreeMap<RoomId, Room>,
    /// Devices whose owners vouch for them and that are not logged out.
    pub(super) vouched: BTreeSet<DeviceName>,
    pub(super) showing: BTreeMap<(ServerName, String), Showing>,
    /// Welcomes that were sent, by receiver and commit, and whether any copy was not lost between servers.
    pub(super) welcomes: BTreeMap<(DeviceName, String), bool>,
}

pub(super) fn name_of(device: &dmls::id::Device) -> DeviceName {
    (device.user.clone(), device.device.clone())
}

impl Book {
    pub(super) fn read(trace: &Trace) -> Self {
        let mut book = Self::default();
        for (at, entry) in trace.entries.iter().enumerate() {
            book.note(at, &entry.fact);
        }
        for end in trace.ends.values().filter(|end| end.honest) {
            for (room, view) in &end.views {
                let room = book.rooms.entry(room.clone()).or_default();
                for epoch in &view.log {
                    if epoch.base.is_none() && epoch.kind == dmls::effect::EpochKind::Genesis {
                        room.epochs.genesis(epoch.epoch.id.0, name_of(&epoch.epoch.creator));
                    }
                    room.made_by.insert(epoch.epoch.locator.0.clone(), epoch.epoch.id.0);
                }
            }
        }
        book.rooms.values_mut().for_each(Room::place_commits);
        book
    }

    fn note(&mut self, at: usize, fact: &Fact) {
        match fact {
            Fact::Began { device, endorsed: true, .. } => drop(self.vouched.insert(name_of(device))),
            Fact::Posted { room, event_id, name, kind, content, .. } => {
                let text = content["ciphertext"].as_str().unwrap_or_default();
                let Ok(bytes) = STANDARD_NO_PAD.decode(text) else { return };
                let room = self.rooms.entry(room.clone()).or_default();
                match kind {
                    Kind::Commit => room.commits.extend(commit::read(&bytes).map(|read| (event_id.clone(), read, at))),
                    Kind::Message => room.messages.extend(commit::read_message(&bytes).map(|(epoch, _)| Message {
                        event_id: event_id.clone(),
                        name: name.clone(),
                        epoch,
                        at,
                    })),
                    Kind::State | Kind::Other => {}
                }
            }
            Fact::Arrived { server, event_id, showing } => {
                self.showing.insert((server.clone(), event_id.clone()), *showing);
            }
            Fact::Membership { server, room, user, membership, .. } => {
                let joined = self.rooms.entry(room.clone()).or_default().joined.entry(server.clone()).or_default();
                if membership == "join" {
                    joined.insert(user.clone())
                } else {
                    joined.remove(user)
                };
            }
            Fact::WelcomeSent { to, commit_event } => {
                self.welcomes.insert((name_of(to), commit_event.clone()), true);
            }
            Fact::WelcomeLost { to, commit_event } => {
                self.welcomes.entry((name_of(to), commit_event.clone())).or_default();
            }
            _ => {}
        }
    }

    /// Devices that are logged out are vouched for no more.
    pub(super) fn forget_logged_out(&mut self, trace: &Trace) {
        for end in trace.ends.values().filter(|end| end.logged_out) {
            self.vouched.remove(&name_of(&end.device));
        }
    }
}

impl Room {
    /// Parents before children, however late a parent was posted.
    fn place_commits(&mut self) {
        let mut left: Vec<_> = std::mem::take(&mut self.commits);
        loop {
            let before = left.len();
            left.retain(|(event_id, commit, at)| {
                let Some(id) = self.made_by.get(event_id) else { return false };
                self.posted_at.insert(*id, *at);
                self.event_of.insert(*id, event_id.clone());
                self.epochs.0.contains_key(id) || self.epochs.add(*id, commit).is_none()
            });
            if left.len() == before {
                return;
            }
        }
    }
}
