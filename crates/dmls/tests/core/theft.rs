//! What a thief of a device's store follows, once the device changed its keys on one side of a fork.

use dmls::group::{Group, Settings};
use dmls::id::{EpochId, Locator};
use dmls::input::{Input, Welcome};
use dmls::package::KeyPackages;
use dmls_store::MemoryStore;

use crate::world::{Event, Seeded, World, room};

/// Alice, Bob, Carol, Dan, Erin and Frank in one group; Carol came back into it by external commit, which `knows` have seen.
fn carol_came_back(knows: &[&str]) -> World {
    let mut world = World::new();
    for name in ["alice", "bob", "carol", "dan", "erin", "frank"] {
        world.device(name, 1);
        world.join_room(name);
    }
    world.create("alice");
    world.sync("alice");
    for name in ["bob", "carol", "dan", "erin", "frank"] {
        world.sync(name);
    }
    world.join_externally("carol");
    knows.iter().for_each(|name| world.take_in(name));
    world
}

fn newest(world: &World) -> Locator {
    world.events().pop().unwrap().0
}

/// A copy of a device's store, to which all is shown that lies in the room, and every Welcome to the device.
struct Thief {
    group: Group,
    packages: KeyPackages,
    store: MemoryStore,
    rng: Seeded,
}

impl Thief {
    fn of(world: &World, name: &str) -> Self {
        let peer = &world.peers[name];
        let store = peer.store.clone();
        let mut group = Group::load(room(), peer.own.clone(), Settings::default(), &store).unwrap();
        if !group.in_group() {
            group = Group::new(room(), peer.own.clone(), Settings::default());
        }
        Self { group, packages: KeyPackages::load(&store).unwrap(), store, rng: Seeded::new(7) }
    }

    fn follows(&mut self, world: &World, welcomes: &[Welcome]) -> Vec<EpochId> {
        for welcome in welcomes.iter().cloned() {
            let durable = self.group.join(welcome, &mut self.packages, world.now, &mut self.rng).unwrap();
            durable.persist(&mut self.store).unwrap();
        }
        for (locator, event) in world.events() {
            let Event::Commit { bytes, .. } = event else { continue };
            let from = world.sender(&locator).to_owned();
            let input = Input::Commit { bytes, locator: Some(locator), from };
            self.group.handle(input, world.now, &mut self.rng).unwrap().persist(&mut self.store).unwrap();
        }
        self.group.epochs().iter().filter(|info| info.held).map(|info| info.epoch.id).collect()
    }
}

/// Carol heals on one side. Bob comes to that side where she did so already, and merges: he cannot see whether her leaf
/// there is one that she can use, and grants nothing to the one that was stolen (SPEC §3.7, §3.7).
#[test]
fn no_grant_undoes_a_healing_that_the_merger_cannot_see() {
    let mut world = carol_came_back(&["alice", "bob", "dan", "erin", "frank"]);
    let mut thief = Thief::of(&world, "carol");
    let mut aside = Vec::new();
    for name in ["alice", "erin", "frank", "alice"] {
        world.take_in(name);
        world.commit(name, true);
        aside.push(newest(&world));
    }
    let here = world.canonical("alice").unwrap();
    world.take_in("bob");
    world.commit("carol", true);
    let healed = newest(&world);
    world.peers.get_mut("dan").unwrap().seen.extend(aside);
    world.take_in("dan");
    world.commit("dan", true);
    let above = newest(&world);
    world.peers.get_mut("bob").unwrap().seen.extend([healed, above]);
    world.join_externally("bob");
    world.commit("bob", false);
    let merged = world.peers["bob"].group.epoch(&world.canonical("bob").unwrap()).unwrap();
    assert_eq!((merged.base, merged.resolves.len()), (Some(here), 1));
    world.take_in("carol");
    assert!(world.peers["carol"].group.holds(&merged.epoch.id), "she is in both");
    let followed = thief.follows(&world, &[]);
    assert!(followed.contains(&here));
    assert!(!followed.contains(&merged.epoch.id), "the thief is on one side only");
}

/// Carol is logged in anew. That she once came back under her old keys says nothing of the leaves that she has since
/// (SPEC §3.7).
#[test]
fn a_return_under_old_keys_says_nothing_of_new_ones() {
    let mut world = carol_came_back(&["alice"]);
    world.log_in_anew("carol");
    let mut thief = Thief::of(&world, "carol");
    world.commit("bob", false);
    world.commit("alice", false);
    let there = world.canonical("alice").unwrap();
    let welcomes = std::mem::take(&mut world.peers.get_mut("carol").unwrap().welcomes);
    let [to_bobs, to_alices] = &welcomes[..] else { panic!("{} Welcomes", welcomes.len()) };
    world.welcome("carol", to_bobs.clone());
    world.commit("carol", true);
    world.welcome("carol", to_alices.clone());
    world.take_in("dan");
    world.commit("dan", false);
    let merged = world.peers["dan"].group.epoch(&world.canonical("dan").unwrap()).unwrap();
    assert_eq!((merged.resolves.len(), &merged.removed[..]), (1, &[][..]), "nobody is left behind");
    let followed = thief.follows(&world, &welcomes);
    assert!(followed.contains(&there));
    assert!(!followed.contains(&merged.epoch.id), "the thief is not where she changed her keys");
    world.take_in("carol");
    assert!(world.peers["carol"].group.holds(&merged.epoch.id));
}
