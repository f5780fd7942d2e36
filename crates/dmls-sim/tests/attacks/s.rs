//! S: storage, and what a device does to itself.

use std::time::Duration;

use dmls::device::OwnDevice;
use dmls::effect::Notice;
use dmls::group::{Group, Settings};
use dmls::journal::{Journal, Records, Table, Write};
use dmls_matrix::request::Request;
use dmls_store::{Key, SqliteStore, StoreError};

use crate::attack::{Attack, Elsewhere, End, Later};
use crate::core_world::{World, room};
use crate::rooms::{TWO, alice_and_bob, run_until_crash, sealed_messages};
use crate::scene::{Puppet, blurt, group_of, message_from, update};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "S1",
        attack: "a crash tears what one input writes",
        defence: "all writes of an input are one transaction",
        run: torn_write,
    },
    Attack {
        id: "S2",
        attack: "a crash after the server took a message, before its answer came",
        defence: "the transaction id is stored and stays",
        run: sent_twice,
    },
    Attack {
        id: "S4",
        attack: "a live clone speaks from the same leaf",
        defence: "what an own leaf said and this device did not is told",
        run: live_clone,
    },
    Attack {
        id: "S5",
        attack: "two processes open one profile",
        defence: "one process holds the lock, and SQLite's",
        run: two_processes,
    },
    Attack {
        id: "S6",
        attack: "a crash right after key packages were uploaded",
        defence: "their private keys are stored before they can be uploaded",
        run: forgotten_packages,
    },
    Attack {
        id: "S7",
        attack: "the disk is full while a message is sealed",
        defence: "without the store nothing comes out",
        run: full_disk,
    },
    Attack {
        id: "S8",
        attack: "one record is rolled back at rest",
        defence: "a sealed digest vouches for all records",
        run: rolled_back_record,
    },
    Attack {
        id: "S9",
        attack: "a thief with the key finds deleted records in the file",
        defence: "what is deleted is overwritten",
        run: residue,
    },
    Attack {
        id: "S11",
        attack: "a record of a newer format is read as if it were of this one",
        defence: "each record names its version, and newer ones are refused",
        run: newer_record,
    },
];

pub const ELSEWHERE: &[Elsewhere] = &[Elsewhere {
    id: "S10",
    test: ("crates/dmls-store/tests/store/keys.rs", "keys_do_not_show_in_debug"),
    reason: "secrets in logs: nothing is logged, and Debug of every secret is written by hand; no rule to switch off",
}];

pub const LATER: &[Later] = &[Later {
    id: "S3",
    reason: "a restored file is told by its generation only, and nothing compares that yet; \
             what the restored device says shows as a clone to the newer one (S4)",
}];

fn torn_write() -> End {
    let mut world = group_of(&["alice", "bob"]);
    let (store, before) = (world.peers["alice"].store.clone(), world.canonical("alice"));
    let mut torn = 0;
    for writes in 0..40 {
        let peer = world.peers.get_mut("alice").unwrap();
        peer.store = store.clone();
        world.restart("alice");
        let (now, peer) = (world.now, world.peers.get_mut("alice").unwrap());
        peer.store.fail_after(writes);
        let made = peer.group.carry_out(update(), now, &mut peer.rng).unwrap();
        let stored = made.persist(&mut peer.store).is_ok();
        peer.store.heal();
        world.restart("alice");
        let old_or_new = (world.canonical("alice") != before) == stored;
        let speaks = blurt(&mut world, "alice", "whole").is_ok();
        torn += usize::from(!old_or_new || !speaks);
    }
    End::succeeded_if(torn > 0)
}

fn sent_twice() -> End {
    let (mut world, room) = alice_and_bob();
    world.send("alice", &room, "once");
    run_until_crash(&mut world, "alice", |request| matches!(request, Request::RoomEvent { .. }));
    // What was not answered goes out again, before any sync shows that it arrived.
    world.now += 1_000;
    world.run("alice");
    world.settle();
    assert!(world.transcript("bob", &room).contains(&"once".to_owned()));
    End::succeeded_if(sealed_messages(&world, TWO) > 1)
}

