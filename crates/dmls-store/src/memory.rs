//! Records in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::fmt;

use dmls::journal::{Entry, Journal, Records, Table, Write};
use zeroize::Zeroizing;

use crate::error::StoreError;

/// A store in memory, with a fault that can be armed.
///
/// A clone is a copy of the records at that moment: what a restored snapshot or a cloned disk would hold.
#[derive(Clone, Default)]
pub struct MemoryStore {
    records: BTreeMap<Table, BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>>,
    fault: Option<usize>,
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
        self.fault = Some(writes);
    }

    /// Disarms the fault.
    pub fn heal(&mut self) {
        self.fault = None;
    }

    fn meet_fault(&mut self, writes: usize) -> Result<(), StoreError> {
        match self.fault {
            Some(left) if writes > left => {
                self.fault = None;
                Err(StoreError::Full)
            }
            Some(left) => {
                self.fault = Some(left - writes);
                Ok(())
            }
            None => Ok(()),
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
        self.meet_fault(writes.len())?;
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
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, fault } = self;
        let sizes = records.iter().map(|(table, keys)| (table, keys.len()));
        f.write_str("MemoryStore ")?;
        f.debug_map().entries(sizes).entry(&"fault", fault).finish()
    }
}
