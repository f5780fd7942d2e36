//! How often the device stores something, and how much.

use std::time::Duration;

use dmls::journal::{Journal as _, Records as _, Table, Write};
use dmls_matrix::RoomId;
use dmls_store::{Key, SqliteStore};

use crate::everyday::alice_and_bob;
use crate::watched::Batch;
use crate::world::World;

/// What a device stored since it was last asked.
fn stored(world: &mut World, name: &str) -> Vec<Batch> {
    std::mem::take(&mut world.client(name).machine.as_mut().unwrap().journal_mut().batches)
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

/// Two people who have said something already.
fn talk() -> (World, RoomId) {
    let (mut world, room) = alice_and_bob();
    say(&mut world, "alice", "bob", &room, "first");
    say(&mut world, "bob", "alice", &room, "second");
    for name in ["alice", "bob"] {
        world.client(name).machine.as_mut().unwrap().store().unwrap();
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

#[test]
#[ignore = "figures"]
fn what_is_stored() {
    let (mut world, room) = talk();
    for body in ["one", "two"] {
        say(&mut world, "alice", "bob", &room, body);
        for name in ["alice", "bob"] {
            for batch in stored(&mut world, name) {
                println!("{body}, {name}: {} bytes", batch.iter().map(size).sum::<usize>());
                for write in &batch {
                    println!("    {write:?}");
                }
            }
        }
    }
}

/// Bytes that this process has handed to the system to be written.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

#[test]
#[ignore = "figures"]
fn what_a_message_costs_on_disk() {
    let count = std::env::var("MESSAGES").map_or(200, |count| count.parse().unwrap());
    let old = std::env::var("OLD").map_or(10_000, |count: String| count.parse().unwrap());
    let (mut world, room) = talk();
    let mut before = ["alice", "bob"].map(|name| {
        let journal = world.client(name).machine.as_mut().unwrap().journal();
        let places: Vec<_> = journal.places().map(|(table, key)| (table, key.to_vec())).collect();
        let put = |(table, key): (Table, Vec<u8>)| {
            let value = journal.get(table, &key).unwrap().unwrap().to_vec();
            Write::put(table, key, value)
        };
        places.into_iter().map(put).collect::<Vec<_>>()
    });
    for number in 0..count {
        say(&mut world, "alice", "bob", &room, &format!("message {number}"));
    }
    for (name, before) in ["alice", "bob"].iter().zip(&mut before) {
        let mut batches = stored(&mut world, name);
        for write in batches.iter_mut().flatten().chain(before.iter_mut()) {
            if let (true, Write::Put { table: Table("dmls.view"), value, .. }) = (std::env::var("LEAN").is_ok(), write) {
                value.truncate(200);
            }
        }
        let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut store = SqliteStore::open(dir.path(), &Key::raw([7; 32]), Duration::ZERO).unwrap();
        store.commit(before).unwrap();
        for number in 0..old / 100u64 {
            let filler = (0..100u64).map(|i| Write::put(Table("filler"), (number * 100 + i).to_be_bytes(), vec![1; 400]));
            store.commit(&filler.collect::<Vec<_>>()).unwrap();
        }
        store.purge().unwrap();
        let (start, records) = (written(), batches.iter().flatten().map(size).sum::<usize>());
        for batch in &batches {
            store.commit(batch).unwrap();
        }
        let bytes = written() - start;
        store.purge().unwrap();
        let all = written() - start;
        println!(
            "{name}: {} transactions of {count} messages; a message: {} bytes of records, {} of files ({} with the end)",
            batches.len(), records / count, bytes / count as u64, all / count as u64,
        );
    }
}
