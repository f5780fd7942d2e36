//! A model of the epoch DAG, searched exhaustively (docs/MODEL.md).
//!
//! A few devices fork, merge, remove, equivocate, poison, crash and ask to be added anew, and everything arrives in any order.
//! Epochs are symbols without cryptography; which heads there are, which is built on and what is due is decided by the
//! project's own `Dag::heads`, `eligible`, `collapse` and `Plan::make`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod acts;
mod bites;
mod epochs;
mod known;
mod reading;
mod runs;
mod steps;
mod view;
mod world;

use stateright::{Model, Property};

use self::epochs::{Ix, each};
use self::known::Law;
use self::reading::Reading;
use self::steps::Action;
use self::world::{Fault, Setting, World};

/// What must hold in every state, by name.
const AGREES: &str = "the functions say what the specification says";
const HAS_HEADS: &str = "whoever holds an epoch has a head";
const NOTHING_LOST: &str = "an epoch that is held is a head or merged in one";
const WEIGHED: &str = "no head is given up for what takes back more than it brings";
const NO_STEERING: &str = "an outsider's head is not built on while another is there";
const NOT_CUT_OFF: &str = "whoever holds an epoch has a head to use";
const LEAST_BEHIND: &str = "what is built on is behind no other head";
const TOTAL_ORDER: &str = "the base order is total and transitive";
const FAIR_TIE: &str = "no commit can be ground to be the base";
const ONE_ORDER: &str = "who knows the same builds on the same";
const NOBODY_OUTSIDE: &str = "no commit holds a device outside D";
const NOT_READDED: &str = "who is known to have left is not added again for the same join";
const NO_RETURN: &str = "whoever has a head does not come back by external commit";
const ENDS: &str = "merging ends";
const CONVERGES: &str = "when all is done, all are in one epoch with live leaves of all of D";
const MERGED: &str = "when all is done, every head is merged";

impl Model for Setting {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.list(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(self.step(world, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn keeps(setting: &Setting, world: &World, law: Law) -> bool {
            (0..setting.devices).all(|who| !setting.known(world, who).broken.contains(&law))
        }
        fn free(world: &World, fault: Fault) -> bool {
            world.faults & fault as u8 == 0
        }
        vec![
            Property::always(AGREES, |setting, world| keeps(setting, world, Law::Agrees)),
            Property::always(HAS_HEADS, |setting, world| keeps(setting, world, Law::HasHeads)),
            Property::always(NOTHING_LOST, |setting, world| keeps(setting, world, Law::NothingLost)),
            Property::always(WEIGHED, |setting, world| keeps(setting, world, Law::Weighed)),
            Property::always(NO_STEERING, |setting, world| keeps(setting, world, Law::NoSteering)),
            Property::always(NOT_CUT_OFF, |setting, world| keeps(setting, world, Law::NotCutOff)),
            Property::always(LEAST_BEHIND, |setting, world| keeps(setting, world, Law::LeastBehind)),
            Property::always(TOTAL_ORDER, |setting, world| keeps(setting, world, Law::TotalOrder)),
            Property::always(FAIR_TIE, |setting, world| keeps(setting, world, Law::FairTie)),
            Property::always(ONE_ORDER, one_order),
            Property::always(NOBODY_OUTSIDE, |_, world| free(world, Fault::Outside)),
            Property::always(NOT_READDED, |_, world| free(world, Fault::Readded)),
            Property::always(NO_RETURN, |_, world| free(world, Fault::Returned)),
            Property::always(ENDS, |setting, world: &World| world.rounds <= setting.rounds),
            Property::always(CONVERGES, |setting, world| !is_done(setting, world) || converged(setting, world)),
            Property::always(MERGED, |setting, world| !is_done(setting, world) || merged(setting, world)),
        ]
    }
}

/// Everything arrived and nothing is due anywhere.
fn is_done(setting: &Setting, world: &World) -> bool {
    world.quiet && setting.due(world) == 0
}

/// Devices that accepted the same epochs, hold the same of them, and know the same D and asks agree on everything.
fn one_order(setting: &Setting, world: &World) -> bool {
    let known: Vec<_> = (0..setting.devices).map(|who| setting.known(world, who)).collect();
    let alike = |one: usize, two: usize| {
        let (one, two) = (&known[one].view, &known[two].view);
        let held = |ix: Ix| one.holds(ix, &setting.register) == two.holds(ix, &setting.register);
        let room = one.desired() == two.desired() && one.floors == two.floors;
        room && one.accepted().eq(two.accepted()) && one.accepted().all(held)
    };
    let same = |one: usize, two: usize| known[one].judged.eligible == known[two].judged.eligible;
    (0..known.len()).all(|one| (0..one).all(|two| !alike(one, two) || same(one, two)))
}

/// All of D are in one epoch (or in epochs that say the same) with live leaves of exactly D.
fn converged(setting: &Setting, world: &World) -> bool {
    let joined = setting.joined(world);
    let heads: Vec<_> = each(joined).map(|who| setting.known(world, who).canonical()).collect();
    let Some(first) = heads.first() else { return true };
    // Where nobody has an epoch there is nothing to join either.
    let Some(best) = *first else { return heads.iter().all(Option::is_none) };
    let known = setting.known(world, joined.trailing_zeros().try_into().unwrap());
    let reading = Reading::new(&known.view, &setting.register, None);
    let says_the_same = |head: Ix| {
        let accepted = known.view.known.contains_key(&head);
        head == best || (accepted && reading.collapse(best, head))
    };
    let members = setting.register.get(best).members();
    members == joined && reading.live(best) == joined && heads.iter().all(|head| head.is_some_and(says_the_same))
}

/// What a device of D made and others hold is in what all build on: adds, removals and updates of every fork.
fn merged(setting: &Setting, world: &World) -> bool {
    let joined = setting.joined(world);
    each(joined).all(|who| {
        let known = setting.known(world, who);
        let built_on = setting.register.ancestry(&known.judged.eligible);
        let inside = |ix: &Ix| {
            let creator = setting.register.get(*ix).made.creator;
            known.view.holds(*ix, &setting.register) && joined & (1 << creator) != 0
        };
        known.view.accepted().filter(inside).all(|ix| built_on.contains(&ix))
    })
}
