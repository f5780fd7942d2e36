//! What goes to single devices: false Welcomes and answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls::craft::Commit;
use dmls::effect::OutgoingWelcome;
use dmls::id::{Device, EpochId, Locator};
use dmls_matrix::{RoomId, insider};
use serde_json::{Value, json};

use super::super::{Fault, World};
use super::plotter::Post;
use crate::script::Ploy;
use crate::trace::{Fact, Name};

impl World {
    pub(super) fn plot_letters(&mut self, name: &Name, room: &RoomId, ploy: Ploy) -> Result<(), Fault> {
        match ploy {
            Ploy::Tags => self.two_tags(name, room),
            Ploy::Welcome => self.false_welcome(name, room),
            Ploy::Serve => self.serve(name, room),
            _ => self.false_answers(name, room),
        }
    }

    /// A letter from a plotter.
    fn letter(&mut self, name: &Name, to: &Device, kind: &str, content: Value, encrypted: bool) -> Result<(), Fault> {
        let client = self.client(name)?;
        let (device, home) = (client.device.clone(), client.home.clone());
        let event = json!({
            "sender": device.user, "device": device.device, "type": kind, "content": content, "encrypted": encrypted,
        });
        // A letter that is refused is one that was not sent.
        let _ = self.net.write_to(&home, to, event, self.now);
        Ok(())
    }

    /// One signed content with two tags; half of the members are told one merge value, half the other.
    fn two_tags(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        let invented = self.invented(name);
        let mut seed = [0; 32];
        let _ = dmls::entropy::Entropy::fill(&mut self.plotter(name).chances, &mut seed);
        let others = self.honest_in(&base);
        let side = self.some_of(name, &others);
        let number = self.plotter(name).chances.below(u64::MAX);
        for (value, told) in [([1; 32], true), ([2; 32], false)] {
            let resolves = [invented.clone()];
            let [invented] = resolves.clone();
            let commit = Commit::on(&base).merge_value(value).edit(move |data| data.resolves.push(invented.clone()));
            // The same randomness: but for the tag the two are the same.
            let mut same = crate::entropy::Stream::new(number, "two tags");
            let Ok(made) = commit.build(&mut same) else { return Ok(()) };
            self.put(name, room, Post::Commit(&made))?;
            for to in others.iter().filter(|device| side.contains(device) == told) {
                let Ok(reply) = base.reply(to, &resolves, value, &mut self.plotter(name).chances) else { continue };
                let (kind, content) = insider::merge_reply(room, made.commit.epoch.id, &reply);
                self.letter(name, to, &kind, content, true)?;
            }
        }
        Ok(())
    }

    /// Two commits add one device with one key package; it gets the Welcome of one with the commit of the other.
    fn false_welcome(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        let home = self.client(name)?.home.clone();
        let joined = self.net.memberships(&home, room).0;
        let members = base.members();
        let waits = |device: &&Device| joined.contains(&device.user) && !members.contains(device);
        let devices: Vec<Device> = self.clients.values().map(|client| client.device.clone()).collect();
        let targets: Vec<_> = devices.iter().filter(waits).cloned().collect();
        for to in targets {
            let claimed =
                self.net.claim(&home, &to).and_then(|(_, value)| STANDARD_NO_PAD.decode(value.as_str()?).ok());
            let Some(package) = claimed else { continue };
            let commit = Commit::on(&base).add(&package, Locator::default());
            let (Some(shown), Some(meant)) = (self.make(name, &commit), self.make(name, &commit)) else { continue };
            let Some(event_id) = self.put(name, room, Post::Commit(&shown))? else { continue };
            let (Some(of_shown), Some(of_meant)) = (shown.commit.welcomes.first(), meant.commit.welcomes.first())
            else {
                continue;
            };
            let lie = OutgoingWelcome {
                to: to.clone(),
                bytes: of_meant.bytes.clone(),
                base: of_shown.base.clone(),
                grant: of_shown.grant.clone(),
            };
            let content = insider::welcome_content(room, &event_id, &shown.state.id(), &lie);
            self.letter(name, &to, "m.room.encrypted", content, false)?;
            self.note(Fact::FalseWelcome { to, commit_event: event_id });
        }
        Ok(())
    }

    /// A commit with the point of another base goes to some as an answer that they never asked for, and then into the room.
    fn serve(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        let commit = Commit::on(&base).point(|point| point.base = EpochId([7; 32]));
        let Some(made) = self.make(name, &commit) else { return Ok(()) };
        let others = self.honest_in(&base);
        let (kind, contents) = insider::commit_reply(room, &[(made.commit.epoch.clone(), made.commit.bytes.clone())]);
        for to in self.some_of(name, &others) {
            for content in &contents {
                self.letter(name, &to, &kind, content.clone(), false)?;
            }
        }
        self.put(name, room, Post::Commit(&made))?;
        Ok(())
    }

    /// Wrong merge values for the newest epochs.
    fn false_answers(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let Some(base) = self.standing(name, room) else { return Ok(()) };
        let epochs: Vec<_> = self.plotter(name).states().iter().rev().take(4).map(|state| state.id()).collect();
        for to in self.honest_in(&base) {
            for epoch in &epochs {
                let Ok(reply) = base.reply(&to, &[], [0x5a; 32], &mut self.plotter(name).chances) else { continue };
                let (kind, content) = insider::merge_reply(room, *epoch, &reply);
                self.letter(name, &to, &kind, content, true)?;
            }
        }
        Ok(())
    }
}
