//! The properties notice when a rule is bent.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use super::reading::Bent;
use super::runs::group;
use super::world::{Action, Event, Setting};
use super::{ENDS, FAIR_TIE, MERGED, NO_STEERING, NOBODY_OUTSIDE, NOT_CUT_OFF, NOT_READDED, ONE_ORDER, TOTAL_ORDER};

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
    group("trio", 3, 0b111, [0, 0, 1, 1]).bad(1).with(events)
}

fn pair(updates: u8) -> Setting {
    Setting { rounds: 2, ..group("pair", 2, 0b11, [0, 1, 0, 1]).with(&[(Event::Update, updates)]) }
}

#[test]
fn burying_without_condition_is_noticed() {
    notices(|| trio(&[(Event::Drop, 1)]), Bent::BuriesAlways, NOT_CUT_OFF);
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
fn outsiders_that_bury_are_noticed() {
    let events = [(Event::Update, 2), (Event::Leave, 1), (Event::Stray, 1)];
    notices(|| trio(&events), Bent::OutsidersBury, MERGED);
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
    let events = [(Event::Update, 2), (Event::Leave, 1), (Event::Reset, 1)];
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
        out += &format!("  epoch {ix}: number {} leaves {:b} {:?}\n", symbol.number, symbol.leaves, symbol.made);
    }
    out += &format!("  {world:?}\n");
    out
}
