//! Keys: which one opens, which does not, and what is said then.

use std::fs;

use dmls::journal::Records;
use dmls_store::{Key, KeyKind, Passphrase, ProfileLock, SqliteStore, StoreError};

use crate::world::{Profile, T, contains, put, raw, read};

#[test]
fn a_passphrase_opens_and_another_does_not() {
    let profile = Profile::new();
    put(&mut profile.try_open(&Key::passphrase("right")).unwrap(), T, b"k", b"v");
    assert_eq!(profile.refusal(&Key::passphrase("wrong")), "wrong_passphrase");
    assert_eq!(read(&profile.try_open(&Key::passphrase("right")).unwrap(), T, b"k").unwrap(), b"v");
    assert_eq!(profile.refusal(&raw()), "wrong_key_kind");
}

#[test]
fn a_raw_key_opens_and_another_does_not() {
    let profile = Profile::new();
    drop(profile.open());
    assert_eq!(profile.refusal(&Key::raw([8; 32])), "wrong_key");
    let error = profile.try_open(&Key::File).unwrap_err();
    let (stored, given) = (KeyKind::Raw, KeyKind::File);
    assert!(matches!(error, StoreError::WrongKeyKind { stored: s, given: g } if (s, g) == (stored, given)), "{error}");
}

#[test]
fn the_kind_of_key_can_be_asked() {
    let profile = Profile::new();
    let kind = || {
        let lock = ProfileLock::acquire(profile.path(), std::time::Duration::ZERO).unwrap();
        SqliteStore::key_kind(&lock).unwrap()
    };
    assert_eq!(kind(), None);
    drop(profile.try_open(&Key::File).unwrap());
    assert_eq!(kind(), Some(KeyKind::File));
}

#[test]
#[cfg(unix)]
fn files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let profile = Profile::new();
    let dir = profile.path().join("made");
    let mut store = SqliteStore::open(&dir, &Key::File, std::time::Duration::ZERO).unwrap();
    put(&mut store, T, b"k", b"v");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(files.iter().all(|path| mode(path) == 0o600), "{files:?}");
}

#[test]
#[cfg(unix)]
fn a_key_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let profile = Profile::new();
    drop(profile.try_open(&Key::File).unwrap());
    let path = profile.path().join("store.key");
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = profile.try_open(&Key::File).unwrap_err();
        assert!(matches!(error, StoreError::KeyFilePermissions { mode: found, .. } if found == mode), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    profile.try_open(&Key::File).unwrap();
}

#[test]
fn a_missing_or_foreign_key_file_is_told() {
    let profile = Profile::new();
    drop(profile.try_open(&Key::File).unwrap());
    let path = profile.path().join("store.key");
    let key = fs::read(&path).unwrap();
    let mut other = key.clone();
    other[20] ^= 1;
    fs::write(&path, other).unwrap();
    assert_eq!(profile.refusal(&Key::File), "wrong_key");
    for foreign in [&key[..39], &[key.as_slice(), b"\n"].concat(), &[0; 40], b""] {
        fs::write(&path, foreign).unwrap();
        assert_eq!(profile.refusal(&Key::File), "key_file_malformed");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(profile.refusal(&Key::File), "key_file_missing");
    assert!(!path.exists());
}

#[test]
fn a_key_file_from_a_first_open_that_crashed_is_used() {
    let profile = Profile::new();
    drop(profile.try_open(&Key::File).unwrap());
    fs::remove_file(profile.file()).unwrap();
    drop(profile.try_open(&Key::File).unwrap());
    drop(profile.try_open(&Key::File).unwrap());
}

#[test]
fn the_key_can_be_changed() {
    let profile = Profile::new();
    let mut store = profile.try_open(&Key::File).unwrap();
    put(&mut store, T, b"k", b"v");
    let subkey = store.subkey("x").unwrap();
    store.change_key(&Key::passphrase("new")).unwrap();
    put(&mut store, T, b"k2", b"v2");
    drop(store);
    assert!(!profile.path().join("store.key").exists());
    assert_eq!(profile.refusal(&Key::File), "wrong_key_kind");
    let mut store = profile.try_open(&Key::passphrase("new")).unwrap();
    assert_eq!(store.scan(T, b"k").unwrap().len(), 2);
    assert_eq!(store.subkey("x").unwrap(), subkey);
    store.change_key(&Key::File).unwrap();
    drop(store);
    assert_eq!(read(&profile.try_open(&Key::File).unwrap(), T, b"k2").unwrap(), b"v2");
}

#[test]
fn an_old_header_is_refused_after_a_change_of_key() {
    let profile = Profile::new();
    drop(profile.open());
    let header = |sql: &rusqlite::Connection| -> Vec<u8> {
        sql.query_row("SELECT bytes FROM header", [], |row| row.get(0)).unwrap()
    };
    let old = header(&profile.sql());
    profile.open().change_key(&Key::raw([9; 32])).unwrap();
    profile.sql().execute("UPDATE header SET bytes = ?1", [old]).unwrap();
    assert_eq!(profile.refusal(&raw()), "store_corrupt");
}

#[test]
fn subkeys_depend_on_label_and_store() {
    let (one, two) = (Profile::new(), Profile::new());
    let store = one.open();
    let a = store.subkey("matrix-sdk-crypto").unwrap();
    assert_eq!(store.subkey("matrix-sdk-crypto").unwrap(), a);
    assert_ne!(store.subkey("matrix-sdk-crypto2").unwrap(), a);
    assert_ne!(two.open().subkey("matrix-sdk-crypto").unwrap(), a);
    drop(store);
    assert_eq!(one.open().subkey("matrix-sdk-crypto").unwrap(), a);
}

#[test]
fn keys_do_not_show_in_debug() {
    let canary = "canary-passphrase";
    let shown = format!("{:?} {:?} {:?}", Key::passphrase(canary), Passphrase::new(canary), Key::raw([b'Q'; 32]));
    assert!(!shown.contains(canary) && !shown.contains("81"), "{shown}");
    let profile = Profile::new();
    let mut store = profile.open();
    put(&mut store, T, b"canary-key", b"canary-value");
    let shown = format!("{store:?}");
    assert!(!contains(shown.as_bytes(), b"canary"), "{shown}");
}
