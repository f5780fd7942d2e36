//! What forking must not cost: healed devices stay healed, deleted epochs stay deleted.

use dmls::effect::Publish;
use dmls::id::EpochId;
use dmls::input::Input;
use dmls::journal::{Records, Table};

use crate::attack::End;
use crate::core_world::World;
use crate::scene::{Puppet, group_of, group_on_sides};

/// Dan heals on side 2, which then loses: side 1 has Erin and Frank besides. The thief's copy of Dan is older.
fn healed_apart() -> (World, Puppet) {
    let mut world = group_on_sides(&[("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2)]);
    for name in ["erin", "frank"] {
        world.device(name, 1);
    }
    let thief = Puppet::of(&world, "dan", 0);
    world.cut();
    world.join_room("erin");
    world.join_room("frank");
    world.sync("alice");
    for name in ["bob", "erin", "frank"] {
        world.sync(name);
    }
    world.commit("dan", true);
    world.sync("carol");
    world.heal();
    world.sync("bob");
    (world, thief)
}

/// F8. Bob's merge left Dan under the leaf that a thief may hold; where Dan speaks, he must have a newer one.
pub fn old_leaf() -> End {
    let (mut world, _) = healed_apart();
    let spoken = world.send("dan", "fresh");
    let group = &world.peers["dan"].group;
    let line = std::iter::successors(Some(spoken), |id| group.epoch(id)?.base);
    let renewed = line.filter_map(|id| group.epoch(&id)).any(|epoch| epoch.creator.user == "dan");
    End::succeeded_if(!renewed)
}

/// F9. The thief follows side 1 with Dan's old leaf, and tries to enter the merge with the merge value of no heads.
pub fn dropped_heal() -> End {
    let (mut world, mut thief) = healed_apart();
    world.send("bob", "after the merge");
    let merged = world.canonical("bob").unwrap();
    let side_1 = world.peers["bob"].group.epoch(&merged).unwrap().base.unwrap();
    assert!(!thief.learns(&world, "after the merge") && thief.group.epoch(&side_1).is_some(), "the thief has the base");
    offer_empty_merge_value(&mut thief, merged, &world);
    End::succeeded_if(thief.learns(&world, "after the merge"))
}

/// R5. The thief, who has Dan's Matrix account, asks in his name for the merge value of the merge.
pub fn asked_for() -> End {
    let (mut world, mut thief) = healed_apart();
    world.send("bob", "after the merge");
    let merged = world.canonical("bob").unwrap();
    assert!(!thief.learns(&world, "after the merge"));
    let (from, to) = (world.peers["bob"].own.device().clone(), world.peers["dan"].own.device().clone());
    let (now, bob) = (world.now, world.peers.get_mut("bob").unwrap());
    let request = Input::MergeRequest { epoch: merged, from: to };
    let answered = bob.group.handle(request, now, &mut bob.rng).unwrap().persist(&mut bob.store).unwrap();
    for publish in answered.publish {
        let Publish::MergeReply { epoch, value, .. } = publish else { continue };
        thief.input(Input::MergeReply { epoch, value, from: from.clone() });
    }
    End::succeeded_if(thief.learns(&world, "after the merge"))
}

/// The thief tells their own copy that M is what it would be if nothing was merged (SPEC §3.5).
#[cfg(dmls_mutants)]
fn offer_empty_merge_value(thief: &mut Puppet, epoch: EpochId, world: &World) {
    use sha2::{Digest, Sha256};
    let commit = dmls::group::inspect_commit(world.peers["bob"].group.commit(&epoch).unwrap()).unwrap();
    let base = dmls::craft::State::of(&thief.group, &commit.base.id).unwrap();
    let (own, none) = (thief.group.device().clone(), Sha256::digest(b"DMLS 1.0 inputs\0").into());
    let value = base.reply(&own, &commit.resolves, none, &mut crate::core_world::Seeded::new(1)).unwrap();
    let (value, from) = (zeroize::Zeroizing::new(value), world.peers["bob"].own.device().clone());
    thief.input(Input::MergeReply { epoch, value, from });
}

/// What it takes to say so is in the test build alone.
#[cfg(not(dmls_mutants))]
fn offer_empty_merge_value(_: &mut Puppet, _: EpochId, _: &World) {}

/// F10. What is beyond the horizon, the time for which epochs are held, must be out of the store.
pub fn horizon() -> End {
    let mut world = group_of(&["alice", "bob"]);
    let first = world.canonical("alice").unwrap();
    world.commit("alice", true);
    for _ in 0..8 {
        world.tick(86_400_000);
        world.commit("alice", true);
    }
    let secrets = world.peers["alice"].store.scan(Table("dmls.secrets"), b"").unwrap();
    End::succeeded_if(secrets.iter().any(|(key, _)| key.windows(32).any(|window| window == first.0)))
}
