//! Processes that die, wait for each other, or find the disk full (S1, S5, S7).

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use dmls::journal::{Records, Write};
use dmls_store::{ProfileLock, SqliteStore, StoreError};

use crate::child::spawn;
use crate::world::{Profile, T, U, put, raw, read};

/// The writes of commit `number`: several rows that must appear together, one that goes.
pub fn step(number: u64) -> Vec<Write> {
    let tag = number.to_be_bytes();
    let size = usize::try_from(number * 997 % 9000).unwrap();
    let rows = (0..4u8).map(|row| Write::put(T, [row], [tag.as_slice(), &vec![row; size]].concat()));
    let mut writes: Vec<_> = rows.collect();
    writes.push(Write::put(U, tag, tag.to_vec()));
    if let Some(old) = number.checked_sub(3) {
        writes.push(Write::delete(U, old.to_be_bytes()));
    }
    writes.push(Write::put(T, *b"count", (number + 1).to_be_bytes().to_vec()));
    writes
}

/// How many steps the store has, after checking that it has exactly these.
pub fn steps_done(store: &impl Records<Error = StoreError>) -> u64 {
    let Some(count) = read(store, T, b"count") else {
        assert!(store.scan(T, b"").unwrap().is_empty() && store.scan(U, b"").unwrap().is_empty());
        return 0;
    };
    let count = u64::from_be_bytes(count.try_into().unwrap());
    let last = (count - 1).to_be_bytes();
    for row in 0..4u8 {
        assert!(read(store, T, &[row]).unwrap().starts_with(&last));
    }
    let left: Vec<_> = store.scan(U, b"").unwrap().into_iter().map(|(key, _)| key).collect();
    let expected: Vec<_> = (count.saturating_sub(3)..count).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(left, expected);
    count
}

/// What a child says, line by line.
fn sayings(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("said ").map(str::to_owned))
}

#[test]
fn killed_at_any_point_leaves_whole_commits() {
    let profile = Profile::new();
    let mut done = 0;
    for round in 0..8u64 {
        let mut child = spawn("commit", profile.path());
        let mut said = sayings(&mut child);
        assert_eq!(said.next().unwrap(), (done + 1).to_string());
        // Not a random wait but a different one each round, so that a failure can be seen again.
        thread::sleep(Duration::from_micros(round * 7919 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = said.last().map_or(done + 1, |text| text.parse().unwrap());
        let store = profile.open();
        store.verify().unwrap();
        done = steps_done(&store);
        // What was reported is there; at most the one commit after it may have become durable unreported.
        assert!(done == told || done == told + 1, "round {round}: told {told}, found {done}");
    }
}

#[test]
fn a_second_process_is_refused_and_told_who_holds() {
    let profile = Profile::new();
    let mut child = spawn("hold", profile.path());
    let mut said = sayings(&mut child);
    assert_eq!(said.next().unwrap(), "held");
    let before = Instant::now();
    let error = SqliteStore::open(profile.path(), &raw(), Duration::from_millis(200)).unwrap_err();
    assert!(before.elapsed() >= Duration::from_millis(200));
    assert!(matches!(error, StoreError::Locked { holder: Some(pid) } if pid == child.id()), "{error}");
    assert_eq!(error.code(), "store_locked");
    child.kill().unwrap();
    child.wait().unwrap();
    profile.open();
}

#[test]
fn a_second_process_gets_the_store_when_the_first_lets_go() {
    let profile = Profile::new();
    let mut child = spawn("hold", profile.path());
    let mut said = sayings(&mut child);
    assert_eq!(said.next().unwrap(), "held");
    let stdin = child.stdin.take();
    let letting_go = thread::spawn(move || {
        thread::sleep(Duration::from_millis(150));
        drop(stdin);
    });
    SqliteStore::open(profile.path(), &raw(), Duration::from_secs(20)).unwrap();
    letting_go.join().unwrap();
    assert_eq!(said.next(), None);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_child_is_refused_while_we_hold() {
    let profile = Profile::new();
    let store = profile.open();
    let mut child = spawn("hold", profile.path());
    assert_eq!(sayings(&mut child).last().unwrap(), "store_locked");
    child.wait().unwrap();
    drop(store);
}

#[test]
fn the_lock_works_within_a_process_too() {
    let profile = Profile::new();
    let lock = ProfileLock::acquire(profile.path(), Duration::ZERO).unwrap();
    assert_eq!(profile.refusal(&raw()), "store_locked");
    let mut store = SqliteStore::open_locked(lock, &raw()).unwrap();
    put(&mut store, T, b"k", b"v");
    assert_eq!(profile.refusal(&raw()), "store_locked");
    drop(store);
    profile.open();
}

#[test]
#[cfg(unix)]
fn a_file_that_may_not_grow_fails_whole_commits() {
    let profile = Profile::new();
    drop(profile.open());
    let mut child = crate::child::spawn_limited("fill", profile.path(), 300);
    let told: u64 = sayings(&mut child).last().unwrap().parse().unwrap();
    assert!(child.wait().unwrap().success());
    let mut store = profile.open();
    assert_eq!(steps_done(&store), told);
    assert!(told > 0);
    dmls::journal::Journal::commit(&mut store, &step(told)).unwrap();
    assert_eq!(steps_done(&store), told + 1);
    store.verify().unwrap();
}
