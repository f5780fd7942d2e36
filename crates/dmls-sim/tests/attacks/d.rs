//! D: denial of service.

use dmls::effect::{Need, Publish};
use dmls::error::GroupError;
use dmls::group::{Group, Orders, Settings, inspect_commit};
use dmls::id::Locator;
use dmls::input::Input;
use dmls::journal::{Journal, Records, Table, Write};
use dmls_store::MemoryStore;
use serde_json::{Value, json};

use crate::attack::{Attack, Elsewhere, End, Later};
use crate::core_world::{Seeded, World, room};
use crate::rooms::{ONE, TWO, alice_and_bob, newest};
use crate::scene::{Puppet, desired, group_of, package_of, update};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "D2",
        attack: "a commit grows over what an event may hold",
        defence: "it is measured before it is stored or sent",
        run: oversized_commit,
    },
    Attack {
        id: "D5",
        attack: "a flood of commits on bases that do not exist",
        defence: "each sender has a share of what may wait",
        run: deferred_flood,
    },
    Attack {
        id: "D7",
        attack: "one bad room stops all others",
        defence: "a room that cannot be read is set aside",
        run: bad_room,
    },
    Attack {
        id: "D8",
        attack: "each unknown base starts a search",
        defence: "64 searches at a time",
        run: endless_searches,
    },
];

pub const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        id: "D6",
        test: ("crates/dmls/tests/core/hostile.rs", "no_flipped_byte_of_a_message_opens"),
        reason: "the epoch stands in what is authenticated: one attempt, in that epoch; no loop over epochs exists",
    },
    Elsewhere {
        id: "D9",
        test: ("crates/dmls-store/tests/store/statements.rs", "no_statement_is_built_at_run_time"),
        reason: "a matter of the source text",
    },
];

pub const LATER: &[Later] = &[
    Later {
        id: "D1",
        reason: "allocations are not measured: our reader copies nothing, the TLS library reads no more than is there",
    },
    Later { id: "D3", reason: "trees are not streamed; 50,000 devices are for the performance work" },
    Later { id: "D4", reason: "heads and ancestry are computed anew from all stubs at each question: O(epochs)" },
    Later { id: "D10", reason: "a group has 64 heads of members and as many of others (F11), so no thousand" },
];

/// D2. Scaled down: six adds, and 2,000 bytes to an event.
fn oversized_commit() -> End {
    let mut world = World::new();
    let names = ["alice", "bob", "carol", "dan", "erin", "frank", "grace"];
    names.iter().for_each(|name| world.device(name, 1));
    let (mut rng, mut store) = (Seeded::new(1), MemoryStore::new());
    let settings = Settings { commit_limit: 2_000, ..Settings::default() };
    let mut group = Group::new(room(), world.peers["alice"].own.clone(), settings);
    let _made = group.create(world.now, &mut rng).unwrap().persist(&mut store).unwrap();
    let wanted = desired(&world, &names);
    let _taken = group.handle(Input::Desired(wanted), world.now, &mut rng).unwrap().persist(&mut store).unwrap();
    let packages = names[1..].iter().map(|name| package_of(&mut world, name)).collect();
    let made = match group.carry_out(Orders { packages, update: false }, world.now, &mut rng) {
        Err(GroupError::TooLarge { .. }) => return End::Failed,
        other => other.unwrap().persist(&mut store).unwrap(),
    };
    End::succeeded_if(matches!(&made.publish[..], [Publish::Commit(commit)] if commit.bytes.len() > 2_000))
}

fn deferred_flood() -> End {
    let mut world = group_of(&["alice", "mallory"]);
    let commit = Puppet::of(&world, "mallory", 1).commit(update()).bytes;
    let base = inspect_commit(&commit).unwrap().base.id;
    for number in 0u32..700 {
        let bytes = on_base(&commit, base.as_bytes(), number);
        let (locator, from) = (Some(Locator(format!("$junk{number}"))), "mallory".to_owned());
        world.input("alice", Input::Commit { bytes, locator, from });
    }
    let waiting = world.peers["alice"].group.needs(world.now).into_iter();
    End::succeeded_if(waiting.filter(|need| matches!(need, Need::Commit { .. })).count() > 500)
}

/// The commit, said to be made on another base.
fn on_base(commit: &[u8], base: &[u8; 32], number: u32) -> Vec<u8> {
    let at = commit.windows(32).position(|window| window == base).unwrap();
    let mut bytes = commit.to_vec();
    bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn bad_room() -> End {
    let (mut world, first) = alice_and_bob();
    let second = world.create("alice", "!second");
    crate::rooms::bring_in(&mut world, &second, "bob", TWO);
    let machine = world.client("bob").machine.as_mut().unwrap();
    let rooms = machine.journal().scan(Table("matrix.room"), b"").unwrap();
    let (key, _) = rooms.into_iter().find(|(key, _)| key.ends_with(first.0.as_bytes())).unwrap();
    machine.journal_mut().commit(&[Write::put(Table("matrix.room"), key, vec![1, 0xff])]).unwrap();
    world.reopen("bob");
    for room in [&first, &second] {
        world.send("alice", room, "to both rooms");
    }
    world.visit("alice");
    world.visit("bob");
    End::succeeded_if(!world.transcript("bob", &second).contains(&"to both rooms".to_owned()))
}

fn endless_searches() -> End {
    let (mut world, room) = alice_and_bob();
    world.update("bob", &room);
    world.settle();
    let commit = newest(&world, ONE, true);
    let bytes = base64(&commit["ciphertext"]);
    let (base, bob) = (inspect_commit(&bytes).unwrap().base.id, world.device("bob"));
    for number in 0u32..200 {
        let mut bent = commit.clone();
        let mut id = base.0;
        id[..4].copy_from_slice(&number.to_be_bytes());
        bent["ciphertext"] = json!(encode(&on_base(&bytes, base.as_bytes(), number)));
        bent["epoch"]["id"] = json!(encode(&id).replace('+', "-").replace('/', "_"));
        world.net.post(&bob, &room.0, "m.room.encrypted", None, bent, None);
        if number % 10 == 0 {
            world.sync("alice");
        }
    }
    world.visit("alice");
    let machine = world.client("alice").machine.as_mut().unwrap();
    let searches = machine.journal().scan(Table("matrix.search"), b"").unwrap().len();
    assert!(searches > 32, "{searches}: it is searched at all");
    End::succeeded_if(searches > 64)
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)
}

fn base64(text: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}
