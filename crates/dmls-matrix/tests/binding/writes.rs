//! How often the device stores something, and how much.

use dmls::journal::Write;
use dmls_matrix::RoomId;

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
