//! Files of earlier versions open for ever (S11): `tests/golden/vN` holds one store per kind of key, and one as a crash
//! leaves it, with commits in slots.
//!
//! Made once per format version by the ignored test; never made again for a version that was released. Version 1 never
//! was: its stores are refused.

use std::fs;
use std::path::{Path, PathBuf};

use dmls::journal::{Journal, Records, Table, Write};
use dmls_store::{Generation, Key, SqliteStore, StoreError};

use crate::world::{Profile, read};

fn golden(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2").join(kind)
}

fn keys() -> [(&'static str, Key); 4] {
    [
        ("crashed", Key::raw([0x42; 32])),
        ("raw", Key::raw([0x42; 32])),
        ("passphrase", Key::passphrase("correct horse battery staple")),
        ("file", Key::File),
    ]
}

fn contents() -> [Vec<Write>; 3] {
    let big: Vec<u8> = (0..6000u32).map(|i| i.to_le_bytes()[0]).collect();
    [
        vec![
            Write::put(Table("epochs"), *b"first", b"one".to_vec()),
            Write::put(Table("epochs"), *b"gone", b"deleted later".to_vec()),
            Write::put(Table("rooms"), *b"", Vec::new()),
        ],
        vec![Write::put(Table("epochs"), *b"big", big), Write::put(Table("epochs"), *b"first", b"two".to_vec())],
        vec![Write::delete(Table("epochs"), *b"gone"), Write::put(Table("rooms"), [0, 255], vec![0, 255])],
    ]
}

fn check(store: &SqliteStore) {
    store.verify().unwrap();
    let keys = |table| store.scan(table, b"").unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(Table("epochs")), [b"big".to_vec(), b"first".to_vec()]);
    assert_eq!(keys(Table("rooms")), [vec![], vec![0, 255]]);
    assert_eq!(read(store, Table("epochs"), b"first").unwrap(), b"two");
    assert_eq!(read(store, Table("epochs"), b"big").unwrap().len(), 6000);
    assert_eq!(read(store, Table("rooms"), b"").unwrap(), b"");
    assert_eq!(store.generation(), Generation(3));
}

/// Copies golden files to where they may be changed.
fn copy(from: &Path) -> Profile {
    let profile = Profile::new();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = profile.path().join(path.file_name().unwrap());
        fs::copy(path, &copy).unwrap();
        // Version control does not keep the mode.
        #[cfg(unix)]
        fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    profile
}

#[test]
fn stores_of_version_2_open() {
    for (kind, key) in keys() {
        let profile = copy(&golden(kind));
        let mut store = profile.try_open(&key).unwrap();
        check(&store);
        let subkey = fs::read(golden(kind).join("subkey")).unwrap();
        assert_eq!(store.subkey("golden").unwrap().as_slice(), subkey, "{kind}");
        store.commit(&[Write::put(Table("rooms"), *b"new", vec![1])]).unwrap();
        drop(store);
        assert_eq!(read(&profile.try_open(&key).unwrap(), Table("rooms"), b"new").unwrap(), [1]);
    }
}

#[test]
fn a_store_of_version_1_is_refused_by_name_and_left_as_it_is() {
    let profile = copy(&golden("../v1/raw"));
    let before = fs::read(profile.file()).unwrap();
    let error = profile.try_open(&Key::raw([0x42; 32])).unwrap_err();
    assert!(matches!(error, StoreError::OlderVersion { found: 1, supported: 2 }), "{error}");
    assert_eq!(error.code(), "store_older_version");
    assert_eq!(fs::read(profile.file()).unwrap(), before);
}

#[test]
#[ignore = "makes the golden files; run by hand, once per format version"]
fn make_golden_files() {
    for (kind, key) in keys() {
        let dir = golden(kind);
        assert!(!dir.exists(), "golden files are never made again");
        fs::create_dir_all(&dir).unwrap();
        let profile = Profile::new();
        let mut store = profile.try_open(&key).unwrap();
        for writes in contents() {
            store.commit(&writes).unwrap();
        }
        check(&store);
        fs::write(dir.join("subkey"), *store.subkey("golden").unwrap()).unwrap();
        // Of the one that crashed the files are copied while it is open.
        let open = (kind == "crashed").then_some(store);
        for name in ["store.db", "store.db-wal", "store.key"] {
            let from = profile.path().join(name);
            from.exists().then(|| fs::copy(from, dir.join(name)).unwrap());
        }
        drop(open);
    }
}
