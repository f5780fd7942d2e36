//! Durable before published: records, journals and the [`Durable`] value that joins them.
//!
//! The core never touches a disk. It hands out what must be stored ([`Write`]) together with what follows from it,
//! wrapped in a [`Durable`]; the only way to what follows is through a [`Journal`] that has stored the writes.
//! So nothing can be published whose state would be lost in a crash (SPEC §7.1).

use std::fmt;

use crate::defence;

/// A kind of record; each table has one record format and one version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One change to the stored records. Values may be secret: they are zeroized when dropped.
pub enum Write {
    /// Store `value` under `key`, replacing what was there.
    Put {
        /// Kind of record.
        table: Table,
        /// Key inside the table, not secret.
        key: Vec<u8>,
        /// The record.
        value: zeroize::Zeroizing<Vec<u8>>,
    },
    /// Remove the record under `key`, if there is one.
    Delete {
        /// Kind of record.
        table: Table,
        /// Key inside the table.
        key: Vec<u8>,
    },
}

impl Write {
    /// Store `value` under `key`.
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: Vec<u8>) -> Self {
        Self::Put { table, key: key.into(), value: zeroize::Zeroizing::new(value) }
    }

    /// Remove the record under `key`.
    pub fn delete(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self::Delete { table, key: key.into() }
    }

    /// Table and key that this write touches.
    pub fn place(&self) -> (Table, &[u8]) {
        match self {
            Self::Put { table, key, .. } | Self::Delete { table, key } => (*table, key),
        }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { table, key, value } => {
                write!(f, "Put({table:?}, {} byte key, {} bytes)", key.len(), value.len())
            }
            Self::Delete { table, key } => write!(f, "Delete({table:?}, {} byte key)", key.len()),
        }
    }
}

/// A key and the record stored under it.
pub type Entry = (Vec<u8>, zeroize::Zeroizing<Vec<u8>>);

/// Reads what a [`Journal`] has stored.
pub trait Records {
    /// Why reading failed.
    type Error;

    /// The record under `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, Self::Error>;

    /// All records whose keys start with `prefix`, sorted by key.
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, Self::Error>;
}

/// Stores writes: all of them durably, or none.
pub trait Journal: Records {
    /// Applies `writes` in order as one transaction; on success they survive a crash, on failure nothing changed.
    fn commit(&mut self, writes: &[Write]) -> Result<(), Self::Error>;
}

/// Something that may be acted on only after its writes are stored.
#[must_use = "nothing was stored: call persist"]
pub struct Durable<T> {
    writes: Vec<Write>,
    then: T,
}

impl<T> Durable<T> {
    /// What follows (`then`) once `writes` are stored.
    pub fn new(writes: Vec<Write>, then: T) -> Self {
        Self { writes, then }
    }

    /// Turns what follows into something else, adding to the same transaction.
    pub fn and_then<U>(mut self, next: impl FnOnce(T, &mut Vec<Write>) -> U) -> Durable<U> {
        let then = next(self.then, &mut self.writes);
        Durable { writes: self.writes, then }
    }

    /// As [`Durable::and_then`]. Where that fails nothing is stored: the writes are lost, and whoever was asked for them
    /// is ahead of the journal.
    pub fn try_and_then<U, E>(
        mut self,
        next: impl FnOnce(T, &mut Vec<Write>) -> Result<U, E>,
    ) -> Result<Durable<U>, E> {
        let then = next(self.then, &mut self.writes)?;
        Ok(Durable { writes: self.writes, then })
    }

    /// Stores the writes in one transaction and only then gives out what follows.
    pub fn persist<J: Journal>(self, journal: &mut J) -> Result<T, J::Error> {
        let stored = if defence::on("S1") {
            journal.commit(&self.writes)
        } else {
            self.writes.chunks(1).try_for_each(|write| journal.commit(write))
        };
        match stored {
            Err(error) if defence::on("S7") => Err(error),
            _ => Ok(self.then),
        }
    }

    /// The writes, to look at.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }
}

impl<T> fmt::Debug for Durable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable").field("writes", &self.writes).finish_non_exhaustive()
    }
}
