//! A model of the epoch DAG, searched exhaustively (docs/MODEL.md).
//!
//! A few devices fork, merge, remove, equivocate, poison, crash and join again, and everything arrives in any order.
//! Epochs are symbols without cryptography; which heads there are, which is built on and what is due is decided by the
//! project's own `Dag::heads`, `eligible`, `collapse` and `Plan::make`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod bites;
mod epochs;
mod known;
mod reading;
mod runs;
mod view;
mod world;

use stateright::{Model, Property};

use self::epochs::{Ix, each};
use self::known::Law;
use self::reading::Reading;
use self::world::{Action, Fault, Setting, World};

/// What must hold in every state, by name.
const AGREES: &str = "the functions say what the specification says";
const HAS_HEADS: &str = "whoever accepted an epoch has a head";
const NOTHING_LOST: &str = "an accepted epoch is a head or an ancestor of one";
const NO_STEERING: &str = "an outsider's head is not built on while another is there";
const NOT_CUT_OFF: &str = "nobody is cut off without a cause";
const TOTAL_ORDER: &str = "the base order is total and transitive";
const FAIR_TIE: &str = "no commit can be ground to be the base";
const ONE_ORDER: &str = "who knows the same builds on the same";
const NOBODY_OUTSIDE: &str = "no commit holds a device outside D";
const REMOVED: &str = "who was removed with cause stays out";
const NOT_READDED: &str = "who was removed with cause is not added again for the same join";
const ENDS: &str = "merging ends";
const CONVERGES: &str = "when all is done, all are in one epoch with all of D";
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
            Property::always(NO_STEERING, |setting, world| keeps(setting, world, Law::NoSteering)),
            Property::always(NOT_CUT_OFF, |setting, world| keeps(setting, world, Law::NotCutOff)),
            Property::always(TOTAL_ORDER, |setting, world| keeps(setting, world, Law::TotalOrder)),
            Property::always(FAIR_TIE, |setting, world| keeps(setting, world, Law::FairTie)),
            Property::always(ONE_ORDER, one_order),
            Property::always(NOBODY_OUTSIDE, |_, world| free(world, Fault::Outside)),
            Property::always(REMOVED, |_, world| free(world, Fault::Returned)),
            Property::always(NOT_READDED, |_, world| free(world, Fault::Readded)),
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

/// Devices that accepted the same epochs, can use the same of them and see the same D agree on everything.
fn one_order(setting: &Setting, world: &World) -> bool {
    let known: Vec<_> = (0..setting.devices).map(|who| setting.known(world, who)).collect();
    let alike = |one: usize, two: usize| {
        let (one, two) = (&known[one].view, &known[two].view);
        let usable = |ix: Ix| one.usable(ix, &setting.register) == two.usable(ix, &setting.register);
        one.desired() == two.desired() && one.accepted().eq(two.accepted()) && one.accepted().all(usable)
    };
    let same = |one: usize, two: usize| known[one].judged.eligible == known[two].judged.eligible;
    (0..known.len()).all(|one| (0..one).all(|two| !alike(one, two) || same(one, two)))
}

/// All of D are in one epoch (or in epochs that say the same) whose members are exactly D.
///
/// Who cannot process a commit and does not join again is let off, and so is nobody else.
fn converged(setting: &Setting, world: &World) -> bool {
    let joined = setting.joined(world);
    let able: Vec<_> = each(joined).filter(|who| setting.rejoin || !setting.is_stuck(world, *who)).collect();
    let heads: Vec<_> = able.iter().map(|who| setting.known(world, *who).canonical()).collect();
    let Some(first) = heads.first() else { return true };
    let Some(best) = *first else { return false };
    let known = setting.known(world, able[0]);
    let reading = Reading::new(&known.view, &setting.register, None);
    let says_the_same = |head: Ix| {
        let accepted = known.view.known.contains_key(&head);
        head == best || (accepted && reading.collapse(best, head))
    };
    setting.register.get(best).leaves == joined && heads.iter().all(|head| head.is_some_and(says_the_same))
}

/// What a device of D made and others took in is in what all build on: adds, removals and updates of every fork.
fn merged(setting: &Setting, world: &World) -> bool {
    let joined = setting.joined(world);
    each(joined).filter(|who| !setting.is_stuck(world, *who)).all(|who| {
        let known = setting.known(world, who);
        let built_on = setting.register.ancestry(&known.judged.eligible);
        let inside = |ix: &Ix| {
            let creator = setting.register.get(*ix).made.creator;
            known.view.usable(*ix, &setting.register) && joined & (1 << creator) != 0
        };
        known.view.accepted().filter(inside).all(|ix| built_on.contains(&ix))
    })
}
