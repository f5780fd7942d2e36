//! What one call of the machine writes, until it is stored: one transaction, whatever the call does.

use std::collections::BTreeMap;

use dmls::journal::{Durable, Entry, Journal, Records, Table, Write};
use zeroize::Zeroizing;

/// A value, or that there is none any more.
type Value = Option<Zeroizing<Vec<u8>>>;

/// Writes that may wait are stored once there are so many of them in a row.
const MOST_WAITING: u32 = 32;
/// More bytes than these are stored in between: a transaction must fit into memory several times.
const MOST_BYTES: usize = 1 << 20;

/// A journal with a page before it, on which everything is written first.
///
/// Reading sees what stands on the page. [`Ledger::store`] moves all of it to the journal in one transaction, in which
/// the last write to a place is the only one. So the journal always holds what the machine was after one of its steps,
/// and **nothing may leave the machine before what it follows from is stored**: every call that gives something out ends
/// with that (SPEC §7.1).
///
/// Writes that may wait ([`Ledger::wait`]) are those that a crash may take back, because they come again: what a sync
/// showed, which is shown again as long as its position is not stored either, and that a request was answered, which
/// is repeated: under its transaction id, or an upload, of which only the last is named. They go with the next
/// transaction.
pub(crate) struct Ledger<J> {
    journal: J,
    page: BTreeMap<(Table, Vec<u8>), Value>,
    bytes: usize,
    /// Something on the page may not wait.
    due: bool,
    /// How often something was written that may wait.
    waiting: u32,
}

impl<J: Journal> Ledger<J> {
    /// An empty page before a journal.
    pub(crate) fn new(journal: J) -> Self {
        Self { journal, page: BTreeMap::new(), bytes: 0, due: false, waiting: 0 }
    }

    /// The journal, without what is on the page.
    pub(crate) fn journal(&self) -> &J {
        &self.journal
    }

    /// The journal, without what is on the page.
    pub(crate) fn journal_mut(&mut self) -> &mut J {
        &mut self.journal
    }

    /// The journal; what is on the page is lost.
    pub(crate) fn into_journal(self) -> J {
        self.journal
    }

    /// Writes what may wait for the next transaction.
    pub(crate) fn wait(&mut self, writes: Vec<Write>) {
        self.waiting += u32::from(!writes.is_empty());
        self.due |= self.waiting >= MOST_WAITING;
        writes.into_iter().for_each(|write| self.turn(write));
    }

    /// What was written since `due` was so comes again by itself: it may wait for the next transaction.
    pub(crate) fn put_off(&mut self, due: bool) {
        self.waiting += 1;
        self.due = due || self.waiting >= MOST_WAITING;
    }

    /// Whether something must be stored before the call ends.
    pub(crate) fn is_due(&self) -> bool {
        self.due
    }

    /// Whether the page is to be stored at the next occasion.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// Stores all that is on the page, in one transaction. If it fails, nothing of it is left anywhere.
    pub(crate) fn store(&mut self) -> Result<(), J::Error> {
        (self.bytes, self.due, self.waiting) = (0, false, 0);
        let page = std::mem::take(&mut self.page);
        if page.is_empty() {
            return Ok(());
        }
        Durable::new(page.into_iter().map(write).collect(), ()).persist(&mut self.journal)
    }

    /// What would be stored, in the order of places.
    pub(crate) fn unstored(&self) -> Vec<Write> {
        self.page.iter().map(|(place, value)| write((place.clone(), value.clone()))).collect()
    }

    fn turn(&mut self, write: Write) {
        let (place, value) = match write {
            Write::Put { table, key, value } => ((table, key), Some(value)),
            Write::Delete { table, key } => ((table, key), None),
        };
        self.bytes += place.1.len() + value.as_ref().map_or(0, |value| value.len());
        self.page.insert(place, value);
    }
}

fn write(((table, key), value): ((Table, Vec<u8>), Value)) -> Write {
    match value {
        Some(value) => Write::Put { table, key, value },
        None => Write::Delete { table, key },
    }
}

