//! Files of earlier versions open for ever (S11): `tests/golden/vN` holds one store per kind of key.
//!
//! Made once per format version by the ignored test; never made again for a version that was released.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dmls::journal::{Journal, Records, Table, Write};
use dmls_store::{Generation, Key, SqliteStore};

use crate::world::{Profile, read};

fn golden(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(kind)
}

fn keys() -> [(&'static str, Key); 3] {
    [
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

#[test]
fn stores_of_version_1_open() {
    for (kind, key) in keys() {
        let profile = Profile::new();
        for entry in fs::read_dir(golden(kind)).unwrap() {
            let path = entry.unwrap().path();
            let copy = profile.path().join(path.file_name().unwrap());
            fs::copy(path, &copy).unwrap();
            // Version control does not keep the mode.
            #[cfg(unix)]
            fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
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
#[ignore = "makes the golden files; run by hand, once per format version"]
fn make_golden_files() {
    for (kind, key) in keys() {
        let dir = golden(kind);
        assert!(!dir.exists(), "golden files are never made again");
        let mut store = SqliteStore::open(&dir, &key, Duration::ZERO).unwrap();
        for writes in contents() {
            store.commit(&writes).unwrap();
        }
        check(&store);
        fs::write(dir.join("subkey"), *store.subkey("golden").unwrap()).unwrap();
        drop(store);
        fs::remove_file(dir.join("store.lock")).unwrap();
    }
}
