//! How often a device stores something, and how much.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use dmls::journal::{Journal as _, Records as _, Table, Write};
use dmls_matrix::facts::Endorsement;
use dmls_matrix::{Machine, RoomId};
use dmls_store::{Key, SqliteStore};

use crate::everyday::alice_and_bob;
use crate::watched::{Batch, Watched};
use crate::world::{World, user};

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

/// SPEC §7.3: what shows nothing new may bring the time at which a waiting message is settled. That does not wait.
#[test]
fn what_is_settled_on_the_way_does_not_wait() {
    let (mut world, room) = talk();
    world.update("bob", &room);
    world.settle();
    let events = world.net.servers["one.test"].stream.iter().rev().map(|(_, event)| event);
    let sealed = |commit: bool| {
        let mut events = events.clone().filter(|event| event["type"] == "m.room.encrypted");
        events.find(|event| event["content"].get("group_info").is_some() == commit).unwrap()["content"].clone()
    };
    let (mut message, commit) = (sealed(false), sealed(true));
    // A message of an epoch that does not exist.
    let unpadded = base64::engine::general_purpose::STANDARD_NO_PAD;
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let id = url.decode(message["epoch"]["id"].as_str().unwrap()).unwrap();
    let mut bytes = unpadded.decode(message["ciphertext"].as_str().unwrap()).unwrap();
    let at = bytes.windows(32).position(|window| window == id).unwrap();
    bytes[at..at + 32].fill(7);
    message["ciphertext"] = unpadded.encode(&bytes).into();
    message["epoch"]["id"] = url.encode([7; 32]).into();
    let bob = world.device("bob");
    world.net.post(&bob, &room.0, "m.room.encrypted", None, message, None);
    let mut until = world.now + 24 * 3_600_000;
    world.sync("alice");
    until = until.min(world.now + 24 * 3_600_000);
    world.run("alice");
    while world.now + 600_000 < until {
        world.now += 600_000;
        world.sync("alice");
        world.run("alice");
    }
    machine(&mut world, "alice").store().unwrap();
    world.now = until + 1;
    world.net.post(&bob, &room.0, "m.room.encrypted", None, commit, None);
    stored(&mut world, "alice");
    world.sync("alice");
    let waiting = |write: &Write| write.place().0.0 == "dmls.pending";
    assert!(stored(&mut world, "alice").iter().flatten().any(waiting), "the message was settled, and that is stored");
    assert!(!machine(&mut world, "alice").unstored().iter().any(waiting));
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
    let before = ["alice", "bob"].map(|name| records(&mut world, name));
    for number in 0..count {
        say(&mut world, "alice", "bob", &room, &format!("message {number}"));
    }
    for (name, before) in ["alice", "bob"].iter().zip(&before) {
        let batches = stored(&mut world, name);
        for write in &batches[batches.len() / 2] {
            println!("{name}: {write:?}");
        }
        let (_dir, mut store) = disk(before);
        print_files(name, &mut store, &batches, count, "message");
    }
}

/// All that a device has stored.
fn records(world: &mut World, name: &str) -> Vec<Write> {
    let journal = machine(world, name).journal();
    let put = |(table, key): (Table, &[u8])| Write::put(table, key, journal.get(table, key).unwrap().unwrap().to_vec());
    journal.places().map(put).collect()
}

/// What `count` of these things cost on disk.
fn print_files(name: &str, store: &mut SqliteStore, batches: &[Batch], count: usize, what: &str) {
    let start = written();
    batches.iter().for_each(|batch| store.commit(batch).unwrap());
    let files = written() - start;
    let records = batches.iter().flatten().map(size).sum::<usize>();
    let rest = batches.iter().map(own_size).sum::<usize>();
    println!("{name}: {} transactions for {count} {what}s", batches.len());
    println!(
        "{name}: a {what} is {} + {} bytes of records, {} of files",
        (records - rest) / count,
        rest / count,
        files / count
    );
}

/// Leaves that come at a time: so many fit into an event, with a path beside which nobody has committed yet.
const BATCH: usize = 64;

/// Everything is done that is due until so many devices are in the room.
fn fill(world: &mut World, room: &RoomId, count: usize) {
    for _ in 0..40 {
        world.settle();
        if world.leaves("alice", room).len() == count {
            return;
        }
        world.now += 10_000;
    }
    panic!("{} instead of {count}: {:?}", world.leaves("alice", room).len(), world.codes("alice"));
}

/// A room of `count` devices whose tree is warm for Alice: beside her way to the root every node has a key. Bob, who
/// has the last leaf, takes in what she commits. The devices between them are those of one user; a few are run for a
/// while, those that warm the tree.
fn large_room(count: usize) -> (World, RoomId) {
    let (one, crowd) = ("one.test", user("crowd", "one.test"));
    let mut world = World::new(&[one]);
    world.add("alice", &user("alice", one), Endorsement::Endorsed);
    world.settle();
    let room = world.create("alice", "!room");
    world.member("alice", &room.0, &crowd, "join");
    let leaves: Vec<_> = (1..count - 1).collect();
    for batch in leaves.chunks(BATCH) {
        let name = |leaf: &usize| format!("d{leaf:05}");
        let (warm, cold): (Vec<_>, Vec<_>) =
            batch.iter().partition(|leaf| leaf.is_power_of_two() || **leaf == batch[0]);
        cold.iter().for_each(|leaf| world.add_dummy(&name(leaf), &crowd));
        for leaf in &warm {
            world.add(&name(leaf), &crowd, Endorsement::Endorsed);
            // Its key packages are there when the others' are, so that all come at once and in order.
            world.visit(&name(leaf));
        }
        world.announce(&crowd);
        fill(&mut world, &room, batch[batch.len() - 1] + 1);
        for leaf in warm.iter().rev() {
            world.update(&name(leaf), &room);
            world.settle();
        }
        warm.iter().for_each(|leaf| world.retire(&name(leaf)));
    }
    world.add("bob", &user("bob", one), Endorsement::Endorsed);
    world.settle();
    world.member("alice", &room.0, &user("bob", one), "join");
    fill(&mut world, &room, count);
    for name in ["alice", "bob"] {
        world.update(name, &room);
        world.settle();
        machine(&mut world, name).store().unwrap();
    }
    for name in ["alice", "bob"] {
        stored(&mut world, name);
    }
    (world, room)
}

