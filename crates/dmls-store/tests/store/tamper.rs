//! Someone else writes to the file (S8): every change is refused, and says where.

use std::fs;

use dmls::journal::Records;
use dmls_store::{Generation, StoreError};

use crate::world::{Profile, T, U, put, raw, read};

/// Name, stamp and value of a row, as they are in the file.
type Row = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

fn filled() -> Profile {
    let profile = Profile::new();
    let mut store = profile.open();
    put(&mut store, T, b"one", b"first value");
    put(&mut store, T, b"two", b"other value");
    put(&mut store, U, b"one", b"third value");
    drop(store);
    profile
}

fn rows(profile: &Profile) -> Vec<Row> {
    let sql = profile.sql();
    let mut query = sql
        .prepare("SELECT row, stamp, name.sealed, value.sealed FROM name JOIN value USING (row) ORDER BY row")
        .unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn set_value(profile: &Profile, row: i64, value: &[u8]) {
    let changed = profile.sql().execute("UPDATE value SET sealed = ?2 WHERE row = ?1", rusqlite::params![row, value]);
    assert_eq!(changed.unwrap(), 1);
}

fn set_name(profile: &Profile, row: i64, stamp: &[u8], name: &[u8]) {
    let sql = "UPDATE name SET stamp = ?2, sealed = ?3 WHERE row = ?1";
    assert_eq!(profile.sql().execute(sql, rusqlite::params![row, stamp, name]).unwrap(), 1);
}

fn damaged_table(profile: &Profile) -> String {
    match profile.try_open(&raw()).and_then(|store| store.verify()) {
        Err(StoreError::Corrupt { table }) => table,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flipped_bit_in_a_value_is_refused_and_others_still_read() {
    let profile = filled();
    let (row, _, _, value) = rows(&profile).remove(0);
    for at in 0..value.len() {
        let mut bad = value.clone();
        bad[at] ^= 0x10;
        set_value(&profile, row, &bad);
        let store = profile.open();
        let error = store.get(T, b"one").unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { table } if table == T.0), "{error}");
        assert_eq!(read(&store, T, b"two").unwrap(), b"other value");
        assert!(store.scan(T, b"").is_err());
    }
    for bad in [b"".as_slice(), &value[..15], &value[..value.len() - 1]] {
        set_value(&profile, row, bad);
        assert_eq!(damaged_table(&profile), T.0);
    }
}

#[test]
fn swapped_values_are_refused() {
    let profile = filled();
    let all = rows(&profile);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        set_value(&profile, all[a].0, &all[b].3);
        set_value(&profile, all[b].0, &all[a].3);
        assert_eq!(damaged_table(&profile), T.0);
        set_value(&profile, all[a].0, &all[a].3);
        set_value(&profile, all[b].0, &all[b].3);
    }
    profile.open().verify().unwrap();
}

#[test]
fn swapped_rows_are_refused() {
    let profile = filled();
    let all = rows(&profile);
    for (to, from) in [(0, 1), (1, 0)] {
        set_name(&profile, all[to].0, &all[from].1, &all[from].2);
        set_value(&profile, all[to].0, &all[from].3);
    }
    assert_eq!(damaged_table(&profile), "(names)");
}

#[test]
fn a_record_rolled_back_is_refused() {
    let profile = filled();
    let old = rows(&profile).remove(0);
    put(&mut profile.open(), T, b"one", b"newer value");
    let new = rows(&profile).remove(0);
    set_value(&profile, old.0, &old.3);
    assert_eq!(damaged_table(&profile), T.0);
    set_name(&profile, old.0, &old.1, &old.2);
    assert_eq!(damaged_table(&profile), "(names)");
    set_name(&profile, new.0, &new.1, &new.2);
    set_value(&profile, new.0, &new.3);
    profile.open().verify().unwrap();
}

#[test]
fn a_record_removed_or_brought_back_is_refused() {
    let profile = filled();
    let (row, stamp, name, value) = rows(&profile).remove(1);
    profile.sql().execute("DELETE FROM name WHERE row = ?1", [row]).unwrap();
    assert_eq!(damaged_table(&profile), "(names)");
    profile.sql().execute("INSERT INTO name VALUES (?1, ?2, ?3)", rusqlite::params![row, stamp, name]).unwrap();
    profile.sql().execute("DELETE FROM value WHERE row = ?1", [row]).unwrap();
    assert_eq!(damaged_table(&profile), T.0);
    profile.sql().execute("INSERT INTO value VALUES (?1, ?2)", rusqlite::params![row, value]).unwrap();
    profile.open().verify().unwrap();
    for at in [row + 100, -1] {
        profile.sql().execute("INSERT INTO name VALUES (?1, ?2, ?3)", rusqlite::params![at, stamp, name]).unwrap();
        assert_eq!(damaged_table(&profile), "(names)");
        profile.sql().execute("DELETE FROM name WHERE row = ?1", [at]).unwrap();
    }
    profile.sql().execute("INSERT INTO value VALUES (99, x'00')", []).unwrap();
    assert_eq!(damaged_table(&profile), "(file)");
}

