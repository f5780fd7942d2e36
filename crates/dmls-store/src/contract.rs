//! What every journal must satisfy: a suite that each implementation runs in its tests.
//!
//! The functions panic, as assertions do, when a journal breaks the contract.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use dmls::journal::{Entry, Journal, Table, Write};

const A: Table = Table("a");
const B: Table = Table("b");

/// Runs the whole suite; `make` gives an empty journal, `reopen` closes one and opens it again.
pub fn run<J>(make: impl Fn() -> J, reopen: impl Fn(J) -> J)
where
    J: Journal,
    J::Error: Debug,
{
    put_get_delete(make());
    order_in_a_commit(make());
    scans(make());
    odd_keys_and_values(make());
    many_tables(make());
    survives_reopening(make(), reopen);
}

/// Checks that a commit that fails in the middle changes nothing, and that the journal works on afterwards.
///
/// `arm` makes the commit of some 2 MiB that follows fail before its end; `heal` takes the cause away. Gives the error.
pub fn failed_commit_changes_nothing<J>(mut journal: J, arm: impl Fn(&mut J), heal: impl Fn(&mut J)) -> J::Error
where
    J: Journal,
    J::Error: Debug,
{
    put(&mut journal, A, b"kept", b"old");
    put(&mut journal, A, b"gone", b"still here");
    let before = journal.scan(A, b"").unwrap();
    let mut writes = vec![Write::put(A, *b"kept", b"new".to_vec()), Write::delete(A, *b"gone")];
    writes.extend((0..32u8).map(|i| Write::put(A, [i], vec![i; 65_536])));
    arm(&mut journal);
    let error = journal.commit(&writes).unwrap_err();
    assert_eq!(journal.scan(A, b"").unwrap(), before);
    heal(&mut journal);
    assert_eq!(journal.scan(A, b"").unwrap(), before);
    journal.commit(&writes).unwrap();
    assert_eq!(read(&journal, A, b"kept").unwrap(), b"new");
    assert_eq!(read(&journal, A, b"gone"), None);
    assert_eq!(journal.scan(A, b"").unwrap().len(), 33);
    error
}

fn put_get_delete<J: Journal<Error: Debug>>(mut journal: J) {
    assert_eq!(read(&journal, A, b"k"), None);
    put(&mut journal, A, b"k", b"one");
    assert_eq!(read(&journal, A, b"k").unwrap(), b"one");
    assert_eq!(read(&journal, B, b"k"), None);
    put(&mut journal, A, b"k", b"two");
    assert_eq!(read(&journal, A, b"k").unwrap(), b"two");
    journal.commit(&[Write::delete(A, *b"k")]).unwrap();
    assert_eq!(read(&journal, A, b"k"), None);
    journal.commit(&[Write::delete(A, *b"k"), Write::delete(B, *b"never")]).unwrap();
    journal.commit(&[]).unwrap();
    put(&mut journal, A, b"k", b"three");
    assert_eq!(read(&journal, A, b"k").unwrap(), b"three");
}

fn order_in_a_commit<J: Journal<Error: Debug>>(mut journal: J) {
    put(&mut journal, A, b"both", b"old");
    let writes = [
        Write::put(A, *b"twice", b"first".to_vec()),
        Write::put(A, *b"twice", b"last".to_vec()),
        Write::put(A, *b"dropped", b"x".to_vec()),
        Write::delete(A, *b"dropped"),
        Write::delete(A, *b"both"),
        Write::put(A, *b"both", b"new".to_vec()),
        Write::put(B, *b"twice", b"other table".to_vec()),
    ];
    journal.commit(&writes).unwrap();
    assert_eq!(read(&journal, A, b"twice").unwrap(), b"last");
    assert_eq!(read(&journal, A, b"dropped"), None);
    assert_eq!(read(&journal, A, b"both").unwrap(), b"new");
    assert_eq!(read(&journal, B, b"twice").unwrap(), b"other table");
    assert_eq!(keys(&journal, A, b""), [b"both".as_slice(), b"twice"]);
}

