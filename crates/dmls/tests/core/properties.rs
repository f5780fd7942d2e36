//! What holds of every history, tried on many random ones: a failing case names its seed.

use std::collections::{BTreeMap, BTreeSet};

use dmls::effect::{Applied, Due, EpochInfo, Readiness, Verdict};
use dmls::group::{Group, Settings};
use dmls::id::{EpochId, Locator, Timestamp};
use dmls::input::{Desired, Input};
use dmls_store::MemoryStore;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::world::{Event, Seeded, World, room};

/// Devices that act; Erin and Frank join on the way.
const ACTORS: [(&str, u8); 6] = [("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2), ("erin", 1), ("frank", 2)];
/// Olga only looks on. Mallory commits twice where once is allowed.
const OTHERS: [(&str, u8); 2] = [("olga", 1), ("mallory", 2)];

struct Dice(rand_chacha::ChaCha20Rng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(rand_chacha::ChaCha20Rng::seed_from_u64(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.below(at + 1);
            items.swap(at, other);
        }
    }
}

/// Everybody but Erin and Frank in one group.
fn beginning() -> World {
    let mut world = World::new();
    for (name, side) in ACTORS.into_iter().chain(OTHERS) {
        world.device(name, side);
    }
    world.join_room("alice");
    world.create("alice");
    for name in ["bob", "carol", "dan", "olga", "mallory"] {
        world.join_room(name);
    }
    world.sync("alice");
    for (name, _) in ACTORS.into_iter().chain(OTHERS) {
        world.take_in(name);
    }
    world
}

fn is_joined(world: &World, name: &str) -> bool {
    world.desired(name).devices.contains_key(world.peers[name].own.device())
}

fn acts(world: &World, name: &str) -> bool {
    is_joined(world, name) && world.peers[name].group.in_group()
}

/// Syncs and says something, if it may; nobody outside its D can read it.
fn speak(world: &mut World, name: &str, text: &str) {
    world.take_in(name);
    if !acts(world, name) {
        return;
    }
    if let Readiness::CommitFirst(_) = world.peers[name].group.readiness() {
        world.commit(name, false);
    }
    let Readiness::Ready(_) = world.peers[name].group.readiness() else { return };
    let epoch = world.say(name, text);
    let desired = world.desired(name);
    let readers = world.peers[name].group.readers(&epoch).unwrap();
    let strangers: Vec<_> = readers.iter().filter(|reader| !desired.devices.contains_key(reader)).collect();
    assert!(strangers.is_empty(), "{name} seals for {strangers:?}");
}

/// Two commits on one base, as a device makes them that was copied; it goes on from the first.
fn equivocate(world: &mut World, name: &str) {
    world.take_in(name);
    if !acts(world, name) {
        return;
    }
    let before = world.peers[name].store.clone();
    world.commit(name, true);
    let after = std::mem::replace(&mut world.peers.get_mut(name).unwrap().store, before);
    world.restart(name);
    world.commit(name, true);
    world.peers.get_mut(name).unwrap().store = after;
    world.restart(name);
}

fn step(world: &mut World, dice: &mut Dice, number: usize) {
    let name = ACTORS[dice.below(ACTORS.len())].0;
    match dice.below(16) {
        0..5 => speak(world, name, &format!("{number} {name}")),
        5..8 if acts(world, name) => world.sync(name),
        8..10 if acts(world, name) => world.commit(name, true),
        10 if acts(world, name) => world.restart(name),
        11 if !is_joined(world, name) => world.join_room(name),
        12 if is_joined(world, name) && world.desired(name).devices.len() > 4 => world.leave_room(name),
        13 => world.cut(),
        14 => world.heal(),
        15 => equivocate(world, "mallory"),
        _ => world.take_in(name),
    }
    world.tick(100);
}

/// A random history, not settled at its end.
fn history(seed: u64, steps: usize) -> World {
    let mut world = beginning();
    let mut dice = Dice::new(seed);
    for number in 0..steps {
        step(&mut world, &mut dice, number);
    }
    world.heal();
    world
}

/// What one device makes of a history.
#[derive(Debug, PartialEq)]
struct Sight {
    heads: Vec<EpochId>,
    canonical: Option<EpochId>,
    epochs: Vec<EpochInfo>,
    due: Due,
    /// Each opened message, as often as it was opened.
    read: Vec<(String, String)>,
}

/// A device that takes in what it is given, from a stored state on.
struct Onlooker<'a> {
    world: &'a World,
    group: Group,
    store: MemoryStore,
    rng: Seeded,
    read: Vec<(String, String)>,
}

impl<'a> Onlooker<'a> {
    fn new(world: &'a World, store: &MemoryStore) -> Self {
        let store = store.clone();
        let own = world.peers["olga"].own.clone();
        let group = Group::load(room(), own, Settings::default(), &store).unwrap();
        Self { world, group, store, rng: Seeded::new(1), read: Vec::new() }
    }

    fn input(&mut self, input: Input) {
        let outcome = self.group.handle(input, Timestamp(5_000_000), &mut self.rng).unwrap();
        let outcome = outcome.persist(&mut self.store).unwrap();
        for verdict in outcome.settled.into_iter().map(|settled| settled.verdict).chain([outcome.verdict]) {
            if let Verdict::Applied(Applied::Message(opened)) = verdict {
                let text = String::from_utf8(opened.plaintext.to_vec()).unwrap();
                self.read.push((opened.device.user.clone(), text));
            }
        }
    }

    fn facts(&mut self) {
        for (user, event) in self.world.departures("olga") {
            self.input(Input::Departed { user, event });
        }
        self.input(Input::Desired(self.world.desired("olga")));
    }

    fn take(&mut self, events: &[(Locator, Event)]) {
        for (locator, event) in events {
            let from = self.world.sender(locator).to_owned();
            let (locator, event) = (locator.clone(), event.clone());
            self.input(match event {
                Event::Commit { bytes, .. } => Input::Commit { bytes, locator: Some(locator), from },
                Event::Message { bytes, commit } => Input::Message { bytes, locator, from, commit: Some(commit) },
                Event::Ask { bytes } => Input::Ask { bytes, from },
            });
        }
    }

    fn restart(&mut self) {
        let own = self.world.peers["olga"].own.clone();
        self.group = Group::load(room(), own, Settings::default(), &self.store).unwrap();
    }

    fn sight(mut self) -> Sight {
        self.read.sort();
        let now = Timestamp(6_000_000);
        let mut due = self.group.due(now);
        due.at = None;
        Sight {
            heads: self.group.head_ids(),
            canonical: self.group.canonical(),
            epochs: self.group.epochs(),
            due,
            read: self.read,
        }
    }
}

/// The ways on which the same events and facts can reach a device.
fn routes<'a>(world: &'a World, store: &MemoryStore, dice: &mut Dice) -> Vec<(&'static str, Onlooker<'a>)> {
    let events = world.events();
    let onlooker = || Onlooker::new(world, store);
    let mut out = Vec::new();
    let mut route = |name, run: &mut dyn FnMut(&mut Onlooker<'a>)| {
        let mut device = onlooker();
        run(&mut device);
        out.push((name, device));
    };
    route("live", &mut |device| {
        device.facts();
        device.take(&events);
    });
    route("facts last", &mut |device| {
        device.take(&events);
        device.facts();
    });
    route("backfill, page by page", &mut |device| {
        device.facts();
        events.rchunks(7).for_each(|page| device.take(page));
    });
    route("backwards", &mut |device| {
        let backwards: Vec<_> = events.iter().rev().cloned().collect();
        device.take(&backwards);
        device.facts();
    });
    route("everything twice", &mut |device| {
        device.facts();
        device.take(&events);
        device.facts();
        device.take(&events);
    });
    route("commits by members, then messages", &mut |device| {
        device.facts();
        let (mut commits, messages): (Vec<_>, Vec<_>) =
            events.iter().cloned().partition(|(_, event)| matches!(event, Event::Commit { .. }));
        dice.shuffle(&mut commits);
        for (locator, event) in commits {
            let Event::Commit { bytes, .. } = event else { continue };
            device.input(Input::Commit { bytes, locator: Some(locator), from: "alice".to_owned() });
        }
        device.take(&messages);
    });
    for name in ["shuffled", "shuffled again"] {
        route(name, &mut |device| {
            let mut shuffled = events.clone();
            dice.shuffle(&mut shuffled);
            let (before, after) = shuffled.split_at(dice.below(shuffled.len() + 1));
            device.take(before);
            device.facts();
            device.take(after);
        });
    }
    route("restarting all the time", &mut |device| {
        device.facts();
        let mut shuffled = events.clone();
        dice.shuffle(&mut shuffled);
        for few in shuffled.chunks(3) {
            device.take(few);
            device.restart();
        }
    });
    out
}

