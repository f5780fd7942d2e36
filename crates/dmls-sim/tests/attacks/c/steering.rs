//! Who is left behind, and who decides what is built on.

use dmls::effect::{Applied, OutgoingCommit, Verdict};
use dmls::group::Orders;
use dmls::id::EpochId;
use dmls::input::{Input, Welcome};

use crate::attack::End;
use crate::core_world::World;
use crate::scene::{Puppet, blurt, commit_from, desired, group_of, group_on_sides, package_of, settle, update};

/// C4. Alice's head is kept from Carol; Bob merges it. Carol asks, as she is told to, and must come along.
pub fn merged_unseen() -> End {
    let mut world = group_of(&["alice", "bob", "carol"]);
    world.commit("alice", true);
    world.commit("bob", true);
    world.take_in("bob");
    world.commit("bob", true);
    let merged = world.canonical("bob").unwrap();
    let resolved = world.peers["bob"].group.epoch(&merged).unwrap().resolves[0];
    let kept = world.peers["bob"].group.epoch(&resolved).unwrap().epoch.locator;
    world.peers.get_mut("carol").unwrap().seen.insert(kept);
    world.take_in("carol");
    assert_ne!(world.canonical("carol"), Some(merged), "she lacks the merge value");
    let from = world.peers["carol"].own.device().clone();
    for name in ["alice", "bob"] {
        world.input(name, Input::MergeRequest { epoch: merged, from: from.clone() });
    }
    End::succeeded_if(world.canonical("carol") != Some(merged))
}

/// C12. Mallory removes Bob's device and names no cause. What Alice says next must reach Bob.
pub fn cut_off() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let without_bob = desired(&world, &["alice", "mallory"]);
    world.input("mallory", Input::Desired(without_bob));
    world.commit("mallory", false);
    world.take_in("alice");
    world.take_in("bob");
    blurt(&mut world, "alice", "with Bob").unwrap();
    world.take_in("bob");
    End::succeeded_if(!world.texts("bob").contains("with Bob"))
}

/// C14. Two forks, one of which forks again: by pairs, each of the three heads may beat another. As many devices
/// committed before each of them, so that the tie decides; every one of three devices has the fork of its own once, on
/// eight bases, and each time every head comes first once.
pub fn no_total_order() -> End {
    let mut world = group_of(&["a", "b", "c", "d", "e", "watcher"]);
    for _ in 0..8 {
        for roles in [["b", "c", "e"], ["b", "e", "c"], ["c", "e", "b"]] {
            let commits = three_heads(&world, roles);
            let mut heads: Vec<Option<EpochId>> = [[2, 3, 4], [3, 4, 2], [4, 2, 3]]
                .into_iter()
                .map(|order| watched(&world, [0, 1].into_iter().chain(order).map(|at| &commits[at])))
                .collect();
            heads.dedup();
            if heads.len() > 1 {
                return End::Succeeded;
            }
        }
        world.commit("a", true);
        settle(&mut world, &["b", "c", "d", "e", "watcher"]);
    }
    End::Failed
}

/// What is built on by whom these came to in this order.
fn watched<'a>(world: &World, commits: impl Iterator<Item = &'a OutgoingCommit>) -> Option<EpochId> {
    let mut watcher = Puppet::of(world, "watcher", 0);
    for commit in commits {
        watcher.now = watcher.now.plus(1_000);
        watcher.input(commit_from("anybody", commit));
    }
    watcher.group.canonical()
}

/// a commits, then the first two on it; d commits beside a, then the third on that.
fn three_heads(world: &World, roles: [&str; 3]) -> [OutgoingCommit; 5] {
    let [mut a, mut d] = ["a", "d"].map(|name| Puppet::of(world, name, 0));
    let [mut left, mut middle, mut right] = roles.map(|name| Puppet::of(world, name, 0));
    let (one, two) = (a.commit(update()), d.commit(update()));
    left.input(commit_from("a", &one));
    middle.input(commit_from("a", &one));
    right.input(commit_from("d", &two));
    let heads = (left.commit(update()), middle.commit(update()), right.commit(update()));
    [one, two, heads.0, heads.1, heads.2]
}

/// C15. A merge is due; somebody talks on and on.
pub fn put_off() -> End {
    let mut world = group_on_sides(&[("alice", 1), ("bob", 2), ("carol", 1)]);
    world.device("erin", 1);
    world.cut();
    world.join_room("erin");
    world.sync("alice");
    world.commit("bob", true);
    world.heal();
    world.take_in("carol");
    let at = world.peers["carol"].group.due(world.now).at.unwrap();
    while world.now < at {
        world.tick(100);
        world.say("alice", "chatter");
        world.take_in("carol");
    }
    End::succeeded_if(world.peers["carol"].group.due(world.now).at != Some(at))
}

/// C20. Mallory adds Bob with one key package on two forks of her own, and sends him the Welcome to one with the
/// commit and grant of the other.
pub fn lying_welcome() -> End {
    let mut world = group_of(&["alice", "mallory"]);
    world.device("bob", 1);
    world.join_room("bob");
    let package = package_of(&mut world, "bob");
    let add = |seed| {
        let orders = Orders { packages: vec![package.clone()], update: false };
        Puppet::of(&world, "mallory", seed).commit(orders)
    };
    let (shown, meant) = (add(1), add(2));
    let welcome = Welcome {
        bytes: meant.welcomes[0].bytes.to_vec(),
        commit: shown.bytes.clone(),
        locator: dmls::id::Locator("$shown".into()),
        epoch: shown.epoch.id,
        base: shown.welcomes[0].base.clone(),
        grant: shown.welcomes[0].grant.clone(),
    };
    let now = world.now;
    let bob = world.peers.get_mut("bob").unwrap();
    let joined = bob.group.join(welcome, &mut bob.packages, now, &mut bob.rng).unwrap();
    let verdict = joined.persist(&mut bob.store).unwrap().verdict;
    End::succeeded_if(matches!(verdict, Verdict::Applied(Applied::Joined { .. })))
}
