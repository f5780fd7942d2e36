//! How often a device stores something, and how much.

use std::time::Duration;

use dmls::journal::{Journal as _, Records as _, Table, Write};
use dmls_matrix::{Machine, RoomId};
use dmls_store::{Key, SqliteStore};

use crate::everyday::alice_and_bob;
use crate::watched::{Batch, Watched};
use crate::world::World;

/// Bytes of keys and records that a message may cost each side, beside the records of the core.
const MOST: usize = 2_500;

fn machine<'a>(world: &'a mut World, name: &str) -> &'a mut Machine<Watched> {
    world.client(name).machine.as_mut().unwrap()
}

/// What a device stored since it was last asked.
fn stored(world: &mut World, name: &str) -> Vec<Batch> {
    std::mem::take(&mut machine(world, name).journal_mut().batches)
}

/// One message is said, taken by the homeserver, read, and comes back to who said it.
fn say(world: &mut World, from: &str, to: &str, room: &RoomId, body: &str) {
    world.send(from, room, body);
    world.run(from);
    for name in [to, from] {
        world.sync(name);
        world.run(name);
    }
    world.now += 1_000;
}

/// Two people who have said something already, with all of it stored.
fn talk() -> (World, RoomId) {
    let (mut world, room) = alice_and_bob();
    say(&mut world, "alice", "bob", &room, "first");
    say(&mut world, "bob", "alice", &room, "second");
    for name in ["alice", "bob"] {
        machine(&mut world, name).store().unwrap();
        stored(&mut world, name);
    }
    (world, room)
}

fn size(write: &Write) -> usize {
    match write {
        Write::Put { key, value, .. } => key.len() + value.len(),
        Write::Delete { key, .. } => key.len(),
    }
}

/// Bytes of a transaction, without the records of the core.
fn own_size(batch: &Batch) -> usize {
    batch.iter().filter(|write| !write.place().0.0.starts_with("dmls.")).map(size).sum()
}

/// The used key, the row, what is to be sent, and what was left of the message before are stored together.
#[test]
fn a_message_is_one_transaction_on_each_side() {
    let (mut world, room) = talk();
    for round in 0..5 {
        for (from, to) in [("alice", "bob"), ("bob", "alice"), ("bob", "alice")] {
            say(&mut world, from, to, &room, &format!("{from} {round}"));
            for name in [from, to] {
                let batches = stored(&mut world, name);
                assert_eq!(batches.len(), 1, "{name}, when {from} says something");
                assert!(own_size(&batches[0]) < MOST, "{name}: {:?}", batches[0]);
            }
        }
    }
    let expected: Vec<_> = world.transcript("alice", &room);
    assert_eq!(world.transcript("bob", &room), expected);
    assert_eq!(expected.len(), 17);
}

/// What a message costs does not depend on how much was said before, and by how many.
#[test]
fn a_message_costs_the_same_after_many_others() {
    let (mut world, room) = talk();
    let mut costs = Vec::new();
    for number in 100..200 {
        say(&mut world, "alice", "bob", &room, &format!("message {number}"));
        let of = |world: &mut World, name: &str| stored(world, name).iter().map(own_size).sum::<usize>();
        costs.push((of(&mut world, "alice"), of(&mut world, "bob")));
    }
    let (first, last) = (costs[5], costs[99]);
    let grown = |first: usize, last: usize| last > first + first / 20;
    assert!(!grown(first.0, last.0) && !grown(first.1, last.1), "{first:?}, then {last:?}");
}

