//! What a thief finds in the files (S9).

use std::collections::HashSet;

use dmls::journal::{Journal, Write};

use crate::world::{Profile, T, contains, put, raw};

const VALUE: &[u8] = b"canary-value-5d1f";
const KEY: &[u8] = b"!canary-room:example.org";

#[test]
fn no_plaintext_reaches_the_files() {
    let profile = Profile::new();
    let mut store = profile.open();
    for i in 0..40u8 {
        put(&mut store, T, &[KEY, &[i]].concat(), &VALUE.repeat(usize::from(i) * 40));
        if i % 3 == 0 {
            store.commit(&[Write::delete(T, [KEY, &[i / 2]].concat())]).unwrap();
        }
        let bytes = profile.bytes();
        assert!(bytes.len() > 4096);
        assert!(![VALUE, KEY, T.0.as_bytes()].iter().any(|canary| contains(&bytes, canary)));
    }
    drop(store);
    assert!(![VALUE, KEY, T.0.as_bytes()].iter().any(|canary| contains(&profile.bytes(), canary)));
}

/// The sealed bytes of all records, in pieces that fit on one page.
fn sealed(profile: &Profile) -> Vec<Vec<u8>> {
    let sql = profile.sql();
    let mut query = sql.prepare("SELECT sealed FROM value UNION ALL SELECT sealed FROM name").unwrap();
    let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    rows.flat_map(|row| row.unwrap().chunks(32).map(<[u8]>::to_vec).collect::<Vec<_>>())
        .filter(|piece| piece.len() == 32)
        .collect()
}

fn found(profile: &Profile, pieces: &[Vec<u8>]) -> usize {
    let bytes = profile.bytes();
    pieces.iter().filter(|piece| contains(&bytes, piece)).count()
}

#[test]
fn deleted_and_replaced_records_are_gone_after_a_purge() {
    let profile = Profile::new();
    let mut store = profile.open();
    put(&mut store, T, b"deleted, and as short as a key", &[1; 32]);
    put(&mut store, T, b"deleted, and larger than a page", &[2; 20_000]);
    put(&mut store, T, b"replaced by a shorter one, later", &[3; 5_000]);
    drop(store);
    let old = sealed(&profile);
    assert!(found(&profile, &old) > old.len() * 9 / 10);
    let mut store = profile.open();
    let writes = [
        Write::delete(T, *b"deleted, and as short as a key"),
        Write::delete(T, *b"deleted, and larger than a page"),
        Write::put(T, *b"replaced by a shorter one, later", vec![4; 100]),
    ];
    store.commit(&writes).unwrap();
    assert!(found(&profile, &old) > 0, "still in the file until the log is written back");
    store.purge().unwrap();
    assert_eq!(found(&profile, &old), 0);
    store.verify().unwrap();
    drop(store);
    assert_eq!(found(&profile, &old), 0);
}

#[test]
fn what_a_crash_left_in_the_log_goes_at_the_next_open() {
    let profile = Profile::new();
    let mut store = profile.open();
    store.purge().unwrap();
    put(&mut store, T, b"deleted, and as short as a key", &[1; 3000]);
    let snapshot = Profile::new();
    for entry in std::fs::read_dir(profile.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, snapshot.path().join(path.file_name().unwrap())).unwrap();
    }
    let log = || std::fs::metadata(snapshot.path().join("store.db-wal")).map_or(0, |file| file.len());
    assert!(log() > 3000);
    let store = snapshot.try_open(&raw()).unwrap();
    assert_eq!(log(), 0);
    store.verify().unwrap();
    assert_eq!(crate::world::read(&store, T, b"deleted, and as short as a key").unwrap(), [1; 3000]);
}

/// A step of Knuth's linear congruential generator: sizes and keys that are the same in every run.
fn draw(random: &mut u64, below: u64) -> usize {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from((*random >> 33) % below).unwrap()
}

fn random_write(random: &mut u64) -> Write {
    let key = draw(random, 80).to_be_bytes();
    let size = [10, 60, 300, 1500, 6000][draw(random, 5)] + draw(random, 50);
    if draw(random, 3) == 0 { Write::delete(T, key) } else { Write::put(T, key, vec![1; size]) }
}

/// Pages split, merge and are used again; no copy of a record may stay in a corner of one.
#[test]
fn churn_leaves_nothing_behind() {
    let profile = Profile::new();
    let (mut ever, mut random) = (HashSet::new(), 1);
    for round in 0..60 {
        let mut store = profile.open();
        let writes: Vec<_> = (0..12).map(|_| random_write(&mut random)).collect();
        store.commit(&writes).unwrap();
        drop(store);
        let live: HashSet<_> = sealed(&profile).into_iter().collect();
        let bytes = profile.bytes();
        let windows: HashSet<&[u8]> = bytes.windows(32).collect();
        let is_there = |piece: &&Vec<u8>| windows.contains(piece.as_slice());
        assert!(live.iter().filter(is_there).count() > live.len() * 9 / 10, "the search works");
        assert_eq!(ever.difference(&live).filter(is_there).count(), 0, "round {round}");
        ever.extend(live);
    }
}
