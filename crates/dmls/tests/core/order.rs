//! Equal seeds give equal bytes, whatever order a hash map has (SPEC §7.5).

use dmls::device::OwnDevice;
use dmls::effect::{Outcome, Publish};
use dmls::group::{Group, Orders, Settings};
use dmls::id::Locator;
use dmls::input::{Desired, DesiredDevice, Input};
use dmls::journal::Write;
use dmls::package::KeyPackages;
use dmls_store::MemoryStore;

use crate::world::{Seeded, own_device, room};

const NOW: dmls::id::Timestamp = dmls::id::Timestamp(1);

/// Table, key and value of a write.
type Record = (dmls::journal::Table, Vec<u8>, Vec<u8>);

fn record(write: &Write) -> Record {
    let (table, key) = write.place();
    let value = if let Write::Put { value, .. } = write { value.to_vec() } else { Vec::new() };
    (table, key.to_vec(), value)
}

fn desired(owns: &[&OwnDevice]) -> Desired {
    let one = |own: &&OwnDevice| {
        (
            own.device().clone(),
            DesiredDevice { key: own.key(), joined: Locator(format!("$join-{}", own.device().user)) },
        )
    };
    Desired { devices: owns.iter().map(one).collect() }
}

/// All that one commit with four Removes and three Adds writes to disk and to the wire, from a fixed seed.
fn commit_with_many_changes() -> (Vec<Record>, Vec<Vec<u8>>) {
    let mut rng = Seeded::new(7);
    let owns: Vec<_> = (0..8).map(|number| own_device(&format!("device{number}"), &mut rng)).collect();
    let alice = std::sync::Arc::new(own_device("alice", &mut rng));
    let mut store = MemoryStore::new();
    let mut group = Group::new(room(), alice.clone(), Settings::default());
    group.create(NOW, &mut rng).unwrap().persist(&mut store).unwrap();
    let packages = |own: &OwnDevice, rng: &mut Seeded| {
        let made = KeyPackages::default().generate(own, 1, false, rng).unwrap();
        let made = made.persist(&mut MemoryStore::new()).unwrap();
        (own.device().clone(), made[0].bytes.clone())
    };
    let first: Vec<_> = owns[..5].iter().chain([&*alice]).collect();
    group.handle(Input::Desired(desired(&first)), NOW, &mut rng).unwrap().persist(&mut store).unwrap();
    let orders = Orders { packages: owns[..5].iter().map(|own| packages(own, &mut rng)).collect(), update: false };
    group.carry_out(orders, NOW, &mut rng).unwrap().persist(&mut store).unwrap();
    // The last of the five stays; three come.
    let then: Vec<_> = owns[4..].iter().chain([&*alice]).collect();
    group.handle(Input::Desired(desired(&then)), NOW, &mut rng).unwrap().persist(&mut store).unwrap();
    let orders = Orders { packages: owns[5..].iter().map(|own| packages(own, &mut rng)).collect(), update: false };
    let durable = group.carry_out(orders, NOW, &mut rng).unwrap();
    let writes = durable.writes().iter().map(record).collect();
    let outcome: Outcome = durable.persist(&mut store).unwrap();
    let Some(Publish::Commit(commit)) = outcome.publish.into_iter().next() else { panic!("no commit") };
    assert_eq!(group.epoch(&commit.epoch.id).unwrap().removed.len(), 4);
    assert_eq!(commit.welcomes.len(), 3);
    let mut wire = vec![commit.bytes, commit.group_info.bytes()];
    wire.extend(commit.welcomes.into_iter().flat_map(|welcome| [welcome.bytes.to_vec(), welcome.grant]));
    (writes, wire)
}

/// Ten times the same commit: what is sent and what is stored are the same bytes (SPEC §7.5).
#[test]
fn many_removes_and_adds_have_one_order() {
    let (writes, wire) = commit_with_many_changes();
    for _ in 1..10 {
        let (again, sent) = commit_with_many_changes();
        assert!(sent == wire, "what is sent differs");
        for (one, other) in writes.iter().zip(&again) {
            assert!(one == other, "what is stored in {:?} under {:02x?} differs", one.0, one.1);
        }
        assert_eq!(again.len(), writes.len());
    }
}
