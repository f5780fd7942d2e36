//! A store that writes down every transaction.

use std::ops::{Deref, DerefMut};

use dmls::journal::{Entry, Journal, Records, Table, Write};
use dmls_store::{MemoryStore, StoreError};
use zeroize::Zeroizing;

/// One transaction.
pub type Batch = Vec<Write>;

/// A store in memory that remembers what it was given.
#[derive(Default)]
pub struct Watched {
    store: MemoryStore,
    /// Every transaction that was stored.
    pub batches: Vec<Batch>,
    /// The disk is out of reach: nothing is written, and nothing read.
    pub is_away: bool,
}

impl Watched {
    pub fn new() -> Self {
        Self::default()
    }

    fn reach(&self) -> Result<(), StoreError> {
        if self.is_away { Err(StoreError::Full) } else { Ok(()) }
    }
}

impl Deref for Watched {
    type Target = MemoryStore;

    fn deref(&self) -> &MemoryStore {
        &self.store
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut MemoryStore {
        &mut self.store
    }
}

impl Records for Watched {
    type Error = StoreError;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.reach()?;
        self.store.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.reach()?;
        self.store.scan(table, prefix)
    }
}

impl Journal for Watched {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.reach()?;
        self.store.commit(writes)?;
        self.batches.push(writes.iter().map(copy).collect());
        Ok(())
    }
}

fn copy(write: &Write) -> Write {
    match write {
        Write::Put { table, key, value } => Write::put(*table, key.clone(), value.to_vec()),
        Write::Delete { table, key } => Write::delete(*table, key.clone()),
    }
}
