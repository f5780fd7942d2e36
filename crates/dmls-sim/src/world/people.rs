//! What people do: rooms, memberships, messages, rekeys.

use dmls_matrix::{Machine, RoomId};
use dmls_store::MemoryStore;
use serde_json::{Value, json};

use super::{Fault, World};
use crate::net::Refusal;
use crate::net::event::{MEMBER, POWER};
use crate::trace::{Fact, Name};

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
        if let Err(refusal) = self.net.create(&home, room, &user, &state, self.now) {
            return Ok(Err(refusal));
        }
        self.rooms.insert(room.clone());
        self.note_net();
        self.call(name, |machine, now, entropy| machine.room_created(room, now, entropy))?;
        self.stir(name);
        Ok(Ok(()))
    }

    /// A device's user invites somebody.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn invite(&mut self, by: &Name, room: &RoomId, user: &str) -> Result<Word, Fault> {
        let client = self.client(by)?;
        let (home, inviter) = (client.home.clone(), client.device.user.clone());
        let invited = self.net.invite(&home, room, &inviter, user, self.now);
        self.member_posted(by, room, user, "invite", invited)
    }

    /// A device's user joins.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn join(&mut self, name: &Name, room: &RoomId) -> Result<Word, Fault> {
        let client = self.client(name)?;
        let (home, user) = (client.home.clone(), client.device.user.clone());
        let joined = self.net.join(&home, room, &user, self.now);
        self.member_posted(name, room, &user, "join", joined)
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
        let posted = self.post(by, room, MEMBER, Some(user), json!({ "membership": membership }), None)?;
        self.rouse();
        Ok(posted.map(|_| ()))
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

    /// A device is asked to change its keys.
    ///
    /// # Errors
    /// [`Fault::Machine`], [`Fault::NoSuchDevice`].
    pub fn rekey(&mut self, name: &Name, room: &RoomId) -> Result<(), Fault> {
        let asked = self.call(name, |machine, now, _| policy(machine.update_now(room, now)))?;
        if let Some(Ok(_)) = asked {
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