fn live_clone() -> End {
    let mut world = group_of(&["alice", "bob"]);
    let said = Puppet::of(&world, "bob", 1).say("not Bob");
    world.input("bob", message_from("bob", &said));
    let told = |notice: &Notice| matches!(notice, Notice::Clone { .. });
    End::succeeded_if(!world.peers["bob"].notices.iter().any(told))
}

const TABLE: Table = Table("epochs");

fn open(dir: &std::path::Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, &Key::raw([7; 32]), Duration::ZERO)
}

fn put(store: &mut SqliteStore, value: &[u8]) {
    store.commit(&[Write::put(TABLE, *b"one", value.to_vec())]).unwrap();
}

fn two_processes() -> End {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open(dir.path()).unwrap();
    put(&mut first, b"the first one's");
    End::succeeded_if(open(dir.path()).is_ok())
}

fn forgotten_packages() -> End {
    let mut world = World::new();
    world.device("bob", 1);
    let uploaded = world.peers["bob"].packages.len();
    world.restart("bob");
    End::succeeded_if(world.peers["bob"].packages.len() < uploaded)
}

fn full_disk() -> End {
    let mut world = group_of(&["alice", "bob"]);
    let (now, peer) = (world.now, world.peers.get_mut("alice").unwrap());
    peer.store.fail_after(0);
    let sealed = peer.group.seal(&mut |_| b"under a key that is used again".to_vec(), now, &mut peer.rng).unwrap();
    End::succeeded_if(sealed.persist(&mut peer.store).is_ok())
}

/// Stamp, name and value of the only row, as they lie in the file.
type Row = (Vec<u8>, Vec<u8>, Vec<u8>);

fn sql(dir: &std::path::Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("store.db")).unwrap()
}

fn row(dir: &std::path::Path) -> Row {
    let query = "SELECT stamp, name.sealed, value.sealed FROM name JOIN value USING (row)";
    sql(dir).query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

fn rolled_back_record() -> End {
    let dir = tempfile::tempdir().unwrap();
    put(&mut open(dir.path()).unwrap(), b"unused key");
    let (stamp, name, value) = row(dir.path());
    put(&mut open(dir.path()).unwrap(), b"key is gone");
    sql(dir.path()).execute("UPDATE name SET stamp = ?1, sealed = ?2", rusqlite::params![stamp, name]).unwrap();
    sql(dir.path()).execute("UPDATE value SET sealed = ?1", [value]).unwrap();
    let read = open(dir.path()).and_then(|store| store.get(TABLE, b"one"));
    End::succeeded_if(read.is_ok_and(|value| value.is_some_and(|value| value.as_slice() == b"unused key")))
}

fn residue() -> End {
    let dir = tempfile::tempdir().unwrap();
    put(&mut open(dir.path()).unwrap(), &[0x5a; 9_000]);
    let (_, _, value) = row(dir.path());
    let mut store = open(dir.path()).unwrap();
    store.commit(&[Write::delete(TABLE, *b"one")]).unwrap();
    store.purge().unwrap();
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let files: Vec<u8> = files.flatten().collect();
    let found = value.chunks_exact(64).filter(|piece| files.windows(64).any(|window| window == *piece));
    End::succeeded_if(found.count() > 0)
}

fn newer_record() -> End {
    let mut world = group_of(&["alice", "bob"]);
    let peer = world.peers.get_mut("alice").unwrap();
    let (key, mut record) = peer.store.scan(Table("dmls.group"), b"").unwrap().remove(0);
    record[0] = 9;
    peer.store.commit(&[Write::put(Table("dmls.group"), key, record.to_vec())]).unwrap();
    let own: std::sync::Arc<OwnDevice> = peer.own.clone();
    End::succeeded_if(Group::load(room(), own, Settings::default(), &peer.store).is_ok())
}
