//! Which records exist: names and slots in memory, and the digest that vouches for them.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::error::StoreError;
use crate::seal::{Keys, Slot};

/// How many commits a store has seen; it only grows.
///
/// A caller that keeps the highest generation somewhere else can tell a store that was restored from an old copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u64);

/// What the file says about itself as a whole, sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) generation: Generation,
    /// Next row number; row numbers are never used twice.
    pub(crate) next_row: i64,
    pub(crate) records: u64,
    /// XOR of the elements of all records.
    pub(crate) digest: [u8; 32],
}

impl State {
    pub(crate) const EMPTY: Self = Self { generation: Generation(0), next_row: 1, records: 0, digest: [0; 32] };

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let Self { generation, next_row, records, digest } = self;
        [generation.0.to_be_bytes().as_slice(), &next_row.to_be_bytes(), &records.to_be_bytes(), &digest].concat()
    }

    /// Reads what [`State::to_bytes`] wrote; also gives what comes after it.
    pub(crate) fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (generation, rest) = bytes.split_first_chunk()?;
        let (next_row, rest) = rest.split_first_chunk()?;
        let (records, rest) = rest.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let state = Self {
            generation: Generation(u64::from_be_bytes(*generation)),
            next_row: i64::from_be_bytes(*next_row),
            records: u64::from_be_bytes(*records),
            digest: *digest,
        };
        Some((state, rest))
    }

    pub(crate) fn take_row(&mut self) -> Result<i64, StoreError> {
        let row = self.next_row;
        self.next_row = row.checked_add(1).ok_or(StoreError::TooLarge)?;
        Ok(row)
    }

    pub(crate) fn add(&mut self, keys: &Keys, slot: &Slot) -> Result<(), StoreError> {
        self.records += 1;
        self.mix(keys.element(slot)?);
        Ok(())
    }

    pub(crate) fn remove(&mut self, keys: &Keys, slot: &Slot) -> Result<(), StoreError> {
        self.records = self.records.checked_sub(1).ok_or_else(|| StoreError::corrupt("(state)"))?;
        self.mix(keys.element(slot)?);
        Ok(())
    }

    fn mix(&mut self, element: [u8; 32]) {
        self.digest.iter_mut().zip(element).for_each(|(to, from)| *to ^= from);
    }
}

/// The names of all records, in memory.
#[derive(Default, Debug)]
pub(crate) struct Index {
    tables: BTreeMap<String, BTreeMap<Vec<u8>, Slot>>,
}

impl Index {
    pub(crate) fn slot(&self, table: &str, key: &[u8]) -> Option<Slot> {
        self.tables.get(table)?.get(key).copied()
    }

    pub(crate) fn insert(&mut self, table: &str, key: Vec<u8>, slot: Slot) {
        match self.tables.get_mut(table) {
            Some(keys) => _ = keys.insert(key, slot),
            None => _ = self.tables.entry(table.to_owned()).or_default().insert(key, slot),
        }
    }

    pub(crate) fn remove(&mut self, table: &str, key: &[u8]) {
        if let Some(keys) = self.tables.get_mut(table) {
            keys.remove(key);
        }
    }

    /// The keys of a table that start with `prefix`, in order.
    pub(crate) fn with_prefix<'a>(
        &'a self,
        table: &str,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], Slot)> + 'a {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.tables.get(table).into_iter().flat_map(move |keys| keys.range::<[u8], _>(from));
        keys.take_while(move |(key, _)| key.starts_with(prefix)).map(|(key, slot)| (key.as_slice(), *slot))
    }

    /// All names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &[u8], Slot)> {
        let tables = self.tables.iter();
        tables.flat_map(|(table, keys)| keys.iter().map(move |(key, slot)| (table.as_str(), key.as_slice(), *slot)))
    }
}
