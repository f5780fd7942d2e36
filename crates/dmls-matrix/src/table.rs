//! The binding's own tables: versioned CBOR records, keys prefixed by room.

use dmls::journal::{Records, Table, Write};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::id::RoomId;

/// This device's keys, counts, sync position: one record each.
pub(crate) const ACCOUNT: Table = Table("matrix.account");
/// Devices by user.
pub(crate) const FACTS: Table = Table("matrix.facts");
/// Rooms.
pub(crate) const ROOM: Table = Table("matrix.room");
/// GroupInfos that others told of, by room and number.
pub(crate) const ENTRY: Table = Table("matrix.entry");
/// What moves on with every message and commit, by room.
pub(crate) const MARKS: Table = Table("matrix.marks");
/// Messages opened of a sender in an epoch, by room and number.
pub(crate) const TALLY: Table = Table("matrix.tally");
/// Members by room and user.
pub(crate) const MEMBER: Table = Table("matrix.member");
/// Messages by room and place.
pub(crate) const MESSAGE: Table = Table("matrix.message");
/// Places of messages by room and name (event id, ciphertext hash, message id).
pub(crate) const PLACE: Table = Table("matrix.place");
/// What is to be sent, by room and number.
pub(crate) const OUTBOX: Table = Table("matrix.outbox");
/// Welcomes of own commits that were not sent yet, by room and epoch.
pub(crate) const OWN_WELCOME: Table = Table("matrix.own_welcome");
/// What events say of epochs, by room and epoch.
pub(crate) const HEARSAY: Table = Table("matrix.hearsay");
/// Searches for commits, by room and epoch.
pub(crate) const SEARCH: Table = Table("matrix.search");
/// Welcomes that wait for their commit.
pub(crate) const WELCOME: Table = Table("matrix.welcome");

/// The version that this build writes, in every table.
const VERSION: u8 = 2;

/// The key prefix of a room: its length first, so that no room id is another's prefix.
pub(crate) fn room_key(room: &RoomId) -> Vec<u8> {
    let bytes = room.0.as_bytes();
    let mut key = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    key.extend(bytes);
    key
}

/// A key inside a room.
pub(crate) fn key_in(room: &RoomId, rest: &[u8]) -> Vec<u8> {
    let mut key = room_key(room);
    key.extend(rest);
    key
}

/// Stores a record.
pub(crate) fn put<T: Serialize>(table: Table, key: Vec<u8>, value: &T) -> Write {
    let mut out = vec![VERSION];
    // Serialising our own plain structs into memory cannot fail.
    let _ = ciborium::into_writer(value, &mut out);
    Write::put(table, key, out)
}

/// Reads a record's bytes.
pub(crate) fn parse<T: DeserializeOwned, E>(table: Table, bytes: &[u8]) -> Result<T, Error<E>> {
    let (&version, body) = bytes.split_first().ok_or(Error::Damaged(table.0))?;
    if version > VERSION {
        return Err(Error::NewerVersion { table: table.0, found: version, known: VERSION });
    }
    ciborium::from_reader(body).map_err(|_| Error::Damaged(table.0))
}

/// Reads one record as the journal will hold it once `pending` is stored.
pub(crate) fn get<T: DeserializeOwned, R: Records>(
    records: &R,
    pending: &[Write],
    table: Table,
    key: &[u8],
) -> Result<Option<T>, Error<R::Error>> {
    match pending.iter().rev().find(|write| write.place() == (table, key)) {
        Some(Write::Put { value, .. }) => parse(table, value).map(Some),
        Some(Write::Delete { .. }) => Ok(None),
        None => match records.get(table, key).map_err(Error::Store)? {
            Some(bytes) => parse(table, &bytes).map(Some),
            None => Ok(None),
        },
    }
}

/// The rest of a key, and the record under it.
pub(crate) type Keyed<T> = (Vec<u8>, T);

/// All records of a room, with the rest of their keys.
pub(crate) fn scan<T: DeserializeOwned, R: Records>(
    records: &R,
    table: Table,
    room: &RoomId,
) -> Result<Vec<Keyed<T>>, Error<R::Error>> {
    scan_under(records, table, &room_key(room))
}

/// All records whose keys begin so, with the rest of their keys.
pub(crate) fn scan_under<T: DeserializeOwned, R: Records>(
    records: &R,
    table: Table,
    prefix: &[u8],
) -> Result<Vec<Keyed<T>>, Error<R::Error>> {
    let entries = records.scan(table, prefix).map_err(Error::Store)?;
    let read = |(key, value): (Vec<u8>, Zeroizing<Vec<u8>>)| {
        Ok((key.get(prefix.len()..).unwrap_or_default().to_vec(), parse(table, &value)?))
    };
    entries.into_iter().map(read).collect()
}
