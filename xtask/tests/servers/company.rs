//! People in a room, for tests.

use xtask::homeserver::ServerNumber;
use xtask::story::{Error, Person};

use crate::Stage;

pub const HS1: ServerNumber = ServerNumber::HS1;
pub const HS2: ServerNumber = ServerNumber::HS2;

/// Makes people with a device each.
pub fn people<const N: usize>(stage: &Stage, people: [(&str, ServerNumber); N]) -> Result<[Person; N], Error> {
    let made: Result<Vec<Person>, Error> =
        people.iter().map(|(name, server)| Person::new(&stage.program, &stage.servers, *server, name)).collect();
    made?.try_into().map_err(|_| Error::Missing("people".to_owned()))
}

/// Makes a room of the first person, which the others join and in whose head all are; gives its id.
pub fn room(creator: &Person, via: ServerNumber, others: &[&Person]) -> Result<String, Error> {
    let room = creator.create("A test", others)?;
    for person in others {
        person.accept(&room, via)?;
    }
    for person in others {
        creator.sync_until_in_head(&room, person.device())?;
    }
    for person in others {
        person.sync_until_in_head(&room, person.device())?;
    }
    Ok(room)
}

/// Sends a message that all of these then read.
pub fn tell(room: &str, from: &Person, text: &str, to: &[&Person]) -> Result<String, Error> {
    let sent = from.send(room, text)?;
    for person in to {
        person.sync_until_reads(room, &sent.event_id)?;
        let body = person.message(room, &sent.event_id)?.and_then(|message| message.body);
        assert_eq!(body.as_deref(), Some(text), "{} reads what {} sent", person.name(), from.name());
    }
    Ok(sent.event_id)
}
