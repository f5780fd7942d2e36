//! X: ways into the group.

use dmls::effect::{Applied, OutgoingCommit, Verdict};
use dmls::group::{Group, Orders, Settings};
use dmls::id::Locator;
use dmls::input::{Input, Welcome};
use dmls::package::KeyPackages;
use dmls_matrix::facts::Endorsement;
use dmls_store::MemoryStore;

use crate::attack::{Attack, Elsewhere, End, crafted};
use crate::binding_world::{World as Servers, user};
use crate::core_world::{Event, Seeded, World, room};
use crate::rooms::{ONE, TWO, alice_and_bob};
use crate::scene::{Puppet, can_read, desired, group_of, package_of, settle};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "X2",
        attack: "a Welcome to a fork of one's own replaces a healthy state",
        defence: "a Welcome adds a head and never replaces one",
        run: replacing_welcome,
    },
    Attack {
        id: "X3",
        attack: "the server loses the Welcome",
        defence: "external commit after a while",
        run: lost_welcome,
    },
    Attack {
        id: "X4",
        attack: "a server hands out its own key package for another's device",
        defence: "device and key of a package are those that its owner vouches for",
        run: spoofed_package,
    },
    Attack {
        id: "X5",
        attack: "a thief opens a Welcome again that was used",
        defence: "a key package dies with its use",
        run: reused_package,
    },
    Attack {
        id: "X6",
        attack: "somebody claims all key packages",
        defence: "refilled below half, the fallback replaced",
        run: drained_packages,
    },
    Attack {
        id: "X7",
        attack: "clocks that differ by years lock a device out",
        defence: "lifetimes are unlimited",
        run: skewed_clock,
    },
    Attack {
        id: "X8",
        attack: "an external commit removes a leaf of another device",
        defence: "it may replace leaves of its own device only",
        run: crafted!(removing_entry),
    },
    Attack {
        id: "X9",
        attack: "the GroupInfo of another epoch is served",
        defence: "its EpochId is computed and compared",
        run: other_group_info,
    },
];

pub const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        id: "X1",
        test: ("crates/dmls/tests/core/hostile.rs", "a_welcome_needs_its_commit"),
        reason: "every part of a Welcome bent by itself; C20 switches the one check that all of them meet off",
    },
    Elsewhere {
        id: "X10",
        test: ("crates/dmls-matrix/tests/binding/everyday.rs", "a_second_device_reads_on_from_where_it_came_in"),
        reason: "a joiner has no key of an earlier epoch and nothing hands one out: there is no rule to switch off",
    },
];

fn welcome_of(commit: &OutgoingCommit, locator: Locator) -> Welcome {
    let out = commit.welcomes[0].clone();
    let (bytes, commit, epoch) = (out.bytes.to_vec(), commit.bytes.clone(), commit.epoch.id);
    Welcome { bytes, commit, locator, epoch, base: out.base, grant: out.grant }
}

/// X2. Mallory goes on from before Bob was there, and adds him a second time.
fn replacing_welcome() -> End {
    let mut world = group_of(&["alice", "mallory"]);
    let mut mallory = Puppet::of(&world, "mallory", 1);
    world.device("bob", 1);
    world.join_room("bob");
    settle(&mut world, &["alice", "bob"]);
    mallory.input(Input::Desired(desired(&world, &["alice", "mallory", "bob"])));
    let fork = mallory.commit(Orders { packages: vec![package_of(&mut world, "bob")], update: false });
    world.welcome("bob", welcome_of(&fork, Locator("$fork".into())));
    world.say("alice", "where we were");
    world.take_in("bob");
    End::succeeded_if(!world.texts("bob").contains("where we were"))
}

fn lost_welcome() -> End {
    let mut world = Servers::new(&[ONE, TWO]);
    world.add("alice", &user("alice", ONE), Endorsement::Endorsed);
    world.add("bob", &user("bob", TWO), Endorsement::Endorsed);
    world.settle();
    let room = world.create("alice", "!room");
    world.invite("alice", &room, &user("bob", TWO));
    world.settle();
    world.join("bob", &room);
    for _ in 0..4 {
        world.visit("alice");
        world.net.servers.get_mut(TWO).unwrap().to_device.clear();
    }
    world.settle();
    world.now += 25_000;
    world.settle();
    End::succeeded_if(world.head("bob", &room).is_none() || world.head("bob", &room) != world.head("alice", &room))
}

