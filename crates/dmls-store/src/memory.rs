//! Records in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use dmls::journal::{Entry, Journal, Records, Table, Write};
use zeroize::Zeroizing;

use crate::error::StoreError;

/// A store in memory, with a fault that can be armed.
///
/// A clone is a copy of the records at that moment: what a restored snapshot or a cloned disk would hold.
#[derive(Clone, Default)]
pub struct MemoryStore {
    records: BTreeMap<Table, BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>>,
    fault: Option<Fault>,
    commits: usize,
}

/// What is to go wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The single write after so many more fails, once.
    Write(usize),
    /// The commit after so many more fails, once.
    Commit(usize),
    /// The process ends with the commit after so many more, before or after it is stored.
    Death { commits: usize, stored: bool },
    /// The process has ended: nothing is stored any more.
    Dead,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Table and key of every record.
    pub fn places(&self) -> impl Iterator<Item = (Table, &[u8])> {
        self.records.iter().flat_map(|(table, keys)| keys.keys().map(move |key| (*table, key.as_slice())))
    }

    /// Lets the next `writes` single writes through and fails at the one after, once, as a full disk would.
    ///
    /// The count runs over commits; the commit that meets the fault changes nothing.
    pub fn fail_after(&mut self, writes: usize) {
        self.fault = Some(Fault::Write(writes));
    }

    /// Lets the next `commits` commits through and fails at the one after, once, as a full disk would.
    pub fn refuse_after(&mut self, commits: usize) {
        self.fault = Some(Fault::Commit(commits));
    }

    /// Lets the next `commits` commits through and ends the process with the one after: before it is `stored` or after.
    ///
    /// The process cannot end here, so that commit and all that follow fail until [`MemoryStore::heal`].
    pub fn die_after(&mut self, commits: usize, stored: bool) {
        self.fault = Some(Fault::Death { commits, stored });
    }

    /// Whether the process should have ended with a commit.
    pub fn is_dead(&self) -> bool {
        matches!(self.fault, Some(Fault::Dead))
    }

    /// Disarms the fault.
    pub fn heal(&mut self) {
        self.fault = None;
    }

    /// How many commits were stored that wrote anything.
    pub fn commits(&self) -> usize {
        self.commits
    }

    /// `true` if the commit is stored although it fails.
    fn meet_fault(&mut self, writes: usize) -> Result<bool, StoreError> {
        match &mut self.fault {
            Some(Fault::Write(left)) if writes > *left => {
                self.fault = None;
                Err(StoreError::Full)
            }
            Some(Fault::Write(left)) => {
                *left -= writes;
                Ok(false)
            }
            Some(Fault::Commit(0)) => {
                self.fault = None;
                Err(StoreError::Full)
            }
            Some(Fault::Commit(left)) => {
                *left -= 1;
                Ok(false)
            }
            Some(Fault::Death { commits: 0, stored }) => {
                let stored = *stored;
                self.fault = Some(Fault::Dead);
                if stored { Ok(true) } else { Err(dead()) }
            }
            Some(Fault::Death { commits, .. }) => {
                *commits -= 1;
                Ok(false)
            }
            Some(Fault::Dead) => Err(dead()),
            None => Ok(false),
        }
    }
}

impl Records for MemoryStore {
    type Error = StoreError;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.records.get(&table).and_then(|keys| keys.get(key)).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let Some(keys) = self.records.get(&table) else { return Ok(Vec::new()) };
        let from = keys.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(from.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Journal for MemoryStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let dies = self.meet_fault(writes.len())?;
        self.commits += 1;
        for write in writes {
            match write {
                Write::Put { table, key, value } => {
                    self.records.entry(*table).or_default().insert(key.clone(), value.clone());
                }
                Write::Delete { table, key } => {
                    self.records.entry(*table).or_default().remove(key);
                }
            }
        }
        if dies { Err(dead()) } else { Ok(()) }
    }
}

fn dead() -> StoreError {
    StoreError::Io(io::Error::new(io::ErrorKind::Interrupted, "the process should have ended"))
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, fault, commits } = self;
        let sizes = records.iter().map(|(table, keys)| (table, keys.len()));
        f.write_str("MemoryStore ")?;
        f.debug_map().entries(sizes).entry(&"fault", fault).entry(&"commits", commits).finish()
    }
}
