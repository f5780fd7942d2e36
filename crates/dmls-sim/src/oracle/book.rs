//! What the oracle knows of a run: events, epochs and people, told from the trace alone.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls_matrix::RoomId;

use super::commit::{self, Commit, NewLeaf};
use super::epochs::{Epochs, Id};
use crate::trace::{End, Fact, Kind, Name, ServerName, Showing, Trace};

pub(super) type DeviceName = commit::Name;

/// A sealed message in a room.
pub(super) struct Message {
    /// What was sealed: copies have the same.
    pub(super) bytes: Vec<u8>,
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
    /// The commit of each epoch.
    pub(super) commit_of: BTreeMap<Id, Commit>,
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
    /// Copies of devices that somebody malicious has, or that were copied or put back.
    pub(super) dishonest: BTreeSet<Name>,
    /// The key of each copy of a device: who is logged in anew has another.
    keys: BTreeMap<Name, Vec<u8>>,
    /// The newest key of each device, and since when it has it.
    pub(super) keys_now: BTreeMap<DeviceName, (Vec<u8>, usize)>,
    /// Which epochs the commits of malicious devices make, and on which.
    forged: BTreeMap<String, (Id, Id)>,
    /// Members of epochs who cannot process their commits, whatever they do.
    poisoned: BTreeMap<Id, Vec<DeviceName>>,
    /// Welcomes that were sent, by receiver and commit, and whether any copy was not lost between servers.
    pub(super) welcomes: BTreeMap<(DeviceName, String), bool>,
    /// Welcomes that lead to another epoch than their commits make.
    pub(super) false_welcomes: BTreeSet<(DeviceName, String)>,
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
        book.dishonest = trace.ends.iter().filter(|(_, end)| !end.honest).map(|(name, _)| name.clone()).collect();
        for (name, end) in &trace.ends {
            for (room, view) in &end.views {
                let room = book.rooms.entry(room.clone()).or_default();
                for epoch in &view.log {
                    if epoch.base.is_none() && epoch.kind == dmls::effect::EpochKind::Genesis {
                        let creator = name_of(&epoch.creator);
                        let signer = book.keys.get(name).cloned().unwrap_or_default();
                        room.epochs.genesis(epoch.epoch.id.0, creator, signer);
                    }
                    let locator = epoch.epoch.locator.0.clone();
                    if end.honest {
                        room.made_by.insert(locator, epoch.epoch.id.0);
                    } else {
                        room.made_by.entry(locator).or_insert(epoch.epoch.id.0);
                    }
                }
            }
        }
        for room in book.rooms.values_mut() {
            for (event, (id, _)) in &book.forged {
                room.made_by.entry(event.clone()).or_insert(*id);
            }
            // Who joins an epoch from outside does not see that its commit says it was made on another.
            for (event, commit, _) in &mut room.commits {
                if let Some((_, on)) = book.forged.get(event) {
                    commit.base = *on;
                }
            }
            room.place_commits();
        }
        book
    }

    fn note(&mut self, at: usize, fact: &Fact) {
        match fact {
            Fact::Began { name, device, endorsed: true, key, .. } => {
                self.vouched.insert(name_of(device));
                self.keys.insert(name.clone(), key.0.to_vec());
                self.keys_now.insert(name_of(device), (key.0.to_vec(), at));
            }
            Fact::Cloned { name, from } => {
                let key = self.keys.get(from).cloned();
                self.keys.extend(key.map(|key| (name.clone(), key)));
            }
            Fact::Forged { event_id, epoch, on } => {
                self.forged.insert(event_id.clone(), (epoch.0, on.0));
            }
            Fact::Poisoned { epoch, devices } => {
                self.poisoned.insert(epoch.0, devices.iter().map(name_of).collect());
            }
            Fact::Posted { room, event_id, name, kind, content, .. } => {
                let text = content["ciphertext"].as_str().unwrap_or_default();
                let Ok(bytes) = STANDARD_NO_PAD.decode(text) else { return };
                let room = self.rooms.entry(room.clone()).or_default();
                match kind {
                    Kind::Commit => room.commits.extend(commit::read(&bytes).map(|read| (event_id.clone(), read, at))),
                    Kind::Message => room.messages.extend(commit::read_message(&bytes).map(|(epoch, _)| Message {
                        bytes: bytes.clone(),
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
            Fact::FalseWelcome { to, commit_event } => {
                self.false_welcomes.insert((name_of(to), commit_event.clone()));
            }
            Fact::WelcomeLost { to, commit_event } => {
                self.welcomes.entry((name_of(to), commit_event.clone())).or_default();
            }
            _ => {}
        }
    }

    /// Whether a device was logged in anew after this place in the trace: it knows nothing of what was before.
    pub(super) fn is_anew(&self, end: &End, place: usize) -> bool {
        self.keys_now.get(&name_of(&end.device)).is_some_and(|(_, since)| *since > place)
    }

    /// Whether a leaf is one that its device, logged in anew, no longer has.
    pub(super) fn was_replaced(&self, leaf: &NewLeaf) -> bool {
        self.keys_now.get(&leaf.device).is_some_and(|(key, _)| *key != leaf.signer)
    }

    /// Whether the device was shut out by a poisoned path of the line on which it has its leaf: it comes back with another.
    pub(super) fn was_poisoned(&self, room: &Room, epoch: &Id, device: &DeviceName) -> bool {
        let leaf = |id: &Id| Some(room.epochs.0.get(id)?.leaf(device)?.1.clone());
        let line = std::iter::successors(Some(*epoch), |id| room.epochs.0.get(id)?.base);
        let mut same = line.take_while(|id| leaf(id).is_some() && leaf(id) == leaf(epoch));
        same.any(|id| self.poisoned.get(&id).is_some_and(|devices| devices.contains(device)))
    }

    /// Devices that are logged out are vouched for no more.
    pub(super) fn forget_logged_out(&mut self, trace: &Trace) {
        for end in trace.ends.values().filter(|end| end.logged_out) {
            // A device that was logged in anew stays.
            let again = |other: &&End| other.device == end.device && !other.logged_out;
            if trace.ends.values().find(again).is_none() {
                self.vouched.remove(&name_of(&end.device));
            }
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
                // A commit may be posted once more; the first time counts.
                self.posted_at.entry(*id).or_insert(*at);
                self.commit_of.entry(*id).or_insert_with(|| commit.clone());
                self.event_of.insert(*id, event_id.clone());
                self.epochs.0.contains_key(id) || self.epochs.add(*id, commit).is_none()
            });
            if left.len() == before {
                return;
            }
        }
    }
}