fn scans<J: Journal<Error: Debug>>(mut journal: J) {
    assert!(keys(&journal, A, b"").is_empty());
    let sorted: [&[u8]; 9] = [b"", b"\0", b"\0\xff", b"p", b"p\0", b"pa", b"p\xff\xff", b"q", b"\xff\xff"];
    for key in sorted.iter().rev() {
        put(&mut journal, A, key, key);
        put(&mut journal, B, key, b"of b");
    }
    assert_eq!(keys(&journal, A, b""), sorted);
    assert_eq!(keys(&journal, A, b"p"), sorted[3..7]);
    assert_eq!(keys(&journal, A, b"\0"), sorted[1..3]);
    assert_eq!(keys(&journal, A, b"\xff"), sorted[8..]);
    assert!(keys(&journal, A, b"pb").is_empty());
    assert!(journal.scan(A, b"").unwrap().iter().all(|(key, value)| *key == **value));
}

fn odd_keys_and_values<J: Journal<Error: Debug>>(mut journal: J) {
    let big: Vec<u8> = (0..1_048_576u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    let long = vec![0xAB; 2000];
    put(&mut journal, A, b"empty", b"");
    put(&mut journal, A, b"", b"under the empty key");
    put(&mut journal, A, b"a\0b", b"zero inside");
    put(&mut journal, A, b"a", b"before the zero");
    put(&mut journal, A, b"big", &big);
    put(&mut journal, A, &long, b"long key");
    assert_eq!(read(&journal, A, b"empty").unwrap(), b"");
    assert_eq!(read(&journal, A, b"").unwrap(), b"under the empty key");
    assert_eq!(read(&journal, A, b"a\0b").unwrap(), b"zero inside");
    assert_eq!(read(&journal, A, b"a").unwrap(), b"before the zero");
    assert!(read(&journal, A, b"big").unwrap() == big);
    assert_eq!(read(&journal, A, &long).unwrap(), b"long key");
    put(&mut journal, A, b"big", b"small again");
    assert_eq!(read(&journal, A, b"big").unwrap(), b"small again");
}

fn many_tables<J: Journal<Error: Debug>>(mut journal: J) {
    const TABLES: [Table; 6] = [Table("t"), Table("t1"), Table("t11"), Table("T"), Table("t.x"), Table("schlüssel")];
    let writes = TABLES.iter().map(|table| Write::put(*table, *b"1", table.0.into()));
    journal.commit(&writes.collect::<Vec<_>>()).unwrap();
    // The name of a table and the key must not run into each other: ("t", "11") is not ("t1", "1").
    put(&mut journal, Table("t"), b"11", b"other");
    for table in TABLES {
        assert_eq!(read(&journal, table, b"1").unwrap(), table.0.as_bytes());
    }
    journal.commit(&[Write::delete(Table("t1"), *b"1")]).unwrap();
    assert_eq!(keys(&journal, Table("t"), b""), [b"1".as_slice(), b"11"]);
    assert_eq!(read(&journal, Table("t11"), b"1").unwrap(), b"t11");
}

fn survives_reopening<J: Journal<Error: Debug>>(mut journal: J, reopen: impl Fn(J) -> J) {
    for i in 0..50u8 {
        put(&mut journal, A, &[i % 20], &vec![i; usize::from(i) * 100]);
        if i % 3 == 0 {
            journal.commit(&[Write::delete(A, [i % 7]), Write::put(B, [i], vec![])]).unwrap();
        }
    }
    let before = (journal.scan(A, b"").unwrap(), journal.scan(B, b"").unwrap());
    let mut journal = reopen(journal);
    assert_eq!((journal.scan(A, b"").unwrap(), journal.scan(B, b"").unwrap()), before);
    put(&mut journal, A, b"after", b"reopening");
    let journal = reopen(reopen(journal));
    assert_eq!(read(&journal, A, b"after").unwrap(), b"reopening");
    assert_eq!(journal.scan(B, b"").unwrap(), before.1);
}

fn put<J: Journal<Error: Debug>>(journal: &mut J, table: Table, key: &[u8], value: &[u8]) {
    journal.commit(&[Write::put(table, key, value.to_vec())]).unwrap();
}

fn read<J: Journal<Error: Debug>>(journal: &J, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    journal.get(table, key).unwrap().map(|value| value.to_vec())
}

fn keys<J: Journal<Error: Debug>>(journal: &J, table: Table, prefix: &[u8]) -> Vec<Vec<u8>> {
    let entries: Vec<Entry> = journal.scan(table, prefix).unwrap();
    entries.into_iter().map(|(key, _)| key).collect()
}
