//! R: what two reviews of the protocol found: R1 to R9 their H1 to H9, R10 to R16 M1 to M7, R17 to R32 the second's R1 to
//! R16.

use std::sync::Arc;

use dmls::effect::{EpochRef, Notice, Publish, Verdict};
use dmls::group::{Group, Settings};
use dmls::id::Locator;
use dmls::input::Input;
use dmls_store::MemoryStore;

use crate::attack::{Attack, Elsewhere, End, Later};
use crate::core_world::{Event, Seeded, World, room};
use crate::scene::{Puppet, can_read, commit_from, group_of, update};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "R2",
        attack: "two servers differ about a membership, and its removal is answered for ever",
        defence: "who answers again waits twice as long, whatever event is named",
        run: endless_answers,
    },
    Attack {
        id: "R4",
        attack: "many small commits push out what others need",
        defence: "epochs are held for a time, and of each user apart",
        run: flushed_window,
    },
    Attack {
        id: "R5",
        attack: "a thief of an old copy asks for the merge value of a merge after which its owner is healed",
        defence: "the answer is sealed to the newest leaf that the device made",
        run: crate::f::healing::asked_for,
    },
    Attack {
        id: "R6",
        attack: "a thief with the signature key comes back as the device, unnoticed",
        defence: "the owner is told of a clone, everybody of a return",
        run: quiet_return,
    },
];

pub const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        id: "R1",
        test: ("crates/dmls/tests/core/craft.rs", "the_order_of_arrival_decides_nothing"),
        reason: "C13 has the switch",
    },
    Elsewhere {
        id: "R9",
        test: ("crates/dmls/tests/core/long_talk.rs", "all_of_it_is_read_newest_first"),
        reason: "the window is as wide as a long talk, and what is beyond it waits; there is nothing to switch off",
    },
    Elsewhere {
        id: "R11",
        test: ("crates/dmls/tests/core/craft.rs", "the_order_of_arrival_decides_nothing"),
        reason: "no height is said any more, so none can be a lie",
    },
    Elsewhere {
        id: "R13",
        test: ("crates/dmls-matrix/tests/binding/hostile.rs", "a_member_list_that_was_wrong_once_locks_nobody_out"),
        reason: "the event and the membership are compared, not the event alone",
    },
    Elsewhere {
        id: "R14",
        test: ("crates/dmls/tests/core/craft.rs", "the_order_of_arrival_decides_nothing"),
        reason: "what counts of many heads follows from what is accepted; F11 has the switch",
    },
    Elsewhere {
        id: "R15",
        test: ("crates/dmls/tests/core/rules.rs", "merge_inputs_are_answered_to_those_they_belong_to"),
        reason: "who may know M is believed once",
    },
    Elsewhere {
        id: "R18",
        test: ("crates/dmls/src/mls/tests/musts/keys.rs", "one_bad_package_fails_no_other_add"),
        reason: "such keys are refused wherever they come in",
    },
];

const RULES: &str = "the rules of covering, asking and serial numbers are built (SPEC 2.7, 5.8) and searched (MODEL); no attack plays it";
const CHAIN: &str = "the chain and what hangs on it are not built";

pub const LATER: &[Later] = &[
    Later { id: "R3", reason: RULES },
    Later { id: "R7", reason: RULES },
    Later { id: "R8", reason: RULES },
    Later { id: "R10", reason: RULES },
    Later { id: "R12", reason: RULES },
    Later { id: "R16", reason: "hints to files do not say how large they are yet" },
    Later { id: "R17", reason: CHAIN },
    Later { id: "R19", reason: RULES },
    Later { id: "R20", reason: RULES },
    Later { id: "R21", reason: RULES },
    Later { id: "R22", reason: RULES },
    Later { id: "R23", reason: "external secrets are held as long as their epochs" },
    Later { id: "R24", reason: CHAIN },
    Later { id: "R25", reason: CHAIN },
    Later { id: "R26", reason: CHAIN },
    Later { id: "R27", reason: "nobody compares a commit's GroupInfo with its own yet" },
    Later { id: "R28", reason: "trees travel whole: there is no log to follow" },
    Later { id: "R29", reason: CHAIN },
    Later { id: "R30", reason: CHAIN },
    Later { id: "R31", reason: "there is no key share" },
    Later { id: "R32", reason: "there is no vault" },
];