/// The same events, facts and settings give the same state, in any order and by any route: live, backfill, replay,
/// members' answers, restarts (SPEC §6.1).
#[test]
fn every_route_gives_the_same_state() {
    let store = beginning().peers["olga"].store.clone();
    for seed in 0..8 {
        let world = history(seed, 50);
        let said: BTreeSet<_> = world.peers.values().flat_map(|peer| peer.read.iter().cloned()).collect();
        let mut sights: Vec<_> = routes(&world, &store, &mut Dice::new(seed))
            .into_iter()
            .map(|(name, device)| (name, device.sight()))
            .collect();
        let (_, live) = sights.remove(0);
        assert!(live.epochs.len() > 2, "seed {seed}: something happened");
        assert_eq!(live.read, Vec::from_iter(said), "seed {seed}: everything that was said is read, once");
        for (name, sight) in sights {
            assert_eq!(sight, live, "seed {seed}: {name}");
        }
    }
}

fn converge(world: &mut World, seed: u64) -> usize {
    let before = world.commits;
    for _ in 0..12 {
        let round = world.commits;
        for (name, _) in ACTORS {
            if acts(world, name) { world.sync(name) } else { world.take_in(name) }
        }
        if world.commits == round {
            return round - before;
        }
    }
    panic!("seed {seed}: merging does not end");
}

