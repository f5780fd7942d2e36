//! K: identity.

use dmls_matrix::facts::Endorsement;

use crate::attack::{Attack, End, Later, crafted};
use crate::binding_world::{World, user};
use crate::rooms::{ONE, TWO, alice_and_bob, bring_in};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "K1",
        attack: "a server injects a device into a user's list",
        defence: "a device that its owner did not cross-sign is not in D",
        run: injected_device,
    },
    Attack {
        id: "K3",
        attack: "a blocked device counts, for it is cross-signed after all",
        defence: "one word says whether a device may read, and if not, why",
        run: blocked_device,
    },
    Attack {
        id: "K5",
        attack: "a server withholds a device list, so that a member is thought to have no device",
        defence: "who was never answered for is not removed before six queries were in vain",
        run: withheld_list,
    },
    Attack {
        id: "K6",
        attack: "a committer changes the identity on its leaf",
        defence: "identity and key stay what they were",
        run: crafted!(swapped_credential),
    },
];

pub const LATER: &[Later] = &[
    Later { id: "K2", reason: "identities are pinned by matrix-sdk-crypto; a changed one is not told yet" },
    Later { id: "K4", reason: "people are verified elsewhere: there is no SAS or QR code here" },
];

/// Whether a device of Bob's under this word of its owner is let in.
fn lets_in(endorsement: Endorsement) -> End {
    let (mut world, room) = alice_and_bob();
    world.add("mallory", &user("bob", TWO), endorsement);
    world.settle();
    End::succeeded_if(world.leaves("alice", &room).contains(&"mallory".to_owned()))
}

fn injected_device() -> End {
    lets_in(Endorsement::NotCrossSigned)
}

fn blocked_device() -> End {
    lets_in(Endorsement::Blocked)
}

/// K5. Carol's server never gets Bob's list, and nobody else is awake to put right what she does.
fn withheld_list() -> End {
    const THREE: &str = "three.test";
    let mut world = World::new(&[ONE, TWO, THREE]);
    world.add("alice", &user("alice", ONE), Endorsement::Endorsed);
    world.add("carol", &user("carol", THREE), Endorsement::Endorsed);
    world.net.cut(TWO, THREE);
    world.add("bob", &user("bob", TWO), Endorsement::Endorsed);
    world.net.heal();
    world.settle();
    let room = world.create("alice", "!room");
    bring_in(&mut world, &room, "bob", TWO);
    bring_in(&mut world, &room, "carol", THREE);
    for name in ["alice", "bob"] {
        world.client(name).online = false;
    }
    world.now += 60_000;
    world.visit("carol");
    End::succeeded_if(!world.leaves("carol", &room).contains(&"bob".to_owned()))
}

#[cfg(dmls_mutants)]
fn swapped_credential() -> End {
    use dmls::craft::{Commit, State};
    use dmls::effect::Verdict;

    use crate::core_world::Seeded;
    use crate::scene::{commit_from, group_of, second_device};

    let mut world = group_of(&["alice", "mallory"]);
    let base = State::of(&world.peers["mallory"].group, &world.canonical("mallory").unwrap()).unwrap();
    let other = second_device("mallory", "SECOND");
    let made = Commit::on(&base).identity(&other).build(&mut Seeded::new(1)).unwrap();
    let verdict = world.input("alice", commit_from("mallory", &made.commit));
    End::succeeded_if(matches!(verdict, Verdict::Applied(_)))
}