#[test]
fn an_old_state_is_refused() {
    let profile = filled();
    let state = |sql: &rusqlite::Connection| -> Vec<u8> {
        sql.query_row("SELECT sealed FROM state", [], |row| row.get(0)).unwrap()
    };
    let old = state(&profile.sql());
    put(&mut profile.open(), T, b"one", b"newer value");
    profile.sql().execute("UPDATE state SET sealed = ?1", [old]).unwrap();
    assert_eq!(damaged_table(&profile), "(names)");
    profile.sql().execute("UPDATE state SET sealed = x'00'", []).unwrap();
    assert_eq!(damaged_table(&profile), "(state)");
    profile.sql().execute("DELETE FROM state", []).unwrap();
    assert_eq!(damaged_table(&profile), "(state)");
}

#[test]
fn a_record_of_another_store_is_refused() {
    let (profile, other) = (filled(), filled());
    let theirs = rows(&other).remove(0);
    set_value(&profile, theirs.0, &theirs.3);
    assert_eq!(damaged_table(&profile), T.0);
    set_name(&profile, theirs.0, &theirs.1, &theirs.2);
    assert_eq!(damaged_table(&profile), "(names)");
}

#[test]
fn a_flipped_bit_in_the_header_is_not_taken_for_a_wrong_key() {
    let profile = filled();
    let header: Vec<u8> = profile.sql().query_row("SELECT bytes FROM header", [], |row| row.get(0)).unwrap();
    for at in 0..header.len() {
        let mut bad = header.clone();
        bad[at] ^= 1;
        profile.sql().execute("UPDATE header SET bytes = ?1", [bad]).unwrap();
        assert_eq!(damaged_table(&profile), "(header)");
    }
}

#[test]
fn a_newer_file_is_told_from_a_damaged_one() {
    let profile = filled();
    profile.sql().pragma_update(None, "user_version", 9).unwrap();
    let before = fs::read(profile.file()).unwrap();
    let error = profile.try_open(&raw()).unwrap_err();
    assert_eq!(fs::read(profile.file()).unwrap(), before);
    assert!(matches!(error, StoreError::NewerVersion { found: 9, supported: 2 }), "{error}");
    assert_eq!(error.to_string(), "the store has format version 9; this program reads up to version 2");
    profile.sql().pragma_update(None, "user_version", 2).unwrap();
    profile.open().verify().unwrap();
}

#[test]
fn foreign_files_are_refused() {
    let profile = filled();
    profile.sql().execute_batch("CREATE VIEW extra AS SELECT 1").unwrap();
    assert_eq!(damaged_table(&profile), "(schema)");
    let foreign = Profile::new();
    foreign.sql().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(foreign.refusal(&raw()), "not_a_store");
    let noise = Profile::new();
    fs::write(noise.file(), [0x55; 9000]).unwrap();
    assert_eq!(noise.refusal(&raw()), "store_corrupt");
}

/// Damage anywhere in the file gives an error or leaves the records as they were; never a panic, never other records.
#[test]
fn damaged_pages_never_give_other_records() {
    let profile = filled();
    let whole = fs::read(profile.file()).unwrap();
    let records = |profile: &Profile| -> Result<_, StoreError> {
        let store = profile.try_open(&raw())?;
        Ok((store.scan(T, b"")?, store.scan(U, b"")?))
    };
    let good = records(&profile).unwrap();
    for at in (0..whole.len()).step_by(61) {
        let mut bad = whole.clone();
        bad[at] ^= 0xFF;
        fs::write(profile.file(), &bad).unwrap();
        if let Ok(found) = records(&profile) {
            assert_eq!(found, good, "byte {at}");
        }
        let _ = fs::remove_file(profile.path().join("store.db-wal"));
    }
    for len in (0..whole.len()).step_by(1000).skip(1) {
        fs::write(profile.file(), &whole[..len]).unwrap();
        // A slot that is not in use may be cut.
        if let Ok(found) = records(&profile) {
            assert_eq!(found, good, "cut to {len}");
        }
        let _ = fs::remove_file(profile.path().join("store.db-wal"));
    }
}

/// The limit that docs/STORAGE.md states: a whole old file opens, and only its generation tells.
#[test]
fn a_whole_old_file_is_told_by_its_generation_only() {
    let profile = filled();
    let old = fs::read(profile.file()).unwrap();
    put(&mut profile.open(), T, b"one", b"newer value");
    assert_eq!(profile.open().generation(), Generation(4));
    fs::write(profile.file(), old).unwrap();
    let store = profile.open();
    assert_eq!(read(&store, T, b"one").unwrap(), b"first value");
    assert_eq!(store.generation(), Generation(3));
}