/// R2. Bob's server alone says that Alice's membership ended, and with which event.
fn endless_answers() -> End {
    let names = ["alice", "bob", "carol", "dan", "erin"];
    let mut world = group_of(&names);
    let before = world.commits;
    let mut here = world.desired("bob");
    here.devices.remove(world.peers["alice"].own.device());
    world.input("bob", Input::Departed { user: "alice".to_owned(), event: Locator("$kicked".to_owned()) });
    world.input("bob", Input::Desired(here));
    for number in 0..1_200 {
        world.tick(500);
        // There are always key packages of hers.
        if number % 10 == 0 {
            let (_, package) = crate::scene::package_of(&mut world, "alice");
            world.publish_only("alice", package);
        }
        for name in names {
            world.take_in(name);
            let due = world.peers[name].group.due(world.now);
            if due.at.is_some_and(|at| at <= world.now) {
                world.commit(name, false);
            }
        }
    }
    // Ten minutes: some dozens in a room that answers at once, some hundred otherwise.
    End::succeeded_if(world.commits - before > 40)
}

/// R4. What Carol said is late by a second; meanwhile Mallory makes many commits (in the list: 66 of 64 that may be held).
fn flushed_window() -> End {
    let mut world = World::new();
    world.settings = Settings { max_held: 16, ..Settings::default() };
    for name in ["alice", "bob", "carol", "mallory"] {
        world.device(name, 1);
        world.join_room(name);
    }
    world.create("alice");
    for name in ["alice", "bob", "carol", "mallory"] {
        world.sync(name);
    }
    let said = Puppet::of(&world, "carol", 1).say("late by a second");
    let mut mallory = Puppet::of(&world, "mallory", 2);
    for _ in 0..40 {
        let commit = mallory.commit(update());
        world.input("bob", commit_from("mallory", &commit));
    }
    let verdict = world.input("bob", crate::scene::message_from("carol", &said));
    End::succeeded_if(!matches!(verdict, Verdict::Applied(_)))
}

/// R6. Dan healed; the thief of his signature key comes in by external commit all the same, and reads on.
fn quiet_return() -> End {
    let names = ["alice", "bob", "dan"];
    let mut world = group_of(&names);
    let own: Arc<_> = world.peers["dan"].own.clone();
    world.commit("dan", true);
    names.iter().for_each(|name| world.take_in(name));
    let newest = world.events().into_iter().rev().find_map(|(locator, event)| match event {
        Event::Commit { epoch, group_info, .. } => Some((EpochRef { locator, ..epoch }, group_info)),
        Event::Message { .. } | Event::Ask { .. } => None,
    });
    let (target, group_info) = newest.unwrap();
    let (mut thief, mut rng, mut store) =
        (Group::new(room(), own, Settings::default()), Seeded::new(9), MemoryStore::new());
    let joined = thief.join_externally(&group_info, target, world.now, &mut rng).unwrap().persist(&mut store).unwrap();
    let Some(Publish::Commit(commit)) = joined.publish.into_iter().next() else { panic!("no commit") };
    for name in names {
        world.input(name, commit_from("dan", &commit));
    }
    assert!(!can_read(&world, "dan", "alice") || world.canonical("dan") != Some(commit.epoch.id));
    let told = |name: &str| {
        let notices = world.peers[name].notices.iter();
        notices.filter(|notice| matches!(notice, Notice::Clone { .. } | Notice::Returned { .. })).count()
    };
    End::succeeded_if(names.iter().any(|name| told(name) == 0))
}
