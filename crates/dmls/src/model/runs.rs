//! The searches: what is searched, and how far.

use std::sync::atomic::Ordering;
use std::time::Instant;

use stateright::{Checker, Model};

use super::epochs::{DEVICES, Set};
use super::reading::Bent;
use super::steps::Action;
use super::world::{Event, Packages, Setting};

/// Everybody on a side of their own as far as there are sides.
const THREE_SIDES: [u8; DEVICES] = [0, 1, 2, 0];
/// The first two devices against the others.
const TWO_SIDES: [u8; DEVICES] = [0, 0, 1, 1];

/// Rounds until nothing is due, at most, where devices have to be added anew.
const MOST_ROUNDS: u8 = 16;

/// A group of these members; nothing happens to it yet.
pub(super) fn group(name: &'static str, devices: u8, members: Set, sides: [u8; DEVICES]) -> Setting {
    Setting {
        name,
        devices,
        members,
        sides,
        bad: 0,
        packages: Packages::Fresh,
        events: Vec::new(),
        rounds: 4,
        bent: None,
        most_rounds: Default::default(),
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

    pub(super) fn old_packages(mut self) -> Self {
        self.packages = Packages::Old;
        self
    }

    pub(super) fn rounds(mut self, rounds: u8) -> Self {
        self.rounds = rounds;
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
        "\nmodel {} rounds={} states={} unique={} depth={} views={} seconds={} result={result}",
        name.replace(", ", " ").replace(' ', "-"),
        checker.model().most_rounds.load(Ordering::Relaxed),
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
    let bad = |name| trio(name).bad(1).rounds(MOST_ROUNDS);
    let newcomer = |name| group(name, 3, 0b011, TWO_SIDES).rounds(MOST_ROUNDS);
    let searched: usize = [
        group("three forks", 3, 0b111, THREE_SIDES).with(&[(Update, 3), (Early, 2)]),
        trio("leave and return").with(&[(Update, 1), (Leave, 1), (Join, 1), (Early, 1)]),
        trio("leave and return with old packages").old_packages().with(&[(Leave, 1), (Join, 1), (Early, 2)]),
        trio("ask").rounds(MOST_ROUNDS).with(&[(Update, 1), (Ask, 1), (Early, 1)]),
        trio("ask while coming and going").rounds(MOST_ROUNDS).with(&[(Leave, 1), (Join, 1), (Ask, 1), (Early, 1)]),
        trio("ask and lost Welcome").rounds(MOST_ROUNDS).with(&[(Ask, 1), (Lost, 1), (Update, 1), (Early, 1)]),
        trio("ask and crash").rounds(MOST_ROUNDS).with(&[(Crash, 1), (Ask, 1), (Update, 1)]),
        trio("lost Welcome").rounds(MOST_ROUNDS).with(&[(Leave, 1), (Join, 1), (Early, 1), (Lost, 1)]),
        newcomer("newcomer and lost Welcomes").with(&[(Join, 1), (Lost, 2), (Update, 1), (Enter, 1)]),
        newcomer("nobody adds").with(&[(Update, 1), (Join, 1), (Early, 1), (Enter, 1)]),
        trio("crash").with(&[(Update, 2), (Crash, 1), (Early, 1)]),
        trio("outsider").with(&[(Update, 1), (Leave, 1), (Stray, 1), (Early, 1)]),
        bad("drop").with(&[(Update, 1), (Drop, 1), (Early, 1)]),
        bad("equivocation").with(&[(Update, 1), (Twin, 1), (Early, 1)]),
        bad("equivocation and ask").with(&[(Twin, 1), (Ask, 1), (Early, 1)]),
        bad("poison").with(&[(Update, 1), (Poison, 1), (Early, 1)]),
        bad("poison and ghost").with(&[(Poison, 1), (Ghost, 1)]),
        bad("ghost").with(&[(Update, 1), (Ghost, 1), (Early, 1)]),
        bad("ghost with old packages").old_packages().with(&[(Update, 1), (Ghost, 1), (Early, 1)]),
        bad("ghost and ask").with(&[(Ghost, 1), (Ask, 1), (Early, 1)]),
        bad("drop, then ghost").with(&[(Ask, 1), (Drop, 1), (Ghost, 1)]),
        bad("drop, then ghost with old packages").old_packages().with(&[(Ask, 1), (Drop, 1), (Ghost, 1)]),
        bad("made up").with(&[(Update, 2), (Fake, 1)]),
        bad("made up by one who left").with(&[(Leave, 1), (Early, 1), (Join, 1), (Fake, 1)]),
        bad("left behind").with(&[(Update, 2), (Old, 1)]),
    ]
    .into_iter()
    .map(search)
    .sum();
    assert!(searched > 100_000, "{searched} states");
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
#[ignore = "minutes; the long lane runs it"]
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
    let trio = |name| group(name, 3, 0b111, TWO_SIDES);
    search(trio("coming and going twice").with(&[(Leave, 2), (Join, 2), (Early, 2)]));
    search(trio("leaving, returning and a stray").with(&[(Update, 1), (Leave, 1), (Join, 1), (Early, 1), (Stray, 1)]));
}

/// A server goes back to a membership that had ended, also of one that asked to be added anew.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn state_reset() {
    use Event::*;
    let events = [(Leave, 1), (Ask, 1), (Reset, 1), (Update, 1), (Early, 1)];
    search(group("state reset", 3, 0b111, TWO_SIDES).rounds(MOST_ROUNDS).with(&events));
}

/// Asks, with a reason or without, among forks and merges.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn asks() {
    use Event::*;
    let trio = |name, sides| group(name, 3, 0b111, sides).rounds(MOST_ROUNDS);
    search(trio("two asks", TWO_SIDES).with(&[(Ask, 2), (Update, 1), (Early, 1)]));
    search(trio("an ask among three forks", THREE_SIDES).with(&[(Ask, 1), (Update, 3), (Early, 1)]));
    search(trio("an ask and a second split", TWO_SIDES).with(&[(Cut, 1), (Ask, 1), (Update, 2)]));
    let bad = |name| trio(name, TWO_SIDES).bad(1);
    search(bad("an ask and two drops").with(&[(Ask, 1), (Drop, 2), (Early, 1)]));
    search(bad("an ask and a poison").with(&[(Poison, 1), (Ask, 1), (Update, 1)]));
    let four = group("an ask, a drop, a lost Welcome", 4, 0b1111, TWO_SIDES).bad(1).rounds(MOST_ROUNDS);
    search(four.with(&[(Ask, 1), (Drop, 1), (Lost, 1)]));
}

