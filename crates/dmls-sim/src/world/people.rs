//! What people do: rooms, memberships, messages, rekeys.

use dmls_matrix::{Machine, RoomId};
use dmls_store::MemoryStore;
use serde_json::{Value, json};

use super::{Fault, World, fault};
use crate::client::Arrival;
use crate::net::Refusal;
use crate::net::event::{MEMBER, POWER};
use crate::trace::{Fact, Name};

/// What stands in the place of an answer that did not come.
const NO_ANSWER: Refusal = Refusal("M_NO_ANSWER");

/// A server's word on what was asked of it.
pub type Word = Result<(), Refusal>;

impl World {
    /// A device makes a room.
    ///
    /// # Errors
    /// [`Fault::Machine`], [`Fault::NoSuchDevice`].
    pub fn create(&mut self, name: &Name, room: &RoomId) -> Result<Word, Fault> {
        let client = self.client(name)?;
        let (home, user) = (client.home.clone(), client.device.user.clone());
        let state = Machine::<MemoryStore>::initial_state();
        let content = client.machine.as_ref().map_or_else(|| json!({}), Machine::creation_content);
        let created = self.ask(name, |world| {
            let created = world.net.create(&home, room, &user, content, &state, world.now);
            if created.is_ok() {
                world.rooms.insert(room.clone());
                world.note_net();
            }
            Ok(created)
        })?;
        if created.is_ok() {
            self.call(name, |machine, now, entropy| machine.room_created(room, now, entropy))?;
        }
        self.stir(name);
        Ok(created)
    }

    /// A device's user invites somebody.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn invite(&mut self, by: &Name, room: &RoomId, user: &str) -> Result<Word, Fault> {
        let client = self.client(by)?;
        let (home, inviter) = (client.home.clone(), client.device.user.clone());
        self.ask(by, |world| {
            let invited = world.net.invite(&home, room, &inviter, user, world.now);
            world.member_posted(by, room, user, "invite", invited)
        })
    }

    /// A device's user joins.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn join(&mut self, name: &Name, room: &RoomId) -> Result<Word, Fault> {
        let client = self.client(name)?;
        let (home, user) = (client.home.clone(), client.device.user.clone());
        self.ask(name, |world| {
            let joined = world.net.join(&home, room, &user, world.now);
            world.member_posted(name, room, &user, "join", joined)
        })
    }

    /// A device's user leaves.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn leave(&mut self, name: &Name, room: &RoomId) -> Result<Word, Fault> {
        let user = self.client(name)?.device.user.clone();
        self.set_membership(name, room, &user, "leave")
    }

    /// A device's user sets somebody's membership: `leave` kicks, `ban` bans.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn set_membership(&mut self, by: &Name, room: &RoomId, user: &str, membership: &str) -> Result<Word, Fault> {
        self.ask(by, |world| {
            let posted = world.post(by, room, MEMBER, Some(user), json!({ "membership": membership }), None)?;
            world.rouse();
            Ok(posted.map(|_| ()))
        })
    }

    /// A device's user gives somebody power.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn empower(&mut self, by: &Name, room: &RoomId, user: &str, level: i64) -> Result<Word, Fault> {
        let home = self.client(by)?.home.clone();
        let mut levels = self.net.current(&home, room, POWER).unwrap_or_else(|| json!({ "users": {} }));
        levels["users"][user] = Value::from(level);
        let posted = self.post(by, room, POWER, Some(""), levels, None)?;
        self.rouse();
        Ok(posted.map(|_| ()))
    }

    /// What a device asks of its server for its user, who is not told where the answer is lost.
    fn ask(&mut self, name: &Name, ask: impl FnOnce(&mut Self) -> Result<Word, Fault>) -> Result<Word, Fault> {
        if self.client(name)?.crashes_before() {
            self.crash(name)?;
            return Ok(Err(NO_ANSWER));
        }
        let word = ask(self)?;
        match self.client(name)?.arrival() {
            Arrival::Whole => return Ok(word),
            Arrival::Half { crashes: false } => {}
            Arrival::Half { crashes: true } | Arrival::Never => self.crash(name)?,
        }
        Ok(Err(NO_ANSWER))
    }

    fn member_posted(
        &mut self,
        by: &Name,
        room: &RoomId,
        user: &str,
        membership: &str,
        posted: Result<String, Refusal>,
    ) -> Result<Word, Fault> {
        let event_id = match posted {
            Ok(event_id) => event_id,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.posted(by, room, MEMBER, Some(user), json!({ "membership": membership }), &event_id)?;
        self.rouse();
        Ok(Ok(()))
    }

    /// A device is given a message to send.
    ///
    /// # Errors
    /// [`Fault::Machine`], [`Fault::NoSuchDevice`]; a refusal by policy is a [`Fact::Refused`].
    pub fn say(&mut self, name: &Name, room: &RoomId, body: &str) -> Result<(), Fault> {
        let content = json!({ "msgtype": "m.text", "body": body });
        let said = self.call(name, |machine, now, entropy| {
            let sent = machine.send(room, "m.room.message", content, now, entropy);
            policy(sent)
        })?;
        let (name, body) = (name.clone(), body.to_owned());
        match said {
            Some(Ok(message_id)) => {
                self.note(Fact::Accepted { name: name.clone(), room: room.clone(), message_id, body });
                self.stir(&name);
            }
            Some(Err(code)) => self.note(Fact::Refused { name, body, code: code.to_owned() }),
            None => self.note(Fact::Refused { name, body, code: "store".to_owned() }),
        }
        Ok(())
    }

    /// Whether a device made a commit of which it does not know yet where it is.
    fn has_commit_on_its_way(&mut self, name: &Name, room: &RoomId) -> Result<bool, Fault> {
        let client = self.client(name)?;
        let device = client.device.clone();
        let Some(machine) = client.machine.as_mut() else { return Ok(false) };
        let log = machine.log(room).map_err(|error| fault(name, &error))?;
        Ok(log.iter().any(|info| info.base.is_some() && info.creator == device && info.epoch.locator.0.is_empty()))
    }

    /// A device is asked to change its keys.
    ///
    /// # Errors
    /// [`Fault::Machine`], [`Fault::NoSuchDevice`].
    pub fn rekey(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let asked = self.call(name, |machine, now, _| policy(machine.update_now(room, now)))?;
        // A commit that is on its way already renews nothing on purpose.
        if let Some(Ok(_)) = asked
            && !self.has_commit_on_its_way(name, room)?
        {
            self.note(Fact::Asked { name: name.clone(), room: room.clone() });
        }
        self.stir(name);
        Ok(())
    }
}

/// What a user may not do is no fault of the machine.
fn policy<T>(
    done: Result<T, crate::client::MachineError>,
) -> Result<Result<T, &'static str>, crate::client::MachineError> {
    use dmls_matrix::error::Error;
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(
            error @ (Error::UnknownRoom(_) | Error::NotEncrypted(_) | Error::NotJoined(_) | Error::TooLarge { .. }),
        ) => Ok(Err(error.code())),
        Err(error) => Err(error),
    }
}
