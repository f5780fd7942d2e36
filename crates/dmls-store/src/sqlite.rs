//! The store on disk: seals, keeps the index and the digest in step with the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use dmls::defence;
use dmls::journal::{Entry, Journal, Records, Table, Write};
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::file::{Change, Found, StoreFile};
use crate::header::{Header, KeyKind};
use crate::index::{Generation, Index, State};
use crate::key::{Key, KeyFile};
use crate::lock::ProfileLock;
use crate::seal::{Keys, Secret, Slot, nonce};

/// After so many commits the log is emptied without being asked.
const LOG_COMMITS: u32 = 32;
/// After so many bytes of values the log is emptied without being asked.
const LOG_BYTES: usize = 4 * 1024 * 1024;

/// The records of one profile directory, sealed, in an SQLite file that this process alone has open.
///
/// The names of all records are held in memory (about 150 bytes each); values are read when asked for.
pub struct SqliteStore {
    file: StoreFile,
    keys: Keys,
    header: Header,
    state: State,
    /// The state as it stands in the file; what is found there before a commit must equal it.
    sealed_state: Vec<u8>,
    index: Index,
    log: Log,
    // Last, so that the file is closed before another process may open it.
    lock: ProfileLock,
}

/// How much the write-ahead log may hold of what was replaced or deleted.
#[derive(Default)]
struct Log {
    commits: u32,
    bytes: usize,
}

impl SqliteStore {
    /// Opens the store of the profile directory `dir`, or makes one; waits up to `lock_wait` for another process.
    ///
    /// Fails with [`StoreError::Locked`], [`StoreError::WrongPassphrase`], [`StoreError::NewerVersion`],
    /// [`StoreError::Corrupt`] and whatever else keeps the records from being read.
    pub fn open(dir: &Path, key: &Key, lock_wait: Duration) -> Result<Self, StoreError> {
        Self::open_locked(ProfileLock::acquire(dir, lock_wait)?, key)
    }

    /// Opens or makes the store of a profile directory that the caller has locked already.
    pub fn open_locked(lock: ProfileLock, key: &Key) -> Result<Self, StoreError> {
        let (mut file, found) = StoreFile::open(lock.dir())?;
        if found == Found::Empty {
            create(&mut file, key, lock.dir())?;
        }
        let header = Header::parse(&file.header()?)?;
        let keys = Keys::new(header.open(key, lock.dir())?)?;
        let sealed_state = file.state()?;
        let state = keys.open_state(&header.hash(), &sealed_state).and_then(|bytes| State::from_bytes(&bytes));
        let state = state.ok_or_else(|| StoreError::corrupt("(state)"))?;
        let index = load(&file, &keys, &state)?;
        let mut store = Self { file, keys, header, state, sealed_state, index, log: Log::default(), lock };
        store.tidy(LOG_BYTES);
        Ok(store)
    }

    /// Which kind of key opens the store of a locked profile directory; `None` if there is no store yet.
    pub fn key_kind(lock: &ProfileLock) -> Result<Option<KeyKind>, StoreError> {
        match StoreFile::open(lock.dir())? {
            (_, Found::Empty) => Ok(None),
            (file, Found::Store) => Ok(Some(Header::parse(&file.header()?)?.kind())),
        }
    }

