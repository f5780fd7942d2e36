//! A profile directory that goes away with its test, and SQLite opened behind the store's back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dmls::journal::{Journal, Records, Table, Write};
use dmls_store::{Key, SqliteStore, StoreError};
use tempfile::TempDir;

pub const T: Table = Table("epochs");
pub const U: Table = Table("outbox");

pub fn raw() -> Key {
    Key::raw([7; 32])
}

pub struct Profile(TempDir);

impl Profile {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self) -> PathBuf {
        self.path().join("store.db")
    }

    pub fn try_open(&self, key: &Key) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(self.path(), key, Duration::ZERO)
    }

    pub fn open(&self) -> SqliteStore {
        self.try_open(&raw()).unwrap()
    }

    /// The code of the failure to open.
    pub fn refusal(&self, key: &Key) -> &'static str {
        self.try_open(key).unwrap_err().code()
    }

    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.file()).unwrap()
    }

    /// The bytes of every file of the profile that holds records.
    pub fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("store.db"));
        files.flat_map(|path| std::fs::read(path).unwrap()).collect()
    }
}

pub fn put(store: &mut impl Journal<Error = StoreError>, table: Table, key: &[u8], value: &[u8]) {
    store.commit(&[Write::put(table, key, value.to_vec())]).unwrap();
}

pub fn read(store: &impl Records<Error = StoreError>, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    store.get(table, key).unwrap().map(|value| value.to_vec())
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
