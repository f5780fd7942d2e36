//! Messages and events: junk, copies, other people's words.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dmls::craft::{Commit, Message, join_externally};
use dmls::effect::EpochRef;
use dmls::group::inspect_commit;
use dmls::id::{GroupId, Locator};
use dmls_matrix::{RoomId, insider};
use serde_json::json;

use super::super::{Fault, World};
use super::commits::below;
use super::plotter::{Post, bytes_of};
use crate::script::Ploy;
use crate::trace::{Kind, Name};

/// Junk of each kind.
const JUNK: usize = 6;
/// Messages of a chatterer, and the milliseconds between two.
const CHATTER: usize = 60;
const PAUSE: u64 = 300;
/// Events that are posted once more.
const REPLAYED: usize = 8;

impl World {
    pub(super) fn plot_messages(&mut self, name: &Name, room: &RoomId, ploy: Ploy) -> Result<(), Fault> {
        match ploy {
            Ploy::Flood => self.flood(name, room),
            Ploy::Chatter => self.chatter(name, room),
            Ploy::Overhear => self.overhear(name, room),
            Ploy::Impersonate => self.impersonate(name, room),
            Ploy::Replay | Ploy::Reframe => self.replay(name, room, ploy),
            _ => self.intrude(name, room),
        }
    }

    /// Commits on bases and messages of epochs that nobody has, and what is not even that.
    fn flood(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        let Some(made) = self.make(name, &Commit::on(&base)) else { return Ok(()) };
        for _ in 0..JUNK {
            let invented = self.invented(name);
            let commit = Commit::on(&base).edit(|data| data.base = EpochRef { id: invented.id, ..data.base.clone() });
            if let Some(junk) = self.make(name, &commit) {
                self.put(name, room, Post::Commit(&junk))?;
            }
            let message = Message::of(&base, b"junk").edit(|data| data.epoch = invented.id.0);
            if let Ok((bytes, _)) = message.build(&mut self.plotter(name).chances) {
                self.put(name, room, Post::Content(insider::message_content(&bytes, &invented)))?;
            }
            let mut torn = self.content_of(name, &made.commit)?;
            let length = 200 + below(self.plotter(name), 200);
            torn["ciphertext"] = json!(torn["ciphertext"].as_str().and_then(|text| text.get(..length)));
            self.put(name, room, Post::Content(torn))?;
            self.put(name, room, Post::Content(json!({ "algorithm": "org.dmls.v1", "ciphertext": 7 })))?;
        }
        Ok(())
    }

    /// One message after another, while time passes.
    fn chatter(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        for number in 0..CHATTER {
            let Some(base) = self.standing(name, room) else { return Ok(()) };
            let message = Message::of(&base, format!("chatter {number}").as_bytes());
            if let Ok((bytes, _)) = message.build(&mut self.plotter(name).chances) {
                self.put(name, room, Post::Content(insider::message_content(&bytes, base.reference())))?;
            }
            self.run_for(PAUSE)?;
            if number % 10 == 0 {
                self.look(room)?;
            }
        }
        Ok(())
    }

    /// The newest message of an honest member, under its sender's next generation.
    fn overhear(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let honest = |name: &Name| self.clients.get(name).is_some_and(|client| client.honest);
        let sealed = self.sealed(room).into_iter().rev();
        let messages = sealed.filter(|(by, _, kind, _)| *kind == Kind::Message && honest(by)).take(REPLAYED);
        for (_, sender, _, content) in messages.collect::<Vec<_>>() {
            let Some(bytes) = bytes_of(&content) else { continue };
            for state in self.plotter(name).states() {
                let chances = &mut self.plotter(name).chances;
                let Ok(heard) = Message::overheard(&state, &bytes) else { continue };
                let Ok((again, _)) = heard.build(chances) else { continue };
                let content = insider::message_content(&again, state.reference());
                self.put_as(name, &sender.user, room, content.clone())?;
                self.put(name, room, Post::Content(content))?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// A message that another member is said to have sealed, by one and by the other user.
    fn impersonate(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        let others = self.honest_in(&base);
        for victim in self.some_of(name, &others) {
            let said = Message::of(&base, b"not my words").as_member(&victim);
            let Some(Ok((bytes, _))) = said.ok().map(|said| said.build(&mut self.plotter(name).chances)) else {
                continue;
            };
            let content = insider::message_content(&bytes, base.reference());
            self.put_as(name, &victim.user, room, content.clone())?;
            self.put(name, room, Post::Content(content))?;
        }
        Ok(())
    }

    /// Events of everybody, once more; with other hints around the bytes if they are framed anew.
    fn replay(&mut self, name: &Name, room: &RoomId, ploy: Ploy) -> Result<(), Fault> {
        let all = self.sealed(room);
        for _ in 0..REPLAYED {
            let Some((_, sender, kind, mut content)) = self.plotter(name).chances.pick(&all).cloned() else { break };
            if ploy == Ploy::Reframe {
                let invented = self.invented(name);
                let header = bytes_of(&content).and_then(|bytes| inspect_commit(&bytes).ok());
                if let (Kind::Commit, Some(_)) = (kind, header) {
                    content["makes"]["id"] = json!(URL_SAFE_NO_PAD.encode(invented.id.0));
                    content["group_info"]["url"] = json!("mxc://hs1/m0");
                } else {
                    content["commit_event"] = json!("$e00004");
                }
            }
            self.put_as(name, &sender.user, room, content.clone())?;
            self.put(name, room, Post::Content(content))?;
        }
        Ok(())
    }

    /// An external commit into the newest epoch that anybody made.
    fn intrude(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let Some(own) = self.client(name)?.machine.as_ref().and_then(|machine| machine.insider_keys()) else {
            return Ok(());
        };
        let Some((event_id, target, group_info)) = self.newest_entry(name, room) else { return Ok(()) };
        let target = EpochRef { locator: Locator(event_id), ..target };
        let chances = &mut self.plotter(name).chances;
        let joined = join_externally(&own, &GroupId::new(room.as_str()), &target, &group_info, None, |_| {}, chances);
        if let Ok(made) = joined {
            if let Some(event_id) = self.put(name, room, Post::Commit(&made))? {
                let state = made.state.found_at(Locator(event_id));
                self.plotter(name).keep(state);
            }
        }
        Ok(())
    }

    /// Where the newest commit is, what it makes, and its GroupInfo.
    fn newest_entry(&mut self, name: &Name, room: &RoomId) -> Option<(String, EpochRef, Vec<u8>)> {
        let home = self.clients.get(name)?.home.clone();
        let posted = self.trace.entries.iter().rev().find_map(|entry| match &entry.fact {
            crate::trace::Fact::Posted { room: place, event_id, kind: Kind::Commit, content, .. } if place == room => {
                Some((event_id.clone(), content.clone()))
            }
            _ => None,
        })?;
        let (event_id, content) = posted;
        let group_info = self.net.download(&home, content["group_info"]["url"].as_str()?).ok()?;
        let target = insider::made_by(&content)?;
        Some((event_id, target, group_info))
    }
}