/// All epochs that any device accepted.
fn graph(world: &World) -> BTreeMap<EpochId, EpochInfo> {
    let epochs = world.peers.values().flat_map(|peer| peer.group.epochs());
    epochs.map(|epoch| (epoch.epoch.id, epoch)).collect()
}

fn ancestry(graph: &BTreeMap<EpochId, EpochInfo>, heads: impl IntoIterator<Item = EpochId>) -> BTreeSet<EpochId> {
    let mut found = BTreeSet::new();
    let mut work: Vec<_> = heads.into_iter().collect();
    while let Some(next) = work.pop() {
        let Some(epoch) = graph.get(&next).filter(|_| found.insert(next)) else { continue };
        work.extend(epoch.base.iter().chain(&epoch.resolves));
    }
    found
}

/// After any history merging ends, with all of D in one epoch; what members committed is in what all build on, and who
/// is out of D reads nothing of it (SPEC §3.3).
#[test]
fn merging_ends_and_loses_nothing() {
    for seed in 100..116 {
        let mut world = history(seed, 50);
        let made = converge(&mut world, seed);
        assert!(made <= 10, "seed {seed}: {made} commits after the heal");
        let members: Vec<_> = ACTORS.iter().map(|(name, _)| *name).filter(|name| is_joined(&world, name)).collect();
        let desired: Desired = world.desired(members[0]);
        let canonical = world.canonical(members[0]);
        for name in &members {
            assert_eq!(world.canonical(name), canonical, "seed {seed}: {name}");
            let readers = world.peers[*name].group.readers(&canonical.unwrap()).unwrap();
            let readers: BTreeSet<_> = readers.into_iter().collect();
            assert!(readers.iter().eq(desired.devices.keys()), "seed {seed}: {readers:?}");
        }
        let graph = graph(&world);
        let heads = canonical.into_iter().chain(world.peers[members[0]].group.head_ids());
        let merged = ancestry(&graph, heads);
        for (id, epoch) in &graph {
            let inside = desired.devices.contains_key(&epoch.creator) && epoch.creator.user != "mallory";
            assert!(merged.contains(id) || !inside, "seed {seed}: {epoch:?} is lost");
        }
        for name in &members {
            speak(&mut world, name, &format!("at the end {name}"));
            converge(&mut world, seed);
        }
        for name in &members {
            for other in &members {
                let text = format!("at the end {other}");
                assert!(world.texts(name).contains(&text), "seed {seed}: {name} reads {other}");
            }
        }
        let strangers = ACTORS.iter().filter(|(name, _)| !members.contains(name));
        for (name, _) in strangers {
            let late = world.texts(name).iter().any(|text| text.starts_with("at the end"));
            assert!(!late, "seed {seed}: {name} left and reads on");
        }
    }
}

