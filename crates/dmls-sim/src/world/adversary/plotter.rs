//! What a malicious device keeps beside its machine, and how its works come into the room.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls::craft::{Commit, Made, State};
use dmls::device::OwnDevice;
use dmls::effect::OutgoingCommit;
use dmls::id::{Device, EpochId, Locator};
use dmls_matrix::RoomId;
use dmls_matrix::insider;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::{Fault, World};
use crate::client::Client;
use crate::entropy::Stream;
use crate::net::server_of;
use crate::script::Ploy;
use crate::trace::{Fact, Kind, Name};

const ENCRYPTED: &str = "m.room.encrypted";
/// Epochs that a plotter keeps; of the oldest it keeps none.
const KEPT: usize = 48;

/// A malicious device's own memory.
pub(in super::super) struct Plotter {
    /// Every epoch that it ever held, as it was when it was new.
    pub(super) kept: BTreeMap<EpochId, State>,
    /// The order in which they came.
    order: Vec<EpochId>,
    /// What nobody has seen yet.
    pub(super) withheld: Vec<Made>,
    /// A device that it invented.
    pub(super) sybil: Option<Arc<OwnDevice>>,
    pub(super) chances: Stream,
}

impl Plotter {
    fn new(seed: u64, name: &Name) -> Self {
        let chances = Stream::new(seed, &format!("plotter {name}"));
        Self { kept: BTreeMap::new(), order: Vec::new(), withheld: Vec::new(), sybil: None, chances }
    }

    /// Keeps an epoch as it is now, unless it is kept already.
    pub(super) fn keep(&mut self, state: State) {
        let id = state.id();
        if self.kept.insert(id, state).is_none() {
            self.order.push(id);
        }
        if self.order.len() > KEPT {
            self.kept.remove(&self.order.remove(0));
        }
    }

    /// The kept epochs, oldest first.
    pub(super) fn states(&self) -> Vec<State> {
        self.order.iter().filter_map(|id| self.kept.get(id)).cloned().collect()
    }
}

/// What is put into the room.
pub(super) enum Post<'a> {
    Commit(&'a Made),
    Content(Value),
}

impl World {
    pub(super) fn carry_out(&mut self, name: &Name, room: &RoomId, ploy: Ploy) -> Result<(), Fault> {
        self.keep_states(name, room)?;
        match ploy {
            Ploy::Fork | Ploy::Grind | Ploy::Bomb | Ploy::Withhold | Ploy::Reveal | Ploy::BackDate => {
                self.plot_forks(name, room, ploy)
            }
            Ploy::Poison | Ploy::Point | Ploy::Grants | Ploy::Resolves => self.plot_forged(name, room, ploy),
            Ploy::Bury | Ploy::CutOff | Ploy::FalseCause | Ploy::Sybil => self.plot_members(name, room, ploy),
            Ploy::Tags | Ploy::Welcome | Ploy::Serve | Ploy::Answer => self.plot_letters(name, room, ploy),
            Ploy::Flood | Ploy::Chatter | Ploy::Overhear | Ploy::Impersonate | Ploy::Replay => {
                self.plot_messages(name, room, ploy)
            }
            Ploy::Reframe | Ploy::Intrude => self.plot_messages(name, room, ploy),
        }
    }

    /// After a turn of a plotter.
    pub(in super::super) fn keep_new_states(&mut self, name: &Name) -> Result<(), Fault> {
        if self.plotters.contains_key(name) {
            for room in self.rooms.clone() {
                self.keep_states(name, &room)?;
            }
        }
        Ok(())
    }

    /// A plotter takes copies of all epochs that its machine holds, before it reads anything in them.
    pub(in super::super) fn keep_states(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let client = self.client(name)?;
        let Some(group) = client.machine.as_mut().and_then(|machine| machine.insider(room)) else { return Ok(()) };
        let held: Vec<EpochId> = group.epochs().iter().filter(|info| info.held).map(|info| info.epoch.id).collect();
        let known = self.plotters.get(name);
        let new = held.iter().filter(|id| known.is_none_or(|known| !known.kept.contains_key(id)));
        let client = self.clients.get_mut(name);
        let group = client.and_then(|client| client.machine.as_mut()?.insider(room));
        let states: Vec<State> =
            group.into_iter().flat_map(|group| new.clone().filter_map(|id| State::of(group, id))).collect();
        let plotter = self.plotter(name);
        states.into_iter().for_each(|state| plotter.keep(state));
        Ok(())
    }

    pub(super) fn plotter(&mut self, name: &Name) -> &mut Plotter {
        let seed = self.options.seed;
        self.plotters.entry(name.clone()).or_insert_with(|| Plotter::new(seed, name))
    }

