//! The same transactions on the store of the disk, with its files as a crash or a power failure leaves them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dmls::journal::{Journal, Records, Table, Write};
use dmls_store::{Key, MemoryStore, SqliteStore, StoreError};
use tempfile::TempDir;

/// Bytes of the write-ahead log before its frames, of a frame's header, and of a page
/// (<https://www.sqlite.org/fileformat2.html#walformat>).
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGE: usize = 1024;
/// After so many transactions the log is emptied, with files as a crash leaves them halfway.
const EMPTIED: usize = 8;

/// All records of a store.
pub type Content = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// What a store holds in these tables.
pub fn content(records: &impl Records<Error = StoreError>, tables: &BTreeSet<Table>) -> Content {
    let entries = tables.iter().flat_map(|table| {
        let entries = records.scan(*table, b"").unwrap();
        entries.into_iter().map(|(key, value)| ((*table, key), value.to_vec()))
    });
    entries.collect()
}

fn tables(store: &MemoryStore) -> BTreeSet<Table> {
    store.places().map(|(table, _)| table).collect()
}

/// Whether two stores hold the same.
pub fn same(one: &MemoryStore, other: &MemoryStore) -> bool {
    let tables = &tables(one) | &tables(other);
    content(one, &tables) == content(other, &tables)
}

/// Plays what was stored, one snapshot after the other, and opens what torn writes leave: how many, and what was wrong.
pub fn try_all(snapshots: &BTreeMap<usize, MemoryStore>) -> (usize, Vec<String>) {
    let tables = snapshots.values().flat_map(tables).collect::<BTreeSet<_>>();
    let mut snapshots = snapshots.iter().map(|(commits, store)| (*commits, content(store, &tables)));
    let Some((_, first)) = snapshots.next() else { return (0, Vec::new()) };
    let mut disk = Disk::new(tables.clone());
    disk.commit(&changes(&Content::new(), &first));
    disk.store.purge().unwrap();
    let (mut tried, mut faults, mut before) = (0, Vec::new(), first);
    for (commits, after) in snapshots {
        let old = disk.files();
        disk.commit(&changes(&before, &after));
        let new = disk.files();
        let mut look = |what: &str, files: &Files, allowed: &[&Content]| {
            tried += 1;
            let fault = disk.look(files, allowed).err();
            faults.extend(fault.map(|fault| format!("transaction {commits}, {what}: {fault}")));
        };
        for (what, log, whole) in torn_logs(&old.log, &new.log) {
            let allowed: &[&Content] = if whole { &[&after] } else { &[&before] };
            look(&what, &Files { file: old.file.clone(), log }, allowed);
        }
        for (what, log) in scrambled_logs(&old.log, &new.log) {
            look(what, &Files { file: old.file.clone(), log }, &[&before, &after]);
        }
        if commits % EMPTIED == 0 {
            // What it comes to when all changes get rows is the same, wherever that breaks off.
            disk.store.settle().unwrap();
            let settled = disk.files();
            let torn = if settled.log == new.log { Vec::new() } else { torn_logs(&new.log, &settled.log) };
            for (what, log, _) in torn {
                disk.look(&Files { file: new.file.clone(), log }, &[&after]).unwrap_or_else(|fault| {
                    faults.push(format!("transaction {commits}, rows, {what}: {fault}"));
                });
                tried += 1;
            }
            let new = settled;
            disk.store.purge().unwrap();
            for (what, file) in torn_files(&new.file, &disk.files().file) {
                disk.look(&Files { file, log: new.log.clone() }, &[&after]).unwrap_or_else(|fault| {
                    faults.push(format!("transaction {commits}, emptying, {what}: {fault}"));
                });
                tried += 1;
            }
        }
        before = after;
    }
    (tried, faults)
}

fn changes(before: &Content, after: &Content) -> Vec<Write> {
    let gone = before.keys().filter(|place| !after.contains_key(*place));
    let gone = gone.map(|(table, key)| Write::delete(*table, key.clone()));
    let new = after.iter().filter(|(place, value)| before.get(*place) != Some(*value));
    gone.chain(new.map(|((table, key), value)| Write::put(*table, key.clone(), value.clone()))).collect()
}

/// The bytes of the database and of its log.
struct Files {
    file: Vec<u8>,
    log: Vec<u8>,
}

