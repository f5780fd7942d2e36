//! The SQLite file: settings, schema and every statement that runs on it. It sees sealed bytes only.

use std::path::Path;

use dmls::defence;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::error::StoreError;
use crate::header::FORMAT_VERSION;
use crate::lock::{open_private, sync_dir};
use crate::seal::{Nonce, Slot};

const STORE_FILE: &str = "store.db";
/// Bytes of a page. A commit writes each page that it changes whole, and what it changes is small.
const PAGE: u32 = 1024;
/// "dmls" in the application id of the SQLite header.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"dmls");

/// Every object in the file, with the text by which it is made and recognised.
const SCHEMA: [(&str, &str); 5] = [
    ("header", "CREATE TABLE header (id INTEGER PRIMARY KEY CHECK (id = 0), bytes BLOB NOT NULL) STRICT"),
    ("name", "CREATE TABLE name (row INTEGER PRIMARY KEY, stamp BLOB NOT NULL, sealed BLOB NOT NULL) STRICT"),
    ("slot", "CREATE TABLE slot (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT"),
    ("state", "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 0), sealed BLOB NOT NULL) STRICT"),
    ("value", "CREATE TABLE value (row INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT"),
];

/// What an opened file turned out to be.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Nothing yet.
    Empty,
    /// A store of a version that we read.
    Store,
}

/// An open SQLite file.
pub(crate) struct StoreFile {
    conn: Connection,
}

impl StoreFile {
    /// Opens the file in `dir`, creating an empty one (mode 0600) if there is none.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Found), StoreError> {
        let path = dir.join(STORE_FILE);
        if !path.exists() {
            open_private(&path)?.sync_all()?;
            sync_dir(dir)?;
        }
        let file = Self { conn: Connection::open(path)? };
        file.configure_connection()?;
        let found = file.identify()?;
        // Only now: this one changes the file.
        file.configure_file()?;
        Ok((file, found))
    }

    fn configure_connection(&self) -> Result<(), StoreError> {
        self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        let locking = if defence::on("S5") { "EXCLUSIVE" } else { "NORMAL" };
        self.conn.pragma_update(None, "locking_mode", locking)?;
        self.conn.pragma_update(None, "cell_size_check", true)?;
        self.conn.pragma_update(None, "temp_store", "MEMORY")?;
        self.conn.pragma_update(None, "mmap_size", 0)?;
        self.conn.pragma_update(None, "page_size", PAGE)?;
        self.conn.pragma_update(None, "secure_delete", defence::on("S9"))?;
        self.conn.pragma_update(None, "synchronous", "FULL")?;
        // On macOS a plain fsync does not reach the disk.
        self.conn.pragma_update(None, "fullfsync", true)?;
        self.conn.pragma_update(None, "checkpoint_fullfsync", true)?;
        Ok(())
    }

    fn configure_file(&self) -> Result<(), StoreError> {
        self.conn.pragma_update(None, "journal_mode", "WAL")?;
        // We checkpoint ourselves, and truncate.
        self.conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(())
    }

    fn identify(&self) -> Result<Found, StoreError> {
        let application: i32 = self.conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: u32 = self.conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let schema = self.schema()?;
        let ours = schema.iter().map(|(name, sql)| (name.as_str(), sql.as_str())).eq(SCHEMA);
        match (application, version) {
            (0, 0) if schema.is_empty() => Ok(Found::Empty),
            (APPLICATION_ID, FORMAT_VERSION) if ours => Ok(Found::Store),
            (APPLICATION_ID, FORMAT_VERSION) => Err(StoreError::corrupt("(schema)")),
            (APPLICATION_ID, found) if found > FORMAT_VERSION => {
                Err(StoreError::NewerVersion { found, supported: FORMAT_VERSION })
            }
            (APPLICATION_ID, found) if found > 0 => Err(StoreError::OlderVersion { found, supported: FORMAT_VERSION }),
            (APPLICATION_ID, _) => Err(StoreError::corrupt("(header)")),
            _ => Err(StoreError::NotAStore),
        }
    }

    fn schema(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.conn.prepare("SELECT name, ifnull(sql, '') FROM sqlite_schema ORDER BY name")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Makes the tables and puts the first header and state in, in one transaction.
    pub(crate) fn create(&mut self, header: &[u8], state: &[u8]) -> Result<(), StoreError> {
        let change = self.begin()?;
        change.tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        change.tx.pragma_update(None, "user_version", FORMAT_VERSION)?;
        for (_, sql) in SCHEMA {
            change.tx.execute_batch(sql)?;
        }
        change.tx.execute("INSERT INTO header (id, bytes) VALUES (0, ?1)", params![header])?;
        change.tx.execute("INSERT INTO state (id, sealed) VALUES (0, ?1)", params![state])?;
        change.commit()
    }

    pub(crate) fn header(&self) -> Result<Vec<u8>, StoreError> {
        let header = self.conn.query_row("SELECT bytes FROM header WHERE id = 0", [], |row| row.get(0)).optional()?;
        header.ok_or_else(|| StoreError::corrupt("(header)"))
    }

    pub(crate) fn state(&self) -> Result<Vec<u8>, StoreError> {
        state(&self.conn)
    }

    /// Hands every name to `each`, in the order of rows.
    pub(crate) fn names(
        &self,
        mut each: impl FnMut(Slot, Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.conn.prepare("SELECT row, stamp, sealed FROM name ORDER BY row")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let stamp: Vec<u8> = row.get(1)?;
            let stamp = Nonce::try_from(stamp).map_err(|_| StoreError::corrupt("(names)"))?;
            each(Slot { row: row.get(0)?, stamp }, row.get(2)?)?;
        }
        Ok(())
    }

    pub(crate) fn value(&self, slot: &Slot) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self.conn.prepare_cached("SELECT sealed FROM value WHERE row = ?1")?;
        Ok(statement.query_row(params![slot.row], |row| row.get(0)).optional()?)
    }

    /// All slots, in order.
    pub(crate) fn slots(&self) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let mut statement = self.conn.prepare("SELECT id, sealed FROM slot ORDER BY id")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn count_values(&self) -> Result<u64, StoreError> {
        Ok(self.conn.query_row("SELECT count(*) FROM value", [], |row| row.get(0))?)
    }

    /// SQLite's own check of pages and trees.
    pub(crate) fn is_sound(&self) -> Result<bool, StoreError> {
        let verdict: String = self.conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        Ok(verdict == "ok")
    }

    /// Writes the log into the file and empties it, so that no old version of a page stays in it.
    pub(crate) fn truncate_log(&self) -> Result<(), StoreError> {
        let busy: bool = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy { Err(StoreError::Locked { holder: None }) } else { Ok(()) }
    }

    /// Begins a change of the file: all of it or none.
    pub(crate) fn begin(&mut self) -> Result<Change<'_>, StoreError> {
        Ok(Change { tx: self.conn.transaction_with_behavior(TransactionBehavior::Immediate)? })
    }

    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        Ok(self.conn.pragma_update(None, "max_page_count", pages)?)
    }

    #[cfg(test)]
    pub(crate) fn page_count(&self) -> Result<u32, StoreError> {
        Ok(self.conn.pragma_query_value(None, "page_count", |row| row.get(0))?)
    }
}