    /// The epoch that a plotter would build on: where everybody is, or else its newest.
    pub(super) fn standing(&mut self, name: &Name, room: &RoomId) -> Option<State> {
        let group = self.clients.get_mut(name)?.machine.as_mut()?.insider(room)?;
        let now = group.canonical().and_then(|id| State::of(group, &id));
        now.or_else(|| self.plotter(name).states().pop())
    }

    /// Honest members of an epoch.
    pub(super) fn honest_in(&self, state: &State) -> Vec<Device> {
        let honest = |device: &Device| self.clients.values().any(|client| client.device == *device && client.honest);
        state.members().into_iter().filter(honest).collect()
    }

    /// Makes a commit; nothing if it cannot be made.
    pub(super) fn make(&mut self, name: &Name, commit: &Commit<'_>) -> Option<Made> {
        commit.build(&mut self.plotter(name).chances).ok()
    }

    /// Makes a commit and posts it; the epoch that it makes is kept.
    pub(super) fn commit_and_post(
        &mut self,
        name: &Name,
        room: &RoomId,
        commit: &Commit<'_>,
    ) -> Result<Option<State>, Fault> {
        let Some(made) = self.make(name, commit) else { return Ok(None) };
        let Some(event_id) = self.put(name, room, Post::Commit(&made))? else { return Ok(None) };
        if !made.poisoned.is_empty() {
            self.note(Fact::Poisoned { epoch: made.state.id(), devices: made.poisoned });
        }
        let state = made.state.found_at(Locator(event_id));
        self.plotter(name).keep(state.clone());
        Ok(Some(state))
    }

    /// Posts something as the plotter's user; gives the event's id unless the server refuses.
    pub(super) fn put(&mut self, name: &Name, room: &RoomId, post: Post<'_>) -> Result<Option<String>, Fault> {
        let (content, made) = match post {
            Post::Content(content) => (content, None),
            Post::Commit(made) => (self.content_of(name, &made.commit)?, Some(made)),
        };
        let posted = match self.post(name, room, ENCRYPTED, None, content.clone(), None)? {
            Ok(event_id) => Some(event_id),
            // Who is no longer in the room has somebody there who passes it on.
            Err(_) => match self.accomplice(room) {
                Some(user) => self.put_as(name, &user, room, content)?,
                None => None,
            },
        };
        if let (Some(event_id), Some(made)) = (posted.clone(), made) {
            self.note(Fact::Forged { event_id, epoch: made.state.id(), on: made.on });
        }
        Ok(posted)
    }

    /// Uploads a commit's GroupInfo and gives the commit's content.
    pub(super) fn content_of(&mut self, name: &Name, commit: &OutgoingCommit) -> Result<Value, Fault> {
        let home = self.client(name)?.home.clone();
        let group_info = commit.group_info.bytes();
        let url = self.net.upload(&home, &group_info);
        Ok(insider::commit_content(commit, &url, Sha256::digest(&group_info).into()))
    }

    /// A user who is in the room.
    fn accomplice(&self, room: &RoomId) -> Option<String> {
        let joined = |client: &&Client| self.net.membership(&client.home, room, &client.device.user) == "join";
        self.clients.values().find(joined).map(|client| client.device.user.clone())
    }

    /// Posts something as another user, whose server plays along; gives the event's id unless the user may not.
    pub(super) fn put_as(
        &mut self,
        name: &Name,
        user: &str,
        room: &RoomId,
        content: Value,
    ) -> Result<Option<String>, Fault> {
        let home = server_of(user);
        let draft =
            crate::net::Draft { room, sender: user, event_type: ENCRYPTED, state_key: None, content: content.clone() };
        let posted = self.net.post(&home, draft, self.now).ok();
        if let Some(event_id) = &posted {
            self.posted(name, room, ENCRYPTED, None, content, event_id)?;
        }
        Ok(posted)
    }

    /// Sealed events that were posted so far: by which copy, its user, what it is, content.
    pub(super) fn sealed(&self, room: &RoomId) -> Vec<(Name, Device, Kind, Value)> {
        let sealed = |fact: &Fact| match fact {
            Fact::Posted {
                room: place, sender, name, kind: kind @ (Kind::Commit | Kind::Message), content, ..
            } if place == room => Some((name.clone(), sender.clone(), *kind, content.clone())),
            _ => None,
        };
        self.trace.entries.iter().filter_map(|entry| sealed(&entry.fact)).collect()
    }
}

/// The MLSMessage in a content.
pub(in super::super) fn bytes_of(content: &Value) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(content["ciphertext"].as_str()?).ok()
}
