//! What a profile holds, without any network: session, rooms, messages.

use dmls::id::Device;
use dmls_matrix::view::RoomRow;
use dmls_matrix::{Machine, RoomId};
use dmls_store::SqliteStore;

use super::error::ClientError;
use super::profile::{KeySource, Profile};
use super::session::{Session, Stage};

/// An open profile: its lock is held until this is dropped.
pub struct Local {
    pub(super) machine: Machine<SqliteStore>,
    pub(super) session: Session,
    pub(super) profile: Profile,
}

impl Local {
    /// Opens the profile of a device that is logged in, also of one whose set-up is not complete.
    pub fn open(profile: &Profile, key: &mut KeySource<'_>) -> Result<Self, ClientError> {
        let store = profile.open(key)?;
        match Session::load(&store)? {
            Some(session) if session.stage > Stage::LoggingIn => Self::of(profile, store, session),
            _ => Err(ClientError::NotLoggedIn),
        }
    }

    pub(super) fn of(profile: &Profile, store: SqliteStore, session: Session) -> Result<Self, ClientError> {
        let device = Device::new(&session.user, &session.device);
        let machine = Machine::open(store, device)?;
        Ok(Self { machine, session, profile: profile.clone() })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The machine, to read from.
    pub fn machine(&mut self) -> &mut Machine<SqliteStore> {
        &mut self.machine
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The known room that `text` names: by its id, or by a name that no other room has.
    pub fn room(&mut self, text: &str) -> Result<RoomId, ClientError> {
        find_room(&self.machine.rooms()?, text)
    }

    /// One room's row.
    pub fn room_row(&mut self, room: &RoomId) -> Result<Option<RoomRow>, ClientError> {
        Ok(self.machine.rooms()?.into_iter().find(|row| row.room == *room))
    }

    /// Empties the store's log, so that nothing deleted stays in a file.
    pub fn purge(&mut self) -> Result<(), ClientError> {
        self.machine.store()?;
        Ok(self.machine.journal_mut().purge()?)
    }
}

fn find_room(rooms: &[RoomRow], text: &str) -> Result<RoomId, ClientError> {
    if let Some(row) = rooms.iter().find(|row| row.room.as_str() == text) {
        return Ok(row.room.clone());
    }
    let mut named = rooms.iter().filter(|row| row.name.as_deref() == Some(text));
    match (named.next(), named.next()) {
        (Some(row), None) => Ok(row.room.clone()),
        (Some(_), Some(_)) => Err(ClientError::AmbiguousRoom(text.to_owned())),
        (None, _) => Err(ClientError::UnknownRoom(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use dmls_matrix::view::{Encryption, Membership};

    use super::*;

    fn row(room: &str, name: Option<&str>) -> RoomRow {
        RoomRow {
            room: room.into(),
            name: name.map(str::to_owned),
            membership: Membership::Joined,
            encryption: Encryption::Dmls,
            canonical: None,
            unsent: 0,
            update_pending: false,
            trouble: None,
        }
    }

    #[test]
    fn rooms_by_id_or_by_a_name_that_is_unique() {
        let rooms = [row("!a:x", Some("one")), row("!b:x", Some("two")), row("!c:x", Some("two")), row("!d:x", None)];
        assert_eq!(find_room(&rooms, "!c:x").ok(), Some("!c:x".into()));
        assert_eq!(find_room(&rooms, "one").ok(), Some("!a:x".into()));
        assert_eq!(find_room(&rooms, "two").map_err(|error| error.code()), Err("ambiguous_room"));
        assert_eq!(find_room(&rooms, "three").map_err(|error| error.code()), Err("unknown_room"));
    }
}
