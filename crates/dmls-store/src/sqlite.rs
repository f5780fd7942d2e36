//! The store on disk: seals, keeps the index and the digest in step with the file.

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
use crate::recent::{Moved, Recent};
use crate::seal::{Keys, Secret, Slot, nonce};
use crate::slots::{self, Slots};

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
    /// Changes that have no rows yet.
    recent: Recent,
    slots: Slots,
    slot_key: Secret,
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
        let stored = keys.open_state(&header.hash(), &sealed_state).and_then(|bytes| Stored::from_bytes(&bytes));
        let Stored { state, slot_key, recent } = stored.ok_or_else(|| StoreError::corrupt("(state)"))?;
        let index = load(&file, &keys, &state)?;
        let (slots, log) = (Slots::default(), Log::default());
        let mut store = Self { file, keys, header, state, sealed_state, index, recent, slots, slot_key, log, lock };
        store.read_slots()?;
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
        if self.settle().is_err() {
            // There may be room once the log is empty.
            self.file.truncate_log()?;
            self.settle()?;
        }
        self.file.truncate_log()?;
        self.log = Log::default();
        Ok(())
    }

    /// Gives rows to all changes that have none yet: one transaction. [`SqliteStore::purge`] does it first.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        if self.recent.is_empty() && self.slots.is_empty() {
            return Ok(());
        }
        let recent = self.recent.clone();
        self.write_rows(self.state, &recent, Recent::default())
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
        self.settle()?;
        let header = Header::seal(self.keys.master(), key, self.lock.dir())?;
        let sealed_state = Stored::seal(&self.keys, &header, self.state, &self.slot_key, &self.recent)?;
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
        match self.recent.get(table.0, key) {
            Some(value) => Ok(value.cloned()),
            None => self.index.slot(table.0, key).map(|slot| self.read(table.0, key, &slot)).transpose(),
        }
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let rows = self.index.with_prefix(table.0, prefix).filter(|(key, _)| self.recent.get(table.0, key).is_none());
        let rows = rows.map(|(key, slot)| Ok((key.to_vec(), self.read(table.0, key, &slot)?)));
        let mut entries = rows.collect::<Result<Vec<Entry>, StoreError>>()?;
        let stored = entries.len();
        let recent = self.recent.with_prefix(table.0, prefix);
        entries.extend(recent.filter_map(|(key, value)| Some((key.to_vec(), value?.clone()))));
        if entries.len() > stored {
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        Ok(entries)
    }
}

impl Journal for SqliteStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut changes = Recent::default();
        for write in writes {
            let (table, key) = write.place();
            changes.take(write, self.is_known(table.0, key));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut state = self.state;
        state.generation = Generation(state.generation.0 + 1);
        match self.slots.seal(&self.slot_key, state.generation, &changes)? {
            Some(slots) => {
                self.write_slots(&slots)?;
                self.state = state;
                self.recent.merge(&changes, |table, key| self.index.slot(table, key).is_some());
            }
            None => {
                let mut recent = self.recent.clone();
                recent.merge(&changes, |table, key| self.index.slot(table, key).is_some());
                let stays = recent.often();
                self.write_rows(state, &recent, stays)?;
            }
        }
        self.tidy(writes.iter().map(length).sum());
        Ok(())
    }
}

impl SqliteStore {
    fn is_known(&self, table: &str, key: &[u8]) -> bool {
        self.recent.get(table, key).map_or_else(|| self.index.slot(table, key).is_some(), |value| value.is_some())
    }

    /// Takes up what commits wrote since the changes got rows.
    fn read_slots(&mut self) -> Result<(), StoreError> {
        let commits = slots::open(&self.slot_key, self.state.generation, self.file.slots()?);
        let (count, commits) = commits.ok_or_else(|| StoreError::corrupt("(state)"))?;
        for (generation, changes) in commits {
            self.state.generation = generation;
            self.recent.merge(&changes, |table, key| self.index.slot(table, key).is_some());
        }
        self.slots.take(count);
        Ok(())
    }

    /// Writes a commit to its slots: one transaction.
    fn write_slots(&mut self, slots: &[slots::Slot]) -> Result<(), StoreError> {
        let change = begin(&mut self.file, &self.sealed_state)?;
        for (id, sealed) in slots {
            change.set_slot(*id, sealed)?;
        }
        change.commit()?;
        self.slots.take(slots.len());
        Ok(())
    }

