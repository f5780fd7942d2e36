//! Commits that have no rows yet when the process dies.

use dmls::journal::{Journal, Records, Write};
use dmls_store::{Generation, SqliteStore, StoreError};

use crate::world::{Profile, T, put, raw, read};

/// The files of an open store, as a crash leaves them.
fn crashed(profile: &Profile) -> Profile {
    let copy = Profile::new();
    for entry in std::fs::read_dir(profile.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// A store with a record that has a row and commits after it that have none.
fn busy() -> (Profile, SqliteStore) {
    let profile = Profile::new();
    put(&mut profile.open(), T, b"row", b"one");
    put(&mut profile.open(), T, b"gone", b"one");
    let mut store = profile.open();
    for number in 0..5u8 {
        let writes = [Write::put(T, *b"row", vec![number; 300]), Write::put(T, [number], vec![number; 700])];
        store.commit(&writes).unwrap();
    }
    store.commit(&[Write::delete(T, *b"gone"), Write::delete(T, [3])]).unwrap();
    (profile, store)
}

fn change(profile: &Profile, sql: &str) {
    assert_eq!(profile.sql().execute(sql, []).unwrap(), 1, "{sql}");
}

fn damage(profile: &Profile) -> String {
    match profile.try_open(&raw()) {
        Err(StoreError::Corrupt { table }) => table,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_stood_in_slots_is_there_after_a_crash() {
    let (profile, mut store) = busy();
    for _ in 0..40 {
        let copy = crashed(&profile);
        let other = copy.open();
        assert_eq!(other.scan(T, b"").unwrap(), store.scan(T, b"").unwrap());
        assert_eq!(other.generation(), store.generation());
        other.verify().unwrap();
        put(&mut store, T, b"again", &[9; 500]);
    }
}

#[test]
fn a_slot_that_was_changed_or_taken_away_is_refused() {
    let (profile, _store) = busy();
    let changes = [
        "UPDATE slot SET sealed = CAST(substr(sealed, 1, 100) || x'00' || substr(sealed, 102) AS BLOB) WHERE id = 1",
        "UPDATE slot SET sealed = substr(sealed, 1, 30) WHERE id = 1",
        "UPDATE slot SET sealed = x'' WHERE id = 1",
        "UPDATE slot SET sealed = (SELECT sealed FROM slot WHERE id = 2) WHERE id = 1",
        "DELETE FROM slot WHERE id = 0",
        "DELETE FROM slot WHERE id = 3",
        "UPDATE slot SET id = 77 WHERE id = 2",
    ];
    for sql in changes {
        let copy = crashed(&profile);
        change(&copy, sql);
        assert_eq!(damage(&copy), "(state)", "{sql}");
    }
    crashed(&profile).open().verify().unwrap();
}

/// As with the end of SQLite's log: docs/STORAGE.md says so.
#[test]
fn without_the_last_slots_the_last_commits_are_taken_back_whole() {
    let (profile, store) = busy();
    let copy = crashed(&profile);
    let last: i64 = copy.sql().query_row("SELECT max(id) FROM slot", [], |row| row.get(0)).unwrap();
    copy.sql().execute("DELETE FROM slot WHERE id = ?1", [last]).unwrap();
    let other = copy.open();
    assert_eq!(other.generation(), Generation(store.generation().0 - 1));
    assert_eq!(read(&other, T, b"gone").unwrap(), b"one");
    assert_eq!(read(&other, T, &[3]).unwrap(), [3; 700]);
    other.verify().unwrap();
}

/// A commit that is large, and one that does not fit any more, get rows at once.
#[test]
fn commits_of_every_size_are_kept() {
    let profile = Profile::new();
    let mut store = profile.open();
    for size in (0..60).map(|step| step * 997) {
        put(&mut store, T, b"one", &vec![7; size]);
        put(&mut store, T, &size.to_be_bytes(), &vec![8; size]);
        let other = crashed(&profile).open();
        assert_eq!(read(&other, T, b"one").unwrap().len(), size);
        assert_eq!(other.scan(T, b"").unwrap(), store.scan(T, b"").unwrap());
    }
}
