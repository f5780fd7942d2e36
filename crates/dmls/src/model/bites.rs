//! The properties notice when a rule is bent.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use super::epochs::Leaf;
use super::reading::Bent;
use super::runs::group;
use super::steps::Action;
use super::world::{Event, Setting};
use super::{
    CONVERGES, ENDS, FAIR_TIE, HAS_HEADS, LEAST_BEHIND, MERGED, NO_STEERING, NOBODY_OUTSIDE, NOT_CUT_OFF, NOT_READDED,
    NOTHING_LOST, ONE_ORDER, TOTAL_ORDER, WEIGHED,
};

/// The world keeps the property as it is, and breaks it with the rule bent.
fn notices(world: impl Fn() -> Setting, bent: Bent, property: &'static str) {
    let straight = world().checker().spawn_bfs().join();
    assert!(!straight.discoveries().contains_key(property), "{property} fails by itself");
    breaks(world(), bent, property);
}

fn breaks(world: Setting, bent: Bent, property: &'static str) {
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checker = world.bent(bent).checker().finish_when(wanted).spawn_bfs().join();
    assert!(checker.discoveries().contains_key(property), "{bent:?} goes unnoticed: {property}");
}

fn trio(events: &[(Event, u8)]) -> Setting {
    group("trio", 3, 0b111, [0, 0, 1, 1]).bad(1).rounds(12).with(events)
}

fn pair(updates: u8) -> Setting {
    Setting { rounds: 2, ..group("pair", 2, 0b11, [0, 1, 0, 1]).with(&[(Event::Update, updates)]) }
}

#[test]
fn what_is_not_held_and_covers_is_noticed() {
    let world = || trio(&[(Event::Ask, 1), (Event::Drop, 1)]);
    notices(world, Bent::WhatIsNotHeldCovers, NOT_CUT_OFF);
    notices(world, Bent::WhatIsNotHeldCovers, HAS_HEADS);
}

#[test]
fn taking_back_is_noticed() {
    notices(|| trio(&[(Event::Drop, 1)]), Bent::TakesBack, WEIGHED);
}

#[test]
fn lines_that_nobody_can_read_and_are_covered_are_noticed() {
    let events = [(Event::Leave, 1), (Event::Early, 1), (Event::Join, 1), (Event::Fake, 1)];
    notices(|| trio(&events), Bent::NamesCover, NOTHING_LOST);
}

#[test]
fn heads_that_are_resolved_in_vain_are_noticed() {
    notices(|| pair(3), Bent::ResolvesIgnored, ENDS);
}

#[test]
fn steering_outsiders_are_noticed() {
    let events = [(Event::Update, 2), (Event::Leave, 1), (Event::Stray, 1)];
    notices(|| trio(&events), Bent::OutsidersCount, NO_STEERING);
}

#[test]
fn outsiders_that_cover_are_noticed() {
    let events = [(Event::Update, 2), (Event::Leave, 1), (Event::Stray, 1)];
    notices(|| trio(&events), Bent::OutsidersCover, MERGED);
}

#[test]
fn preferring_length_is_noticed() {
    notices(|| trio(&[(Event::Drop, 1), (Event::Update, 1)]), Bent::NumberFirst, LEAST_BEHIND);
}

#[test]
fn removals_that_end_it_are_noticed() {
    notices(|| trio(&[(Event::Ask, 1), (Event::Drop, 1), (Event::Ghost, 1)]), Bent::RemovalsEndIt, CONVERGES);
}

#[test]
fn what_came_before_an_entry_and_is_dismissed_is_noticed() {
    let world = || trio(&[(Event::Ghost, 1), (Event::Ask, 1), (Event::Early, 1)]);
    notices(world, Bent::EntryDismisses, CONVERGES);
    let world = || trio(&[(Event::Ask, 1), (Event::Lost, 1), (Event::Update, 1), (Event::Early, 1)]);
    notices(world, Bent::EntryDismisses, CONVERGES);
}

#[test]
fn waiting_for_bases_from_before_is_noticed() {
    let events = [(Event::Join, 1), (Event::Lost, 2), (Event::Update, 1), (Event::Enter, 1)];
    let world = || group("lost twice", 3, 0b011, [0, 0, 1, 1]).rounds(12).with(&events);
    notices(world, Bent::UnknownBasesWait, CONVERGES);
}

#[test]
fn leaves_that_live_on_are_noticed() {
    notices(|| trio(&[(Event::Poison, 1)]), Bent::NoFloors, ENDS);
}

#[test]
fn keys_of_asks_that_die_are_noticed() {
    let events = [(Event::Ask, 1), (Event::Lost, 1), (Event::Update, 1), (Event::Early, 1)];
    notices(|| trio(&events), Bent::FloorKeyDies, ENDS);
}

#[test]
fn ties_that_can_be_ground_are_noticed() {
    let world = || group("three forks", 3, 0b111, [0, 1, 2, 0]).with(&[(Event::Update, 3)]);
    notices(world, Bent::TieById, FAIR_TIE);
}

#[test]
fn devices_that_prefer_their_own_are_noticed() {
    notices(|| pair(2), Bent::OwnFirst, ONE_ORDER);
}

#[test]
fn fork_points_of_two_are_noticed() {
    let world = group("three forks", 4, 0b1111, [0, 1, 2, 0]).with(&[(Event::Update, 5), (Event::Early, 1)]);
    breaks(world, Bent::ForkPointOfTwo, TOTAL_ORDER);
}

#[test]
fn merges_without_end_are_noticed() {
    notices(|| pair(2), Bent::NoCollapse, ENDS);
}

#[test]
fn removals_that_do_not_stick_are_noticed() {
    let events = [(Event::Update, 3), (Event::Leave, 1), (Event::Reset, 1)];
    notices(|| trio(&events), Bent::NotSticky, NOT_READDED);
}

#[test]
fn members_that_stay_are_noticed() {
    notices(|| trio(&[(Event::Update, 1), (Event::Leave, 1)]), Bent::RemovesNobody, NOBODY_OUTSIDE);
}

/// The steps of a story, with what everybody knows at its end.
pub(super) fn story(setting: &Setting, actions: Vec<Action>) -> String {
    let mut world = setting.start();
    let mut out = String::new();
    for action in actions {
        world = setting.step(&world, action);
        out += &format!("  {action:?}\n");
    }
    for who in 0..setting.devices {
        let known = setting.known(&world, who);
        out += &format!("  {who}: {:?} {:?} {:?}\n", known.broken, known.judged, known.view);
    }
    let epochs: std::collections::BTreeSet<_> = (0..setting.devices)
        .flat_map(|who| setting.known(&world, who).view.known.keys().copied().collect::<Vec<_>>())
        .collect();
    for ix in epochs {
        let symbol = setting.register.get(ix);
        let leaves = (0..)
            .zip(symbol.leaves)
            .filter_map(|(device, leaf)| Some(leaf_text(device, leaf?)))
            .collect::<Vec<_>>()
            .join(" ");
        out += &format!("  epoch {ix}: number {} leaves {} {:?}\n", symbol.number, leaves, symbol.made);
    }
    out += &format!("  {world:?}\n");
    out
}

fn leaf_text(device: u8, leaf: Leaf) -> String {
    format!("{device}:{}{}", leaf.serial, if leaf.of_package { "p" } else { "" })
}