/// Who was removed stays out of all that those who saw it make and seal, until a new join; through every split.
#[test]
fn removal_is_monotone() {
    for seed in 200..208 {
        let mut world = history(seed, 25);
        converge(&mut world, seed);
        if !is_joined(&world, "dan") {
            world.join_room("dan");
            converge(&mut world, seed);
        }
        world.cut();
        speak(&mut world, "carol", "carol on her side");
        if acts(&world, "carol") {
            world.commit("carol", true);
        }
        speak(&mut world, "alice", "alice on hers");
        world.heal();
        world.leave_room("dan");
        let dan = world.peers["dan"].own.device().clone();
        let earlier: BTreeSet<_> = graph(&world).into_keys().collect();
        let mut dice = Dice::new(seed);
        for number in 0..12 {
            let name = ["alice", "bob", "carol", "erin", "frank"][dice.below(5)];
            match dice.below(3) {
                0 => speak(&mut world, name, &format!("without dan {number}")),
                1 if acts(&world, name) => world.sync(name),
                _ => world.take_in(name),
            }
            for name in ["alice", "bob", "carol"].into_iter().filter(|name| acts(&world, name)) {
                let group = &world.peers[name].group;
                let own = group.epochs().into_iter().filter(|epoch| epoch.creator.user == name);
                let after = own.filter(|epoch| epoch.removed.contains(&dan) && !earlier.contains(&epoch.epoch.id));
                let graph = graph(&world);
                for removal in after.map(|epoch| epoch.epoch.id) {
                    let later = graph.keys().filter(|id| ancestry(&graph, [**id]).contains(&removal));
                    for id in later {
                        let readers = group.readers(id).unwrap_or_default();
                        assert!(!readers.contains(&dan), "seed {seed}: dan is back in {id}");
                    }
                }
            }
        }
        converge(&mut world, seed);
        world.take_in("dan");
        let late = world.texts("dan").iter().any(|text| text.starts_with("without dan"));
        assert!(!late, "seed {seed}: dan reads on");
    }
}

/// `names` alone in one group, with Olga looking on.
fn group_of(names: &[&str]) -> World {
    let mut world = World::new();
    for (name, side) in names.iter().copied().chain(["olga"]).zip([1, 2].into_iter().cycle()) {
        world.device(name, side);
    }
    world.join_room(names[0]);
    world.create(names[0]);
    for name in names[1..].iter().copied().chain(["olga"]) {
        world.join_room(name);
    }
    world.sync(names[0]);
    for name in names.iter().copied().chain(["olga"]) {
        world.take_in(name);
    }
    world
}

/// However many merge the same heads at the same time, nothing more is due (SPEC §3.4).
#[test]
fn simultaneous_merges_collapse() {
    const NAMES: [&str; 5] = ["alice", "bob", "carol", "dan", "erin"];
    for count in 2..=NAMES.len() {
        let names = &NAMES[..count];
        let mut world = group_of(names);
        world.cut();
        for name in ["alice", "alice", "bob", "bob"] {
            world.commit(name, true);
        }
        world.heal();
        names.iter().for_each(|name| world.take_in(name));
        let before = world.commits;
        names.iter().for_each(|name| world.commit(name, false));
        assert_eq!(world.commits - before, count, "each merges before it sees the others' merges");
        names.iter().for_each(|name| world.take_in(name));
        let canonical = world.canonical("alice");
        for name in names {
            let group = &world.peers[*name].group;
            assert_eq!(group.head_ids().len(), count);
            assert_eq!((group.canonical(), group.due(world.now).at), (canonical, None), "{name} of {count}");
        }
        world.commit("bob", true);
        names.iter().for_each(|name| world.take_in(name));
        for name in names {
            assert_eq!(world.peers[*name].group.head_ids().len(), 1, "the next ordinary commit resolves them all");
        }
    }
}