    /// A key for the use named by `label`, derived from the master key; different labels give unrelated keys.
    pub fn subkey(&self, label: &str) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        self.keys.subkey(label)
    }

    /// The profile directory.
    pub fn dir(&self) -> &Path {
        self.lock.dir()
    }

    /// How many commits the store has seen.
    pub fn generation(&self) -> Generation {
        self.state.generation
    }

    /// Empties the write-ahead log, so that what was deleted or replaced before is in no file of the store.
    ///
    /// Happens by itself after 32 commits or 4 MiB, and when the store is opened and dropped.
    pub fn purge(&mut self) -> Result<(), StoreError> {
        self.file.truncate_log()?;
        self.log = Log::default();
        Ok(())
    }

    /// Reads and opens every record and has SQLite check its file; [`StoreError::Corrupt`] names the first damage.
    pub fn verify(&self) -> Result<(), StoreError> {
        for (table, key, slot) in self.index.all() {
            self.read(table, key, &slot)?;
        }
        let sound = self.file.is_sound()? && self.file.count_values()? == self.state.records;
        if sound { Ok(()) } else { Err(StoreError::corrupt("(file)")) }
    }

    /// Lets `key` open the store from now on, and no other key.
    ///
    /// The records are not sealed anew: whoever has both an old copy of the file and the old key keeps the master key.
    pub fn change_key(&mut self, key: &Key) -> Result<(), StoreError> {
        let header = Header::seal(self.keys.master(), key, self.lock.dir())?;
        let sealed_state = self.keys.seal_state(&header.hash(), &self.state.to_bytes())?;
        let change = self.file.begin()?;
        change.set_header(header.as_bytes())?;
        change.set_state(&sealed_state)?;
        change.commit()?;
        (self.header, self.sealed_state) = (header, sealed_state);
        self.purge()?;
        match key {
            Key::File => Ok(()),
            _ => KeyFile::of(self.lock.dir()).remove(),
        }
    }

    fn read(&self, table: &str, key: &[u8], slot: &Slot) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let sealed = self.file.value(slot)?.ok_or_else(|| StoreError::corrupt(table))?;
        self.keys.open_value(slot, table, key, sealed)
    }

    /// Empties the log when it has grown; a failure is met again by the next commit or by [`SqliteStore::purge`].
    fn tidy(&mut self, bytes: usize) {
        self.log.commits += 1;
        self.log.bytes = self.log.bytes.saturating_add(bytes);
        if self.log.commits >= LOG_COMMITS || self.log.bytes >= LOG_BYTES {
            let _ = self.purge();
        }
    }
}

impl Records for SqliteStore {
    type Error = StoreError;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.index.slot(table.0, key).map(|slot| self.read(table.0, key, &slot)).transpose()
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let found = self.index.with_prefix(table.0, prefix);
        found.map(|(key, slot)| Ok((key.to_vec(), self.read(table.0, key, &slot)?))).collect()
    }
}

impl Journal for SqliteStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let steps = self.steps(writes);
        if steps.is_empty() {
            return Ok(());
        }
        let mut state = self.state;
        state.generation = Generation(state.generation.0 + 1);
        let change = self.file.begin()?;
        if change.state()? != self.sealed_state {
            return Err(StoreError::corrupt("(state)"));
        }
        let slots = steps.iter().map(|step| step.apply(&change, &self.keys, &mut state));
        let slots: Vec<_> = slots.collect::<Result<_, _>>()?;
        let sealed_state = self.keys.seal_state(&self.header.hash(), &state.to_bytes())?;
        change.set_state(&sealed_state)?;
        change.commit()?;
        // Durable: nothing may fail from here on.
        (self.state, self.sealed_state) = (state, sealed_state);
        let bytes = steps.iter().map(|step| step.value.map_or(0, <[u8]>::len)).sum();
        for (step, slot) in steps.iter().zip(slots) {
            match slot {
                Some(slot) => self.index.insert(step.table, step.key.to_vec(), slot),
                None => self.index.remove(step.table, step.key),
            }
        }
        self.tidy(bytes);
        Ok(())
    }
}

impl SqliteStore {
    /// What `writes` come to: for each name its last write, without deletions of what is not there.
    fn steps<'a>(&self, writes: &'a [Write]) -> Vec<Step<'a>> {
        let mut last = BTreeMap::new();
        for write in writes {
            let value = match write {
                Write::Put { value, .. } => Some(value.as_slice()),
                Write::Delete { .. } => None,
            };
            last.insert(write.place(), value);
        }
        let steps = last.into_iter().map(|((table, key), value)| {
            let old = self.index.slot(table.0, key);
            Step { table: table.0, key, value, old }
        });
        steps.filter(|step| step.value.is_some() || step.old.is_some()).collect()
    }
}

/// One name to change in a commit.
struct Step<'a> {
    table: &'static str,
    key: &'a [u8],
    value: Option<&'a [u8]>,
    old: Option<Slot>,
}