/// SPEC §7.1: a message that was kept outlives a crash at any time, and leaves once.
#[test]
fn what_waits_for_the_next_transaction_comes_again_after_a_crash() {
    let (mut world, room) = talk();
    for point in 0..4 {
        world.send("alice", &room, &format!("message {point}"));
        if point > 0 {
            world.run("alice");
        }
        if point > 1 {
            world.sync("alice");
        }
        if point > 2 {
            world.sync("alice");
        }
        // Closed without storing what waits, as a process that is killed.
        world.reopen("alice");
        world.settle();
    }
    let expected = ["first", "second", "message 0", "message 1", "message 2", "message 3"];
    assert_eq!(world.transcript("alice", &room), expected);
    assert_eq!(world.transcript("bob", &room), expected);
    let messages = world.net.servers["one.test"]
        .stream
        .iter()
        .filter(|(_, event)| event["type"] == "m.room.encrypted" && event["content"].get("group_info").is_none());
    assert_eq!(messages.count(), expected.len());
}

#[test]
fn what_waits_is_stored_when_the_host_ends() {
    let (mut world, room) = talk();
    let message = world.send("alice", &room, "taken");
    world.run("alice");
    assert!(!machine(&mut world, "alice").unstored().is_empty());
    machine(&mut world, "alice").store().unwrap();
    assert!(machine(&mut world, "alice").unstored().is_empty());
    world.reopen("alice");
    let row = machine(&mut world, "alice").own_message(&room, &message).unwrap().unwrap();
    assert!(row.event_id.is_some());
}

#[test]
fn syncs_that_show_nothing_are_stored_now_and_then() {
    let (mut world, room) = talk();
    for _ in 0..100 {
        world.sync("alice");
        world.run("alice");
    }
    assert_eq!(stored(&mut world, "alice").len(), 3);
    // The next transaction takes their position with it.
    world.sync("alice");
    world.send("alice", &room, "here");
    let position = machine(&mut world, "alice").sync_position().map(str::to_owned);
    world.reopen("alice");
    assert_eq!(machine(&mut world, "alice").sync_position().map(str::to_owned), position);
}

/// Bytes that this process has handed to the system to be written.
fn written() -> usize {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// A store on disk with these records, and some that have nothing to do with them.
fn disk(records: &[Write]) -> (tempfile::TempDir, SqliteStore) {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut store = SqliteStore::open(dir.path(), &Key::raw([7; 32]), Duration::ZERO).unwrap();
    store.commit(records).unwrap();
    let others = (0..10_000u64).map(|number| Write::put(Table("others"), number.to_be_bytes(), vec![1; 400]));
    store.commit(&others.collect::<Vec<_>>()).unwrap();
    store.purge().unwrap();
    (dir, store)
}

/// The table of docs/STORAGE.md; with `strace -f -c -e trace=fsync` also how often the disk was waited for.
#[test]
#[ignore = "figures, not a test"]
fn what_a_message_costs_on_disk() {
    let count = std::env::var("MESSAGES").map_or(320, |count| count.parse().unwrap());
    let (mut world, room) = talk();
    let mut before = Vec::new();
    for name in ["alice", "bob"] {
        let journal = machine(&mut world, name).journal();
        let put =
            |(table, key): (Table, &[u8])| Write::put(table, key, journal.get(table, key).unwrap().unwrap().to_vec());
        before.push(journal.places().map(put).collect::<Vec<_>>());
    }
    for number in 0..count {
        say(&mut world, "alice", "bob", &room, &format!("message {number}"));
    }
    for (name, before) in ["alice", "bob"].iter().zip(&before) {
        let batches = stored(&mut world, name);
        for write in &batches[batches.len() / 2] {
            println!("{name}: {write:?}");
        }
        let (_dir, mut store) = disk(before);
        let start = written();
        batches.iter().for_each(|batch| store.commit(batch).unwrap());
        let files = written() - start;
        let records = batches.iter().flatten().map(size).sum::<usize>();
        let (core, rest) =
            (records - batches.iter().map(own_size).sum::<usize>(), batches.iter().map(own_size).sum::<usize>());
        println!("{name}: {} transactions for {count} messages", batches.len());
        println!(
            "{name}: a message is {} + {} bytes of records, {} of files",
            core / count,
            rest / count,
            files / count
        );
    }
}
