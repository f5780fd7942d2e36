//! Views that were met: judged once, checked once, named by a number.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::epochs::{Ix, Register};
use super::reading::{Bent, Reading};
use super::view::{Judged, Order, View};

/// Names a view within one search.
pub(super) type ViewId = u32;

/// What must hold of every view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Law {
    /// The project's functions say what the second reading of the rules says, in whatever order things came.
    Agrees,
    /// Whoever holds an epoch has a head.
    HasHeads,
    /// Every epoch that is held is a head or merged in one.
    NothingLost,
    /// No head is given up for an epoch that takes back more than it brings.
    Weighed,
    /// No epoch by an outsider is built on while a head by a device of D is there.
    NoSteering,
    /// Whoever holds an epoch has a head to use.
    NotCutOff,
    /// The head that is built on is behind no other that may be built on.
    LeastBehind,
    /// Any two eligible heads are ordered, any three transitively, and the list is in this order.
    TotalOrder,
    /// Ties fall as was fixed before the commits were made.
    FairTie,
}

/// A view with what follows from it.
pub(super) struct Known {
    pub(super) view: View,
    pub(super) judged: Judged,
    pub(super) broken: Vec<Law>,
}

/// All views of one search.
#[derive(Default)]
pub(super) struct Gallery {
    inner: RwLock<Met>,
}

#[derive(Default)]
struct Met {
    known: Vec<Arc<Known>>,
    by_view: HashMap<View, ViewId>,
}

impl Gallery {
    pub(super) fn get(&self, id: ViewId) -> Arc<Known> {
        self.inner.read().unwrap().known[id as usize].clone()
    }

    pub(super) fn len(&self) -> usize {
        self.inner.read().unwrap().known.len()
    }

    /// Judges and checks a view that was not met before.
    pub(super) fn enter(&self, view: View, register: &Register, bent: Option<Bent>) -> ViewId {
        if let Some(id) = self.inner.read().unwrap().by_view.get(&view) {
            return *id;
        }
        let known = Arc::new(Known::new(view.clone(), register, bent));
        let mut inner = self.inner.write().unwrap();
        let next = ViewId::try_from(inner.known.len()).unwrap();
        let id = *inner.by_view.entry(view).or_insert(next);
        if id == next {
            inner.known.push(known);
        }
        id
    }
}

impl Known {
    fn new(view: View, register: &Register, bent: Option<Bent>) -> Self {
        let reading = Reading::new(&view, register, bent);
        let honest = reading.honest();
        let second = reading.judge();
        let orders = [Order::EpochsFirst, Order::EpochsLast];
        let first =
            if bent.is_some() { vec![second.clone()] } else { orders.map(|order| view.judge(register, order)).into() };
        let judged = first[0].clone();
        let (heads, eligible) = (&judged.heads, &judged.eligible);
        let holds = view.accepted().any(|ix| view.holds(ix, register));
        let behind = |ix: &Ix| honest.behind(*ix, eligible);
        let laws = [
            (Law::Agrees, first.iter().all(|judged| *judged == second)),
            (Law::HasHeads, !holds || !heads.is_empty()),
            (Law::NothingLost, honest.keeps_all(heads)),
            (Law::Weighed, honest.weighs_all(heads)),
            (Law::NoSteering, no_steering(&judged, &honest)),
            (Law::NotCutOff, !holds || !eligible.is_empty()),
            (Law::LeastBehind, eligible.first().map(behind) == eligible.iter().map(behind).min()),
            (Law::TotalOrder, total_order(eligible, &reading)),
            (Law::FairTie, eligible.is_sorted_by(|one, two| honest.tie_is_fair(*one, *two, eligible))),
        ];
        let broken = laws.into_iter().filter(|(_, holds)| !holds).map(|(law, _)| law).collect();
        Self { view, judged, broken }
    }

    /// The head that this device sends in and builds on.
    pub(super) fn canonical(&self) -> Option<Ix> {
        self.judged.eligible.first().copied()
    }

    /// Whether something is due that this device can do.
    pub(super) fn is_due(&self, claimable: u8) -> bool {
        self.judged.add & claimable != 0 || self.judged.remove != 0 || !self.judged.differing.is_empty()
    }

    /// Whether this device is in its own D: others do nothing of their own.
    pub(super) fn is_desired(&self) -> bool {
        self.view.desired() & (1 << self.view.who) != 0
    }
}

fn no_steering(judged: &Judged, honest: &Reading<'_>) -> bool {
    let inside = || judged.heads.iter().any(|head| honest.by_desired(*head));
    judged.eligible.first().is_none_or(|first| honest.by_desired(*first) || !inside())
}

fn total_order(eligible: &[Ix], reading: &Reading<'_>) -> bool {
    let before = |one: &Ix, two: &Ix| reading.before(*one, *two, eligible);
    let pairs = |one: &Ix, two: &Ix| one == two || before(one, two) != before(two, one);
    let total = eligible.iter().all(|one| eligible.iter().all(|two| pairs(one, two)));
    let chains = |one: &Ix, two: &Ix| {
        !before(one, two) || eligible.iter().all(|three| !before(two, three) || before(one, three))
    };
    let transitive = eligible.iter().all(|one| eligible.iter().all(|two| chains(one, two)));
    let sorted = eligible.is_sorted_by(before);
    total && transitive && sorted
}
