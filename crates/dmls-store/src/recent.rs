//! The newest changes, which have no rows of their own yet.
//!
//! A page is the least that SQLite writes, and the rows that one small commit changes lie on many pages. So a small
//! commit is written as it is, to the next free slots, each of which is one page; rows are given to what is left of
//! many commits at once. What was written several times meanwhile, or put and deleted, reaches its row once or never.

use std::collections::BTreeMap;
use std::ops::Bound;

use dmls::journal::Write;
use zeroize::Zeroizing;

/// So many bytes of changes may stay when all others get rows: those written again and again. They fit into the page
/// of the state.
const OFTEN: usize = 840;
/// Again and again is so often.
const TIMES: u8 = 3;

/// A record's new value, or that it was deleted.
#[derive(Clone)]
struct Change {
    value: Option<Zeroizing<Vec<u8>>>,
    /// How often it was written while it stood here.
    times: u8,
}

/// Changes that have no rows yet, by table and key.
#[derive(Clone, Default)]
pub(crate) struct Recent {
    tables: BTreeMap<String, BTreeMap<Vec<u8>, Change>>,
    bytes: usize,
}

/// One change, for the rows.
pub(crate) struct Moved<'a> {
    pub(crate) table: &'a str,
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

impl Recent {
    /// Whether nothing stands here.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// What stands here of a record: nothing, its value, or that it was deleted.
    pub(crate) fn get(&self, table: &str, key: &[u8]) -> Option<Option<&Zeroizing<Vec<u8>>>> {
        self.tables.get(table)?.get(key).map(|change| change.value.as_ref())
    }

    /// The changes of a table whose keys start with `prefix`, in order.
    pub(crate) fn with_prefix<'a>(
        &'a self,
        table: &str,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a Zeroizing<Vec<u8>>>)> + 'a {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.tables.get(table).into_iter().flat_map(move |keys| keys.range::<[u8], _>(from));
        let keys = keys.take_while(move |(key, _)| key.starts_with(prefix));
        keys.map(|(key, change)| (key.as_slice(), change.value.as_ref()))
    }

    /// Takes in one write of a commit; `known` tells whether a deletion has anything to delete.
    pub(crate) fn take(&mut self, write: &Write, known: bool) {
        let (table, key) = write.place();
        match write {
            Write::Put { value, .. } => self.apply(table.0, key, Some(value.clone()), true),
            Write::Delete { .. } => self.apply(table.0, key, None, known),
        }
    }

    /// Takes in the changes of a later commit; `has_row` tells whether there is a row that a deletion must reach.
    pub(crate) fn merge(&mut self, later: &Self, has_row: impl Fn(&str, &[u8]) -> bool) {
        for (table, keys) in &later.tables {
            for (key, change) in keys {
                self.apply(table, key, change.value.clone(), has_row(table, key));
            }
        }
    }

    /// A deletion stays only while there is something that it deletes.
    fn apply(&mut self, table: &str, key: &[u8], value: Option<Zeroizing<Vec<u8>>>, has_row: bool) {
        let before = self.remove(table, key).map_or(0, |change| change.times);
        if value.is_some() || has_row {
            let times = before.saturating_add(1).min(TIMES);
            self.insert(table, key.to_vec(), Change { value, times });
        }
    }

    /// What stays when the others get rows: what is written again and again.
    pub(crate) fn often(&self) -> Self {
        let mut stays = Self::default();
        for (table, keys) in &self.tables {
            for (key, change) in keys.iter().filter(|(_, change)| change.times >= TIMES && change.value.is_some()) {
                if stays.bytes + size(table, key, change) <= OFTEN {
                    stays.insert(table, key.clone(), change.clone());
                }
            }
        }
        stays
    }

    /// All changes but those that stay, in order.
    pub(crate) fn moved<'a>(&'a self, stays: &Self) -> Vec<Moved<'a>> {
        let mut moved = Vec::new();
        for (table, keys) in &self.tables {
            for (key, change) in keys.iter().filter(|(key, _)| stays.get(table, key).is_none()) {
                let value = change.value.as_ref().map(|value| value.as_slice());
                moved.push(Moved { table, key, value });
            }
        }
        moved
    }

    fn insert(&mut self, table: &str, key: Vec<u8>, change: Change) {
        self.bytes += size(table, &key, &change);
        match self.tables.get_mut(table) {
            Some(keys) => _ = keys.insert(key, change),
            None => _ = self.tables.entry(table.to_owned()).or_default().insert(key, change),
        }
    }

    fn remove(&mut self, table: &str, key: &[u8]) -> Option<Change> {
        let keys = self.tables.get_mut(table)?;
        let change = keys.remove(key)?;
        if keys.is_empty() {
            self.tables.remove(table);
        }
        self.bytes -= size(table, key, &change);
        Some(change)
    }

    /// How many bytes [`Recent::encode`] gives.
    pub(crate) fn length(&self) -> usize {
        self.bytes
    }

    /// The changes as bytes.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Room from the start: growing would leave copies of secrets behind.
        let mut out = Zeroizing::new(Vec::with_capacity(self.bytes));
        for (table, keys) in &self.tables {
            for (key, change) in keys {
                push(&mut out, table.as_bytes());
                push(&mut out, key);
                out.push(u8::from(change.value.is_some()) | change.times << 1);
                push(&mut out, change.value.as_ref().map_or(&[], |value| value.as_slice()));
            }
        }
        out
    }

    /// Reads what [`Recent::encode`] gave.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut recent = Self::default();
        while !bytes.is_empty() {
            let table = std::str::from_utf8(pull(&mut bytes)?).ok()?;
            let key = pull(&mut bytes)?.to_vec();
            let (flags, rest) = bytes.split_first()?;
            bytes = rest;
            let value = pull(&mut bytes)?;
            let value = (flags & 1 == 1).then(|| Zeroizing::new(value.to_vec()));
            recent.insert(table, key, Change { value, times: flags >> 1 });
        }
        Some(recent)
    }
}

/// Bytes of a change.
fn size(table: &str, key: &[u8], change: &Change) -> usize {
    3 * 4 + 1 + table.len() + key.len() + change.value.as_ref().map_or(0, |value| value.len())
}

fn push(out: &mut Vec<u8>, part: &[u8]) {
    // Only what fits into the slots is encoded.
    out.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(part);
}

fn pull<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(part)
}
