//! The searches: what is searched, and how far.

use std::time::Instant;

use stateright::{Checker, Model};

use super::epochs::{DEVICES, Set};
use super::reading::Bent;
use super::world::{Action, Event, Setting};

/// Everybody on a side of their own as far as there are sides.
const THREE_SIDES: [u8; DEVICES] = [0, 1, 2, 0];
/// The first two devices against the others.
const TWO_SIDES: [u8; DEVICES] = [0, 0, 1, 1];

/// A group of these members; nothing happens to it yet.
pub(super) fn group(name: &'static str, devices: u8, members: Set, sides: [u8; DEVICES]) -> Setting {
    Setting {
        name,
        devices,
        members,
        sides,
        bad: 0,
        rejoin: false,
        events: Vec::new(),
        rounds: 4,
        bent: None,
        register: Default::default(),
        gallery: Default::default(),
    }
}

impl Setting {
    pub(super) fn with(mut self, events: &[(Event, u8)]) -> Self {
        self.events = events.to_vec();
        self
    }

    pub(super) fn bad(mut self, bad: Set) -> Self {
        self.bad = bad;
        self
    }

    pub(super) fn rejoining(mut self) -> Self {
        self.rejoin = true;
        self.rounds = 8;
        self
    }

    pub(super) fn bent(mut self, bent: Bent) -> Self {
        self.bent = Some(bent);
        self
    }
}

/// Searches all of it; prints one line; fails with the shortest story that breaks a property.
fn search(setting: Setting) -> usize {
    let (name, start) = (setting.name, Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = setting.checker().threads(threads).spawn_bfs().join();
    let broken = checker.discoveries();
    let result = if broken.is_empty() { "ok" } else { "broken" };
    println!(
        "\nmodel {} states={} unique={} depth={} views={} seconds={} result={result}",
        name.replace(' ', "-"),
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        checker.model().gallery.len(),
        start.elapsed().as_secs()
    );
    for (property, path) in &broken {
        println!("broken: {property}\n{}", super::bites::story(checker.model(), path.clone().into_actions()));
    }
    assert!(broken.is_empty(), "{name}: {:?}", broken.keys());
    checker.unique_state_count()
}

/// Small enough for every run of the tests.
#[test]
fn small_worlds() {
    use Event::*;
    let trio = |name| group(name, 3, 0b111, TWO_SIDES);
    let searched: usize = [
        group("three forks", 3, 0b111, THREE_SIDES).with(&[(Update, 3), (Early, 2)]),
        trio("leave and return").with(&[(Update, 1), (Leave, 1), (Join, 1), (Early, 1)]),
        trio("drop").bad(1).with(&[(Update, 1), (Drop, 1), (Early, 1)]),
        trio("invented cause").bad(1).with(&[(Update, 2), (Lie, 1)]),
        trio("equivocation").bad(1).with(&[(Update, 1), (Twin, 1), (Early, 1)]),
        trio("crash").with(&[(Update, 2), (Crash, 1), (Early, 1)]),
        trio("outsider").with(&[(Update, 1), (Leave, 1), (Stray, 1), (Early, 1)]),
        trio("poisoned and back").bad(1).rejoining().with(&[(Update, 2), (Poison, 1), (Early, 1)]),
        trio("poisoned for good").bad(1).with(&[(Update, 2), (Poison, 1), (Early, 1)]),
        group("nobody adds", 3, 0b011, [0, 1, 1, 0]).with(&[(Update, 1), (Join, 1), (Early, 1), (Enter, 1)]),
    ]
    .into_iter()
    .map(search)
    .sum();
    assert!(searched > 40_000, "{searched} states");
}

/// Why merges wait for their slots: in step and with every delivery timed against them, three devices merge for ever,
/// each what the next one has just made. As soon as commits arrive before the next is made, it ends (SPEC §3.3).
#[test]
fn a_ring_of_merges_ends_when_commits_arrive() {
    let setting = group("ring", 3, 0b111, THREE_SIDES).with(&[(Event::Update, 6), (Event::Early, 60)]);
    let mut world = setting.start();
    for who in [0, 1, 2, 0, 1, 2] {
        world = setting.step(&world, Action::Update(who));
    }
    world = setting.step(&world, Action::Heal);
    for turn in 0..20 {
        let newest = [0, 1, 2].map(|who| setting.known(&world, who).canonical().unwrap());
        for who in [0, 1, 2] {
            // Parents were entered before their children.
            for ix in setting.register.ancestry(&[newest[(usize::from(who) + 1) % 3]]) {
                if !setting.known(&world, who).view.known.contains_key(&ix) {
                    world = setting.step(&world, Action::Deliver(who, ix));
                }
            }
            assert!(setting.known(&world, who).is_due(0b111), "turn {turn}: a merge is due for {who}");
            world = setting.step(&world, Action::Due(who));
        }
    }
    world = setting.step(&world, Action::Quiet);
    while setting.due(&world) != 0 {
        world = setting.step(&world, Action::Round(setting.due(&world)));
    }
    assert!(world.rounds <= 2, "{} rounds", world.rounds);
}

/// Two forks of four devices, one of which leaves.
#[test]
#[ignore = "a minute; the long lane runs it"]
fn two_forks_of_four() {
    use Event::*;
    search(group("two forks of four", 4, 0b1111, TWO_SIDES).with(&[(Update, 2), (Leave, 1), (Early, 1)]));
}

/// Three forks of four devices, merged while they heal.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn three_forks_of_four() {
    use Event::*;
    search(group("three forks of four", 4, 0b1111, THREE_SIDES).with(&[(Update, 3), (Early, 2)]));
}

/// A membership that ends and begins again, seen by everybody at another time, with a commit too many.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn leaving_and_returning() {
    use Event::*;
    let events = [(Update, 2), (Leave, 1), (Join, 1), (Early, 1), (Stray, 1)];
    search(group("leaving and returning", 3, 0b111, TWO_SIDES).with(&events));
}

/// A server goes back to a membership that had ended.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn state_reset() {
    use Event::*;
    search(group("state reset", 3, 0b111, TWO_SIDES).with(&[(Update, 2), (Leave, 1), (Early, 1), (Reset, 1)]));
}

/// A member that drops, lies, equivocates and poisons.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn a_bad_member() {
    use Event::*;
    let trio = |name| group(name, 3, 0b111, TWO_SIDES).bad(1);
    search(trio("drop and equivocate").with(&[(Update, 2), (Drop, 1), (Twin, 1), (Early, 1)]));
    search(trio("lie and poison").rejoining().with(&[(Update, 2), (Lie, 1), (Poison, 1), (Early, 1)]));
    let four = group("equivocation among four", 4, 0b1111, TWO_SIDES).bad(1);
    search(four.with(&[(Update, 1), (Twin, 1), (Early, 1)]));
}

/// Devices that stop between storing and publishing, while others leave and join.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn crashes() {
    use Event::*;
    search(group("crashes", 3, 0b111, TWO_SIDES).with(&[(Update, 1), (Crash, 2), (Leave, 1), (Early, 1)]));
}

/// A fourth device joins a group of three that splits and heals twice.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn a_newcomer() {
    use Event::*;
    let events = [(Update, 1), (Join, 1), (Early, 2), (Enter, 1)];
    search(group("a newcomer", 4, 0b0111, TWO_SIDES).with(&events));
    search(group("split twice", 3, 0b111, TWO_SIDES).with(&[(Update, 2), (Early, 2), (Cut, 1)]));
}