    /// Gives all changes rows but those that stay with the state, and frees the slots: one transaction.
    fn write_rows(&mut self, mut state: State, recent: &Recent, stays: Recent) -> Result<(), StoreError> {
        let moved = recent.moved(&stays);
        let steps = moved.iter().map(|Moved { table, key, value }| {
            let old = self.index.slot(table, key);
            Step { table, key, value: *value, old }
        });
        let steps: Vec<_> = steps.collect();
        let slot_key = Secret::random()?;
        let change = begin(&mut self.file, &self.sealed_state)?;
        let slots = steps.iter().map(|step| step.apply(&change, &self.keys, &mut state));
        let slots: Vec<_> = slots.collect::<Result<_, _>>()?;
        let sealed_state = Stored::seal(&self.keys, &self.header, state, &slot_key, &stays)?;
        change.set_state(&sealed_state)?;
        change.commit()?;
        // Durable: nothing may fail from here on.
        (self.state, self.sealed_state, self.recent) = (state, sealed_state, stays);
        (self.slots, self.slot_key) = (Slots::default(), slot_key);
        for (step, slot) in steps.iter().zip(slots) {
            match slot {
                Some(slot) => self.index.insert(step.table, step.key.to_vec(), slot),
                None => self.index.remove(step.table, step.key),
            }
        }
        Ok(())
    }
}

/// Begins a transaction on a file in which nobody else wrote.
fn begin<'a>(file: &'a mut StoreFile, sealed_state: &[u8]) -> Result<Change<'a>, StoreError> {
    let change = file.begin()?;
    if change.state()? == sealed_state { Ok(change) } else { Err(StoreError::corrupt("(state)")) }
}

fn length(write: &Write) -> usize {
    match write {
        Write::Put { value, .. } => value.len(),
        Write::Delete { .. } => 0,
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Otherwise it is done when the store is opened again.
        let _ = self.purge();
    }
}

/// What stands in the state.
struct Stored {
    state: State,
    slot_key: Secret,
    recent: Recent,
}

impl Stored {
    /// Bytes before sealing, so many that the row is always written over the old one and alone on its page.
    const LENGTH: usize = 936;

    fn seal(
        keys: &Keys,
        header: &Header,
        state: State,
        slot_key: &Secret,
        recent: &Recent,
    ) -> Result<Vec<u8>, StoreError> {
        let recent = recent.encode();
        let length = u16::try_from(recent.len()).map_err(|_| StoreError::TooLarge)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::LENGTH));
        bytes.extend(state.to_bytes());
        bytes.extend(slot_key.as_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(recent.iter());
        bytes.resize(Self::LENGTH, 0);
        keys.seal_state(&header.hash(), &bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (state, rest) = State::split(bytes)?;
        let (slot_key, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk()?;
        let recent = Recent::decode(rest.get(..usize::from(u16::from_be_bytes(*length)))?)?;
        Some(Self { state, slot_key: Secret::from_slice(slot_key).ok()?, recent })
    }
}

/// One name to change in a commit.
struct Step<'a> {
    table: &'a str,
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
        let Self {
            file: _,
            keys: _,
            header: _,
            state,
            sealed_state: _,
            index: _,
            recent: _,
            slots: _,
            slot_key: _,
            log: _,
            lock,
        } = self;
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
    let keys = Keys::new(master)?;
    let state = Stored::seal(&keys, &header, State::EMPTY, &Secret::random()?, &Recent::default())?;
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

    /// What was in a slot is as good as overwritten once the changes have rows, also for who has the key of the store.
    #[test]
    fn a_slot_of_the_time_before_cannot_be_opened() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        store.purge().unwrap();
        let before = store.generation();
        store.commit(&[Write::put(Table("t"), *b"secret", vec![1; 32])]).unwrap();
        let slots = store.file.slots().unwrap();
        assert_eq!(slots::open(&store.slot_key, before, slots.clone()).unwrap().0, 1);
        store.purge().unwrap();
        let stored = store.keys.open_state(&store.header.hash(), &store.file.state().unwrap());
        let key = Stored::from_bytes(&stored.unwrap()).unwrap().slot_key;
        assert!(slots::open(&key, before, slots).is_none());
        assert!(slots::open(&key, store.generation(), store.file.slots().unwrap()).unwrap().1.is_empty());
    }

    #[test]
    fn a_store_may_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<SqliteStore>();
    }
}
