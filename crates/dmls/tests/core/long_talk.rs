//! Somebody says a great deal in one epoch while a reader is away; the reader comes back and reads all of it.

use dmls::effect::{Applied, Missing, Verdict};
use dmls::error::Reason;
use dmls::group::Settings;
use dmls::id::Locator;
use dmls::input::Input;

use crate::world::{Event, World};

/// Alice and Bob; Alice says so many things while Bob is away. The places of what she said, in order.
fn long_talk(count: usize) -> (World, Vec<(Locator, Event)>) {
    let mut world = World::new();
    for name in ["alice", "bob"] {
        world.device(name, 1);
        world.join_room(name);
    }
    world.create("alice");
    world.sync("bob");
    world.commit("alice", false);
    world.sync("bob");
    world.sync("alice");
    let before = world.events().len();
    for number in 0..count {
        world.say("alice", &format!("{number}"));
    }
    let said = world.events().split_off(before);
    assert_eq!(said.len(), count);
    (world, said)
}

/// What is read of it, in this order and with restarts in between.
fn read_all(count: usize, order: impl Fn(&mut Vec<(Locator, Event)>), restarts: usize) -> World {
    let (mut world, mut said) = long_talk(count);
    order(&mut said);
    for (number, (locator, event)) in said.iter().enumerate() {
        world.deliver("bob", locator, "alice", event);
        if number % (count / (restarts + 1) + 1) == count / (restarts + 1) {
            world.restart("bob");
        }
    }
    let read = world.texts("bob");
    let missing: Vec<_> = (0..count).filter(|number| !read.contains(&format!("{number}"))).collect();
    assert_eq!(missing, Vec::<usize>::new(), "of {count}");
    world
}

/// Pages come newest first, and a page is read from its oldest message on (SPEC §5.6).
fn pages(said: &mut Vec<(Locator, Event)>) {
    let pages: Vec<Vec<_>> = said.chunks(100).map(<[_]>::to_vec).collect();
    *said = pages.into_iter().rev().flatten().collect();
}

#[test]
fn all_of_it_is_read_newest_first() {
    for count in [900, 1_100, 2_300] {
        read_all(count, |said| said.reverse(), 3);
    }
}

#[test]
fn all_of_it_is_read_page_by_page() {
    for count in [900, 1_100, 2_300] {
        read_all(count, pages, 5);
    }
}

/// Twenty thousand messages, and as many keys for gaps, for a while.
#[test]
fn twenty_thousand_messages_are_read() {
    let mut world = read_all(20_000, pages, 3);
    let last = world.say("alice", "and good night");
    let (locator, event) = world.events().pop().unwrap();
    world.deliver("bob", &locator, "alice", &event);
    assert!(world.texts("bob").contains("and good night"));
    let _ = last;
}

/// What is further ahead than keys may be worked out waits for what lies before (SPEC §5.6, §6.2), also in the store.
#[test]
fn what_is_too_far_ahead_waits() {
    let (mut world, said) = long_talk(24_900);
    let give = |world: &mut World, number: usize| {
        let (locator, event) = &said[number];
        let Event::Message { bytes, .. } = event else { panic!("no message") };
        let (bytes, locator) = (bytes.clone(), locator.clone());
        world.input("bob", Input::Message { bytes, locator, from: "alice".into(), commit: None })
    };
    for number in [24_899, 24_700] {
        let verdict = give(&mut world, number);
        assert!(matches!(verdict, Verdict::Deferred { on: Missing::Earlier { .. }, .. }), "{number}: {verdict:?}");
    }
    world.restart("bob");
    let first = give(&mut world, 150);
    assert!(matches!(first, Verdict::Applied(Applied::Message(_))), "{first:?}");
    assert!(world.texts("bob").contains("24700"), "151 and 24,576 more are within reach");
    give(&mut world, 400);
    assert!(world.texts("bob").contains("24899"));
}

/// What never comes stands in nobody's way for ever: when the time of what waits is up, the gap is passed over
/// (SPEC §6.2).
#[test]
fn a_gap_that_is_never_filled_is_passed_over() {
    let (mut world, said) = long_talk(24_900);
    let (locator, event) = said.last().unwrap();
    world.deliver("bob", locator, "alice", event);
    assert!(!world.texts("bob").contains("24899"));
    let patience = Settings::default().patience;
    for hour in 1..=patience / 1_800_000 + 1 {
        world.now = world.now.plus(1_800_000);
        world.input("bob", Input::Tick);
        assert!(hour > 0);
    }
    assert!(world.texts("bob").contains("24899"));
    world.say("alice", "still here");
    let (locator, event) = world.events().pop().unwrap();
    world.deliver("bob", &locator, "alice", &event);
    assert!(world.texts("bob").contains("still here"));
}

/// Whoever says that much is missing has keys worked out for it: for some invented messages, not for thousands, which cost
/// little to make (SPEC §6.2).
#[test]
fn invented_messages_beyond_a_gap_soon_cost_nothing() {
    let (mut world, said) = long_talk(24_900);
    let Some((_, Event::Message { bytes, commit })) = said.last() else { panic!("no message") };
    let give = |world: &mut World, number: u32, from: &str| {
        let mut bytes = bytes.clone();
        let end = bytes.len() - 4;
        bytes[end..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, with)| *byte ^= with);
        let (locator, commit) = (Locator(format!("$invented{number}")), Some(commit.clone()));
        let verdict = world.input("bob", Input::Message { bytes, locator, from: from.into(), commit });
        assert!(matches!(verdict, Verdict::Deferred { on: Missing::Earlier { .. }, .. }), "{verdict:?}");
    };
    (1..=100).for_each(|number| give(&mut world, number, "alice"));
    (101..=200).for_each(|number| give(&mut world, number, "mallory"));
    for _ in 0..=Settings::default().patience / 1_800_000 + 1 {
        world.now = world.now.plus(1_800_000);
        world.input("bob", Input::Tick);
    }
    let refused = |reason| world.peers["bob"].refused.iter().filter(|(_, of)| *of == reason).count();
    // 2^20 generations in all, and those of the message that went beyond.
    assert_eq!(refused(Reason::Forged), (1 << 20) / 24_899 + 1);
    assert_eq!(refused(Reason::RejectedSender), 100, "what another user sent is not worked out at all");
    assert_eq!(refused(Reason::Forged) + refused(Reason::BeyondWindow), 100);
}