fn spoofed_package() -> End {
    let mut world = group_of(&["alice"]);
    for name in ["bob", "mallory"] {
        world.device(name, 1);
    }
    world.join_room("bob");
    let (bob, (_, bytes)) = (world.peers["bob"].own.device().clone(), package_of(&mut world, "mallory"));
    let (now, peer) = (world.now, world.peers.get_mut("alice").unwrap());
    let orders = Orders { packages: vec![(bob, bytes)], update: true };
    let made = peer.group.carry_out(orders, now, &mut peer.rng).unwrap().persist(&mut peer.store).unwrap();
    world.act("alice", made);
    End::succeeded_if(can_read(&world, "alice", "mallory"))
}

/// X5. The thief has Bob's store after he joined, and forgets that he is in the group.
fn reused_package() -> End {
    let mut world = group_of(&["alice"]);
    world.device("bob", 1);
    world.join_room("bob");
    world.commit("alice", false);
    let used = world.peers["bob"].welcomes[0].clone();
    world.sync("bob");
    let mut stolen = KeyPackages::load(&world.peers["bob"].store).unwrap();
    let mut thief = Group::new(room(), world.peers["bob"].own.clone(), Settings::default());
    let again = thief.join(used, &mut stolen, world.now, &mut Seeded::new(1)).unwrap();
    let verdict = again.persist(&mut MemoryStore::new()).unwrap().verdict;
    End::succeeded_if(matches!(verdict, Verdict::Applied(Applied::Joined { .. })))
}

fn drained_packages() -> End {
    let (mut world, _) = alice_and_bob();
    let bob = world.device("bob");
    let server = world.net.servers.get_mut(TWO).unwrap();
    server.one_time.get_mut(&bob).unwrap().clear();
    world.settle();
    End::succeeded_if(world.net.servers[TWO].one_time[&bob].len() < 25)
}

/// X7. Bob's clock stands at 1970.
fn skewed_clock() -> End {
    let world = group_of(&["alice", "bob"]);
    End::succeeded_if(!can_read(&world, "alice", "bob"))
}

/// X8. A second device of Mallory's, under the key of her first, which it puts out as if it were its own.
#[cfg(dmls_mutants)]
fn removing_entry() -> End {
    use dmls::error::Reason;

    use crate::scene::{commit_from, second_device};

    let mut world = group_of(&["alice", "mallory"]);
    world.commit("mallory", true);
    settle(&mut world, &["alice", "mallory"]);
    let own = std::sync::Arc::new(second_device("mallory", "SECOND"));
    assert_eq!(own.key(), world.peers["mallory"].own.key());
    let (group_info, target) = commits(&world).pop().unwrap();
    let (victim, chances) = (world.peers["mallory"].own.device().clone(), &mut Seeded::new(8));
    let entry = dmls::craft::join_externally(&own, &room(), &target, &group_info, Some(&victim), |_| {}, chances);
    let verdict = world.input("alice", commit_from("mallory", &entry.unwrap().commit));
    assert!(!matches!(verdict, Verdict::Rejected { reason, .. } if reason != Reason::NotAllowed), "{verdict:?}");
    End::succeeded_if(matches!(verdict, Verdict::Applied(_)))
}

fn other_group_info() -> End {
    let mut world = group_of(&["alice", "bob"]);
    world.commit("alice", true);
    world.device("zoe", 1);
    world.join_room("zoe");
    let mut commits = commits(&world).into_iter().rev();
    let ((_, newest), (stale, _)) = (commits.next().unwrap(), commits.next().unwrap());
    let (now, zoe) = (world.now, world.peers.get_mut("zoe").unwrap());
    End::succeeded_if(zoe.group.join_externally(&stale, newest, now, &mut zoe.rng).is_ok())
}

fn commits(world: &World) -> Vec<(Vec<u8>, dmls::effect::EpochRef)> {
    let commit = |(_, event)| match event {
        Event::Commit { epoch, group_info, .. } => Some((group_info, epoch)),
        Event::Message { .. } | Event::Ask { .. } => None,
    };
    world.events().into_iter().filter_map(commit).collect()
}