/// A member that drops, equivocates, poisons, adds without a Welcome and makes up merge values.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn a_bad_member() {
    use Event::*;
    let trio = |name, sides| group(name, 3, 0b111, sides).bad(1).rounds(MOST_ROUNDS);
    search(trio("two drops", TWO_SIDES).with(&[(Drop, 2), (Update, 1), (Early, 1)]));
    search(trio("drop and equivocate", TWO_SIDES).with(&[(Update, 1), (Drop, 1), (Twin, 1), (Early, 1)]));
    search(trio("two poisons", TWO_SIDES).with(&[(Poison, 2), (Update, 1)]));
    search(trio("two ghosts", TWO_SIDES).with(&[(Ghost, 2), (Update, 1)]));
    search(trio("poison and made up", THREE_SIDES).with(&[(Update, 1), (Poison, 1), (Fake, 1)]));
    search(trio("left behind, and updates", TWO_SIDES).with(&[(Update, 2), (Old, 1), (Early, 1)]));
    let four = group("equivocation among four", 4, 0b1111, TWO_SIDES).bad(1);
    search(four.with(&[(Update, 1), (Twin, 1)]));
}

/// Devices that stop between storing and publishing, while others leave.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn crashes() {
    use Event::*;
    search(group("crashes", 3, 0b111, TWO_SIDES).with(&[(Update, 1), (Crash, 2), (Leave, 1), (Early, 1)]));
}

/// A fourth device joins a group of three that is split, and a group of three splits twice.
#[test]
#[ignore = "minutes; the long lane runs it"]
fn a_newcomer() {
    use Event::*;
    let newcomer = group("a newcomer", 4, 0b0111, TWO_SIDES).rounds(MOST_ROUNDS);
    search(newcomer.with(&[(Update, 1), (Join, 1), (Early, 1), (Enter, 1)]));
    search(group("split twice", 3, 0b111, TWO_SIDES).with(&[(Update, 2), (Early, 2), (Cut, 1)]));
}