impl<J: Journal> Records for Ledger<J> {
    type Error = J::Error;

    fn get(&self, table: Table, key: &[u8]) -> Result<Value, J::Error> {
        match self.page.get(&(table, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.journal.get(table, key),
        }
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, J::Error> {
        let stored = self.journal.scan(table, prefix)?;
        let from = self.page.range((table, prefix.to_vec())..);
        let mut page = from.take_while(|((of, key), _)| *of == table && key.starts_with(prefix)).peekable();
        if page.peek().is_none() {
            return Ok(stored);
        }
        let mut entries: BTreeMap<_, _> = stored.into_iter().collect();
        for ((_, key), value) in page {
            match value {
                Some(value) => drop(entries.insert(key.clone(), value.clone())),
                None => drop(entries.remove(key)),
            }
        }
        Ok(entries.into_iter().collect())
    }
}

impl<J: Journal> Journal for Ledger<J> {
    /// Writes on the page what must be stored before the call ends.
    fn commit(&mut self, writes: &[Write]) -> Result<(), J::Error> {
        self.due |= !writes.is_empty();
        for write in writes {
            self.turn(match write {
                Write::Put { table, key, value } => {
                    Write::Put { table: *table, key: key.clone(), value: value.clone() }
                }
                Write::Delete { table, key } => Write::Delete { table: *table, key: key.clone() },
            });
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dmls_store::{MemoryStore, contract};

    use super::*;

    const T: Table = Table("t");

    /// Who reads through the page cannot tell it from a journal that has stored everything.
    #[test]
    fn a_ledger_reads_as_its_journal_will() {
        let close = |mut ledger: Ledger<MemoryStore>| {
            ledger.store().unwrap();
            Ledger::new(ledger.into_journal())
        };
        contract::run(|| Ledger::new(MemoryStore::new()), close);
    }

    #[test]
    fn what_may_wait_goes_with_what_may_not_in_one_transaction() {
        let mut ledger = Ledger::new(MemoryStore::new());
        ledger.wait(vec![Write::put(T, *b"position", vec![1])]);
        ledger.wait(vec![Write::put(T, *b"position", vec![2])]);
        assert!(!ledger.is_due());
        assert_eq!((ledger.journal().commits(), ledger.unstored().len()), (0, 1));
        ledger.commit(&[Write::put(T, *b"key", vec![3])]).unwrap();
        assert!(ledger.is_due());
        ledger.store().unwrap();
        assert!(!ledger.is_due() && ledger.unstored().is_empty());
        assert_eq!(ledger.journal().commits(), 1);
        assert_eq!(ledger.journal().get(T, b"position").unwrap().unwrap().as_slice(), [2]);
    }

    #[test]
    fn what_is_put_off_waits() {
        let mut ledger = Ledger::new(MemoryStore::new());
        for due in [false, true] {
            ledger.commit(&[Write::put(T, *b"answer", vec![1])]).unwrap();
            ledger.put_off(due);
            assert_eq!(ledger.is_due(), due);
        }
    }

    #[test]
    fn nothing_waits_for_ever() {
        let mut ledger = Ledger::new(MemoryStore::new());
        let wait = |ledger: &mut Ledger<MemoryStore>| ledger.wait(vec![Write::put(T, *b"position", vec![1])]);
        (1..MOST_WAITING).for_each(|_| wait(&mut ledger));
        assert!(!ledger.is_due());
        wait(&mut ledger);
        assert!(ledger.is_due());
    }

    #[test]
    fn after_a_failed_store_nothing_is_left() {
        let mut ledger = Ledger::new(MemoryStore::new());
        ledger.commit(&[Write::put(T, *b"one", vec![1]), Write::put(T, *b"two", vec![2])]).unwrap();
        ledger.journal_mut().fail_after(1);
        assert!(ledger.store().is_err());
        assert!(ledger.scan(T, b"").unwrap().is_empty());
    }
}
