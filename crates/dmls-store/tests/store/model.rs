//! The contract suite and a model test against a plain map.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use dmls::journal::{Journal, Records, Table, Write};
use dmls_store::{MemoryStore, SqliteStore, StoreError, contract};
use proptest::prelude::*;

use crate::world::{Profile, T, U, put, raw};

fn reopen(store: SqliteStore) -> SqliteStore {
    let dir = store.dir().to_owned();
    drop(store);
    SqliteStore::open(&dir, &raw(), Duration::ZERO).unwrap()
}

#[test]
fn sqlite_keeps_the_contract() {
    let profiles = RefCell::new(Vec::new());
    let make = || {
        let profile = Profile::new();
        let store = profile.open();
        profiles.borrow_mut().push(profile);
        store
    };
    contract::run(make, reopen);
}

#[test]
fn memory_keeps_the_contract() {
    contract::run(MemoryStore::new, |store| store);
}

#[test]
fn a_fault_in_memory_changes_nothing() {
    let error = contract::failed_commit_changes_nothing(MemoryStore::new(), |store| store.fail_after(5), |_| {});
    assert_eq!(error.code(), "disk_full");
}

#[test]
fn a_fault_counts_over_commits() {
    let mut store = MemoryStore::new();
    store.fail_after(2);
    put(&mut store, T, b"1", b"");
    put(&mut store, T, b"2", b"");
    assert!(store.commit(&[Write::delete(T, *b"1")]).is_err());
    store.fail_after(0);
    store.heal();
    put(&mut store, T, b"3", b"");
    assert_eq!(store.scan(T, b"").unwrap().len(), 3);
}

#[test]
fn a_process_dies_before_a_commit_or_after_it_and_stores_no_more() {
    for stored in [false, true] {
        let mut store = MemoryStore::new();
        store.die_after(1, stored);
        put(&mut store, T, b"1", b"");
        assert!(!store.is_dead());
        for key in [b"2", b"3"] {
            assert_eq!(store.commit(&[Write::put(T, *key, Vec::new())]).unwrap_err().code(), "store_io");
            assert!(store.is_dead());
        }
        assert_eq!(
            (store.scan(T, b"").unwrap().len(), store.commits()),
            (1 + usize::from(stored), 1 + usize::from(stored))
        );
        store.heal();
        put(&mut store, T, b"4", b"");
    }
    let mut store = MemoryStore::new();
    store.refuse_after(1);
    put(&mut store, T, b"1", b"");
    assert_eq!(store.commit(&[Write::put(T, *b"2", Vec::new())]).unwrap_err().code(), "disk_full");
    put(&mut store, T, b"3", b"");
    assert_eq!(store.commits(), 2);
}

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A value put under a key of a table, or the key deleted.
type Change = (Table, Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug)]
enum Act {
    Commit(Vec<Change>),
    Reopen,
    Purge,
}

fn act() -> impl Strategy<Value = Act> {
    let key = prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'k'), Just(255)], 0..3);
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..40));
    let write = (prop_oneof![Just(T), Just(U)], key, value);
    prop_oneof![
        6 => prop::collection::vec(write, 0..6).prop_map(Act::Commit),
        1 => Just(Act::Reopen),
        1 => Just(Act::Purge),
    ]
}

fn writes(changes: &[Change]) -> Vec<Write> {
    let write = |(table, key, value): &Change| match value {
        Some(value) => Write::put(*table, key.clone(), value.clone()),
        None => Write::delete(*table, key.clone()),
    };
    changes.iter().map(write).collect()
}

fn apply(model: &mut Model, changes: Vec<Change>) {
    for (table, key, value) in changes {
        match value {
            Some(value) => _ = model.insert((table, key), value),
            None => _ = model.remove(&(table, key)),
        }
    }
}

fn agree(model: &Model, store: &impl Records<Error = StoreError>) {
    for table in [T, U] {
        for prefix in [b"".as_slice(), b"\0", b"k", b"\xff", b"\xff\xff"] {
            let of_model = model.iter().filter(|((t, key), _)| *t == table && key.starts_with(prefix));
            let of_model: Vec<_> = of_model.map(|((_, key), value)| (key.clone(), value.clone())).collect();
            let of_store = store.scan(table, prefix).unwrap();
            let of_store: Vec<_> = of_store.into_iter().map(|(key, value)| (key, value.to_vec())).collect();
            assert_eq!(of_model, of_store);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stores_behave_like_a_map(acts in prop::collection::vec(act(), 0..20)) {
        let profile = Profile::new();
        let (mut model, mut memory, mut sqlite) = (Model::new(), MemoryStore::new(), profile.open());
        for act in acts {
            match act {
                Act::Commit(changes) => {
                    memory.commit(&writes(&changes)).unwrap();
                    sqlite.commit(&writes(&changes)).unwrap();
                    apply(&mut model, changes);
                }
                Act::Reopen => sqlite = reopen(sqlite),
                Act::Purge => sqlite.purge().unwrap(),
            }
            agree(&model, &memory);
            agree(&model, &sqlite);
        }
        sqlite.verify().unwrap();
        agree(&model, &reopen(sqlite));
    }
}