/// Alice commits, the homeserver takes it, Bob takes it in, and it comes back to her.
fn commit(world: &mut World, room: &RoomId) {
    world.update("alice", room);
    world.run("alice");
    for name in ["bob", "alice"] {
        world.sync(name);
        world.run(name);
    }
    world.now += 1_000;
}

/// Bytes of what `batches` write, by table.
fn by_table(batches: &[Batch]) -> BTreeMap<&'static str, usize> {
    let mut tables = BTreeMap::new();
    for write in batches.iter().flatten() {
        *tables.entry(write.place().0.0).or_default() += size(write);
    }
    tables
}

/// Transactions and bytes of one commit of each side, once epochs are let go all the time.
fn cost_of_a_commit(devices: usize) -> [(usize, usize); 2] {
    let (mut world, room) = large_room(devices);
    for _ in 0..70 {
        commit(&mut world, &room);
    }
    for name in ["alice", "bob"] {
        stored(&mut world, name);
    }
    commit(&mut world, &room);
    ["alice", "bob"].map(|name| {
        let batches = stored(&mut world, name);
        (batches.len(), batches.iter().flatten().map(size).sum())
    })
}

/// The GroupInfo, as large as the room, is never stored; what is stored grows with the height of the tree.
#[test]
fn a_commit_writes_its_path_and_not_the_room() {
    let (small, large) = (cost_of_a_commit(16), cost_of_a_commit(128));
    for ((transactions, few), (same, many)) in small.into_iter().zip(large) {
        assert!(transactions <= 2 && same <= 2, "{transactions} and {same} transactions");
        // Three more nodes: key, ciphertext and hashes of each, its private key, and the node that goes.
        assert!(many < few + 3 * 500, "{few} bytes in the small room, {many} in the large one");
        assert!(many < 8_000, "{many} bytes");
    }
}

/// A Welcome has the whole tree, and cannot be made again: it is stored with its commit, and goes once it was sent.
#[test]
fn a_welcome_is_stored_once() {
    let (mut world, room) = large_room(160);
    for name in ["carol", "dave"] {
        world.add(name, &user("carol", "one.test"), Endorsement::Endorsed);
        world.visit(name);
    }
    world.member("alice", &room.0, &user("carol", "one.test"), "join");
    stored(&mut world, "alice");
    world.sync("alice");
    // Not when it is her turn among so many, but now.
    world.update("alice", &room);
    world.visit("alice");
    let uploads = world.requests.iter().rev().filter(|request| request.starts_with("alice upload")).count();
    assert!(uploads >= 2, "GroupInfo and Welcome are uploaded");
    machine(&mut world, "alice").store().unwrap();
    let batches = stored(&mut world, "alice");
    let welcomes = batches.iter().flatten().filter(|write| write.place().0.0 == "matrix.own_welcome");
    let sizes: Vec<_> = welcomes.map(size).collect();
    assert!(sizes.len() == 2 && sizes[0] > 40_000 && sizes[1] < 100, "put once for both, and deleted: {sizes:?}");
    assert!(by_table(&batches)["matrix.outbox"] < 2_000, "{:?}", by_table(&batches));
    world.settle();
    let heads = ["alice", "carol", "dave"].map(|name| world.head(name, &room));
    assert!(heads[0].is_some() && heads[1] == heads[0] && heads[2] == heads[0]);
}

/// Figures of docs/STORAGE.md. Epochs are let go all the time, and lie in the store as commits left them.
#[test]
#[ignore = "figures, not a test"]
fn what_a_commit_costs_on_disk() {
    let set = |name: &str, usual: usize| std::env::var(name).map_or(usual, |count| count.parse().unwrap());
    let (devices, count) = (set("DEVICES", 1_000), set("COMMITS", 64));
    let (mut world, room) = large_room(devices);
    let before = ["alice", "bob"].map(|name| records(&mut world, name));
    for _ in 0..100 {
        commit(&mut world, &room);
    }
    let earlier = ["alice", "bob"].map(|name| stored(&mut world, name));
    for _ in 0..count {
        commit(&mut world, &room);
    }
    assert_eq!(world.head("alice", &room), world.head("bob", &room));
    for ((name, before), earlier) in ["alice", "bob"].iter().zip(&before).zip(&earlier) {
        let batches = stored(&mut world, name);
        for (table, bytes) in by_table(&batches) {
            println!("{name}: {} bytes of {table} for a commit", bytes / count);
        }
        let (_dir, mut store) = disk(before);
        earlier.iter().for_each(|batch| store.commit(batch).unwrap());
        store.purge().unwrap();
        print_files(name, &mut store, &batches, count, "commit");
    }
}