impl Step<'_> {
    /// Writes the change; the new slot of the name, if it still has one.
    fn apply(&self, change: &Change<'_>, keys: &Keys, state: &mut State) -> Result<Option<Slot>, StoreError> {
        if let Some(old) = &self.old {
            state.remove(keys, old)?;
        }
        let Some(value) = self.value else {
            self.old.map_or(Ok(()), |old| change.remove(old.row))?;
            return Ok(None);
        };
        let row = self.old.map_or_else(|| state.take_row(), |old| Ok(old.row))?;
        let slot = Slot { row, stamp: nonce()? };
        let name = keys.seal_name(&slot, self.table, self.key)?;
        let value = keys.seal_value(&slot, self.table, self.key, value)?;
        match self.old {
            Some(_) => change.replace(&slot, &name, &value)?,
            None => change.insert(&slot, &name, &value)?,
        }
        state.add(keys, &slot)?;
        Ok(Some(slot))
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file: _, keys: _, header: _, state, sealed_state: _, index: _, log: _, lock } = self;
        f.debug_struct("SqliteStore")
            .field("dir", &lock.dir())
            .field("generation", &state.generation)
            .field("records", &state.records)
            .finish_non_exhaustive()
    }
}

fn create(file: &mut StoreFile, key: &Key, dir: &Path) -> Result<(), StoreError> {
    let master = Secret::random()?;
    let header = Header::seal(&master, key, dir)?;
    let state = Keys::new(master)?.seal_state(&header.hash(), &State::EMPTY.to_bytes())?;
    file.create(header.as_bytes(), &state)
}

/// Reads all names and checks them against the digest: none added, removed, swapped or rolled back.
fn load(file: &StoreFile, keys: &Keys, state: &State) -> Result<Index, StoreError> {
    let damaged = || StoreError::corrupt("(names)");
    let mut index = Index::default();
    let mut seen = State { records: 0, digest: [0; 32], ..*state };
    file.names(|slot, sealed| {
        let (table, key) = keys.open_name(&slot, sealed).ok_or_else(damaged)?;
        seen.add(keys, &slot)?;
        // A name that comes twice needs no check here: the digest is of rows that we wrote, and of no others.
        index.insert(&table, key, slot);
        Ok(())
    })?;
    if seen == *state || !defence::on("S8") { Ok(index) } else { Err(damaged()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::contract;

    fn open(dir: &Path) -> SqliteStore {
        SqliteStore::open(dir, &Key::raw([7; 32]), Duration::ZERO).unwrap()
    }

    #[test]
    fn a_full_disk_changes_nothing_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let arm = |store: &mut SqliteStore| store.file.limit_pages(store.file.page_count().unwrap()).unwrap();
        let heal = |store: &mut SqliteStore| store.file.limit_pages(u32::MAX - 1).unwrap();
        let error = contract::failed_commit_changes_nothing(open(dir.path()), arm, heal);
        assert!(matches!(error, StoreError::Full), "{error}");
        open(dir.path()).verify().unwrap();
    }

    #[test]
    fn a_file_changed_under_us_takes_no_commit() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let change = store.file.begin().unwrap();
        change.set_state(b"not what we stored").unwrap();
        change.commit().unwrap();
        let error = store.commit(&[Write::put(Table("t"), *b"k", vec![1])]).unwrap_err();
        assert_eq!(error.code(), "store_corrupt");
    }

    #[test]
    fn the_log_is_emptied_after_enough_commits() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let log = || std::fs::metadata(dir.path().join("store.db-wal")).map_or(0, |file| file.len());
        store.purge().unwrap();
        for _ in 0..LOG_COMMITS - 1 {
            store.commit(&[Write::put(Table("t"), *b"k", vec![1])]).unwrap();
            assert!(log() > 0);
        }
        store.commit(&[Write::put(Table("t"), *b"k", vec![2])]).unwrap();
        assert_eq!(log(), 0);
        store.commit(&[Write::put(Table("t"), *b"k", vec![0; LOG_BYTES])]).unwrap();
        assert_eq!(log(), 0);
    }

    #[test]
    fn a_store_may_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<SqliteStore>();
    }
}