/// Heads on one fork point have one order: of any set of them, in whatever order it came, the least is canonical
/// (SPEC §3.2).
#[test]
fn the_base_order_is_total_and_transitive() {
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "dan"];
    let mut world = group_of(&NAMES);
    // Chains of one, two, one and two epochs on one base, by four who do not see each other.
    for name in ["alice", "bob", "bob", "carol", "dan", "dan"] {
        world.commit(name, true);
    }
    let chains: Vec<Vec<_>> = NAMES
        .iter()
        .map(|name| world.events().into_iter().filter(|(at, _)| world.sender(at) == *name).collect::<Vec<_>>())
        .map(|mut chain| chain.split_off(chain.len().saturating_sub(2)))
        .collect();
    let store = world.peers["olga"].store.clone();
    let canonical = |order: &[usize]| {
        let mut olga = Onlooker::new(&world, &store);
        order.iter().for_each(|at| olga.take(&chains[*at]));
        let sight = olga.sight();
        assert_eq!(sight.heads.len(), order.len());
        (0..NAMES.len()).find(|at| world.canonical(NAMES[*at]) == sight.canonical).unwrap()
    };
    let sets: Vec<Vec<usize>> = (1..16usize).map(|set| (0..4).filter(|at| set & (1 << at) != 0).collect()).collect();
    let before = |one: usize, two: usize| one == two || canonical(&[one, two]) == one;
    let mut ranked: Vec<usize> = (0..4).collect();
    ranked.sort_by_key(|at| (0..4).filter(|other| before(*other, *at)).count());
    for set in sets {
        let least = ranked.iter().copied().find(|at| set.contains(at)).unwrap();
        for order in permutations(&set) {
            assert_eq!(canonical(&order), least, "{order:?} ranked {ranked:?}");
        }
    }
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    let [first, rest @ ..] = items else { return vec![Vec::new()] };
    let shorter = permutations(rest);
    let insert = |at: usize, order: &Vec<usize>| [&order[..at], &[*first], &order[at..]].concat();
    shorter.iter().flat_map(|order| (0..=order.len()).map(|at| insert(at, order)).collect::<Vec<_>>()).collect()
}

/// Dan built on Carol's update and left. His head is set aside and Carol's is merged all the same: who copied her
/// device before her update stays out (SPEC §3.2). Found by the model.
#[test]
fn who_left_keeps_nothing_out_of_a_merge() {
    let mut world = World::new();
    for (name, side) in [("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2)] {
        world.device(name, side);
    }
    world.join_room("alice");
    world.create("alice");
    for name in ["bob", "carol", "dan"] {
        world.join_room(name);
    }
    world.sync("alice");
    for name in ["bob", "carol", "dan"] {
        world.sync(name);
    }
    let thief = world.peers["carol"].store.clone();
    world.cut();
    world.commit("carol", true);
    let healed = world.canonical("carol").unwrap();
    world.take_in("dan");
    world.commit("dan", true);
    world.commit("alice", true);
    world.commit("alice", true);
    world.heal();
    world.leave_room("dan");
    world.take_in("alice");
    assert!(world.peers["alice"].group.due(world.now).resolve.contains(&healed));
    world.sync("alice");
    let merged = world.canonical("alice").unwrap();
    for name in ["bob", "carol"] {
        world.take_in(name);
        assert_eq!(world.canonical(name), Some(merged), "{name}");
    }
    world.peers.get_mut("carol").unwrap().store = thief;
    world.restart("carol");
    for (locator, event) in world.events() {
        let from = world.sender(&locator).to_owned();
        world.deliver("carol", &locator, &from, &event);
    }
    assert!(world.peers["carol"].group.epoch(&merged).is_none(), "the thief enters the merged epoch");
}