/// A profile, and a place to which its files are copied.
struct Disk {
    profile: TempDir,
    copy: TempDir,
    store: SqliteStore,
    tables: BTreeSet<Table>,
}

fn open(directory: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(directory, &Key::raw([7; 32]), Duration::ZERO)
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("store.db")
}

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("store.db-wal")
}

impl Disk {
    fn new(tables: BTreeSet<Table>) -> Self {
        // Beside what is built: on a file system, not in memory.
        let [profile, copy] = [(); 2].map(|()| TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        Self { store: open(profile.path()).unwrap(), profile, copy, tables }
    }

    fn commit(&mut self, writes: &[Write]) {
        self.store.commit(writes).unwrap();
    }

    fn files(&self) -> Files {
        let read = |path| fs::read(path).unwrap_or_default();
        Files { file: read(file(&self.profile)), log: read(log(&self.profile)) }
    }

    /// Opens a copy with these files: it holds one of what is allowed, whole, and takes the next commit.
    fn look(&self, files: &Files, allowed: &[&Content]) -> Result<(), String> {
        fs::write(file(&self.copy), &files.file).unwrap();
        fs::write(log(&self.copy), &files.log).unwrap();
        let mut store = open(self.copy.path()).map_err(|error| error.to_string())?;
        store.verify().map_err(|error| error.to_string())?;
        let found = content(&store, &self.tables);
        if !allowed.contains(&&found) {
            return Err(format!("{} records, of which some are neither old nor new", found.len()));
        }
        let next = [Write::put(Table("next"), *b"k", vec![1])];
        store.commit(&next).map_err(|error| error.to_string())
    }
}

/// The log as far as it was written, at the ends of frames and between them; `true` with the whole of it.
fn torn_logs(old: &[u8], new: &[u8]) -> Vec<(String, Vec<u8>, bool)> {
    assert!(new.starts_with(old) && new.len() > old.len());
    let from = old.len().max(HEADER);
    let frames = (new.len() - from) / (FRAME_HEADER + PAGE);
    let end = |frame: usize| from + frame * (FRAME_HEADER + PAGE);
    let mut lengths = BTreeSet::from([old.len(), old.len() + 1, from + FRAME_HEADER, from + FRAME_HEADER + PAGE / 2]);
    lengths.extend([end(frames / 2), end(frames - 1), end(frames - 1) + FRAME_HEADER, new.len() - 1, new.len()]);
    lengths.into_iter().map(|length| (format!("{length} bytes"), new[..length].to_vec(), length == new.len())).collect()
}

/// The log at its full length, with parts of it that never reached the disk.
fn scrambled_logs(old: &[u8], new: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let from = old.len().max(HEADER);
    let last = new.len() - FRAME_HEADER - PAGE;
    let without = |from: usize, to: usize, byte: u8| {
        let mut log = new.to_vec();
        log[from..to].fill(byte);
        log
    };
    vec![
        ("all but the first page", without(from, from + FRAME_HEADER + PAGE, 0)),
        ("all but half of the last page", without(last + FRAME_HEADER + PAGE / 2, new.len(), 0)),
        ("another file's bytes for the last page", without(last + FRAME_HEADER, new.len(), 0xA5)),
        ("all but what marks the end", without(last, last + FRAME_HEADER, 0)),
    ]
}

/// The database while the log is copied into it: pages old, new, and half and half.
fn torn_files(old: &[u8], new: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mixed = |take: &dyn Fn(usize) -> bool, half: bool| {
        let mut file = old.to_vec();
        file.resize(new.len().max(old.len()), 0);
        let differs = |at: &usize| old.get(*at..*at + PAGE) != new.get(*at..*at + PAGE);
        for (number, at) in (0..new.len()).step_by(PAGE).filter(differs).enumerate() {
            let end = if half { at + PAGE / 2 } else { at + PAGE };
            if take(number) {
                file[at..end].copy_from_slice(&new[at..end]);
            }
        }
        file
    };
    vec![
        ("every second page", mixed(&|number| number % 2 == 0, false)),
        ("the first page", mixed(&|number| number == 0, false)),
        ("half of each page", mixed(&|_| true, true)),
        ("all pages", mixed(&|_| true, false)),
    ]
}