/// One transaction; without [`Change::commit`] it leaves no trace.
pub(crate) struct Change<'a> {
    tx: Transaction<'a>,
}

impl Change<'_> {
    pub(crate) fn state(&self) -> Result<Vec<u8>, StoreError> {
        state(&self.tx)
    }

    pub(crate) fn insert(&self, slot: &Slot, name: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.one("INSERT INTO name (row, stamp, sealed) VALUES (?1, ?2, ?3)", params![slot.row, slot.stamp, name])?;
        self.one("INSERT INTO value (row, sealed) VALUES (?1, ?2)", params![slot.row, value])
    }

    pub(crate) fn replace(&self, slot: &Slot, name: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.one("UPDATE name SET stamp = ?2, sealed = ?3 WHERE row = ?1", params![slot.row, slot.stamp, name])?;
        self.one("UPDATE value SET sealed = ?2 WHERE row = ?1", params![slot.row, value])
    }

    pub(crate) fn remove(&self, row: i64) -> Result<(), StoreError> {
        self.one("DELETE FROM name WHERE row = ?1", params![row])?;
        self.one("DELETE FROM value WHERE row = ?1", params![row])
    }

    pub(crate) fn set_slot(&self, id: i64, sealed: &[u8]) -> Result<(), StoreError> {
        self.one(
            "INSERT INTO slot (id, sealed) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET sealed = ?2",
            params![id, sealed],
        )
    }

    pub(crate) fn set_state(&self, sealed: &[u8]) -> Result<(), StoreError> {
        self.one("UPDATE state SET sealed = ?1 WHERE id = 0", params![sealed])
    }

    pub(crate) fn set_header(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.one("UPDATE header SET bytes = ?1 WHERE id = 0", params![bytes])
    }

    pub(crate) fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit()?)
    }

    /// Runs a statement that must change exactly one row.
    fn one(&self, sql: &'static str, params: impl rusqlite::Params) -> Result<(), StoreError> {
        match self.tx.prepare_cached(sql)?.execute(params)? {
            1 => Ok(()),
            _ => Err(StoreError::corrupt("(file)")),
        }
    }
}

fn state(conn: &Connection) -> Result<Vec<u8>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT sealed FROM state WHERE id = 0")?;
    let state = statement.query_row([], |row| row.get(0)).optional()?;
    state.ok_or_else(|| StoreError::corrupt("(state)"))
}
